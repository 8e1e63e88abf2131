"""The figures of a report: those of the overview, a curve per task, other operand laws, carries, losses, the closing.

Each function draws one figure of a study arranged in sections, writes it in every format and returns its caption. A
figure with nothing to show is left out, so a small study gives a small report.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import Any

import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from carryproof.benchmarks.certified import JudgedScript
from carryproof.benchmarks.closing import closing
from carryproof.benchmarks.compare import Comparison
from carryproof.benchmarks.curves import (
    Styles,
    agree_of,
    bounds,
    draw_panel,
    hollow_handles,
    legend_handles,
    note,
    offsets,
    seed_handles,
)
from carryproof.benchmarks.drawing import (
    PANELS_PER_ROW,
    Drawn,
    SeedStyle,
    add_legend,
    grid,
    panel_width,
    percent_axis,
    save,
    seed_styles,
    style,
)
from carryproof.benchmarks.overview import contrast, verdict_map
from carryproof.benchmarks.sections import Section, cut, digits


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """What was drawn; the figures of tasks and carry chains by the slug of their section."""

    verdicts: Drawn | None
    contrast: Drawn | None
    tasks: Mapping[str, Drawn]
    laws: Mapping[str, Drawn]
    carries: Mapping[str, Drawn]
    training: Drawn | None
    closing: Drawn | None


def draw_figures(sections: Sequence[Section], scripts: Sequence[JudgedScript], folder: Path, margin: float) -> Figures:
    """Draw every figure of a study into a folder, in every format."""
    seeds = {run["config"]["seed"] for section in sections for panel in section.panels for run in panel.runs}
    styles = seed_styles(seeds)
    laws = dict.fromkeys(law for section in sections for law in section.laws[1:])
    with style():
        plain = [section for section in sections if section.task["modulus"] is None]  # the others are in records.csv
        carries = {section.slug: carry_chains(section, folder, styles) for section in plain}
        return Figures(
            verdicts=verdict_map(sections, scripts, folder),
            contrast=contrast(sections, folder, styles, margin),
            tasks={section.slug: task_curves(section, folder, styles) for section in sections},
            laws={law: other_law(law, sections, folder, styles) for law in laws},
            carries={slug: drawn for slug, drawn in carries.items() if drawn is not None},
            training=training(sections, folder, styles) if seeds else None,
            closing=closing(sections, scripts, folder),
        )


def task_curves(section: Section, folder: Path, styles: Styles) -> Drawn:
    """Accuracy, and below it agreement with the surrogate, over test length; one column an encoding."""
    law, columns = section.laws[0], min(PANELS_PER_ROW, len(section.panels))
    bands = -(-len(section.panels) // columns)
    figure, axes = grid(2 * bands, columns, row_inches=1.25)
    for index in range(bands * columns):
        band, column = divmod(index, columns)
        upper, lower = axes[2 * band][column], axes[2 * band + 1][column]
        if index >= len(section.panels):
            upper.set_axis_off()
            lower.set_axis_off()
            continue
        panel = section.panels[index]
        cells = panel.under(law)
        draw_panel(upper, cells, section.trained, styles, labels=column == 0)
        draw_panel(lower, cells, section.trained, styles, count=agree_of, labels=column == 0)
        upper.set_title(cut(panel.words, 20))
        upper.tick_params(labelbottom=False)
        lower.set_xlabel("digits of the operands")
        if column == 0:
            upper.set_ylabel("exact match")
            lower.set_ylabel("agreement with\nthe surrogate")
    sns.despine(fig=figure)
    cells = [cell for panel in section.panels for cell in panel.under(law)]
    add_legend(figure, legend_handles(styles, cells), columns)
    figure.suptitle(f"{cut(section.title, 40)}, trained on {section.train_words}", fontsize=8.5)
    return save(
        figure,
        folder,
        Drawn(
            name=f"task-{section.slug}",
            title=f"{section.title}, trained on {section.train_words}",
            caption=f"Upper row: exact match of every seed with its 95% interval over test length (law {law!r}), "
            "with the prediction in black; ✓ confirmed, ✗ refuted, no mark: not testable. Lower row: agreement with "
            "the surrogate, which drops all digits beyond the trained length. Under learned absolute positions it is "
            "the registered function, and what it lacks to 100% leaks from untrained (digit, place) pairs (law L14); "
            "under the other encodings it is drawn for comparison only.",
            alternative=f"Accuracy and agreement with the surrogate over test length for {section.title}, one column "
            "per encoding; the numbers are in the table of all outcomes.",
            width_inches=panel_width(columns),
        ),
    )


def other_law(law: str, sections: Sequence[Section], folder: Path, styles: Styles) -> Drawn:
    """Accuracy over test length under an operand law that is not the training's, tasks by encodings."""
    names, figure, axes = _task_grid(sections)
    shown: list[Comparison] = []
    for row, section in enumerate(sections):
        for panel in section.panels:
            column = names.index(panel.encoding)
            cells = panel.under(law)
            draw_panel(axes[row][column], cells, section.trained, styles, labels=column == 0)
            shown += cells
    for bottom in axes[-1]:
        bottom.set_xlabel("digits, longest operand")
    sns.despine(fig=figure)
    add_legend(figure, legend_handles(styles, shown), len(names))
    return save(
        figure,
        folder,
        Drawn(
            name=f"law-{law}",
            title=f"Operands drawn by the law {law!r}",
            caption="Exact match of every seed over the length of the longest operand, where the operands' lengths are "
            "not drawn as in training; the prediction is in black, marks as above.",
            alternative=f"Accuracy over test length under the operand law {law}, tasks by encodings.",
            width_inches=panel_width(len(names)),
        ),
    )


