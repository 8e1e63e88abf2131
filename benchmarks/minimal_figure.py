"""The figure of shortest sufficient trainings: accuracy over length, computed and measured, beside the wrong windows.

Every study is a row. On the left each line is one model's accuracy as its wrong windows imply it, and each point a
sample of problems with its exact interval, in the colour of the trained lengths. On the right a bar is the windows that
training never showed, and a point those that a model gets wrong: below the top of its bar wherever the law holds.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from carryproof.benchmarks.drawing import (
    GREY,
    INK,
    PAGE_INCHES,
    SHADE,
    Drawn,
    SeedStyle,
    percent_axis,
    save,
    seed_styles,
    style,
)

Records = Sequence[Mapping[str, Any]]
ROW_INCHES = 1.9
TICKS = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1_000)
DODGE = 0.62  # how much of a bar's width the seeds are spread over


def draw_minimal(records: Records, titles: Mapping[str, str], folder: Path) -> Drawn:
    """Draw the records of studies, in the order of their titles, as PNG, SVG and PDF."""
    styles = seed_styles(record["seed"] for record in records)
    colours = _colours(records)
    with style():
        figure = Figure(figsize=(PAGE_INCHES, 0.75 + ROW_INCHES * len(titles)), layout="constrained")
        panels = figure.subplots(len(titles), 2, squeeze=False, gridspec_kw={"width_ratios": [2.1, 1]})
        for (name, title), (curves, windows) in zip(titles.items(), panels, strict=True):
            mine = [record for record in records if record["study"] == name]
            _curves(curves, mine, colours, styles)
            _windows(windows, mine, colours, styles)
            curves.set_title(f"{title}: exact match", loc="left")
            windows.set_title(f"{mine[0]['windows']:,} windows of every length", loc="left")
        panels[-1][0].set_xlabel("digits of the operands")
        panels[-1][1].set_xlabel("trained lengths, digits")
        sns.despine(fig=figure)
        _legend(figure, records, colours, styles)
        return save(
            figure,
            folder,
            Drawn(
                name="minimal",
                title="The shortest sufficient training length",
                caption="Left: exact match over length of models trained on 1 to n digits. Lines are computed, in "
                "exact fractions over all problems, from the windows that each model gets wrong; points are measured "
                "on random problems, with 95% Clopper-Pearson intervals. Right: bars are the windows that training "
                "never showed (none from n* on), points those that each seed gets wrong (symmetric logarithmic scale, "
                "linear below 10).",
                alternative="Accuracy over length by trained lengths, and counts of windows never shown and wrong; "
                "the numbers are in curves.csv and windows.csv.",
                width_inches=PAGE_INCHES,
            ),
        )


def _colours(records: Records) -> dict[int, Any]:
    """One colour for each n, the same in all studies."""
    palette = sns.color_palette("colorblind")
    order = (3, 1, 2, 0)  # vermilion, orange, green, blue: far apart for neighbouring n, in grey too
    longest = sorted({record["longest"] for record in records})
    return {n: palette[order[at % len(order)]] for at, n in enumerate(longest)}


def _curves(axes: Axes, records: Records, colours: Mapping[int, Any], styles: Mapping[int, SeedStyle]) -> None:
    for record in records:
        colour = colours[record["longest"]]
        points = record["points"]
        lengths, shares = zip(*((each["digits"], each["computed_float"]) for each in points), strict=True)
        axes.plot(lengths, shares, color=colour, lw=0.7, alpha=0.8, zorder=2)
        drawn = [each for each in points if each["problems"]]
        places = [each["digits"] for each in drawn]
        axes.vlines(places, [each["low"] for each in drawn], [each["high"] for each in drawn], color=colour, lw=0.7)
        axes.plot(
            places,
            [each["correct"] / each["problems"] for each in drawn],
            linestyle="none",
            marker=styles[record["seed"]].marker,
            color=colour,
            markerfacecolor="white",
            markeredgewidth=0.6,
            markersize=3,
            zorder=3,
        )
    longest = max(each["digits"] for record in records for each in record["points"])
    axes.set_xscale("log")
    axes.set_xlim(0.88, 1.2 * longest)
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in TICKS if tick <= longest]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    percent_axis(axes)
    axes.set_ylim(-0.05, 1.08)


def _windows(axes: Axes, records: Records, colours: Mapping[int, Any], styles: Mapping[int, SeedStyle]) -> None:
    """Bars of windows never shown and points of wrong ones; what was shown and is wrong all the same is written out."""
    longest = sorted({record["longest"] for record in records})
    names = sorted(styles)
    top = max(record["never_shown"] for record in records)
    for place, n in enumerate(longest):
        group = [record for record in records if record["longest"] == n]
        unseen = group[0]["never_shown"]
        axes.bar(place, unseen, width=0.8, color=SHADE, edgecolor=GREY, linewidth=0.5, zorder=1)
        label = f"{unseen:,}"
        highest = max(unseen, *(record["wrong"] for record in group))
        axes.annotate(label, (place, highest), xytext=(0, 4), textcoords="offset points", ha="center", va="bottom")
        for record in group:
            shift = DODGE * ((names.index(record["seed"]) + 0.5) / len(names) - 0.5)
            axes.plot(
                place + shift,
                record["wrong"],
                linestyle="none",
                marker=styles[record["seed"]].marker,
                color=colours[n],
                markerfacecolor=colours[n] if record["wrong_but_shown"] else "white",
                markeredgewidth=0.6,
                zorder=3,
                clip_on=False,
            )
    axes.set_yscale("symlog", linthresh=10, linscale=0.6)
    axes.set_ylim(0, 6 * top)
    axes.yaxis.set_major_locator(FixedLocator([0, *(10**power for power in range(1, 8) if 10**power <= 6 * top)]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_xticks(range(len(longest)), labels=[_ticked(n, records[0]["shortest"]) for n in longest])
    axes.set_xlim(-0.6, len(longest) - 0.4)


def _ticked(n: int, shortest: int) -> str:
    return ("1" if n == 1 else f"1–{n}") + (" (n*)" if n == shortest else "")


def _legend(figure: Figure, records: Records, colours: Mapping[int, Any], styles: Mapping[int, SeedStyle]) -> None:
    """Trained lengths, seeds and kinds of marks in columns of their own."""

    def sign(colour: Any, label: str, **look: Any) -> Line2D:
        return Line2D([], [], color=colour, label=label, **look)

    ranges: list[Artist] = [
        sign(colour, f"trained on {'1 digit' if n == 1 else f'1–{n} digits'}", lw=2) for n, colour in colours.items()
    ]
    seeds: list[Artist] = [
        sign(INK, f"seed {seed}", linestyle="none", marker=look.marker, markerfacecolor="white", markeredgewidth=0.6)
        for seed, look in styles.items()
    ]
    kinds: list[Artist] = [
        sign(INK, "computed from the wrong windows", lw=0.8),
        sign(INK, "measured, 95% interval", linestyle="none", marker="|", markersize=7),
        Patch(facecolor=SHADE, edgecolor=GREY, linewidth=0.5, label="windows never shown"),
    ]
    if any(record["wrong_but_shown"] for record in records):
        kinds.append(sign(INK, "filled: wrong on a shown window too", linestyle="none", marker="o"))
    rows = max(3, len(ranges), len(kinds))
    blank = sign("none", " ", linestyle="none")
    columns = [[*group, *[blank] * (-len(group) % rows)] for group in (ranges, seeds, kinds)]
    handles = [handle for column in columns for handle in column]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles) // rows)
