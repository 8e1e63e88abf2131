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
    data = {f"carryproof/benchmarks/{path.name}" for path in (ROOT / "benchmarks").glob("*.j2")} | {
        "carryproof/py.typed"
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


def test_installed_wheel_imports(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(site)]
    subprocess.run([*install, str(wheel)], check=True, capture_output=True)
    assert {path.name for path in site.iterdir() if path.suffix != ".dist-info"} <= {"carryproof", "bin"}
    rooms = sorted(path.parent.name for path in site.glob("carryproof/*/__init__.py"))
    assert rooms
    probe = "; ".join(f"import carryproof.{room} as room; print(room.__file__)" for room in rooms)
    environment = os.environ | {"PYTHONPATH": str(site)}
    run = subprocess.run(
        [sys.executable, "-c", probe], cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
    )
    assert run.stdout.split() == [str(site / "carryproof" / room / "__init__.py") for room in rooms]
