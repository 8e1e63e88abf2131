"""One panel: what was predicted and what every seed did, over test length.

The prediction is black: solid where the theory names the accuracy (excluded, forced), dashed at 100 % where it only
permits it. Seeds are coloured points with Clopper-Pearson intervals, hollow where the seed missed the in-range
threshold, so that the prediction does not speak of it.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from carryproof.benchmarks.compare import Comparison, SeedResult
from carryproof.benchmarks.drawing import GREY, INK, SHADE, SeedStyle, length_axis, percent_axis, shade_trained
from carryproof.benchmarks.statistics import Interval, interval

OUTCOME_MARKS = {"confirmed": "✓", "refuted": "✗", "not testable": "·"}
OUTCOME_INK = {"confirmed": "#00664b", "refuted": "#b03a00", "not testable": GREY}
Styles = Mapping[int, SeedStyle]
DASHES = (0, (2.2, 1.4))
SPREAD = 0.45  # how far apart the seeds of one length are drawn, of the distance between lengths

bounds: Callable[[int, int], Interval] = lru_cache(maxsize=None)(interval)


def correct_of(seed: SeedResult) -> int:
    """How many answers are right."""
    return seed.correct


def agree_of(seed: SeedResult) -> int:
    """How many answers are the surrogate's."""
    return seed.agree


def offsets(seeds: Iterable[int]) -> dict[int, float]:
    """Where each seed stands around its length, so that equal values do not hide each other."""
    names = sorted(set(seeds))
    return {seed: SPREAD * ((index + 0.5) / len(names) - 0.5) for index, seed in enumerate(names)}


def draw_seeds(axes: Axes, cells: Sequence[Comparison], count: Callable[[SeedResult], int], styles: Styles) -> None:
    """Every seed at every length: point, interval, and a thin line that joins a seed's points."""
    shift = offsets(styles)
    for seed, look in styles.items():
        points = [
            (cell.cell["test_digits"] + shift[seed], each) for cell in cells for each in cell.seeds if each.seed == seed
        ]
        if not points:
            continue
        places = [place for place, _ in points]
        shares = [count(each) / each.problems for _, each in points]
        spans = [bounds(count(each), each.problems) for _, each in points]
        axes.vlines(
            places, [span.low for span in spans], [span.high for span in spans], color=look.colour, lw=0.8, zorder=3
        )
        axes.plot(
            places,
            shares,
            color=(*look.colour, 0.6),
            lw=0.5,
            marker=look.marker,
            markeredgewidth=0.7,
            markeredgecolor=look.colour,
            markerfacecolor=look.colour if points[0][1].eligible else "white",  # a run is eligible as a whole
            zorder=4,
        )


def draw_prediction(axes: Axes, cells: Sequence[Comparison]) -> None:
    """The predicted accuracy of each cell, as a step as wide as its length; none in range or where theory is silent."""
    for dashes, verdicts in (("solid", ("excluded", "forced")), (DASHES, ("permitted",))):
        steps = [
            (cell.cell["test_digits"], cell.cell["accuracy_float"])
            for cell in cells
            if cell.cell["verdict"] in verdicts and cell.cell["accuracy_float"] is not None
        ]
        places = [edge for length, _ in steps for edge in (length - 0.46, length + 0.46, math.nan)]
        values = [edge for _, value in steps for edge in (value, value, math.nan)]
        axes.plot(places, values, color=INK, lw=1.3, linestyle=dashes, zorder=2, clip_on=False)


def draw_outcomes(axes: Axes, cells: Iterable[Comparison]) -> None:
    """A mark above each tested length: confirmed or refuted."""
    for cell in cells:
        if cell.outcome == "not testable":
            continue
        axes.text(
            cell.cell["test_digits"],
            1.1,
            OUTCOME_MARKS[cell.outcome],
            ha="center",
            va="center",
            fontsize=7,
            color=OUTCOME_INK[cell.outcome],
        )


def draw_panel(
    axes: Axes,
    cells: Sequence[Comparison],
    trained: Iterable[int],
    styles: Styles,
    *,
    count: Callable[[SeedResult], int] = correct_of,
    labels: bool = True,
) -> None:
    """Prediction and seeds over test length; for the agreement with the surrogate, seeds only."""
    percent_axis(axes, labels=labels)
    length_axis(axes, (cell.cell["test_digits"] for cell in cells))
    shade_trained(axes, trained)
    if count is correct_of:
        draw_prediction(axes, cells)
        draw_outcomes(axes, cells)
    beyond = [cell for cell in cells if cell.cell["verdict"] != "in-range"]
    if not any(cell.seeds for cell in cells):
        note(axes, "no finished run")
    elif count is correct_of and beyond and all(cell.cell["verdict"] == "silent" for cell in beyond):
        note(axes, "theory silent", height=0.5)
    draw_seeds(axes, cells, count, styles)


def note(axes: Axes, text: str, height: float = 0.5) -> None:
    """A grey remark in the middle of a panel."""
    axes.text(0.96, height, text, transform=axes.transAxes, ha="right", va="center", fontsize=6.5, color=GREY)


def seed_handles(styles: Styles) -> list[Artist]:
    """Legend entries of the seeds."""
    return [
        Line2D([], [], color=look.colour, marker=look.marker, lw=0.5, label=f"seed {seed}")
        for seed, look in styles.items()
    ]


def hollow_handles(cells: Iterable[Comparison]) -> list[Artist]:
    """The legend entry of seeds that are not right in range, if there are any."""
    if all(seed.eligible for cell in cells for seed in cell.seeds):
        return []
    marker = Line2D(
        [], [], linestyle="none", marker="o", color=INK, markerfacecolor="white", label="not right in range"
    )
    return [marker]


def legend_handles(styles: Styles, cells: Sequence[Comparison]) -> list[Artist]:
    """Legend entries of the seeds and of whatever else these cells make appear."""
    handles = [*seed_handles(styles), *hollow_handles(cells)]
    verdicts = {cell.cell["verdict"] for cell in cells if cell.cell["accuracy"] is not None}
    if verdicts & {"excluded", "forced"}:
        handles.append(Line2D([], [], color=INK, lw=1.3, label="predicted"))
    if "permitted" in verdicts:
        handles.append(Line2D([], [], color=INK, lw=1.3, linestyle=DASHES, label="permitted, not promised"))
    handles.append(Patch(color=SHADE, label="trained"))
    return handles
