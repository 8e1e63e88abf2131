"""Published accuracies above the trained length, beside ours: arXiv 2407.17963, learned absolute positions.

Their models have 6 layers, 6 heads, width 384 (10.7M parameters) and one seed; operands most-significant-first, padded
to 20. Rows hold percent exact match at 1, 2, ... digits beyond the longest trained one. Lengths and sizes differ from
ours, so only the pattern can be compared.

>>> PUBLISHED["modular-addition", 101].beyond
(0.0, 1.2, 0.9, 1.1, 1.0)
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from carryproof.benchmarks.sections import Panel, Section, percent

SOURCE = "arXiv 2407.17963, 10.7M parameters, one seed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """Percent exact match at 1, 2, ... digits beyond ``trained``."""

    trained: int
    beyond: tuple[float, ...]


PUBLISHED: dict[tuple[str, int | None], Published] = {
    ("addition", None): Published(trained=4, beyond=(0.0, 0.0, 0.0, 0.0, 0.0)),
    ("multiplication", None): Published(trained=3, beyond=(0.0, 0.0, 0.0, 0.0, 0.0)),
    ("modular-addition", 50): Published(trained=4, beyond=(99.3, 92.0, 93.1, 95.2, 91.4)),
    ("modular-addition", 51): Published(trained=4, beyond=(0.3, 1.8, 1.9, 1.9, 1.6)),
    ("modular-addition", 100): Published(trained=4, beyond=(100.0, 100.0, 100.0, 100.0, 100.0)),
    ("modular-addition", 101): Published(trained=4, beyond=(0.0, 1.2, 0.9, 1.1, 1.0)),
    ("modular-addition", 150): Published(trained=4, beyond=(33.2, 33.6, 32.3, 33.0, 33.7)),
    ("modular-addition", 151): Published(trained=4, beyond=(0.0, 0.6, 0.7, 0.7, 0.6)),
    ("modular-addition", 200): Published(trained=4, beyond=(99.8, 98.9, 93.7, 94.1, 93.5)),
    ("modular-addition", 201): Published(trained=4, beyond=(0.0, 0.0, 0.5, 0.4, 0.5)),
    ("modular-multiplication", 50): Published(trained=3, beyond=(100.0, 100.0, 100.0, 100.0, 100.0)),
    ("modular-multiplication", 51): Published(trained=3, beyond=(2.6, 2.5, 2.8, 2.4, 2.5)),
    ("modular-multiplication", 100): Published(trained=3, beyond=(100.0, 100.0, 100.0, 100.0, 100.0)),
}
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
    values = tuple(f"{value:g}" for value in row.beyond)
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


def published(task: Mapping[str, Any]) -> Published | None:
    """The published row of a task given as plain data: two operands in base 10, or there is none."""
    if task["operands"] != 2 or task["base"] != 10:
        return None
    return PUBLISHED.get((task["name"], task["modulus"]))
