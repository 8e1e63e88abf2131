"""The heat map of ablation: for every useful node, which tokens of the answer break without it.

Rows are nodes in the order of the text, columns the tokens of the answer as written; a cell is the share of problems
whose token was right and is not when the node is ablated. A digit's own nodes show as a diagonal, those of carries as
what lies left of it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from carryproof.benchmarks.drawing import Drawn, save, style
from carryproof.circuits.ablation import token_names
from carryproof.circuits.map_figure import shades
from carryproof.circuits.maps import row_of, useful_nodes
from carryproof.circuits.sites import WORDS, read

ROWS_PER_PANEL = 40  # where there are more, two panels share them
NUMBERED_AT_MOST = 200  # nodes; beyond, colours alone keep a page small
ROW_INCHES, COLUMN_INCHES = 0.135, 0.24


def token_impacts(search: Mapping[str, Any]) -> pd.DataFrame:
    """A row for each useful node, in order and named by token, layer and head; a column for each token of the answer.

    >>> share = {"value": 0.4, "low": 0.3, "high": 0.5}
    >>> nodes = {"P7L1H1": {"impact": {"whole": share, "tokens": {"A1": share}}}}
    >>> token_impacts({"model": {"digits": 2}, "nodes": nodes}).T["A2 L1 H1"].to_dict()
    {'sign': 0.0, 'A2': 0.0, 'A1': 0.4, 'A0': 0.0}
    """
    digits = search["model"]["digits"]
    texts, names = read(digits), token_names(digits)
    nodes = useful_nodes(search)
    shares = [entry["impact"].get("tokens", {}) for entry in nodes.values()]
    return pd.DataFrame(
        [[of[name]["value"] if name in of else 0.0 for name in names] for of in shares],
        index=[f"{texts[node.position]} {row_of(node)}" for node in nodes],
        columns=[WORDS.get(name, name) for name in names],
    )


def draw_heat(search: Mapping[str, Any], folder: Path) -> Drawn | None:
    """Draw the impact of useful nodes by token as ``heat`` in PNG, SVG and PDF; None if there is no useful node."""
    table = token_impacts(search)
    if table.empty:
        return None
    panels = 1 if len(table) <= ROWS_PER_PANEL else 2
    rows, numbered = -(-len(table) // panels), len(table) <= NUMBERED_AT_MOST
    width = panels * (0.85 + COLUMN_INCHES * len(table.columns)) + 0.7
    with style():
        figure = Figure(figsize=(max(3.6, width), 0.9 + ROW_INCHES * rows), layout="constrained")
        every = figure.subplots(1, panels, squeeze=False)[0]
        cmap = shades()
        for index, axes in enumerate(every):
            part = table.iloc[index * rows : (index + 1) * rows]
            text = np.where(part >= 0.005, (100 * part).round().astype(int).astype(str), "") if numbered else None
            sns.heatmap(
                part,
                ax=axes,
                vmin=0,
                vmax=1,
                cmap=cmap,
                cbar=False,
                annot=text,
                fmt="",
                annot_kws={"fontsize": 5},
                linewidths=0.4,
                linecolor="white",
                rasterized=not numbered,
                xticklabels=True,
                yticklabels=True,
            )
            axes.set_ylim(rows, 0)
            axes.tick_params(axis="x", top=True, labeltop=True, bottom=False, labelbottom=False, length=0, rotation=0)
            axes.tick_params(axis="y", length=0, rotation=0, labelsize=5.5)
        bar = figure.colorbar(ScalarMappable(Normalize(0, 1), cmap), ax=list(every), shrink=0.6, aspect=30, pad=0.01)
        bar.ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        figure.suptitle(f"{search['model']['name']}: what breaks, by token of the answer", fontsize=8.5)
        return save(
            figure,
            folder,
            Drawn(
                name="heat",
                title="What breaks, by token of the answer",
                caption="A row is a useful node, named by the token at its position; a cell the share in % of right "
                "tokens that become wrong when the node is ablated, empty below half a percent.",
                alternative=f"Heat map of {len(table)} nodes by tokens of the answer; the numbers are in search.json.",
                width_inches=max(3.6, width),
            ),
        )
