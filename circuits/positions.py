"""The table of positions as data: for each useful one what is read and decided there, and what its nodes do.

A line holds the impact of the position as a whole, its useful nodes, the variables that they carry and what their heads
look at, all in the words of the text, so that lines of models of different sizes can be laid beside each other.

>>> share = {"value": 0.4, "low": 0.3, "high": 0.5}
>>> looks = [{"key": 4, "mean": 0.9, "low": 0.8, "high": 1.0}]
>>> search = {"model": {"digits": 2}, "positions": {"7": {"whole": share}}, "nodes": {
...     "P7L1H1": {"impact": {"whole": share}, "variables": ["A0.SV"], "attention": looks}}}
>>> (line,) = position_table(search)
>>> line.read, line.decides, line.variables, line.nodes
('A2', 'A1', ('A0.SV',), (Found(row='L1 H1', impact=0.4, attends=(("D'0", 0.9),), variables=('A0.SV',)),))
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from carryproof.circuits.maps import attended, carried, columns_of, row_of, useful_nodes


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A useful node of a position: its impact, the tokens that it attends to with their mean shares, its variables."""

    row: str
    impact: float
    attends: tuple[tuple[str, float], ...]
    variables: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A useful position. ``impact`` is that of all its heads and MLPs together, with its interval as in the search."""

    position: int
    read: str
    decides: str
    impact: Mapping[str, float]
    nodes: tuple[Found, ...]
    variables: tuple[str, ...]


def position_table(search: Mapping[str, Any]) -> tuple[Line, ...]:
    """The useful positions of a search, in the order of the text."""
    digits, lines = search["model"]["digits"], []
    at = {int(index): impact for index, impact in search["positions"].items()}
    nodes = useful_nodes(search)
    for column in columns_of(digits, set(at)):
        found = []
        for node, entry in nodes.items():
            if node.position == column.position:
                found.append(
                    Found(
                        row=row_of(node),
                        impact=entry["impact"]["whole"]["value"],
                        attends=attended(digits, entry),
                        variables=tuple(carried(entry)),
                    )
                )
        lines.append(
            Line(
                position=column.position,
                read=column.token,
                decides=column.decides,
                impact=at[column.position]["whole"],
                nodes=tuple(found),
                variables=tuple(dict.fromkeys(name for node in found for name in node.variables)),
            )
        )
    return tuple(lines)