def carry_chains(section: Section, folder: Path, styles: Styles) -> Drawn | None:
    """Accuracy by the longest carry chain of the problem, at the longest trained and the first untrained length."""
    law, longest = section.laws[0], section.trained[-1]
    tested = {cell.cell["test_digits"] for panel in section.panels for cell in panel.under(law)}
    lengths = [
        length for length in (longest, min((each for each in tested if each > longest), default=0)) if length in tested
    ]
    chains = sorted(
        {record["stratum"] for panel in section.panels for run in panel.runs for record in run["records"]} - {"all"}
    )
    if not chains or not lengths:
        return None
    columns = len(section.panels)
    figure, axes = grid(len(lengths), columns, row_inches=1.15)
    shift = offsets(styles)
    for row, length in enumerate(lengths):
        for column, panel in enumerate(section.panels):
            cell = axes[row][column]
            eligible = {seed.run_id for each in panel.cells for seed in each.seeds if seed.eligible}
            percent_axis(cell, labels=column == 0)
            for run in panel.runs:
                look, seed = styles[run["config"]["seed"]], run["config"]["seed"]
                records = [
                    record
                    for record in run["records"]
                    if (record["test_digits"], record["law"]) == (length, law) and record["stratum"] in chains
                ]
                records.sort(key=lambda record: chains.index(record["stratum"]))
                places = [chains.index(record["stratum"]) + shift[seed] for record in records]
                spans = [bounds(record["correct"], record["problems"]) for record in records]
                shares = [record["correct"] / record["problems"] for record in records]
                cell.vlines(places, [s.low for s in spans], [s.high for s in spans], color=look.colour, lw=0.8)
                face = look.colour if run["run_id"] in eligible else "white"
                cell.plot(places, shares, color=look.colour, marker=look.marker, markerfacecolor=face, lw=0.5)
            cell.set_xticks(range(len(chains)), labels=[chain.removeprefix("chain=") for chain in chains])
            cell.set_xlim(-0.6, len(chains) - 0.4)
            if row == 0:
                cell.set_title(cut(panel.words, 20))
            if row + 1 == len(lengths):
                cell.set_xlabel("longest carry chain")
            if column == 0:
                kind = "trained" if length == longest else "first untrained"
                cell.set_ylabel(f"{digits(length)}\n({kind})")
    sns.despine(fig=figure)
    cells = [each for panel in section.panels for each in panel.cells]
    add_legend(figure, [*seed_handles(styles), *hollow_handles(cells)], columns)
    return save(
        figure,
        folder,
        Drawn(
            name=f"carries-{section.slug}",
            title=f"{section.title} by the length of the longest carry chain",
            caption="Exact match by the longest chain of columns through which a carry runs (0: no carry), every seed "
            "with its 95% interval; long chains are rare in random problems, hence the wide intervals on the right.",
            alternative=f"Accuracy by longest carry chain for {section.title}, one column per encoding.",
            width_inches=panel_width(columns),
        ),
    )


def training(sections: Sequence[Section], folder: Path, styles: Styles) -> Drawn:
    """The loss of every run over its steps, on a logarithmic scale, tasks by encodings."""
    names, figure, axes = _task_grid(sections)
    for row, section in enumerate(sections):
        for panel in section.panels:
            cell = axes[row][names.index(panel.encoding)]
            for run in panel.runs:
                _loss(cell, run, styles[run["config"]["seed"]])
            cell.set_yscale("log")
            cell.yaxis.set_major_locator(LogLocator(subs=(1, 3), numticks=6))
            cell.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            cell.yaxis.set_minor_locator(NullLocator())
            cell.xaxis.set_major_locator(MaxNLocator(3))
            if not panel.runs:
                note(cell, "no finished run")
    for bottom in axes[-1]:
        bottom.set_xlabel("training step")
    sns.despine(fig=figure)
    add_legend(figure, seed_handles(styles), len(names))
    return save(
        figure,
        folder,
        Drawn(
            name="training",
            title="Training loss",
            caption="Loss of the last batch at some twenty moments of every run (× where it stopped being finite).",
            alternative="Training loss over steps, tasks by encodings.",
            width_inches=panel_width(len(names)),
        ),
    )


def _loss(axes: Axes, run: Mapping[str, Any], look: SeedStyle) -> None:
    points = [(point["step"], point["loss"]) for point in run["loss"] if point["loss"] is not None]
    if points:
        steps, losses = zip(*points, strict=True)
        axes.plot(steps, losses, color=look.colour, lw=0.8)
    if run["status"] != "finished":
        step, height = points[-1] if points else (run["loss"][-1]["step"] if run["loss"] else 0, 1.0)
        axes.plot(step, height, marker="x", color=look.colour, markersize=6, markeredgewidth=1.5, clip_on=False)


def _task_grid(sections: Sequence[Section]) -> tuple[list[str], Figure, list[list[Axes]]]:
    """A panel for each section (row) and encoding (column), titled on the outside; those of no question are empty."""
    words = {panel.encoding: panel.words for section in sections for panel in section.panels}
    names = list(words)
    figure, axes = grid(len(sections), len(names), row_inches=1.05)
    for row, section in enumerate(sections):
        asked = {panel.encoding for panel in section.panels}
        for column, name in enumerate(names):
            if row == 0:
                axes[row][column].set_title(cut(words[name], 20))
            if name not in asked:
                axes[row][column].set_axis_off()
        axes[row][0].set_ylabel(fill(cut(section.title, 40), 14))
    return names, figure, axes
