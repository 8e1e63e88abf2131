"""The two figures that a study is read for: verdicts at a glance, and moduli side by side.

The verdict map shows theory and outcome of each task and encoding at the longest tested length; script runs, which have
an encoding derived for them, stand in a column of their own. The contrast holds a
modulus that divides a power of the base against one that does not, with the exact predicted fractions written beside
the measured seeds (claim 4 of arXiv 2407.17963, law L4).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from carryproof.benchmarks.certified import JudgedScript
from carryproof.benchmarks.compare import Comparison, Outcome
from carryproof.benchmarks.curves import (
    OUTCOME_INK,
    OUTCOME_MARKS,
    Styles,
    bounds,
    draw_panel,
    legend_handles,
    offsets,
)
from carryproof.benchmarks.drawing import INK, PAGE_INCHES, PANELS_PER_ROW, Drawn, add_legend, panel_width, save
from carryproof.benchmarks.sections import (
    VERDICTS,
    Section,
    cut,
    digits,
    measured_range,
    percent,
    short_fraction,
    span,
)

DERIVED = "derived window"
_BAND = "#f0e6d2"
_VERDICT_TINTS = {
    "in-range": "#ececec",
    "excluded": "#f6dcc4",
    "permitted": "#d7e8f4",
    "forced": "#cfe8dc",
    "silent": "#f8f8f8",
}


def verdict_map(sections: Sequence[Section], scripts: Sequence[JudgedScript], folder: Path) -> Drawn | None:
    """Task by encoding at the longest tested length: verdict, outcome, and the span of the seeds."""
    encodings = list(dict.fromkeys((panel.encoding, panel.words) for section in sections for panel in section.panels))
    if not encodings:
        return None
    rows = [_section_row(section) for section in sections]
    homes = [_home(script, sections) for script in scripts]
    places = [len(rows) + homes[:index].count(None) if home is None else home for index, home in enumerate(homes)]
    rows += [_script_row(script) for script, home in zip(scripts, homes, strict=True) if home is None]
    columns = [cut(words, 20) for _, words in encodings] + [DERIVED] * bool(scripts)
    codes = np.full((len(rows), len(columns)), np.nan)
    width = max(panel_width(len(columns)), 1.5 + 1.1 * len(columns))
    figure = Figure(figsize=(width, 0.9 + 0.62 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for row, section in enumerate(sections):
        for panel in section.panels:
            column = [name for name, _ in encodings].index(panel.encoding)
            cell = panel.under(section.laws[0])[-1]
            codes[row, column] = VERDICTS.index(cell.cell["verdict"])
            lines = (cell.cell["verdict"], cell.outcome, measured_range(cell))
            _label_cell(axes, column, row, lines, cell.outcome)
    for row, script in zip(places, scripts, strict=True):
        codes[row, -1] = VERDICTS.index(script.prediction["verdict"])
        _label_cell(axes, len(encodings), row, _script_lines(script), script.outcome)
    sns.heatmap(
        pd.DataFrame(codes, index=rows, columns=columns),
        ax=axes,
        cmap=ListedColormap([_VERDICT_TINTS[verdict] for verdict in VERDICTS]),
        vmin=-0.5,
        vmax=len(VERDICTS) - 0.5,
        cbar=False,
        linewidths=1.5,
        linecolor="white",
    )
    axes.tick_params(length=0)
    axes.tick_params(axis="x", top=False, labeltop=True, bottom=False, labelbottom=False, rotation=0)
    axes.tick_params(axis="y", rotation=0)
    axes.set_facecolor("white")
    caption = (
        "Verdict of the theory (first line, and colour), outcome of the comparison (✓ confirmed, ✗ refuted, · not "
        "testable) and lowest to highest accuracy over the seeds, at the longest tested length."
    )
    if scripts:
        caption += " Script runs have trained lengths of their own, in brackets; only certified ones are in the claim."
    return save(
        figure,
        folder,
        Drawn(
            name="verdicts",
            title="Verdicts and outcomes at the longest tested length",
            caption=caption,
            alternative="Table of verdicts, tasks by encodings; the same entries are in the table of all outcomes.",
            width_inches=width,
        ),
    )


def _section_row(section: Section) -> str:
    lengths = [cell.cell["test_digits"] for panel in section.panels for cell in panel.under(section.laws[0])]
    return f"{cut(section.title, 32)}\ntrained {section.train_words}, tested {max(lengths)}"


def _script_row(script: JudgedScript) -> str:
    title = fill(cut(script.title, 64), 32)
    return f"{title}\ntrained {digits(script.train_words)}, tested {max(script.lengths, default=0):,}"


def _home(script: JudgedScript, sections: Sequence[Section]) -> int | None:
    """The row of the section with the same task, if there is one."""
    return next((row for row, section in enumerate(sections) if section.task == script.task), None)


def _script_lines(script: JudgedScript) -> tuple[str, str, str]:
    share = "no run"
    if script.lengths:
        longest = script.lengths[-1]
        found = [run.shares[longest] for run in script.runs if longest in run.shares]
        share = f"{span(found)} at {longest:,}"
    certified = f"{script.count('certified')} of {len(script.runs)} certified"
    return f"{script.prediction['verdict']} (trained {script.train_words})", certified, share


def _label_cell(axes: Axes, column: int, row: int, lines: tuple[str, str, str], outcome: Outcome) -> None:
    x, y, (verdict, became, measured) = column + 0.5, row + 0.5, lines
    axes.text(x, y - 0.25, verdict, ha="center", va="center", color=INK, fontsize=7)
    weight = "bold" if outcome == "refuted" else "normal"
    mark = f"{OUTCOME_MARKS[outcome]} {became}"
    axes.text(x, y + 0.01, mark, ha="center", va="center", color=OUTCOME_INK[outcome], fontsize=6.5, weight=weight)
    axes.text(x, y + 0.27, measured, ha="center", va="center", color=INK, fontsize=6.5)


def contrast(sections: Sequence[Section], folder: Path, styles: Styles, margin: float) -> Drawn | None:
    """Moduli side by side under the absolute encoding, with the exact fractions beside the measured seeds."""
    found = [
        (section, panel)
        for section in sections
        for panel in section.panels
        if section.task["modulus"] is not None and panel.encoding == "absolute"
    ]
    found.sort(key=lambda pair: any(cell.cell["verdict"] == "excluded" for cell in pair[1].cells))  # stable
    exact = [pair for pair in found if _named(pair[1].under(pair[0].laws[0]))]
    if not exact:
        return None
    found, exact = found[:PANELS_PER_ROW], exact[:3]
    rows, columns = (2, 1) if len(found) > 2 else (1, 2)
    figure = Figure(figsize=(PAGE_INCHES, (2.3 + 0.07 * len(styles)) * rows), layout="constrained")
    places = figure.add_gridspec(rows, columns, width_ratios=[len(found), 1.5][:columns])
    curves, forests = figure.add_subfigure(places[0, 0]), figure.add_subfigure(places[-1, -1])
    for index, (axes, (section, panel)) in enumerate(
        zip(curves.subplots(1, len(found), squeeze=False)[0], found, strict=True)
    ):
        draw_panel(axes, panel.under(section.laws[0]), section.trained, styles, labels=index == 0)
        axes.set_title(cut(section.title, 32))
        axes.set_xlabel("digits of the operands")
        sns.despine(ax=axes)
        if index == 0:
            axes.set_ylabel("exact match")
    for axes, (section, panel) in zip(forests.subplots(1, len(exact), squeeze=False)[0], exact, strict=True):
        _forest(axes, _named(panel.under(section.laws[0])), styles, margin)
        axes.set_title(f"{cut(section.title, 32)}, enlarged")
    cells = [cell for section, panel in found for cell in panel.under(section.laws[0])]
    band = Patch(color=_BAND, label=f"±{100 * margin:g} points")
    add_legend(figure, [*legend_handles(styles, cells), band], PANELS_PER_ROW)
    names = " against ".join(str(section.task["modulus"]) for section, _ in found)
    return save(
        figure,
        folder,
        Drawn(
            name="contrast",
            title=f"The contrast of moduli: {names}, learned absolute positions",
            caption="One encoding, one training range: where the modulus divides a power of the base, the dropped "
            "digits do not matter and accuracy 1 is permitted; where it does not, the accuracy is predicted exactly. "
            f"Enlarged: the predicted fraction (black bar, in a band of ±{100 * margin:g} percentage points) beside "
            "every seed with its 95% Clopper-Pearson interval.",
            alternative="Accuracy over test length for each modulus, and an enlarged view with predicted fractions.",
            width_inches=PAGE_INCHES,
        ),
    )


def _named(cells: Sequence[Comparison]) -> list[Comparison]:
    return [cell for cell in cells if cell.cell["verdict"] == "excluded" and cell.cell["accuracy"] is not None]


def _forest(axes: Axes, cells: Sequence[Comparison], styles: Styles, margin: float) -> None:
    """Test length downwards, accuracy rightwards, the predicted fraction as text at the right edge."""
    shift, reach = offsets(styles), margin
    for cell in cells:
        length, value = cell.cell["test_digits"], cell.cell["accuracy_float"]
        axes.fill_betweenx(
            [length - 0.32, length + 0.32], max(0.0, value - margin), value + margin, color=_BAND, linewidth=0
        )
        axes.plot([value, value], [length - 0.32, length + 0.32], color=INK, lw=1.6, zorder=2, clip_on=False)
        reach = max(reach, value + margin)
        for seed in cell.seeds:
            look, span = styles[seed.seed], bounds(seed.correct, seed.problems)
            reach = max(reach, span.high)
            axes.hlines(length + 1.5 * shift[seed.seed], span.low, span.high, color=look.colour, lw=0.8, zorder=3)
            face = look.colour if seed.eligible else "white"
            axes.plot(
                seed.accuracy,
                length + 1.5 * shift[seed.seed],
                marker=look.marker,
                markerfacecolor=face,
                markeredgecolor=look.colour,
                markeredgewidth=0.7,
                zorder=4,
                clip_on=False,
            )
    axes.set_yticks([cell.cell["test_digits"] for cell in cells])
    axes.set_ylim(cells[-1].cell["test_digits"] + 0.6, cells[0].cell["test_digits"] - 0.6)
    axes.set_ylabel("digits of the operands")
    axes.set_xlim(0, 1.05 * min(1.0, reach))
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: percent(value)))
    axes.set_xlabel("exact match")
    sns.despine(ax=axes)
    right = axes.secondary_yaxis("right")
    right.set_yticks(
        [cell.cell["test_digits"] for cell in cells],
        labels=[_fraction_and_percent(cell.cell) for cell in cells],
    )
    right.tick_params(length=0)
    right.spines["right"].set_visible(False)


def _fraction_and_percent(cell: Mapping[str, Any]) -> str:
    exact, value = short_fraction(cell["accuracy"], cell["accuracy_float"]), percent(cell["accuracy_float"])
    return "0" if exact == "0" else f"{exact}\n= {value}"
