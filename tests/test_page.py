"""The pages of circuits: self-contained, small, honest about what is missing, and replaced as a whole."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
from circuit_files import by_hand, curve

from carryproof.circuits.classes import BEHAVIOURS
from carryproof.circuits.comparison_page import write_comparison
from carryproof.circuits.files import require_valid
from carryproof.circuits.page import write_page
from carryproof.circuits.schemas import ROLES

Search = dict[str, Any]
BYTES_AT_MOST = 5_000_000
SHARE = {"value": 0.5, "low": 0.4, "high": 0.6}


@pytest.fixture(scope="module")
def found() -> tuple[Search, Search]:
    return by_hand()


@pytest.fixture(scope="module")
def page(found: tuple[Search, Search], tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("page") / "page"
    path = write_page(*found, transfer(found[0]), curve(2), (), out)
    assert path == out / "index.html" and path.stat().st_size < BYTES_AT_MOST
    assert {each.suffix for each in (out / "figures").iterdir()} == {".png", ".svg", ".pdf"}
    return path.read_text()


def transfer(search: Search) -> Search:
    """What is known of the behaviours of a model that started from another, made up, in the form of its file."""
    part = {"nodes": 4, "share": SHARE}
    shares = {"useful": 9} | dict.fromkeys((*BEHAVIOURS.values(), "both_operations", "all_three"), part)
    right = {"add": 1.0, "sub_positive": 0.5}
    node = {
        "role": "re-used",
        "support": 0.9,
        "source": SHARE,
        "end": {"add": SHARE},
        "milestones": [right],
        "serves_since": {"add": 100},
        "likeness": [0.5],
    }
    changes = {
        "source": search["model"] | {"name": "the_source"},
        "placement": "left",
        "at_least": 0.01,
        "criteria": [{"role": "re-used", **dict.fromkeys(("inserted", "served_source", "serves_add"), True)}],
        "steps": [100],
        "right": [right],
        "right_source": 1.0,
        "counts": {role: {"nodes": 5, "low": 4, "high": 6} for role in ROLES},
        "likeness": {"re-used": {"median": 0.5, "least": -0.25, "most": 1.0}},
        "nodes": {"P4L0M": node},
    }
    changes["criteria"][0]["serves_sub"] = False
    known: Search = {
        "schema_version": 1,
        "kind": "transfer",
        "model": search["model"],
        "settings": {"alternative": "resample", "problems": 1_000, "seed": 0},
        "polysemanticity": {
            "at_least": 0.01,
            "problems": 1_000,
            "right": right,
            "nodes": {"P4L0M": {"add": SHARE}},
            "shares": shares,
            "thresholds": [],
        },
        "changes": changes,
        "control": {"model": search["model"], "changes": changes},
    }
    require_valid("transfer", known, "transfer.json")
    return known


def text_of(page: str) -> str:
    """The words of a page."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", re.sub(r"(?s)<style>.*?</style>|<img[^>]+>", "", page)))


def require_self_contained(page: str) -> None:
    for target in re.findall(r"(?:src|href)=\"([^\"]*)\"", page):
        assert target.startswith(("data:", "#")), target
    assert "<script" not in page and "@import" not in page
    anchors = set(re.findall(r"id=\"([^\"]+)\"", page))
    assert {target[1:] for target in re.findall(r"href=\"(#[^\"]+)\"", page)} <= anchors


def test_the_page_is_self_contained(page: str) -> None:
    require_self_contained(page)


def test_claims_come_first_with_verdicts_and_reasons(page: str, found: tuple[Search, Search]) -> None:
    sections = re.findall(r"<section id=\"([a-z]+)\"", page)
    assert sections[:3] == ["claims", "glance", "maps"]
    words = text_of(page)
    for claim in found[1]["claims"]:
        assert claim["statement"] in words and claim["verdict"] in words and claim["reason"] in words


def test_the_page_says_what_was_found(page: str, found: tuple[Search, Search]) -> None:
    words = text_of(page)
    for said in (
        "to add numbers of 2 digits",
        "21+65=+086",
        "L1 H1 where A1 is decided",
        "✓ carried",
        "– nothing",
        "re-used 5 [4, 6] 0.50 [-0.25, 1.00] 5 [4, 6]",
        "started from the_source",
        "carryproof circuits search by_hand_d2",
        found[0]["model"]["sha256"],
        f"{len(found[0]['nodes'])} of 54",
    ):
        assert said in words, said


def test_what_is_missing_is_left_out(found: tuple[Search, Search], tmp_path: Path) -> None:
    known = ("schema_version", "kind", "model", "settings", "right", "positions", "nodes")
    least = {name: found[0][name] for name in known}
    least["nodes"] = {name: {"impact": found[0]["nodes"][name]["impact"]} for name in ("P7L1H1",)}
    page = write_page(least, None, None, None, (), tmp_path / "page").read_text()
    require_self_contained(page)
    assert re.findall(r"<section id=\"([a-z]+)\"", page) == ["glance", "maps", "positions", "tokens"]


def test_an_untrained_model_has_nothing_here(found: tuple[Search, Search], tmp_path: Path) -> None:
    nothing = found[0] | {"nodes": {}, "positions": {}, "edges": [], "variables": {}, "redundant": []}
    page = write_page(nothing, None, None, None, (), tmp_path / "page").read_text()
    assert "Nothing here" in page and "<img" not in page


def test_names_are_never_markup(found: tuple[Search, Search], tmp_path: Path) -> None:
    search, test = copy.deepcopy(found)
    search |= {"nodes": {}, "variables": {}, "edges": []}
    search["model"]["name"] = "<b>x"
    test["claims"][0]["statement"] = "<script>alert(1)</script>"
    page = write_page(search, test, None, None, (), tmp_path / "page").read_text()
    assert "<b>" not in page and "<script" not in page and "&lt;script&gt;" in page


def test_findings_about_another_model_are_refused(found: tuple[Search, Search], tmp_path: Path) -> None:
    other = copy.deepcopy(found[1])
    other["model"] |= {"sha256": "f" * 64, "name": "another"}
    with pytest.raises(ValueError, match="test: it is about another model, another, than the search"):
        write_page(found[0], other, None, None, (), tmp_path / "page")
    assert not list(tmp_path.iterdir())


def test_a_folder_of_something_else_is_not_replaced(found: tuple[Search, Search], tmp_path: Path) -> None:
    (tmp_path / "search.json").write_text("{}")
    with pytest.raises(ValueError, match="an older report"):
        write_page(found[0], None, None, None, (), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["search.json"]


def test_models_are_compared_by_meaning(found: tuple[Search, Search], tmp_path: Path) -> None:
    second = found[0] | {"model": found[0]["model"] | {"name": "again"}}
    page = write_comparison([found, (second, None)], tmp_path / "page").read_text()
    require_self_contained(page)
    words = text_of(page)
    for said in (
        "2 models, one algorithm?",
        "Ak.SV is carried by a head of the last layer where Ak+1 is decided",
        "Ak.SA a head last layer where Ak is decided 2 of 2",
        "computes the addition graph",
    ):
        assert said in words, said


def test_no_models_and_twice_the_same_are_refused(found: tuple[Search, Search], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="models: got 'none'; allowed: one or more"):
        write_comparison([], tmp_path / "page")
    with pytest.raises(ValueError, match="models: got 'by_hand_d2'; allowed: each model once"):
        write_comparison([found, found], tmp_path / "page")
