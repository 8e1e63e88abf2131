"""The page of one model: what was claimed of its algorithm and how it did, then all that the claims rest on.

One HTML file without outside resources is written beside its figures, from what the commands found: a search, and if
there is one its test, its transfer, its learning curve and its clouds. A section without findings is left out, so that
a page is never longer than what is known.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from carryproof.benchmarks.drawing import Drawn
from carryproof.benchmarks.pages import PAGE, in_place_of, page_environment
from carryproof.circuits.circuit_figure import draw_circuit
from carryproof.circuits.cloud_figure import draw_clouds
from carryproof.circuits.clouds import MarkedCloud
from carryproof.circuits.curve_figure import draw_curves
from carryproof.circuits.heat_figure import draw_heat
from carryproof.circuits.map_figure import draw_map
from carryproof.circuits.maps import ASPECTS, row_of, single, useful_nodes
from carryproof.circuits.nodes import parse
from carryproof.circuits.positions import position_table
from carryproof.circuits.sites import kind_of, where
from carryproof.circuits.texts import Problems, context, render, write

MARKS = {"holds": "✓", "carried": "✓", "fails": "✗", "open": "~", "partly": "~"}
TONES = {"✓": "good", "✗": "bad"}
BEHAVIOURS = {
    "add": "additions",
    "sub": "subtractions",
    "sub_positive": "subtractions, answer from 0 up",
    "sub_negative": "subtractions, answer below 0",
    "both_operations": "both operations",
    "all_three": "all three behaviours",
}
_COLUMNS = {
    "S": ("D + D'", "carry", "10 or more"),
    "M": ("D − D'", "borrow", "less than 0"),
    "N": ("D' − D", "borrow", "less than 0"),
    "C": ("D + D', or of D + 9 − D' where it subtracts,", "carry", "10 or more"),
}
_OTHERS = {
    "SS": "1 if D + D' is 9",
    "OPR": "the operator, as it is read for the column, for the sign or for the choice",
    "SGN": "the sign of the answer",
    "SLT": "the choice among a sum (S), a difference from 0 up (M) and one below 0 (N)",
    "OUT": "the carry that leaves the highest column",
    "IN": "the carry that comes into the units from there",
    "NEG": "whether the digit is taken from 9",
}


def write_page(
    search: Mapping[str, Any],
    test: Mapping[str, Any] | None,
    transfer: Mapping[str, Any] | None,
    curve: Mapping[str, Any] | None,
    clouds: Sequence[MarkedCloud],
    out: Path,
) -> Path:
    """Write the page of a model into the folder ``out``, in place of an older page there; return the path of the page.

    The arguments are the contents of ``search.json``, ``test.json``, ``transfer.json`` and ``train.json``. Raises
    ``ValueError`` for findings about different models, and if ``out`` cannot be written or holds something else.
    """
    model = search["model"]
    for name, other in (("test", test), ("transfer", transfer)):
        if other is not None and other["model"]["sha256"] != model["sha256"]:
            raise ValueError(f"{name}: it is about another model, {other['model']['name']}, than the search")
    with in_place_of(out) as fresh:
        figures = fresh / "figures"
        figures.mkdir()
        environment = page_environment(figures)
        environment.filters |= {
            "share": share,
            "sites": sites,
            "most": most,
            "short": short,
            "mark": mark,
            "behaviour": behaviour,
            "alike": alike,
        }
        page = environment.get_template("circuits/page.html.j2").render(
            model=model,
            example=example(model),
            search={"redundant": [], "edges": [], "seconds": {}} | dict(search),
            test={"seconds": {}} | dict(test) if test else None,
            transfer=transfer,
            claims=test["claims"] if test else [],
            verdicts=Counter(each["verdict"] for each in (test["claims"] if test else ())),
            useful=len(useful_nodes(search)),
            read=context(model["digits"]) - 1,
            lines=position_table(search),
            assigned=search.get("variables", {}),
            meanings=meanings(search),
            maps=draw_maps(search, figures),
            circuit=draw_circuit(search, figures),
            heat=draw_heat(search, figures),
            clouds=draw_clouds(clouds, figures),
            curves=draw_curves(curve, model["digits"], figures) if curve else None,
        )
        (fresh / PAGE).write_text(page, encoding="utf-8")
    return out / PAGE


def draw_maps(search: Mapping[str, Any], folder: Path) -> list[Drawn]:
    """Every map that says something; that of behaviours only where there are several."""
    several = len({name for entry in search["nodes"].values() for name in entry.get("behaviours", ())}) > 1
    drawn = [draw_map(search, by, folder) for by in ASPECTS if by != "behaviour" or several]
    return [each for each in drawn if each is not None]


def example(model: Mapping[str, Any]) -> str:
    """A problem as the model reads it, with its answer.

    >>> example({"digits": 3, "operations": ["add"]}), example({"digits": 3, "operations": ["sub"]})
    ('321+765=+1086', '321-765=-0444')
    """
    places = np.arange(model["digits"])
    operands = np.stack([places % 9 + 1, (places + 4) % 9 + 1])[None].astype(np.uint8)
    subtract = np.array([model["operations"] == ["sub"]])
    return render(write(Problems(operands=operands, subtract=subtract))[0])


def share(estimate: Mapping[str, float]) -> str:
    """An estimate with its interval, in per cent.

    >>> share({"value": 0.5, "low": 0.4, "high": 0.625})
    '50.0 [40.0, 62.5]'
    """
    return f"{100 * estimate['value']:.1f} [{100 * estimate['low']:.1f}, {100 * estimate['high']:.1f}]"


def sites(names: Sequence[str], digits: int) -> str:
    """Where nodes are, in words, those of one position together.

    >>> sites(["P7L1H1", "P3L0R", "P7L1H0"], 2)
    "L0 stream at D'1; L1 H0, L1 H1 where A1 is decided"
    """
    found: dict[str, list[str]] = {}
    for node in sorted(map(parse, names)):
        found.setdefault(where(digits, node.position), []).append(row_of(node))
    return "; ".join(f"{', '.join(rows)} {place}" for place, rows in found.items())


def short(group: str) -> str:
    """A group of variables that move together, with their column said once.

    >>> short("A1.SA, A1.SC"), short("A1.SA"), short("SGN")
    ('A1: SA, SC', 'A1.SA', 'SGN')
    """
    names = [name.split(".") for name in single(group)]
    return f"{names[0][0]}: {', '.join(name[-1] for name in names)}" if len(names) > 1 else group


def most(controls: Sequence[Mapping[str, Any]]) -> str:
    """The highest end of the intervals of some controls' accuracies, in per cent; a dash if there are none."""
    return f"{100 * max(each['accuracy']['high'] for each in controls):.1f}" if controls else "–"


