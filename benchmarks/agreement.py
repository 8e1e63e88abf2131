"""Published numbers held against the exact law: chi-square of right and wrong answers, cell by cell and row by row.

A model that computes the truncation surrogate is right on exactly the fraction of law L4 or L5, so in each cell the
right answers of n independent problems are binomial with nothing fitted: chi-square has one degree of freedom a cell.
It needs at least 5 right and 5 wrong answers to be expected. A percentage rounded in print leaves the count open, so
the statistic is given at the rounded count, with the least and the most it can be within the rounding.

>>> from carryproof.benchmarks.literature import PUBLISHED
>>> from carryproof.theory import tasks
>>> found = held_against_law(tasks.modular_addition(101), PUBLISHED["modular-addition", 101])
>>> found.degrees, round(found.chi_square.printed, 1), round(found.p_value, 2), found.conclusion
(4, 5.6, 0.23, 'agrees')
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from scipy.stats import chi2

from carryproof.benchmarks.literature import PROBLEMS, Published, modular_rows
from carryproof.benchmarks.statistics import holm
from carryproof.theory import Task, surrogate_accuracy
from carryproof.theory.ranges import OperandLaw, write_lengths

EXPECTED_AT_LEAST = 5  # of right and of wrong answers: below it, chi-square is not chi-square distributed
IN_RANGE = 99.0  # percent; a model that is less right in range is outside the law's precondition
LEVEL = 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class ChiSquare:
    """Chi-square at the printed count, and the least and the most that the rounding of the print leaves open."""

    printed: float
    least: float
    most: float


@dataclass(frozen=True, kw_only=True, slots=True)
class LawCell:
    """One published percentage beside the exact accuracy; ``chi_square`` is None where it does not apply."""

    length: int
    percent: float
    exact: Fraction | None
    chi_square: ChiSquare | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """A published row beside the exact law."""

    task: Task
    row: Published
    cells: tuple[LawCell, ...]

    @property
    def tested(self) -> list[tuple[int, ChiSquare]]:
        """The lengths where chi-square applies, with its value."""
        return [(cell.length, cell.chi_square) for cell in self.cells if cell.chi_square is not None]

    @property
    def degrees(self) -> int:
        """The degrees of freedom: one a tested cell, since nothing is fitted."""
        return len(self.tested)

    @property
    def chi_square(self) -> ChiSquare | None:
        """The sum over the tested cells."""
        return _sum([value for _, value in self.tested])

    @property
    def p_value(self) -> float | None:
        """The chance of so large a chi-square under the law, at the printed counts."""
        return None if self.chi_square is None else tail(self.chi_square.printed, self.degrees)

    @property
    def right_in_range(self) -> bool:
        """Whether the model fulfils the law's precondition."""
        return self.row.in_range >= IN_RANGE

    @property
    def leaks(self) -> list[int]:
        """The lengths where the law leaves no chance, 0 or 1, and the published percentage is another (law L14)."""
        certain = [cell for cell in self.cells if cell.exact in (0, 1)]
        return [cell.length for cell in certain if cell.exact is not None and cell.percent != 100 * cell.exact]

    @property
    def conclusion(self) -> str:
        """What the row says of the law at the level of 5 %, or why it cannot be asked."""
        if not self.right_in_range:
            return f"not asked: {self.row.in_range:.3g} % in range"
        if any(cell.exact is None for cell in self.cells):
            return "not asked: no exact value"
        leaks = f"; leaks at {write_lengths(tuple(self.leaks))} digits" if self.leaks else ""
        if self.p_value is None:
            return f"1 is predicted{leaks or ', and found'}"
        return f"{'agrees' if self.p_value >= LEVEL else 'disagrees'}{leaks}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Total:
    """Chi-square over all tested cells of the rows that are right in range."""

    rows: int
    degrees: int
    chi_square: ChiSquare
    p_value: float


def held_against_law(task: Task, row: Published, *, law: OperandLaw = "exact") -> Agreement:
    """A published row beside the exact accuracy of the surrogate under an operand law."""
    cells = []
    for length, percent in enumerate(row.beyond, row.trained + 1):
        exact = surrogate_accuracy(task, trained=row.trained, length=length, law=law)
        value = None if exact is None else _chi_square(percent, float(exact), row.uncertain)
        cells.append(LawCell(length=length, percent=percent, exact=exact, chi_square=value))
    return Agreement(task=task, row=row, cells=tuple(cells))


def agreements(*, law: OperandLaw = "exact") -> list[Agreement]:
    """Every published modular row beside the exact law; the published test operands have exactly m digits."""
    return [held_against_law(task, row, law=law) for task, row in modular_rows()]


def total(found: Sequence[Agreement], operation: str) -> Total | None:
    """The sum over the rows of one operation that are right in range; None if chi-square applies to none of them."""
    rows = [each for each in found if each.task.operation.name == operation and each.right_in_range and each.degrees]
    summed = _sum([each.chi_square for each in rows if each.chi_square is not None])
    if summed is None:
        return None
    degrees = sum(each.degrees for each in rows)
    return Total(rows=len(rows), degrees=degrees, chi_square=summed, p_value=tail(summed.printed, degrees))


def adjusted(found: Sequence[Agreement]) -> dict[Task, float]:
    """The p-values of the rows that are right in range, adjusted by Holm's rule since there are several of them."""
    tested = [(each.task, each.p_value) for each in found if each.right_in_range and each.p_value is not None]
    return dict(zip([task for task, _ in tested], holm([p_value for _, p_value in tested]), strict=True))


def tail(statistic: float, degrees: int) -> float:
    """The chance that chi-square exceeds a value."""
    return float(chi2.sf(statistic, degrees))


def _chi_square(percent: float, share: float, uncertain: int) -> ChiSquare | None:
    """Of right and wrong answers together: (k - n p)^2 / (n p (1 - p)), with k known up to ``uncertain``."""
    right, wrong = PROBLEMS * share, PROBLEMS * (1 - share)
    if min(right, wrong) < EXPECTED_AT_LEAST:
        return None
    away, variance = abs(percent * PROBLEMS / 100 - right), right * (1 - share)
    least, most = max(0.0, away - uncertain), away + uncertain
    return ChiSquare(printed=away**2 / variance, least=least**2 / variance, most=most**2 / variance)


def _sum(values: Sequence[ChiSquare]) -> ChiSquare | None:
    if not values:
        return None
    return ChiSquare(
        printed=sum(value.printed for value in values),
        least=sum(value.least for value in values),
        most=sum(value.most for value in values),
    )
