"""Rival theories of length generalization behind one interface: each forecasts a cell, or says that it is silent.

A theory is a rule from a question and a cell to a claim (generalizes, fails, silent), a number where it
names one, and a reason. The published ones are in ``readings``, each with its source; ours is among them, and so are
two baselines. To generalize is an exact match of at least 99 %, as in the comparison of predictions with measurements.

>>> from carryproof.theory import formats, predict, tasks
>>> from carryproof.theory.ranges import TrainingRange
>>> asked = Question(task=tasks.addition(), format=formats.padded(6), encoding="rope",
...                  train=TrainingRange(lengths=(1, 2)))
>>> for each in forecasts(predict(asked, [5])):
...     print(f"{each.theory:9} {each.claim}")
ours      silent
xu        generalizes
xu-gcd    silent
rasp-l    generalizes
c-rasp    silent
sparsity  generalizes
n-r       fails
never     fails
always    generalizes
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from carryproof.theory import readings
from carryproof.theory.positions import Positions
from carryproof.theory.prediction import Cell, Prediction, Question, write_fraction
from carryproof.theory.ranges import OperandLaw
from carryproof.theory.readings import Answer, Claim

Rule = Callable[[Question, Cell], Answer]
SUCCESS = Fraction(99, 100)


@dataclass(frozen=True, kw_only=True, slots=True)
class Theory:
    """A theory by name: what it is called, where it is stated, and its rule."""

    name: str
    title: str
    source: str
    rule: Rule


@dataclass(frozen=True, kw_only=True, slots=True)
class Forecast:
    """What one theory says of one cell; ``accuracy`` is the exact match it names, or None."""

    theory: str
    test_digits: int
    law: OperandLaw
    claim: Claim
    accuracy: Fraction | None
    why: str

    def to_dict(self) -> dict[str, Any]:
        """The forecast as plain data; ``accuracy`` is a fraction as text."""
        return {
            "theory": self.theory,
            "test_digits": self.test_digits,
            "law": self.law,
            "claim": self.claim,
            "accuracy": None if self.accuracy is None else write_fraction(self.accuracy),
            "why": self.why,
        }


def forecasts(prediction: Prediction) -> tuple[Forecast, ...]:
    """What every theory says of the cells of a prediction that lie outside the training range.

    Accuracy inside it is the precondition of every theory, so no forecast is made there.
    """
    cells = [cell for cell in prediction.cells if cell.verdict != "in-range"]
    found = []
    for theory in THEORIES.values():
        for cell in cells:
            claim, accuracy, why = theory.rule(prediction.question, cell)
            found.append(
                Forecast(
                    theory=theory.name,
                    test_digits=cell.test_digits,
                    law=cell.law,
                    claim=claim,
                    accuracy=accuracy,
                    why=why,
                )
            )
    return tuple(found)


def _ours(question: Question, cell: Cell) -> Answer:
    """The verdict of ``predict``: excluded and forced cells are claims; permitted and silent ones are none."""
    if cell.verdict == "excluded":
        sure: Claim = "generalizes" if cell.accuracy is not None and cell.accuracy >= SUCCESS else "fails"
        return sure, cell.accuracy, f"excluded: the model computes {cell.surrogate}"
    if cell.verdict == "forced":
        return "generalizes", cell.accuracy, "forced: every model that is right in range is right here"
    return "silent", None, f"{cell.verdict}: no outcome is promised"


def _never(question: Question, cell: Cell) -> Answer:
    """A baseline: no longer problem is solved."""
    return ("fails", None, "a baseline") if readings.is_longer(question, cell) else ("silent", None, readings.SHORTER)


def _always(question: Question, cell: Cell) -> Answer:
    """A baseline: every longer problem is solved."""
    longer = readings.is_longer(question, cell)
    return ("generalizes", None, "a baseline") if longer else ("silent", None, readings.SHORTER)


def _in_text_order(rule: Rule) -> Rule:
    """A published rule, silent where ids are not counted along the text: none of them treats such ids."""

    def restricted(question: Question, cell: Cell) -> Answer:
        if question.format.positions != Positions():
            return "silent", None, "it treats positions counted along the text"
        return rule(question, cell)

    return restricted


THEORIES: Mapping[str, Theory] = {
    theory.name: theory
    for theory in (
        Theory(name="ours", title="Carryproof", source="this library", rule=_ours),
        Theory(
            name="xu",
            title="Translation invariance",
            source="Xu et al., arXiv 2407.17963",
            rule=_in_text_order(readings.translation_invariance),
        ),
        Theory(
            name="xu-gcd",
            title="gcd(p, 10^n) / p",
            source="Xu et al., arXiv 2407.17963",
            rule=_in_text_order(readings.modulus_share),
        ),
        Theory(
            name="rasp-l",
            title="Short RASP-L program",
            source="Zhou et al., arXiv 2310.16028",
            rule=_in_text_order(readings.short_program),
        ),
        Theory(
            name="c-rasp",
            title="C-RASP half-split",
            source="Huang et al., arXiv 2410.02140",
            rule=_in_text_order(readings.half_split_bound),
        ),
        Theory(
            name="sparsity",
            title="Sparse dependencies",
            source="Golowich et al., arXiv 2502.16792",
            rule=_in_text_order(readings.sparse_dependencies),
        ),
        Theory(
            name="n-r",
            title="(n, r)-consistency",
            source="Xiao and Liu, arXiv 2404.00560",
            rule=_in_text_order(readings.interval_consistency),
        ),
        Theory(name="never", title="Never generalizes", source="baseline", rule=_never),
        Theory(name="always", title="Always generalizes", source="baseline", rule=_always),
    )
}
