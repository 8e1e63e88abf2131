"""The figure of insertion: the share of problems that every arm still fails, over the steps of its training.

A size has two rows of panels: arms that insert all (or what was published), and arms that insert one group of weights;
training from scratch is in both. A panel is an operation on one test set, a line the mean of an arm over its seeds in a
band from the best seed to the worst. Both axes are logarithmic; shares below what the test set can tell from zero, none
of its problems failed, lie on the lower edge, and the model before its first step on the left one.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

from carryproof.benchmarks.drawing import PAGE_INCHES, Drawn, save, style
from carryproof.circuits.arms import ARMS, FIRST_POINT, ArmRun
from carryproof.circuits.insertion import GROUPS
from carryproof.circuits.insertion_study import BASELINE

PANELS = {
    "sub random": "subtraction, random",
    "sub stratified": "subtraction, by class",
    "add random": "addition, random",
    "add stratified": "addition, by class",
}
ROWS = {  # the arms that are drawn together
    "all inserted": [name for name in ARMS if name not in GROUPS],
    "one group inserted": [BASELINE, *GROUPS],
}
NAME = "insertions"
START = 0.7 * FIRST_POINT  # where the model before its first step is drawn


def curves(records: Mapping[ArmRun, Mapping[str, Any]]) -> pd.DataFrame:
    """Every point of every run as a row: digits, arm, seed, panel, step and the share failed, both drawable in logs."""
    rows = [
        {
            "digits": run.digits,
            "arm": ARMS[run.arm].title,
            "seed": run.seed,
            "panel": panel,
            "step": max(point["step"], START),
            "failed": max(1 - point["right"][panel], 0.5 / run.problems),
        }
        for run, record in records.items()
        for point in record["points"]
        for panel in PANELS
    ]
    return pd.DataFrame(rows)


def draw_curves(records: Mapping[ArmRun, Mapping[str, Any]], folder: Path) -> Drawn:
    """Draw the learning curves of finished runs as PNG, SVG and PDF."""
    data = curves(records)
    lines = [(size, row) for size in sorted(data["digits"].unique()) for row in ROWS]
    titles = [arm.title for arm in ARMS.values()]
    palette = dict(zip(titles, sns.color_palette("colorblind", len(titles)), strict=True))
    with style():
        figure = Figure(figsize=(PAGE_INCHES, 1.1 + 1.8 * len(lines)), layout="constrained")
        panels = figure.subplots(len(lines), len(PANELS), squeeze=False, sharex=True, sharey=True)
        for (digits, row), axes_of_line in zip(lines, panels, strict=True):
            drawn = data[(data["digits"] == digits) & data["arm"].isin([ARMS[name].title for name in ROWS[row]])]
            for axes, (panel, title) in zip(axes_of_line, PANELS.items(), strict=True):
                sns.lineplot(
                    drawn[drawn["panel"] == panel],
                    x="step",
                    y="failed",
                    hue="arm",
                    style="arm",
                    hue_order=titles,
                    style_order=titles,
                    palette=palette,
                    errorbar=("pi", 100),
                    linewidth=0.9,
                    err_kws={"alpha": 0.12, "linewidth": 0},
                    legend="full" if axes is panels[0, 0] else False,
                    ax=axes,
                )
                _axes(axes, lowest=0.5 / max(run.problems for run in records))
                axes.set_title(title if axes in panels[0] else "", loc="left")
                axes.set_xlabel("steps" if axes in panels[-1] else "")
                axes.set_ylabel(f"{digits} digits, {row}:\nfailed" if axes is axes_of_line[0] else "")
        handles, labels = panels[0, 0].get_legend_handles_labels()
        panels[0, 0].get_legend().remove()
        figure.legend(handles, labels, loc="outside lower center", ncols=5)
        sns.despine(fig=figure)
        return save(
            figure,
            folder,
            Drawn(
                name=NAME,
                title="What a mixed model may start from",
                caption="Share of problems failed over the steps of training, by what the model started from: the mean "
                "over seeds, from the best seed to the worst. The left edge is the model before its first step, and "
                "the lower edge no failure at all.",
                alternative="Learning curves by arm, operation and test set; numbers are in insertions.json.",
                width_inches=PAGE_INCHES,
            ),
        )


def _axes(axes: Axes, *, lowest: float) -> None:
    """Both logarithmic, with plain numbers as labels."""
    axes.set(xscale="log", yscale="log", ylim=(0.7 * lowest, 1.4))
    axes.xaxis.set_major_locator(FixedLocator([START, 100, 1_000, 10_000]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: "0" if value == START else f"{value:,.0f}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_formatter(NullFormatter())
