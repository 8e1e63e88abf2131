"""docs/theory.md names every law that verdicts and proofs cite, and only code and tests that exist."""

import ast
import re
from pathlib import Path

import pytest

from carryproof.benchmarks.literature import REACHES
from carryproof.theory import proofs, subjects
from carryproof.theory.catalogue import questions
from carryproof.theory.predict import predict
from carryproof.theory.visibility import visibility

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "theory.md").read_text()
ROWS = re.findall(r"^\| ([A-Z]\d+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", PAGE, re.MULTILINE)
KINDS = {"proved", "empirical", "open", "definition", "cited", "argued", "exhaustive"}


def names(path: Path) -> set[str]:
    """What a module defines at its top level."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        match node:
            case ast.FunctionDef() | ast.ClassDef():
                found.add(node.name)
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                found.add(name)
    return found


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_every_law_has_a_status_code_and_a_test_that_exist(row: tuple[str, ...]) -> None:
    _, _, status, code, test = row
    assert set(re.findall(r"[a-z]+", status)) & KINDS
    for path in (code, test):
        module, _, name = path.strip(" `").partition("::")
        assert name in names(ROOT / module), path


def test_laws_one_to_nineteen_are_all_there_and_described() -> None:
    listed = [row[0] for row in ROWS]
    assert len(listed) == len(set(listed)) and {f"L{number}" for number in range(1, 20)} <= set(listed)
    headings = set(re.findall(r"[A-Z]\d+", " ".join(re.findall(r"^### (.*)$", PAGE, re.MULTILINE))))
    assert set(listed) == headings


def test_every_law_that_is_cited_is_on_the_page() -> None:
    cited = set()
    for question in list(questions())[::3]:
        cited |= {reason.law for reason in visibility(question, 6)}
        cited |= {reason.law for cell in predict(question, [4, 6]).cells for reason in cell.reasons}
    for name in ("addition", "modular-addition", "horner", "multiply-add-rows"):
        modulus = 101 if name in ("modular-addition", "horner") else None
        proof = proofs.prove(subjects.build(name, modulus=modulus))
        cited |= {fact.law for section in proof.sections for fact in section.facts}
    assert cited <= {row[0] for row in ROWS}


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_every_path_on_a_page_exists(page: Path) -> None:
    for module, name in re.findall(r"`(\w+/[\w/]+\.py)(?:::(\w+))?`", page.read_text()):
        assert (ROOT / module).exists(), module
        assert not name or name in names(ROOT / module), f"{module}::{name}"


def test_published_ranges_are_those_of_the_page() -> None:
    page = (ROOT / "docs" / "certificates.md").read_text()
    for each in REACHES:
        row = f"| {each.method}, {each.source} | {each.trained} | {each.reached:,}{each.remark} | {each.told} | none |"
        assert row in page
