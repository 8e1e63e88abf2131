"""The circuit as a graph: useful nodes where the quanta map has them, and who reads whom as arrows between them.

Arrows lead from a node to an input of a later one: what a head asks (q), is found by (k) and gives (v), or what an MLP
takes in; several inputs of one pair of nodes are one arrow, drawn as the strongest. Its width is the share of right
answers that the edge breaks alone; where there are very many, only the strongest are drawn, and the caption says so.

>>> search = {"edges": [{"edge": "P3L0M -> P7L1H1.k", "impact": 0.2}, {"edge": "P3L0M -> P7L1H1.v", "impact": 0.5}]}
>>> [(str(arrow.sender), str(arrow.receiver), arrow.input, arrow.impact) for arrow in arrows(search)]
[('P3L0M', 'P7L1H1', 'v', 0.5)]
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, Rectangle

from carryproof.benchmarks.drawing import GREY, INK, Drawn, save, style
from carryproof.circuits.map_figure import TEXT_POINTS, WIDTH_AT_LEAST, category_colours, label_columns
from carryproof.circuits.maps import NONE_FOUND, QuantaMap, quanta_map, row_of
from carryproof.circuits.nodes import Node, parse

COLUMN_INCHES, ROW_INCHES = 0.52, 0.6
BOX_WIDTH, BOX_HEIGHT = 0.72, 0.5  # of a column and a row
ARROWS_AT_MOST = 120
WORDS = {"q": "query", "k": "key", "v": "value", "in": "into an MLP"}
DASHES = {"q": (1, 1), "k": (4, 1.5), "v": (), "in": (4, 1, 1, 1)}  # in widths of the line


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrow:
    """The strongest edge between two nodes, and the share of right answers that it breaks."""

    sender: Node
    receiver: Node
    input: str
    impact: float


def arrows(search: Mapping[str, Any]) -> tuple[Arrow, ...]:
    """The edges of a search, the strongest of each pair of nodes, strongest first."""
    found: dict[tuple[Node, Node], Arrow] = {}
    for edge in sorted(search.get("edges", ()), key=lambda each: -each["impact"]):
        sender, _, receives = edge["edge"].partition(" -> ")
        receiver, _, entry = receives.partition(".")
        arrow = Arrow(sender=parse(sender), receiver=parse(receiver), input=entry or "in", impact=edge["impact"])
        found.setdefault((arrow.sender, arrow.receiver), arrow)
    return tuple(found.values())


def draw_circuit(search: Mapping[str, Any], folder: Path) -> Drawn | None:
    """Draw the useful nodes and edges of a search as ``circuit`` in PNG, SVG and PDF; None if there is no edge."""
    quanta, every = quanta_map(search, "variables"), arrows(search)
    places = {(cell.position, cell.row) for cell in quanta.cells}
    every = tuple(each for each in every if {_place(each.sender), _place(each.receiver)} <= places)
    if not every:
        return None
    shown, count = every[:ARROWS_AT_MOST], len(every)
    width = max(WIDTH_AT_LEAST, 0.75 + COLUMN_INCHES * len(quanta.columns))
    with style():
        figure = Figure(figsize=(width, ROW_INCHES * len(quanta.rows) + 1.2), layout="constrained")
        axes = figure.subplots()
        _draw(axes, quanta, shown)
        label_columns(axes, quanta)
        figure.legend(handles=_handles(), loc="outside lower center", ncols=4)
        figure.suptitle(f"{search['model']['name']}: who reads whom", fontsize=8.5)
        left_out = f" The {len(shown)} strongest of {count} are drawn." if len(shown) < count else ""
        return save(
            figure,
            folder,
            Drawn(
                name="circuit",
                title="The circuit",
                caption="Useful nodes by layer (rows) and token position (columns), with the variables that they "
                "carry, and the edges between them: an arrow is as wide as the share of right answers that break when "
                f"the reader alone is given something else from the writer.{left_out}",
                alternative=f"Graph of {len(quanta.cells)} nodes and {count} edges; the edges are in search.json.",
                width_inches=width,
            ),
        )


def _place(node: Node) -> tuple[int, str]:
    return node.position, row_of(node)


def _draw(axes: Axes, quanta: QuantaMap, shown: tuple[Arrow, ...]) -> None:
    columns = {column.position: index for index, column in enumerate(quanta.columns)}
    rows = {row: index for index, row in enumerate(quanta.rows)}
    colours = input_colours()
    for arrow in reversed(shown):  # the strongest on top
        start, end = arrow.sender, arrow.receiver
        x, y = (columns[each.position] for each in (start, end)), (rows[row_of(each)] for each in (start, end))
        (left, right), (upper, lower) = x, y
        axes.add_patch(
            FancyArrowPatch(
                (left, upper + BOX_HEIGHT / 2),
                (right, lower - BOX_HEIGHT / 2),
                arrowstyle="-|>,head_length=2.4,head_width=1.2",
                connectionstyle=f"arc3,rad={0.28 if left == right and lower - upper > 1 else 0.06}",
                linestyle=(0, DASHES[arrow.input] or None),
                linewidth=0.4 + 2.0 * arrow.impact,
                color=colours[arrow.input],
                alpha=0.8,
                shrinkA=0,
                shrinkB=0,
                mutation_scale=1.6,
                zorder=2,
            )
        )
    tones = category_colours(quanta.categories)
    for cell in quanta.cells:
        column, row = columns[cell.position], rows[cell.row]
        axes.add_patch(
            Rectangle(
                (column - BOX_WIDTH / 2, row - BOX_HEIGHT / 2),
                BOX_WIDTH,
                BOX_HEIGHT,
                facecolor=tones[str(cell.tone)],
                edgecolor=GREY,
                linewidth=0.4,
                zorder=3,
            )
        )
        if cell.tone != NONE_FOUND:
            text, size = "\n".join(cell.lines), TEXT_POINTS - 0.5
            axes.text(column, row, text, ha="center", va="center", fontsize=size, color=INK, linespacing=1, zorder=4)


def input_colours() -> dict[str, tuple[float, float, float]]:
    """A colour for each input of a node."""
    palette = sns.color_palette("colorblind")
    return {"q": palette[2], "k": palette[1], "v": palette[0], "in": (0.35, 0.35, 0.35)}


def _handles() -> list[Line2D]:
    colours = input_colours()
    return [
        Line2D([], [], color=colours[name], dashes=DASHES[name], linewidth=1.2, label=word)
        for name, word in WORDS.items()
    ]
