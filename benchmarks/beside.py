"""Published accuracies above the trained length beside those of a study, for learned absolute positions.

Rows hold percent exact match at 1, 2, ... digits beyond the longest trained length. Lengths and sizes of the published
models differ from ours, so only the pattern can be compared.

>>> beside_ours([])
[]
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from carryproof.benchmarks.literature import published
from carryproof.benchmarks.sections import Panel, Section, percent

STEPS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One model: task, whose it is, its trained lengths, and percent exact match at 1, 2, ... digits beyond them."""

    title: str
    model: str
    trained: str
    values: tuple[str, ...]


def beside_ours(sections: Sequence[Section]) -> list[Row]:
    """For each task that was published: the published row, then every seed of ours under learned absolute positions."""
    return [row for section in sections for row in _rows(section)]


def _rows(section: Section) -> Iterator[Row]:
    row = published(section.task)
    if row is None:
        return
    values = tuple(f"{value:g}" for value in row.beyond[:STEPS])
    yield Row(title=section.title, model="published", trained=str(row.trained), values=values)
    for panel in section.panels:
        if panel.encoding == "absolute" and "exact" in section.laws:
            yield from _ours(section, panel)


def _ours(section: Section, panel: Panel) -> Iterator[Row]:
    cells = {cell.cell["test_digits"]: cell for cell in panel.under("exact")}
    for run in panel.runs:
        values = []
        for length in range(section.trained[-1] + 1, section.trained[-1] + 1 + STEPS):
            seeds = cells[length].seeds if length in cells else ()
            found = [percent(seed.accuracy).removesuffix("%") for seed in seeds if seed.run_id == run["run_id"]]
            values.append(found[0] if found else "")
        yield Row(
            title=section.title,
            model=f"ours, seed {run['config']['seed']}",
            trained=section.train_digits.replace("-", "–"),
            values=tuple(values),
        )
