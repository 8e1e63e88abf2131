"""The rules of the house: who may import whom, what is packaged, and what every module looks like.

The first part reads source with ``ast`` instead of importing it, so a rule also holds for imports inside functions.
"""

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FACE = ROOT / "src" / "carryproof"
ROOMS = sorted(path.parent.name for path in ROOT.glob("*/__init__.py") if path.parent.name != "tests")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

# One direction: for each room, the rooms and the packages outside the standard library that it may import.
DATA = {"numpy", "pandas", "safetensors", "scipy"}
PAGES = {"jinja2", "matplotlib", "rich", "seaborn"}
PEERS = {"transformer_lens", "transformers", "x_transformers"}
MAY_IMPORT = {
    "theory": ({"theory"}, {"numpy", "sympy"}),
    "positional": ({"positional"}, {"jaxtyping", "torch"}),
    "models": ({"models", "positional"}, {"jaxtyping", "safetensors", "torch"}),
    "benchmarks": (
        {"benchmarks", "theory", "positional", "models"},
        {"jaxtyping", "torch"} | DATA | PAGES | PEERS,
    ),
    "circuits": (
        {"circuits", "benchmarks", "theory", "positional", "models"},
        {"jaxtyping", "jsonschema", "torch"} | DATA | PAGES,
    ),
}
ALSO = {  # kept out of theory/__init__, see the test of what is loaded
    "benchmarks/conformance.py": {"hypothesis"},
    "circuits/lens.py": {"transformer_lens"},
    "theory/conformance.py": {"hypothesis"},
    "theory/strategies.py": {"hypothesis"},
}

MODULES = sorted(path for folder in [*(ROOT / room for room in ROOMS), FACE] for path in folder.glob("*.py"))
ROOM_MODULES = [path for path in MODULES if path.parent != FACE]
LINES_AT_MOST = 400


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


every_module = pytest.mark.parametrize("path", MODULES, ids=name_of)
every_room_module = pytest.mark.parametrize("path", ROOM_MODULES, ids=name_of)


def imports(path: Path) -> Iterator[str]:
    """Absolute names of everything a module imports: ``import a.b`` gives a.b, ``from a import b`` gives a.b too."""
    package = ["carryproof"] if path.parent == FACE else ["carryproof", path.parent.name]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            prefix = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{prefix}.{alias.name}" for alias in node.names)


@every_room_module
def test_imports_go_one_way(path: Path) -> None:
    rooms, packages = MAY_IMPORT[path.parent.name]
    packages = packages | ALSO.get(name_of(path), set()) | sys.stdlib_module_names
    for name in imports(path):
        top, *rest = name.split(".")
        if top == "carryproof":
            # the face imports the rooms, so a room takes nothing from it but the version
            assert rest == ["__version__"] or (rest and rest[0] in rooms), f"{name_of(path)} imports {name}"
        else:
            assert top in packages, f"{name_of(path)} imports {name}"


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import carryproof", ["torch", "sympy", "numpy"]),
        ("import carryproof.__main__", ["torch", "sympy", "numpy"]),
        ("import carryproof.theory", ["torch", "hypothesis", "seaborn"]),
    ],
)
def test_importing_stays_light(statement: str, absent: list[str]) -> None:
    probe = f"{statement}, sys; print(*(name for name in {absent} if name in sys.modules))"
    run = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []


def test_every_lazy_name_resolves() -> None:
    import carryproof

    for name in dir(carryproof):
        getattr(carryproof, name)
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        carryproof.no_such_name  # noqa: B018 - the look-up is what is tested


def test_packages_are_the_folders_on_disk() -> None:
    setuptools = PROJECT["tool"]["setuptools"]
    assert sorted(setuptools["packages"]) == sorted(["carryproof", *(f"carryproof.{room}" for room in ROOMS)])
    assert setuptools["package-dir"] == {"carryproof": "src/carryproof"} | {
        f"carryproof.{room}": room for room in ROOMS
    }
    nested = [name_of(path) for room in ROOMS for path in (ROOT / room).glob("*/*.py")]
    assert not nested, "packages are one level deep"


@pytest.mark.parametrize("room", ROOMS)
def test_links_are_relative(room: str) -> None:
    link = FACE / room
    if not link.is_symlink():
        pytest.skip("this checkout has no symbolic links")
    assert Path(os.readlink(link)) == Path("../..") / room


def test_one_version() -> None:
    import carryproof

    cited = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    changed = re.search(r"^## \[(\d[^]]*)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert cited and changed
    assert cited[1] == changed[1] == carryproof.__version__


@every_module
def test_module_has_a_docstring_and_one_idea(path: Path) -> None:
    source = path.read_text()
    assert ast.get_docstring(ast.parse(source)), f"{name_of(path)} has no docstring"
    assert len(source.splitlines()) <= LINES_AT_MOST


GLOBAL_GENERATOR = re.compile(
    r"random\.(?!Random\b|SystemRandom\b)\w+"
    r"|(np|numpy)\.random\.(?!default_rng\b|Generator\b|SeedSequence\b|Philox\b|PCG64\b)\w+"
    r"|torch\.(cuda\.|random\.)?(manual_seed|manual_seed_all|seed|set_rng_state)"
)


@every_module
def test_randomness_is_an_argument(path: Path) -> None:
    """No module seeds or draws from the generators that Python, NumPy and torch share between all their users."""
    calls = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
    for call in calls:
        function = ast.unparse(call.func)
        assert not GLOBAL_GENERATOR.fullmatch(function), f"{name_of(path)}:{call.lineno} calls {function}"
