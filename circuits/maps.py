"""The quanta map as data: which useful node stands where, and one thing that is known about it.

Rows are heads and MLPs by layer, columns are token positions; only useful ones are there, and a cell is there if its
node is. What it says is chosen by an aspect: how much breaks without the node, which variable it carries, the simplest
problems that need it, what it looks at, or which behaviours it serves. Source of the maps: Quirke et al. 2402.02619.

>>> share = {"value": 0.4, "low": 0.3, "high": 0.5}
>>> search = {"model": {"digits": 2}, "settings": {"floor": 0.01}, "nodes": {
...     "P7L1H1": {"impact": {"whole": share, "classes": {"S1": share}}, "variables": ["A0.SV"]}}}
>>> found = quanta_map(search, "variables")
>>> [(each.token, each.decides) for each in found.columns], [(each.row, each.lines, each.tone) for each in found.cells]
([('A2', 'A1')], [('L1 H1', ('A0.SV',), 'resolved carry')])
>>> quanta_map(search, "complexity").cells[0].lines, quanta_map(search, "impact").cells[0].tone
(('S1',), 0.4)
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from carryproof.circuits.classes import BEHAVIOURS
from carryproof.circuits.nodes import HEAD, MLP, RESIDUAL, Node, parse
from carryproof.circuits.sites import decided, kind_of, read
from carryproof.circuits.texts import context
from carryproof.theory.errors import bad, unknown

LINES_AT_MOST = 3
ATTENDED = 0.1  # the least mean share of a key that is named
SERVES = {name: letter for letter, name in BEHAVIOURS.items()}
UNKNOWN = "–"
Tone = float | str  # a share, or the name of a category
Finding = tuple[tuple[str, ...], Tone] | None  # what the cell of a node says, or None for no cell


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """A token position, the token that is read there and the output that is decided there, if one is."""

    position: int
    token: str
    decides: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """A useful node: its row and position, the lines of text in its cell, and a share or a category for the colour."""

    row: str
    position: int
    lines: tuple[str, ...]
    tone: Tone


@dataclass(frozen=True, kw_only=True, slots=True)
class QuantaMap:
    """Rows in order of layer and head with the MLP last, columns in the order of the text, and cells.

    ``categories`` names those that a cell may have; it is empty where colours are shares.
    """

    by: str
    title: str
    tells: str
    rows: tuple[str, ...]
    columns: tuple[Column, ...]
    cells: tuple[Cell, ...]
    categories: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Aspect:
    """One thing to be said about nodes: how it is found, and in words."""

    title: str
    tells: str
    find: Callable[[Mapping[str, Any], Mapping[str, Any]], Finding]  # from the search and the node's entry
    categories: tuple[str, ...] = ()


FAMILIES = {
    "digit of the column": ("SA", "MD", "ND", "CA"),
    "carry of the column": ("SC", "SS", "MB", "NB"),
    "state (0, 1, U)": ("ST", "MT", "NT", "CT"),
    "resolved carry": ("SV", "MV", "NV", "CV"),
    "sign and operation": ("OP", "OPR", "SGN", "SLT", "OUT", "IN", "NEG"),
}
OTHER, SEVERAL, NONE_FOUND = "another variable", "several kinds", "no variable found"
CLASSES = ("no carry (0)", "one column (1)", "two columns (2)", "three or more (3…)")
SUMS, DIFFERENCES, BOTH, NEITHER = "addition only", "subtraction only", "both", "none alone"


def quanta_map(search: Mapping[str, Any], by: str) -> QuantaMap:
    """The map of a search, with cells that say one aspect: a key of ``ASPECTS``.

    Raises ``ValueError`` for another aspect, and for nodes outside the model's text.
    """
    if by not in ASPECTS:
        raise unknown("by", by, ASPECTS)
    aspect, digits = ASPECTS[by], search["model"]["digits"]
    found: dict[Node, Cell] = {}
    for node, entry in sorted({**useful_nodes(search), **(streams(search) if by == "variables" else {})}.items()):
        finding = aspect.find(search, entry)
        if finding is not None:
            lines, tone = finding
            found[node] = Cell(row=row_of(node), position=node.position, lines=lines, tone=tone)
    rows = dict.fromkeys(row_of(node) for node in sorted(found, key=lambda each: (each.layer, each.kind, each.index)))
    return QuantaMap(
        by=by,
        title=aspect.title,
        tells=aspect.tells,
        rows=tuple(rows),
        columns=columns_of(digits, {node.position for node in found}),
        cells=tuple(found.values()),
        categories=aspect.categories,
    )


def useful_nodes(search: Mapping[str, Any]) -> dict[Node, Mapping[str, Any]]:
    """The useful heads and MLPs of a search in order, and what is known of each.

    Neurons are left out: they are parts of an MLP. Raises ``ValueError`` for nodes outside the model's text.
    """
    digits, named = search["model"]["digits"], search["nodes"]
    found = {node: named[str(node)] for node in sorted(map(parse, named)) if node.kind in (HEAD, MLP)}
    for node in found:
        if node.position >= context(digits) - 1:
            raise bad("node", str(node), f"positions 0 to {context(digits) - 2}, what a model of {digits} digits reads")
    return found


def streams(search: Mapping[str, Any]) -> dict[Node, Mapping[str, Any]]:
    """The residual streams that carry variables, which are no nodes of a search, with the names of the variables."""
    found: dict[Node, list[str]] = {}
    for name, assigned in search.get("variables", {}).items():
        for node in map(parse, assigned["nodes"]):
            if node.kind == RESIDUAL:
                known = found.setdefault(node, [])
                known += [each for each in single(name) if each not in known]
    return {node: {"variables": names} for node, names in found.items()}


def single(names: str) -> list[str]:
    """The variables of a group that moves together.

    >>> single("A0.SA, A0.ST"), single("OPR")
    (['A0.SA', 'A0.ST'], ['OPR'])
    """
    return names.split(", ")


def row_of(node: Node) -> str:
    """The row of a node: ``L0 H2``, ``L0 MLP``, or ``L0 stream`` for the residual stream after the layer."""
    words = {MLP: "MLP", RESIDUAL: "stream"}
    return f"L{node.layer} {words.get(node.kind, f'{node.kind}{node.index}')}"


def columns_of(digits: int, positions: set[int]) -> tuple[Column, ...]:
    """Some positions of the text, in order, with what they mean."""
    tokens, outputs = read(digits), decided(digits)
    return tuple(Column(position=each, token=tokens[each], decides=outputs.get(each, "")) for each in sorted(positions))


def family(variable: str) -> str:
    """The family of a variable.

    >>> family("A3.MT"), family("SGN"), family("A3")
    ('state (0, 1, U)', 'sign and operation', 'another variable')
    """
    return next((name for name, kinds in FAMILIES.items() if kind_of(variable) in kinds), OTHER)


def carried(entry: Mapping[str, Any]) -> list[str]:
    """The variables that a node carries, alone or in groups that move together, each once.

    >>> carried({"variables": ["A0.SA, A0.ST", "A0.SA"]})
    ['A0.SA', 'A0.ST']
    """
    return list(dict.fromkeys(name for group in entry.get("variables", ()) for name in single(group)))


def served(search: Mapping[str, Any], entry: Mapping[str, Any]) -> tuple[str, ...]:
    """The behaviours of which a node breaks more than the floor of the search, with its whole interval."""
    floor, of = search["settings"].get("floor", 0.0), entry.get("behaviours", {})
    return tuple(name for name in SERVES if name in of and of[name]["low"] > floor)


def simplest(entry: Mapping[str, Any]) -> tuple[str, ...]:
    """The lowest class of each letter that the node breaks, with its whole interval above 0."""
    broken = [name for name, share in entry["impact"].get("classes", {}).items() if share["low"] > 0]
    lowest: dict[str, int] = {}
    for name in broken:
        lowest[name[0]] = min(int(name[1:]), lowest.get(name[0], int(name[1:])))
    return tuple(f"{letter}{lowest[letter]}" for letter in SERVES.values() if letter in lowest)


def attended(digits: int, entry: Mapping[str, Any]) -> tuple[tuple[str, float], ...]:
    """The tokens that a head attends to by at least ``ATTENDED`` on average, most attended first, and their shares."""
    tokens = read(digits)
    keys = sorted(entry.get("attention", ()), key=lambda each: -each["mean"])
    return tuple((tokens[each["key"]], each["mean"]) for each in keys if each["mean"] >= ATTENDED)


def _impact(search: Mapping[str, Any], entry: Mapping[str, Any]) -> Finding:
    share = entry["impact"]["whole"]["value"]
    return (f"{100 * share:.0f}" if share >= 0.005 else "<1",), share


def _variables(search: Mapping[str, Any], entry: Mapping[str, Any]) -> Finding:
    names = carried(entry)
    if not names:
        return (UNKNOWN,), NONE_FOUND
    kinds, columns = {family(name) for name in names}, {name.partition(".")[0] for name in names}
    tone = kinds.pop() if len(kinds) == 1 else SEVERAL
    if len(names) <= LINES_AT_MOST or len(columns) > 1:
        return _shortened(names), tone
    first, *rest = (name.partition(".")[2] for name in names)
    return (*columns, f"{first} {rest[0]}", " ".join(rest[1:]) if len(rest) < 4 else f"+{len(rest) - 1}"), tone


def _complexity(search: Mapping[str, Any], entry: Mapping[str, Any]) -> Finding:
    names = simplest(entry)
    if not names:
        return None
    return names, CLASSES[min(*(int(name[1:]) for name in names), len(CLASSES) - 1)]


def _attention(search: Mapping[str, Any], entry: Mapping[str, Any]) -> Finding:
    if not entry.get("attention"):
        return None
    keys = attended(search["model"]["digits"], entry)
    return (_shortened([name for name, _ in keys]), keys[0][1]) if keys else ((UNKNOWN,), 0.0)


def _behaviour(search: Mapping[str, Any], entry: Mapping[str, Any]) -> Finding:
    names = served(search, entry)
    letters = "".join(SERVES[name] for name in names)
    if not names:
        return (UNKNOWN,), NEITHER
    return (letters,), BOTH if "add" in names and len(names) > 1 else SUMS if "add" in names else DIFFERENCES


def _shortened(names: list[str]) -> tuple[str, ...]:
    if len(names) <= LINES_AT_MOST:
        return tuple(names)
    return (*names[: LINES_AT_MOST - 1], f"+{len(names) - LINES_AT_MOST + 1}")


ASPECTS = {
    "impact": Aspect(
        title="Impact",
        tells="the share of right answers, in %, that become wrong when the node is ablated",
        find=_impact,
    ),
    "variables": Aspect(
        title="Variables",
        tells="the variables of the algorithm whose swap at the node changes the answer as it must",
        find=_variables,
        categories=(*FAMILIES, OTHER, SEVERAL, NONE_FOUND),
    ),
    "complexity": Aspect(
        title="Complexity",
        tells="the lowest class of each kind of problem that breaks: S sums, M differences from 0 up, N below 0; the "
        "number is the longest cascade of carries or borrows",
        find=_complexity,
        categories=CLASSES,
    ),
    "attention": Aspect(
        title="Attention",
        tells="the tokens that a head gives at least a tenth of its attention to, most attended first; the colour is "
        "the share of the first",
        find=_attention,
    ),
    "behaviour": Aspect(
        title="Behaviours",
        tells="what the node serves: S sums, M differences from 0 up, N differences below 0",
        find=_behaviour,
        categories=(SUMS, DIFFERENCES, BOTH, NEITHER),
    ),
}
