"""The closing figure: what theory excludes, permits and forces, over lengths from one digit to the longest measured.

Above, accuracy over length on a logarithmic axis: exact fractions and measured means where theory excludes, means and
spans where it only permits, and certified runs, whose line runs to the right edge because no length ends it. Below, if
decimal addition is among them, the ranges that other methods report (``literature.REACHES``), with what each is told.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from textwrap import fill
from typing import Any

import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from carryproof.benchmarks.certified import JudgedScript
from carryproof.benchmarks.compare import Comparison
from carryproof.benchmarks.curves import DASHES
from carryproof.benchmarks.drawing import GREY, INK, PAGE_INCHES, Drawn, percent_axis, save
from carryproof.benchmarks.literature import REACHES
from carryproof.benchmarks.sections import Section, cut, digits
from carryproof.theory.ranges import parse_lengths

TEXT = 7  # points, and nothing is smaller
EXCLUDED, PERMITTED, FORCED = "#b03a00", "#0072b2", "#00664b"
LIGHT = {INK: "0.8", FORCED: "#a9d8c4"}
CURVES_INCHES, BAR_INCHES, LEGEND_INCHES = 2.5, 0.27, 0.9
_EXACT: dict[str, Any] = {"color": INK, "lw": 1.6}
_EXCLUDED: dict[str, Any] = {"color": EXCLUDED, "lw": 0.7, "marker": "v", "markersize": 4, "markerfacecolor": "white"}
_PERMITTED: dict[str, Any] = {"color": PERMITTED, "lw": 0.8, "linestyle": DASHES, "marker": ".", "markersize": 5}
_LOOKS = (
    ("excluded", "excluded: the exact fraction", _EXACT),
    ("excluded", "excluded: mean of the seeds", _EXCLUDED),
    ("permitted", "permitted, not promised: mean and span of the seeds", _PERMITTED),
)
_OUTSIDE: dict[str, Any] = {"color": GREY, "lw": 0.8, "linestyle": ":", "marker": "x"}
_RINGS = (("o", 3.2, FORCED), ("D", 6.4, "white"), ("s", 9.0, "white"))  # nested, so that equal points show each other
DECIMAL_ADDITION = {"name": "addition", "operands": 2, "base": 10, "modulus": None}


def closing(sections: Sequence[Section], scripts: Sequence[JudgedScript], folder: Path) -> Drawn | None:
    """Draw the figure of a study with script runs; None for one without."""
    if not any(script.lengths for script in scripts):
        return None
    bars = list(_bars(scripts))
    heights = [CURVES_INCHES, BAR_INCHES * (len(bars) + 1)][: 1 + bool(bars)]
    legend = 0 if _all_certified(scripts) else LEGEND_INCHES
    figure = Figure(figsize=(PAGE_INCHES, sum(heights) + legend + 0.45), layout="constrained")
    panels = figure.subplots(len(heights), 1, squeeze=False, sharex=True, gridspec_kw={"height_ratios": heights})[:, 0]
    longest: float = max(length for script in scripts for length in script.lengths)
    if bars:
        longest = max(longest, *(reached for _, _, reached, _ in bars if reached < math.inf))
    right = 1.5 * longest
    panels[0].set_xscale("log")
    panels[0].set_xlim(0.85, right)
    _curves(figure, panels[0], sections, scripts, right)
    if bars:
        _draw_bars(panels[1], bars, right)
    _length_axis(panels[-1], longest)
    sns.despine(fig=figure)
    if bars:
        panels[1].spines["left"].set_visible(False)
    return save(
        figure,
        folder,
        Drawn(
            name="closing",
            title="What theory excludes, permits and forces, by length",
            caption=_caption(scripts, with_bars=bool(bars)),
            alternative="Accuracy over length from 1 digit to the longest measured: excluded cells near their exact "
            "fractions, permitted ones anywhere, certified runs at 100% up to the right edge. The numbers are in the "
            "tables of this section and of all outcomes.",
            width_inches=PAGE_INCHES,
        ),
    )


def _caption(scripts: Sequence[JudgedScript], *, with_bars: bool) -> str:
    runs = [run for script in scripts for run in script.runs]
    certified = sum(run.outcome == "certified" for run in runs)
    text = (
        "Above: exact match over length (logarithmic). Excluded and permitted: every question of the study at the "
        "lengths beyond its training, as far as they were tested, with means over the seeds that are right in range "
        "(over all where none is); silent cells are not drawn. Forced: "
        f"{certified} of {len(runs)} script runs are certified, so their lines do not end; points are the measured "
        "problems, which could only refute them."
    )
    if with_bars:
        text += (
            " Below: decimal addition, trained on up to (dark) and reported right up to (light) so many digits, with "
            "what each method is told of the task. The window is the strongest hint of all, so this does not compare "
            "learning; the other ranges are measured, the lowest is proved."
        )
    return text


def _curves(
    figure: Figure, axes: Axes, sections: Sequence[Section], scripts: Sequence[JudgedScript], right: float
) -> None:
    drawn = set()
    for section in sections:
        for panel in section.panels:
            beyond = [cell for cell in panel.under(section.laws[0]) if cell.cell["test_digits"] > section.trained[-1]]
            for verdict, draw in (("excluded", _excluded), ("permitted", _permitted)):
                cells = [cell for cell in beyond if cell.cell["verdict"] == verdict and cell.seeds]
                if cells:
                    draw(axes, cells)
                    drawn.add(verdict)
    handles: list[Artist] = [Line2D([], [], label=label, **look) for verdict, label, look in _LOOKS if verdict in drawn]
    for index, script in enumerate(scripts):
        handles += _certified(axes, script, index, right)
    percent_axis(axes)
    axes.set_ylabel("exact match", fontsize=TEXT)
    axes.tick_params(labelsize=TEXT)
    axes.text(right, 1.04, "every length →", ha="right", va="bottom", fontsize=TEXT, color=FORCED)
    if _all_certified(scripts):
        axes.legend(handles=handles, loc="center right", fontsize=TEXT, handlelength=3.2, borderaxespad=0)
    else:  # curves of other runs may be anywhere
        figure.legend(handles=handles, loc="outside upper left", fontsize=TEXT, handlelength=3.2, ncols=2)


def _all_certified(scripts: Sequence[JudgedScript]) -> bool:
    return all(run.outcome == "certified" for script in scripts for run in script.runs)


def _means(cells: Sequence[Comparison]) -> tuple[list[int], list[float]]:
    """The lengths of cells, and the mean of the seeds that are right in range there, or of all if none is."""
    places = [int(cell.cell["test_digits"]) for cell in cells]
    kept = [[seed for seed in cell.seeds if seed.eligible] or cell.seeds for cell in cells]
    return places, [fmean(seed.accuracy for seed in seeds) for seeds in kept]


def _excluded(axes: Axes, cells: Sequence[Comparison]) -> None:
    places, means = _means(cells)
    axes.plot(places, means, zorder=3, **_EXCLUDED)
    for cell in cells:
        if cell.cell["accuracy_float"] is not None:
            ends = [cell.cell["test_digits"] * factor for factor in (0.94, 1.06)]
            axes.plot(ends, [cell.cell["accuracy_float"]] * 2, zorder=4, **_EXACT)


def _permitted(axes: Axes, cells: Sequence[Comparison]) -> None:
    places, means = _means(cells)
    axes.plot(places, means, zorder=2, **_PERMITTED)
    shares = [[seed.accuracy for seed in cell.seeds] for cell in cells]
    axes.vlines(places, list(map(min, shares)), list(map(max, shares)), color=PERMITTED, lw=0.4, alpha=0.6, zorder=1)


def _certified(axes: Axes, script: JudgedScript, index: int, right: float) -> list[Artist]:
    """The runs of a script; a certified one goes on to the right edge, any other ends where it was tested."""
    marker, size, face = _RINGS[index % len(_RINGS)]
    look: dict[str, Any] = {"color": FORCED, "marker": marker, "markersize": size, "markerfacecolor": face}
    outside = False
    for run in script.runs:
        places, shares = list(run.shares), list(run.shares.values())
        if run.outcome == "certified":
            axes.plot([*places, right], [*shares, 1.0], color=FORCED, lw=1.8, zorder=4)
            axes.plot(places, shares, linestyle="none", zorder=6 - 0.1 * index, clip_on=False, **look)
        elif places:
            outside = True
            axes.plot(places, shares, zorder=4, **_OUTSIDE)
    name = script.title.removesuffix(" in base 10")
    text = f"forced: {name[0].lower()}{name[1:]}, trained on {digits(script.train_words)}, {script.summary}"
    label = fill(cut(text, 150), 52)
    found: list[Artist] = [Line2D([], [], lw=1.8, label=label, **look)]
    return [*found, Line2D([], [], label="a run of it that is not certified", **_OUTSIDE)] if outside else found


Bar = tuple[str, int, float, str]  # text, trained up to, right up to, colour


def _bars(scripts: Sequence[JudgedScript]) -> Iterator[Bar]:
    """The published ranges of decimal addition and ours below them; nothing if no run of ours is certified for it."""
    for script in scripts:
        if script.task == DECIMAL_ADDITION and script.count("certified"):
            for each in REACHES:
                yield f"{each.method}, {each.source}: {each.words}. Told: {each.told}", each.trained, each.reached, INK
            trained = parse_lengths(script.prediction["train_digits"])[-1]
            text = f"derived window, here: {trained} → every length. Told: which digits each step may look at"
            yield text, trained, math.inf, FORCED


def _draw_bars(axes: Axes, bars: Sequence[Bar], right: float) -> None:
    for row, (text, trained, reached, colour) in enumerate(bars):
        left = axes.get_xlim()[0]
        end = min(reached, right)
        axes.barh(row + 0.28, end - left, left=left, height=0.34, color=LIGHT[colour], linewidth=0)
        axes.barh(row + 0.28, trained - left, left=left, height=0.34, color=colour, linewidth=0)
        axes.text(left * 1.03, row - 0.16, text, ha="left", va="center", fontsize=TEXT, color=INK)
        if reached == math.inf:
            axes.text(right, row + 0.28, "→", ha="right", va="center", fontsize=TEXT + 2, color=INK)
    axes.set_ylim(len(bars) - 0.45, -0.5)
    axes.set_yticks([])
    axes.set_title("Decimal addition: trained up to (dark), right up to (light)", loc="left", fontsize=TEXT)


def _length_axis(axes: Axes, longest: float) -> None:
    ticks = [*range(1, 7), *(10**power for power in range(1, 1 + math.ceil(math.log10(longest))))]
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in ticks if tick <= longest]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.tick_params(labelsize=TEXT)
    axes.set_xlabel("digits of the operands", fontsize=TEXT)
