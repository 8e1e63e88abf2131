"""The figures of a comparison: what was found of every variable in every model, and useful nodes laid over each other.

The matrix has a panel for each kind of variable, with models down and columns of the sum across; its cells are the
accuracy of interchange in %, with a sign where the verdict is less than carried. The overlay is one quanta map for all
models, whose columns are meanings of positions.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from carryproof.benchmarks.drawing import INK, PAGE_INCHES, Drawn, save, style
from carryproof.circuits.comparison import Search, overlay
from carryproof.circuits.map_figure import ink_on, shades
from carryproof.circuits.maps import single
from carryproof.circuits.sites import kind_of, place_of

CELL_INCHES, LINE_INCHES, NAME_INCHES = 0.2, 0.16, 1.15
LINE_INCHES_AT_MOST = 7.8  # of panels beside each other: two of fifteen columns
TOGETHER = "whole column"
SIGNS = {"carried": "", "partly": "~", "nothing": "–"}


def draw_matrix(searches: Sequence[Search], folder: Path) -> Drawn | None:
    """Draw what was found of each variable in each model as ``matrix`` in PNG, SVG and PDF; None without variables."""
    cells = matrix(searches)
    if cells.empty:
        return None
    panels: dict[str, pd.DataFrame] = dict(iter(cells.groupby("panel", sort=False)))
    models = [search["model"]["name"] for search in searches]
    spans = {name: len(part["column"].unique()) for name, part in panels.items()}
    rows = _lines(spans)
    in_row = [[name for name in models if any(name in set(panels[each]["model"]) for each in row)] for row in rows]
    width = max(PAGE_INCHES, max(NAME_INCHES + CELL_INCHES * sum(spans[name] for name in row) for row in rows) + 0.6)
    heights = [0.55 + LINE_INCHES * len(names) for names in in_row]
    with style():
        figure = Figure(figsize=(width, 0.4 + sum(heights)), layout="constrained")
        bands = figure.subfigures(len(rows), 1, squeeze=False, height_ratios=heights)[:, 0]
        for parts, row, names in zip(bands, rows, in_row, strict=True):
            room = (width - 0.6) / CELL_INCHES - sum(spans[name] for name in row)
            every = parts.subplots(
                1, len(row) + 1, squeeze=False, width_ratios=[*(spans[name] for name in row), max(0.1, room - 5)]
            )[0]
            every[-1].set_axis_off()
            for index, (axes, name) in enumerate(zip(every, row, strict=False)):
                _draw(axes, panels[name], names, labels=index == 0)
                axes.set_title(name, loc="left")
        figure.suptitle("Interchange accuracy of every variable where it was found, %", fontsize=8.5)
        return save(
            figure,
            folder,
            Drawn(
                name="matrix",
                title="Variables over models",
                caption="A panel is a kind of variable, a row a model, a column the place of the variable from the "
                "units up; a whole column is all that its two digits give, moved together. Numbers are the interchange "
                "accuracy in % at the nodes that the search found; ~ marks a variable that is carried only partly, – "
                "one that was found nowhere; white was not asked.",
                alternative=f"Matrix of {len(models)} models by variables; the numbers are in the search files.",
                width_inches=width,
            ),
        )


def draw_overlay(searches: Sequence[Search], folder: Path) -> Drawn | None:
    """Draw the useful nodes of all models by meaning as ``overlay`` in PNG, SVG and PDF; None if there are none."""
    found = overlay(searches)
    if not found.rows:
        return None
    table = pd.DataFrame(
        [[found.shares.get((row, site), 0.0) for site in found.sites] for row in found.rows],
        index=found.rows,
        columns=[site.replace(" is decided", "\nis decided") for site in found.sites],
    )
    width = max(PAGE_INCHES / 2, 1.9 + 0.62 * len(found.sites))
    with style():
        figure = Figure(figsize=(width, 1.3 + 0.24 * len(found.rows)), layout="constrained")
        axes, cmap = figure.subplots(), shades()
        text = table.map(lambda share: f"{100 * share:.0f}" if share >= 0.005 else "")
        sns.heatmap(
            table,
            ax=axes,
            vmin=0,
            vmax=1,
            cmap=cmap,
            cbar=False,
            annot=text.to_numpy(),
            fmt="",
            annot_kws={"fontsize": 6},
            linewidths=0.6,
            linecolor="white",
        )
        axes.tick_params(length=0, rotation=0)
        axes.tick_params(axis="x", labelsize=5.5)
        bar = figure.colorbar(ScalarMappable(Normalize(0, 1), cmap), ax=axes, aspect=20, pad=0.01)
        bar.ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        figure.suptitle("Useful nodes of all models, by meaning of the position", fontsize=8.5)
        return save(
            figure,
            folder,
            Drawn(
                name="overlay",
                title="Useful nodes laid over each other",
                caption="Rows are heads and MLPs by layer, columns meanings of positions: k is any column of the sum, "
                "n the number of digits. A cell is the share in % of the columns at which a model has a useful node, "
                "on average over the models that have the layer.",
                alternative="Map of useful nodes over all models, by layer and meaning of the position.",
                width_inches=width,
            ),
        )


def matrix(searches: Sequence[Search]) -> pd.DataFrame:
    """A row for each variable, or group that moves together, of each model: panel, column, model, accuracy, verdict.

    >>> found = {"verdict": "partly", "result": {"accuracy": {"value": 0.8}}}
    >>> search = {"model": {"name": "a"}, "variables": {"A1.SV": found, "SGN": found}}
    >>> matrix([search])[["panel", "column", "accuracy"]].to_numpy().tolist()
    [['SV', '1', 0.8], ['the problem', 'SGN', 0.8]]
    """
    rows: list[dict[str, Any]] = []
    for search in searches:
        for names, assigned in search.get("variables", {}).items():
            every = single(names)
            place = place_of(every[0])
            kind = "the problem" if place is None else kind_of(every[0])
            rows.append(
                {
                    "panel": TOGETHER if len(every) > 1 else kind,
                    "column": every[0] if place is None else str(place),
                    "model": search["model"]["name"],
                    "accuracy": assigned["result"]["accuracy"]["value"],
                    "verdict": assigned["verdict"],
                }
            )
    return pd.DataFrame(rows)


def _lines(spans: Mapping[str, int]) -> list[list[str]]:
    """The panels in lines that fit on a page, in order."""
    lines: list[list[str]] = [[]]
    for name, span in spans.items():
        cells = sum(spans[each] + 1 for each in lines[-1]) + span
        if lines[-1] and NAME_INCHES + CELL_INCHES * cells > LINE_INCHES_AT_MOST:
            lines.append([])
        lines[-1].append(name)
    return lines


def _draw(axes: Axes, part: pd.DataFrame, models: Sequence[str], *, labels: bool) -> None:
    columns, cmap = sorted(part["column"].unique(), key=lambda name: (not name.isdigit(), len(name), name)), shades()
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_ylim(len(models) - 0.5, -0.5)
    for cell in part.itertuples():
        x, y = columns.index(cell.column), models.index(cell.model)
        nothing = cell.verdict == "nothing"
        colour = (0.95, 0.95, 0.95) if nothing else cmap(cell.accuracy)[:3]
        text = SIGNS["nothing"] if nothing else f"{SIGNS.get(cell.verdict, '')}{100 * cell.accuracy:.0f}"
        axes.fill_between([x - 0.47, x + 0.47], y - 0.46, y + 0.46, color=colour, linewidth=0)
        axes.text(x, y, text, ha="center", va="center", fontsize=5, color=INK if nothing else ink_on(colour))
    upright = all(len(name) < 4 for name in columns)
    axes.set_xticks(range(len(columns)), labels=columns, rotation=0 if upright else 90)
    axes.set_yticks(range(len(models)), labels=models if labels else [""] * len(models))
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
