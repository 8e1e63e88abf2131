"""The figure of a bench: how many times as fast each thing is, with its range, its goal and its floor.

Every comparison is a line on one logarithmic axis: a point at the median of the rounds, a bar from the smallest to the
largest. Filled points are held to a goal (a green mark) and a floor (a red one); hollow ones are shown for comparison.
"""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from carryproof.benchmarks.drawing import GREY, INK, PAGE_INCHES, Drawn, save, style
from carryproof.benchmarks.scores import Report, Row

LINE_INCHES = 0.17
GAP = 0.6  # empty lines between sections
TICKS = (0.5, 1, 2, 4, 10, 20, 40, 100, 400, 1_000, 4_000, 20_000)
TITLES = {
    "training": "training step",
    "evaluation": "exact match",
    "data": "drawing and writing",
    "seeds": "eight seeds",
    "accuracy": "time to accuracy",
}


def draw_bench(report: Report, folder: Path) -> Drawn:
    """Draw the ratios of a report as PNG, SVG and PDF."""
    rows = [row for row in report.rows if row.unit == "times"]
    sections = [list(group) for _, group in groupby(rows, key=lambda row: row.section)]
    lines = len(rows) + GAP * len(sections)
    with style():
        figure = Figure(figsize=(PAGE_INCHES, 1.1 + LINE_INCHES * lines), layout="constrained")
        axes = figure.subplots()
        _draw(axes, sections)
        sns.despine(fig=figure)
        figure.legend(handles=_handles(), loc="outside lower center", ncols=5)
        machine = report.machine
        figure.suptitle(f"Times as fast, on {machine['cores']} cores of {machine['processor']}", fontsize=8.5)
        return save(
            figure,
            folder,
            Drawn(
                name="bench",
                title="Speed side by side",
                caption="How many times as fast ours is, by median and range over interleaved rounds; the baseline and "
                "the peers compute in float32.",
                alternative="Ratios of speed with ranges, goals and floors; the numbers are in bench.json.",
                width_inches=PAGE_INCHES,
            ),
        )


def _draw(axes: Axes, sections: Sequence[Sequence[Row]]) -> None:
    palette = sns.color_palette("colorblind")
    place, places, labels = 0.0, [], []
    for number, rows in enumerate(sections):
        colour = palette[number % len(palette)]
        for row in rows:
            held = row.target is not None and not row.waived
            axes.plot([row.low, row.high], [place, place], color=colour, lw=1.2, zorder=2, solid_capstyle="butt")
            face = colour if held else "white"
            axes.plot(row.median, place, marker="o", color=colour, markerfacecolor=face, zorder=3)
            axes.annotate(
                f"{row.median:,.0f}×" if row.median >= 100 else f"{row.median:.3g}×",
                (1, place),
                xycoords=("axes fraction", "data"),
                ha="right",
                va="center",
                fontsize=6,
                color=INK,
            )
            if row.target is not None:
                axes.plot(row.target.goal, place, marker="|", markersize=8, markeredgewidth=1.4, color=palette[2])
                axes.plot(row.target.floor, place, marker="|", markersize=8, markeredgewidth=1.4, color=palette[3])
            places.append(place)
            labels.append(f"{TITLES[row.section]}, {row.name}, to {row.against}")
            place += 1
        place += GAP
    axes.set_yticks(places, labels=labels)
    axes.set_ylim(place - GAP - 0.4, -0.6)
    axes.axvline(1, color=GREY, lw=0.6, zorder=1)
    axes.set_xscale("log")
    left, right = axes.get_xlim()
    left, right = min(left, 0.8), right * (right / left) ** 0.12  # room for the numbers
    axes.set_xlim(left, right)
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in TICKS if left <= tick <= right]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))


def _handles() -> list[Line2D]:
    goal, floor = (sns.color_palette("colorblind")[index] for index in (2, 3))
    return [
        Line2D([], [], color=INK, marker="o", lw=1.2, label="median and range"),
        Line2D([], [], color=INK, marker="o", lw=0, markerfacecolor="white", label="not held to a floor"),
        Line2D([], [], color=goal, marker="|", lw=0, markersize=8, markeredgewidth=1.4, label="goal"),
        Line2D([], [], color=floor, marker="|", lw=0, markersize=8, markeredgewidth=1.4, label="floor"),
    ]
