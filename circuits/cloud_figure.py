"""The figure of tri-state clouds: a panel for each variable, a mark for each problem, coloured and shaped by state.

Axes are the two principal ones of the node's output, without units; the panel says how much of the variance they show
and how well the states can be told apart there.
"""

from collections.abc import Sequence
from pathlib import Path

import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from carryproof.benchmarks.drawing import PANELS_PER_ROW, Drawn, grid, panel_width, save, style
from carryproof.circuits.algorithms import DOMAIN
from carryproof.circuits.clouds import MarkedCloud

POINTS_AT_MOST = 4_000  # of all panels
MARKERS = dict(zip(DOMAIN, "o^s", strict=True))
WORDS = {"0": "0: nothing goes up", "1": "1: carries or borrows", "U": "U: passes on what comes from below"}


def draw_clouds(clouds: Sequence[MarkedCloud], folder: Path) -> Drawn | None:
    """Draw clouds as ``clouds`` in PNG, SVG and PDF; None if there are none."""
    if not clouds:
        return None
    columns = min(PANELS_PER_ROW, len(clouds))
    rows = -(-len(clouds) // columns)
    with style():
        figure, axes = grid(rows, columns, row_inches=1.6)
        for index in range(rows * columns):
            panel = axes[index // columns][index % columns]
            if index < len(clouds):
                _draw(panel, clouds[index], POINTS_AT_MOST // len(clouds))
            else:
                panel.set_axis_off()
        colours = sns.color_palette("colorblind")
        handles = [
            Line2D([], [], color=colours[number], marker=MARKERS[state], linewidth=0, label=WORDS[state])
            for number, state in enumerate(DOMAIN)
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=3 if columns > 2 else 1)
        return save(
            figure,
            folder,
            Drawn(
                name="clouds",
                title="States of columns in the outputs of nodes",
                caption="Every mark is a problem, placed by a node's output on its first two principal axes; below, "
                "the share of its variance that these show, and the share of problems that lie nearest to the mean of "
                "their own state, each state counting alike. What can be seen here can be read from the node; that it "
                "is read is shown by interchange alone.",
                alternative=f"Principal components of {len(clouds)} nodes with problems marked by state.",
                width_inches=panel_width(columns),
            ),
        )


def _draw(axes: Axes, marked: MarkedCloud, points_at_most: int) -> None:
    points = marked.cloud.points[:points_at_most].numpy()
    colours = sns.color_palette("colorblind")
    for number, state in enumerate(DOMAIN):
        chosen = [index for index, value in enumerate(marked.values[: len(points)]) if value == state]
        axes.plot(
            points[chosen, 0],
            points[chosen, 1],
            linewidth=0,
            marker=MARKERS[state],
            markersize=2.2,
            color=colours[number],
            markeredgewidth=0,
            alpha=0.75,
        )
    axes.set_xticks([])
    axes.set_yticks([])
    axes.margins(0.08)
    axes.set_title(f"{marked.variable} at {marked.node}")
    axes.set_xlabel(f"{100 * sum(marked.cloud.explained):.0f}% shown, {100 * marked.apart:.0f}% apart")
