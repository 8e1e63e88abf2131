"""How figures look and how they are written: fonts, colours, and the same bytes for the same data.

Figures are drawn on matplotlib's object interface and never registered with pyplot. Seeds keep one colour and one
marker through a whole report, taken from seaborn's colour-blind-safe palette; markers differ too, for print in grey.
Text is never read as mathematics, so a name with a dollar sign is only a name.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

PAGE_INCHES = 7.2  # the text width of a paper with narrow margins; single-column figures take half of it
PANELS_PER_ROW = 5
PNG_DOTS_PER_INCH = 200
INK, GREY, SHADE = "0.1", "0.45", "0.92"
_MARKERS = "osD^vPX<>*"
_RC: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 7,
    "axes.titlesize": 7.5,
    "axes.labelsize": 7,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 6.5,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.markersize": 3.4,
    "legend.frameon": False,
    "text.parse_math": False,
    "text.usetex": False,
    "pdf.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "carryproof",
    "savefig.bbox": None,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawn:
    """A figure on disk: its file stem, what it shows, a description for those who cannot see it, and its width."""

    name: str
    title: str
    caption: str
    alternative: str
    width_inches: float


@dataclass(frozen=True, kw_only=True, slots=True)
class SeedStyle:
    """The colour and marker of a seed."""

    colour: tuple[float, float, float]
    marker: str


@contextmanager
def style() -> Iterator[None]:
    """The look of every figure, for the length of a block; the caller's settings come back afterwards."""
    with matplotlib.rc_context(rc=sns.axes_style("ticks") | sns.plotting_context("paper") | _RC):
        yield


def seed_styles(seeds: Iterable[int]) -> dict[int, SeedStyle]:
    """One colour and marker per seed."""
    palette = sns.color_palette("colorblind")
    return {
        seed: SeedStyle(colour=tuple(palette[index % len(palette)]), marker=_MARKERS[index % len(_MARKERS)])
        for index, seed in enumerate(sorted(set(seeds)))
    }


def save(figure: Figure, folder: Path, drawn: Drawn) -> Drawn:
    """Write a figure as PNG, SVG and PDF, laid out once; equal figures give equal bytes."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    figure.dpi = PNG_DOTS_PER_INCH
    # Each canvas is asked itself: Figure.savefig would lay the figure out and draw it once more for every format.
    png: Any = FigureCanvasAgg(figure)
    png.print_png(folder / f"{drawn.name}.png", metadata={"Software": None})
    svg: Any = FigureCanvasSVG(figure)
    svg.print_svg(folder / f"{drawn.name}.svg", metadata={"Date": None, "Creator": None})
    pdf: Any = FigureCanvasPdf(figure)
    pdf.print_pdf(folder / f"{drawn.name}.pdf", metadata={"CreationDate": None, "Creator": None, "Producer": None})
    return drawn


def panel_width(columns: int) -> float:
    """The width in inches of a figure with so many panels beside each other: the page, or less for few of them."""
    return PAGE_INCHES if columns >= 4 else max(PAGE_INCHES / 2, 0.8 + 1.9 * columns)


def grid(rows: int, columns: int, *, row_inches: float) -> tuple[Figure, list[list[Axes]]]:
    """A figure of equal panels, laid out so that no labels overlap."""
    figure = Figure(figsize=(panel_width(columns), 0.75 + rows * row_inches), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False)
    return figure, [list(row) for row in panels]


def add_legend(figure: Figure, handles: Sequence[Artist], columns: int) -> None:
    """One legend below all panels, in as many rows as its width asks for."""
    figure.legend(handles=handles, loc="outside lower center", ncols=8 if columns >= 4 else 3)


def percent_axis(axes: Axes, *, labels: bool = True) -> None:
    """Accuracy upwards from 0 to 100 %, with room for the marks of outcomes on top."""
    axes.set_ylim(-0.05, 1.16)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.spines["left"].set_bounds(0, 1)
    axes.tick_params(labelleft=labels)


def length_axis(axes: Axes, lengths: Iterable[int]) -> None:
    """Test lengths rightwards, each with its tick; every other one is labelled where they are many."""
    ticks = sorted(set(lengths))
    if not ticks:
        return
    axes.set_xlim(ticks[0] - 0.6, ticks[-1] + 0.6)
    step = 1 + (len(ticks) - 1) // 10
    axes.set_xticks(ticks[::step])


def shade_trained(axes: Axes, trained: Iterable[int]) -> None:
    """Grey behind the trained lengths in sight, one patch for each run of neighbours, so that no seams show."""
    left, right = axes.get_xlim()
    lengths = sorted({length for length in trained if left <= length <= right})
    firsts = [length for length in lengths if length - 1 not in lengths]
    lasts = [length for length in lengths if length + 1 not in lengths]
    for first, last in zip(firsts, lasts, strict=True):
        axes.axvspan(first - 0.5, last + 0.5, color=SHADE, linewidth=0, zorder=0)
