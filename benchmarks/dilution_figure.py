"""The figure of dilution: accuracy over length of soft encodings, forecast from the trained lengths and measured.

Every encoding is a panel. A full line is a seed's accuracy as measured, with a marker at every length; the forecast
from the weight of far keys is dashed and the one from their number dotted, in the colour of the seed. Trained lengths
are shaded.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from carryproof.benchmarks.dilution import Dilution
from carryproof.benchmarks.drawing import INK, PAGE_INCHES, SHADE, Drawn, percent_axis, save, seed_styles, style

TICKS = (10, 20, 50, 100)
LINES: dict[str, Any] = {"measured": "-", "scored": "--", "counted": ":"}
TITLES = {
    "absolute, ids=coupled:104": "position coupling",
    "absolute, ids=abacus:104": "Abacus",
    "fire, ids=coupled": "FIRE, coupled ids",
    "rope, ids=coupled": "RoPE, coupled ids",
    "relative-clipped, ids=coupled": "clipped bias, coupled ids",
}


def draw_dilution(records: Sequence[Dilution], folder: Path) -> Drawn:
    """Draw the runs as PNG, SVG and PDF, a panel an encoding in the order of the runs."""
    labels = list(dict.fromkeys(record.label for record in records))
    styles = seed_styles(record.seed for record in records)
    with style():
        figure = Figure(figsize=(PAGE_INCHES, 2.1), layout="constrained")
        panels = figure.subplots(1, len(labels), squeeze=False)[0]
        for at, (axes, label) in enumerate(zip(panels, labels, strict=True)):
            for record in (each for each in records if each.label == label):
                look = styles[record.seed]
                for name, line in LINES.items():
                    curve = getattr(record, name)
                    if curve is not None:
                        marker = look.marker if name == "measured" else "none"
                        axes.plot(record.lengths, curve, line, color=look.colour, lw=0.9, marker=marker, markersize=2.4)
            longest = max(record.lengths[-1] for record in records)
            shortest = min(record.lengths[0] for record in records)
            axes.axvspan(0.93 * shortest, shortest, color=SHADE, linewidth=0, zorder=0)
            axes.set_xscale("log")
            axes.set_xlim(0.93 * shortest, 1.08 * longest)
            axes.xaxis.set_major_locator(FixedLocator([tick for tick in TICKS if tick <= longest]))
            axes.xaxis.set_minor_locator(NullLocator())
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))
            percent_axis(axes, labels=at == 0)
            axes.set_ylim(-0.05, 1.08)
            axes.set_title(TITLES.get(label, label), loc="left")
        panels[len(labels) // 2].set_xlabel("digits of the operands")
        kinds = {
            "measured": "measured",
            "scored": "forecast, weight of far keys",
            "counted": "forecast, number of far keys",
        }
        handles = [Line2D([], [], color=INK, ls=LINES[name], lw=0.9, label=text) for name, text in kinds.items()]
        handles += [
            Line2D([], [], color=look.colour, linestyle="none", marker=look.marker, label=f"seed {seed}")
            for seed, look in styles.items()
        ]
        sns.despine(fig=figure)
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
        return save(
            figure,
            folder,
            Drawn(
                name="dilution",
                title="Soft attention dilutes",
                caption="Exact match over length, trained on 1 to 10 digits: measured, and forecast from problems of "
                "10 digits whose far keys are made as heavy as at each length, by their number or by the model's own "
                "scores.",
                alternative="Accuracy over length by encoding, measured and forecast; numbers are in dilution.json.",
                width_inches=PAGE_INCHES,
            ),
        )
