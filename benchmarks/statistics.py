"""Intervals and tests on k of n: how far a measured accuracy is from a predicted one, seed by seed.

Intervals are Clopper-Pearson (exact binomial, from scipy). A prediction p0 is held against one seed by two one-sided
exact tests with a stated margin d: equivalence rejects |p - p0| >= d, difference rejects |p - p0| <= d. Over the
comparisons of a study, p-values are adjusted by Holm's step-down rule.

>>> interval(1000, 1000).low > 0.996, equivalence(10, 1000, 0.0101, 0.02) < 0.001
(True, True)
"""

from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import binom, binomtest

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """A two-sided confidence interval of a share."""

    low: float
    high: float


def interval(successes: int, trials: int, confidence: float = CONFIDENCE) -> Interval:
    """The Clopper-Pearson interval of ``successes`` of ``trials``; the whole unit interval if nothing was tried."""
    if trials == 0:
        return Interval(low=0.0, high=1.0)
    found = binomtest(successes, trials).proportion_ci(confidence_level=confidence, method="exact")
    return Interval(low=float(found.low), high=float(found.high))


def equivalence(successes: int, trials: int, predicted: float, margin: float) -> float:
    """The p-value of the hypothesis that the true share is ``margin`` or more away from ``predicted``.

    Two one-sided exact binomial tests; a bound outside [0, 1] cannot be crossed and needs no test.
    """
    low, high = predicted - margin, predicted + margin
    above = float(binom.sf(successes - 1, trials, low)) if low >= 0 else 0.0
    below = float(binom.cdf(successes, trials, high)) if high <= 1 else 0.0
    return max(above, below)


def difference(successes: int, trials: int, predicted: float, margin: float) -> float:
    """The p-value of the hypothesis that the true share is within ``margin`` of ``predicted`` (two-sided)."""
    low, high = predicted - margin, predicted + margin
    above = float(binom.sf(successes - 1, trials, high)) if high < 1 else 1.0
    below = float(binom.cdf(successes, trials, low)) if low > 0 else 1.0
    return min(1.0, 2 * min(above, below))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjustment: each p-value made comparable to the level of the whole family.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted
