"""The quanta map as a figure: a rectangle for every useful node, with what is known about it as text and colour.

Cells have one size whatever the model, so a long text gives a wide figure and not small print. The colour repeats what
the text says, in shades of one hue for shares and in the colour-blind-safe palette, lightened, for categories.
"""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import PercentFormatter

from carryproof.benchmarks.drawing import GREY, INK, Drawn, save, style
from carryproof.circuits.maps import CLASSES, NEITHER, NONE_FOUND, Cell, QuantaMap, quanta_map

CELL_INCHES = 0.37
LINE_INCHES = 0.105
TEXT_POINTS = 6.0
WIDTH_AT_LEAST = 4.2
NAMELESS = "0.93"  # where nothing was found
Colour = tuple[float, float, float]


def draw_map(search: Mapping[str, Any], by: str, folder: Path) -> Drawn | None:
    """Draw the map of a search as ``map-BY`` in PNG, SVG and PDF; None, and no file, if it has no cell.

    Raises ``ValueError`` as ``quanta_map``.
    """
    quanta = quanta_map(search, by)
    if not quanta.cells:
        return None
    name = search["model"]["name"]
    height = (0.06 + LINE_INCHES * max(2, *(len(cell.lines) for cell in quanta.cells))) * len(quanta.rows)
    width = max(WIDTH_AT_LEAST, 0.75 + CELL_INCHES * len(quanta.columns))
    with style():
        figure = Figure(figsize=(width, height + 1.25), layout="constrained")
        axes = figure.subplots()
        cmap = shades()
        for cell in quanta.cells:
            _draw_cell(axes, quanta, cell, _colour(quanta, cell, cmap))
        label_columns(axes, quanta)
        if quanta.categories:
            _legend(figure, quanta, width)
        else:
            bar = figure.colorbar(ScalarMappable(Normalize(0, 1), cmap), ax=axes, aspect=30, pad=0.01, shrink=0.8)
            bar.ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
            bar.outline.set_linewidth(0.4)
        figure.suptitle(f"{name}: {quanta.title.lower()} of useful nodes", fontsize=8.5)
        return save(
            figure,
            folder,
            Drawn(
                name=f"map-{by}",
                title=f"{quanta.title} of useful nodes",
                caption=f"Rows are heads and MLPs by layer, columns token positions: above the token that is read, "
                f"below its number and, after an arrow, what is decided there. A cell says {quanta.tells}.",
                alternative=f"Map of {len(quanta.cells)} useful nodes by {by}; the same is in the table of positions.",
                width_inches=width,
            ),
        )


def shades() -> Colormap:
    """From nearly white to dark blue: the colours of shares."""
    return sns.light_palette(sns.color_palette("colorblind")[0], as_cmap=True)


def lightened(colour: Colour, by: float = 0.5) -> Colour:
    """The colour mixed with white, so that dark text on it can be read."""
    red, green, blue = (channel + by * (1 - channel) for channel in colour)
    return red, green, blue


def ink_on(colour: Colour) -> str:
    """Black or white, whichever can be read on a colour."""
    red, green, blue = colour
    return "white" if 0.3 * red + 0.59 * green + 0.11 * blue < 0.5 else INK


def _colour(quanta: QuantaMap, cell: Cell, cmap: Colormap) -> Colour:
    if isinstance(cell.tone, float):
        red, green, blue, _ = cmap(cell.tone)
        return red, green, blue
    return category_colours(quanta.categories)[cell.tone]


def category_colours(names: tuple[str, ...]) -> dict[str, Colour]:
    """A colour for each category: shades for classes, which are in order; grey where nothing was found."""
    if names == CLASSES:
        return {name: shades()(0.12 + 0.28 * index)[:3] for index, name in enumerate(names)}
    palette = sns.color_palette("colorblind")
    colours = {name: lightened(palette[index % len(palette)]) for index, name in enumerate(names)}
    return colours | {name: to_rgb(NAMELESS) for name in names if name in (NEITHER, NONE_FOUND)}


def _draw_cell(axes: Axes, quanta: QuantaMap, cell: Cell, colour: Colour) -> None:
    column = [each.position for each in quanta.columns].index(cell.position)
    row = quanta.rows.index(cell.row)
    axes.add_patch(Rectangle((column - 0.47, row - 0.44), 0.94, 0.88, facecolor=colour, edgecolor=GREY, linewidth=0.3))
    axes.text(
        column,
        row,
        "\n".join(cell.lines),
        ha="center",
        va="center",
        fontsize=TEXT_POINTS,
        linespacing=1.05,
        color=ink_on(colour),
    )


def label_columns(axes: Axes, quanta: QuantaMap) -> None:
    """Tokens above, positions and what is decided below, rows at the left with a line between layers."""
    columns = quanta.columns
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_ylim(len(quanta.rows) - 0.5, -0.5)
    axes.set_yticks(range(len(quanta.rows)), labels=quanta.rows)
    below = [f"{each.position}\n→{each.decides}" if each.decides else str(each.position) for each in columns]
    axes.set_xticks(range(len(columns)), labels=below)
    above = axes.secondary_xaxis("top")
    above.set_xticks(range(len(columns)), labels=[each.token for each in columns])
    for each in (axes, above):
        each.tick_params(length=0)
        for spine in each.spines.values():
            spine.set_visible(False)
    above.tick_params(labelsize=7)
    for index, (first, second) in enumerate(pairwise(quanta.rows)):
        if first.split()[0] != second.split()[0]:
            axes.axhline(index + 0.5, color=INK, linewidth=0.6)
    for index, (left, right) in enumerate(pairwise(columns)):
        if right.position != left.position + 1:  # positions between them are of no use
            axes.axvline(index + 0.5, color=GREY, linewidth=0.4, linestyle=":")


def _legend(figure: Figure, quanta: QuantaMap, width: float) -> None:
    colours, used = category_colours(quanta.categories), {cell.tone for cell in quanta.cells}
    handles = [
        Patch(facecolor=colours[name], edgecolor=GREY, linewidth=0.3, label=name)
        for name in quanta.categories
        if name in used
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=max(1, min(len(handles), int(width / 1.4))))
