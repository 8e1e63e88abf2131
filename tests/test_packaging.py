"""What is built from the repository installs, imports, and keeps to its own name."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NOT_SOURCE = shutil.ignore_patterns(".git", ".venv", ".*_cache", "__pycache__", "*.egg-info", "build", "dist", "runs")

pytestmark = pytest.mark.slow


def build(source: Path, *options: str) -> Path:
    """The one wheel that ``python -m build`` makes of ``source``, with the setuptools that is installed."""
    command = [sys.executable, "-m", "build", "--no-isolation", *options, str(source)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    (wheel,) = (source / "dist").glob("*.whl")
    return wheel


def contents(wheel: Path) -> set[str]:
    return set(zipfile.ZipFile(wheel).namelist())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("direct") / "source"
    shutil.copytree(ROOT, source, symlinks=True, ignore=NOT_SOURCE)
    return build(source, "--wheel")


def test_wheel_holds_every_module_once(wheel: Path) -> None:
    modules = {f"carryproof/{path.name}" for path in (ROOT / "src" / "carryproof").glob("*.py")} | {
        f"carryproof/{path.parent.name}/{path.name}"
        for path in ROOT.glob("*/*.py")
        if (path.parent / "__init__.py").exists() and path.parent.name != "tests"
    }
    data = {
        "carryproof/py.typed",
        *(f"carryproof/{path.parent.name}/{path.name}" for path in ROOT.glob("*/*.j2")),
        *(f"carryproof/models/collection/{path.name}" for path in (ROOT / "models" / "collection").iterdir()),
    }
    assert {name for name in contents(wheel) if ".dist-info/" not in name} == modules | data


def test_wheel_by_way_of_the_sdist_is_the_same(wheel: Path, tmp_path: Path) -> None:
    shutil.copytree(ROOT, tmp_path / "source", symlinks=True, ignore=NOT_SOURCE)
    assert contents(build(tmp_path / "source")) == contents(wheel)  # without options, `build` goes by way of the sdist


def test_wheel_of_a_checkout_without_links_is_the_same(wheel: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(ROOT, source, symlinks=True, ignore=NOT_SOURCE)
    for link in (source / "src" / "carryproof").iterdir():
        if link.is_symlink():
            target = os.readlink(link)
            link.unlink()
            link.write_text(target)  # what git leaves where the file system has no links
    assert contents(build(source, "--wheel")) == contents(wheel)


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the installed wheel and nothing else."""
    folder = tmp_path_factory.mktemp("installed") / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(folder)]
    subprocess.run([*install, str(wheel)], check=True, capture_output=True)
    return folder


def test_installed_wheel_imports(site: Path, tmp_path: Path) -> None:
    assert {path.name for path in site.iterdir() if path.suffix != ".dist-info"} <= {"carryproof", "bin"}
    rooms = sorted(path.parent.name for path in site.glob("carryproof/*/__init__.py"))
    assert rooms
    probe = "; ".join(f"import carryproof.{room} as room; print(room.__file__)" for room in rooms)
    environment = os.environ | {"PYTHONPATH": str(site)}
    run = subprocess.run(
        [sys.executable, "-c", probe], cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
    )
    assert run.stdout.split() == [str(site / "carryproof" / room / "__init__.py") for room in rooms]


PROJECT = {
    "pyproject.toml": """
[tool.pytest.ini_options]
pythonpath = ["src"]
filterwarnings = ["error"]
""",
    "src/calendars/__init__.py": """
import operator

from carryproof.theory import Task, tasks


def as_wide(base, places, operands):
    return places


year = tasks.modular_addition(9973)
either = tasks.Operation(name="or", symbol="+", apply=operator.or_, width=as_wide)
flags = Task(operation=either, base=2)
week = Task(operation=either, base=2, modulus=7)
""",
    "tests/test_true.py": """
import pytest

from calendars import flags, week, year
from carryproof.benchmarks.conformance import check_encoding, registered, stream_checks
from carryproof.theory.conformance import Claims, task_checks

claims = Claims(commutative=True, shift_equivariant=True, digit_local=True)
CHECKS = task_checks(year) + task_checks(flags, claims) + task_checks(week) + stream_checks(flags)


@pytest.mark.parametrize("check", CHECKS)
def test_true(check):
    check()


def test_encoding():
    build, twin, parameters = registered("rope")
    check_encoding(build, twin, parameters=parameters)
""",
    "tests/test_false.py": """
import pytest

from calendars import flags, week, year
from carryproof.theory.conformance import Claims, task_checks

CHECKS = task_checks(year, Claims(shift_equivariant=True)) + task_checks(flags, Claims(shift_equivariant_in=(0,)))
CHECKS += task_checks(week, Claims(decisive_digits=3))


@pytest.mark.parametrize("check", [check for check in CHECKS if "shift" in check.name or "base" in check.name])
def test_false(check):
    check()
""",
}


def test_the_kit_serves_a_project_of_its_own(site: Path, tmp_path: Path) -> None:
    for name, text in PROJECT.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    environment = os.environ | {"PYTHONPATH": str(site), "COLUMNS": "200"}

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *command], cwd=tmp_path, env=environment, check=False, capture_output=True, text=True
        )

    where = run("-c", "import carryproof.theory.conformance as kit; print(kit.__file__)").stdout
    assert Path(where.strip()).is_relative_to(site)
    true = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_true.py")
    assert true.returncode == 0, true.stdout
    false = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_false.py")
    assert false.returncode == 1
    assert "3 failed" in false.stdout
    for told in (
        "addition mod 9973 is not jointly shift-equivariant: f(10*0, 10*998) = 7, 10*f(0, 998) = 9980",
        "or base 2 is not shift-equivariant in operand 1 alone: f(2*0, 1) = 1, 2*f(0, 1) = 2",
        "or mod 7 base 2 is not decided by the last 3 digits in base 2: f(0, 8) = 1, f(0, 0) = 0",
    ):
        assert f"E       carryproof.theory.conformance.Broken: {told}" in false.stdout
    assert "conformance.py" not in false.stdout  # nothing of how the counterexamples were found