def alike(likeness: Mapping[str, float]) -> str:
    """The median likeness of some nodes, with the least and the most.

    >>> alike({"median": 0.5, "least": -0.25, "most": 1.0})
    '0.50 [-0.25, 1.00]'
    """
    return f"{likeness['median']:.2f} [{likeness['least']:.2f}, {likeness['most']:.2f}]"


def mark(verdict: str) -> tuple[str, str]:
    """The sign and the class of a verdict; a dash for what is neither shown nor refuted."""
    sign = MARKS.get(verdict, "–")
    return sign, TONES.get(sign, "soft")


def behaviour(name: str) -> str:
    """A behaviour in words, or the name itself where there are none."""
    return BEHAVIOURS.get(name, name)


def meanings(search: Mapping[str, Any]) -> dict[str, str]:
    """What the variables of a search mean, by the part of their names after the column."""
    names = [kind_of(each) for group in search.get("variables", ()) for each in single(group)]
    return {name: meaning(name) for name in dict.fromkeys(names) if meaning(name)}


def meaning(kind: str) -> str:
    """What a kind of variable means, or nothing if it is not one of ours.

    >>> meaning("MT"), meaning("SGN")
    ("1 if D − D' is less than 0, U if it passes on a borrow from below, else 0", 'the sign of the answer')
    """
    if kind in _OTHERS:
        return _OTHERS[kind]
    if len(kind) != 2 or kind[0] not in _COLUMNS:
        return ""
    value, flag, sends = _COLUMNS[kind[0]]
    digit = f"the digit of {value} before any {flag}"
    own = f"1 if {value} is {sends}"
    return {
        "A": digit,
        "D": digit,
        "C": own,
        "B": own,
        "T": f"{own}, U if it passes on a {flag} from below, else 0",
        "V": f"whether a {flag} leaves the column, with all below it counted",
    }.get(kind[1], "")
