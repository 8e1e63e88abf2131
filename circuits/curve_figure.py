"""The figure of learning: the loss of every token of the answer over the steps of training, on a logarithmic scale.

Tokens are learned one after another where a digit waits for the carries below it; the highest digit is the darkest line
and the sign is black. The upper panel has the share of problems that are right as a whole.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from carryproof.benchmarks.drawing import INK, Drawn, percent_axis, save, style
from carryproof.circuits.ablation import token_names
from carryproof.circuits.sites import WORDS
from carryproof.theory.errors import bad

WIDTH = 5.6
MARKERS = "osD^vP"
LEAST = 1e-7  # nats; a loss that rounds to 0 is drawn here


def draw_curves(curve: Mapping[str, Any], digits: int, folder: Path) -> Drawn | None:
    """Draw the loss by token of a training record as ``curves`` in PNG, SVG and PDF; None if it has none by token.

    Raises ``ValueError`` for losses of another number of tokens than n + 2.
    """
    points = [point for point in curve["loss"] if point.get("tokens")]
    if not points:
        return None
    names = token_names(digits)
    if any(len(point["tokens"]) != len(names) for point in points):
        raise bad("curve", f"losses of {len(points[0]['tokens'])} tokens", f"{len(names)}, as {digits} digits have")
    steps = [point["step"] for point in points]
    with style():
        figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(1, 2.6))
        upper.plot(steps, [point["in_range"] for point in points], color=INK, linewidth=0.9)
        percent_axis(upper)
        upper.set_yticks([0, 0.5, 1])
        upper.set_ylabel("exact match")
        colours = [(0.1, 0.1, 0.1), *sns.color_palette("viridis", len(names) - 1)]
        for index, (name, colour) in enumerate(zip(names, colours, strict=True)):
            losses = [point["tokens"][index] for point in points]
            lower.plot(
                steps,
                [None if loss is None else max(loss, LEAST) for loss in losses],
                color=colour,
                linewidth=0.9,
                linestyle="--" if index == 0 else "-",
                marker=MARKERS[index % len(MARKERS)],
                markersize=2.6,
                markevery=(index % 5, max(1, len(steps) // 8)),
                label=WORDS.get(name, name),
            )
        lower.set_yscale("log")
        lower.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        lower.yaxis.set_minor_locator(NullLocator())
        lower.set_xlabel("steps of training")
        lower.set_ylabel("loss of the token, nats")
        sns.despine(fig=figure)
        figure.legend(loc="outside right center", title="token", title_fontsize=7)
        return save(
            figure,
            folder,
            Drawn(
                name="curves",
                title="Learning, token by token",
                caption="Above, the share of problems that are right as a whole; below, the mean loss of every token "
                "of the answer, both on a sample of the training mixture.",
                alternative="Learning curves by token of the answer; the numbers are in train.json.",
                width_inches=WIDTH,
            ),
        )
