"""A scored study arranged for reading: one section per task, one panel per encoding, and the words for both.

Report, figures and tables all walk the same sections, so that a cell has one name and one place everywhere. A section
holds the questions that share task, format and training range; its panels keep the registry's order.

>>> percent(41 / 4050), percent(1.0), percent(0.999999), short_fraction("41/4050", 41 / 4050)
('1.012%', '100%', '>99.99%', '41/4050')
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from carryproof.benchmarks.compare import Comparison, StudyResult
from carryproof.theory import encodings
from carryproof.theory.ranges import parse_lengths

FRACTION_CHARACTERS = 20
VERDICTS = ("in-range", "excluded", "permitted", "forced", "silent")
OUTCOMES = ("confirmed", "refuted", "not testable")
ENCODING_WORDS = {
    "absolute": "learned absolute",
    "alibi": "ALiBi",
    "fire": "FIRE",
    "kerple": "KERPLE",
    "none": "none (NoPE)",
    "relative-clipped": "relative (clipped)",
    "relative-shaw": "relative (Shaw)",
    "relative-t5": "relative (T5)",
    "rope": "RoPE",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Panel:
    """One question: its encoding, its cells in order, and its runs in the order of their seeds."""

    prediction_id: str
    encoding: str
    cells: tuple[Comparison, ...]
    runs: tuple[Mapping[str, Any], ...]

    @property
    def words(self) -> str:
        """The encoding in words."""
        return ENCODING_WORDS.get(self.encoding, self.encoding)

    @property
    def told(self) -> str | None:
        """What the encoding tells the model about the text; None for one that the theory does not know."""
        twin = encodings.ENCODINGS.get(self.encoding)
        return None if twin is None else twin.told

    def under(self, law: str) -> list[Comparison]:
        """The cells of one operand law, by length."""
        return sorted(
            (cell for cell in self.cells if cell.cell["law"] == law), key=lambda each: int(each.cell["test_digits"])
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """The questions that share task, format and training range; ``slug`` names its files."""

    title: str
    slug: str
    task: Mapping[str, Any]
    format: str
    train_digits: str
    train_law: str
    panels: tuple[Panel, ...]

    @property
    def trained(self) -> tuple[int, ...]:
        """The trained lengths."""
        return parse_lengths(self.train_digits)

    @property
    def train_words(self) -> str:
        """The trained lengths in words."""
        return digits(self.train_digits.replace("-", "–"))

    @property
    def laws(self) -> list[str]:
        """The operand laws that were measured, the law of the training first."""
        found = {cell.cell["law"]: None for panel in self.panels for cell in panel.cells}
        return sorted(found, key=lambda law: law != self.train_law)


def arrange(result: StudyResult) -> list[Section]:
    """The sections of a study, in the registry's order."""
    groups: dict[tuple[str, str, str, str], dict[str, list[Comparison]]] = {}
    for comparison in result.comparisons:
        asked = comparison.question
        key = (task_words(asked["task"]), asked["format"], asked["train_digits"], asked["train_law"])
        groups.setdefault(key, {}).setdefault(comparison.prediction_id, []).append(comparison)
    titles = Counter(title for title, *_ in groups)
    sections: list[Section] = []
    for (title, form, digits, law), questions in groups.items():
        if titles[title] > 1:
            title = f"{title} ({form}, trained on {digits})"
        panels = tuple(_panel(result, identity, cells) for identity, cells in questions.items())
        sections.append(
            Section(
                title=title,
                slug=_slug(title, taken={section.slug for section in sections}),
                task=panels[0].cells[0].question["task"],
                format=form,
                train_digits=digits,
                train_law=law,
                panels=panels,
            )
        )
    return sections


def _panel(result: StudyResult, prediction_id: str, cells: Sequence[Comparison]) -> Panel:
    runs = [run for run in result.runs if run["prediction_id"] == prediction_id]
    return Panel(
        prediction_id=prediction_id,
        encoding=cells[0].question["encoding"],
        cells=tuple(cells),
        runs=tuple(sorted(runs, key=lambda run: int(run["config"]["seed"]))),
    )


def _slug(title: str, taken: set[str]) -> str:
    stem = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:60] or "task"
    names = [stem, *(f"{stem}-{number}" for number in range(2, len(taken) + 3))]
    return next(name for name in names if name not in taken)


def task_words(task: Mapping[str, Any]) -> str:
    """A task, given as plain data, in words.

    >>> task_words({"name": "modular-addition", "operands": 2, "base": 10, "modulus": 101})
    'Addition modulo 101'
    """
    parts = [str(task["name"]).removeprefix("modular-").capitalize()]
    if task["operands"] != 2:
        parts.append(f"of {task['operands']} numbers")
    if task["modulus"] is not None:
        parts.append(f"modulo {task['modulus']}")
    if task["base"] != 10:
        parts.append(f"in base {task['base']}")
    return " ".join(parts)


def percent(share: float) -> str:
    """A share to four significant digits; what is not everything is never rounded up to 100 %."""
    text = f"{100 * share:.4g}%"
    return ">99.99%" if text == "100%" and share < 1 else text


def cut(text: str, characters: int) -> str:
    """Text that fits: what is longer ends in an ellipsis. The page and the CSV files hold the whole.

    >>> cut("addition", 8), cut("multiplication", 8)
    ('addition', 'multipl…')
    """
    return text if len(text) <= characters else text[: characters - 1] + "…"


def digits(lengths: int | str) -> str:
    """Lengths with their unit.

    >>> digits(1), digits("1–3")
    ('1 digit', '1–3 digits')
    """
    return f"{lengths} digit" if str(lengths) == "1" else f"{lengths} digits"


def number(value: float | None) -> str:
    """A number to two decimals; a dash where there is none."""
    return "–" if value is None else f"{value:.2f}"


def short_fraction(text: str, value: float) -> str:
    """A fraction as exact text where that is short, else its value to six digits."""
    return text if len(text) <= FRACTION_CHARACTERS else f"≈{value:.6g}"


def predicted_words(cell: Mapping[str, Any]) -> tuple[str, str]:
    """The predicted accuracy of a cell as fraction and as percent; a condition is marked as one, nothing is a dash."""
    if cell["accuracy"] is None:
        return "–", "–"
    exact = short_fraction(cell["accuracy"], cell["accuracy_float"])
    condition = {"in-range": " required", "permitted": " if learned"}.get(cell["verdict"], "")
    return exact + condition, percent(cell["accuracy_float"])


def untested_because(comparison: Comparison) -> str | None:
    """Why a cell is not testable, as one of few kinds that can be counted; None for a tested one."""
    if comparison.outcome != "not testable":
        return None
    if not comparison.seeds:
        return "no finished run"
    match comparison.cell["verdict"]:
        case "in-range":
            return "in range, the precondition of the others"
        case "permitted":
            return "permitted, without a registered P(success)"
        case "silent":
            return "silent theory"
    if comparison.cell["accuracy"] is None:
        return "no accuracy named"
    if not any(seed.eligible for seed in comparison.seeds):
        return "no seed right in range"
    return "inconclusive"


def measured_range(comparison: Comparison) -> str:
    """The span of the seeds' accuracies.

    The seed is the unit, so a span is all that may be said of several of them in few characters.
    """
    if not comparison.seeds:
        return "no run"
    return span([seed.accuracy for seed in comparison.seeds])


def span(shares: Sequence[float]) -> str:
    """The lowest and the highest of several shares.

    >>> span([0.5, 1.0, 0.25]), span([1.0, 1.0])
    ('25–100%', '100%')
    """
    low, high = percent(min(shares)), percent(max(shares))
    return low if low == high else f"{low.removesuffix('%')}–{high}"


def run_status(run: Mapping[str, Any], threshold: float) -> str:
    """What became of a run: finished, diverged, or not right enough in range to be held against the theory."""
    if run["status"] != "finished":
        return str(run["status"])
    if run["in_range"] is None:
        return "in range not measured"
    return "finished" if run["in_range"] >= threshold else f"below {percent(threshold)} in range"
