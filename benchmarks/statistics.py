"""Intervals and tests on k of n: how far a measured accuracy is from a predicted one, seed by seed.

Intervals are Clopper-Pearson (exact binomial, from scipy). A prediction p0 is held against one seed by two one-sided
exact tests with a stated margin d: equivalence rejects |p - p0| >= d, difference rejects |p - p0| <= d. Two counts are
compared by Fisher's exact test, and two treatments of the same seeds by Student's t. Over the comparisons of a study,
p-values are adjusted by Holm's step-down rule.

>>> interval(1000, 1000).low > 0.996, equivalence(10, 1000, 0.0101, 0.02) < 0.001
(True, True)
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from scipy.stats import binom, binomtest, hypergeom, t

from carryproof.theory.errors import bad

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """A two-sided confidence interval of a share."""

    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Effect:
    """The mean of differences, its two-sided confidence interval, and the p-value of a mean of zero."""

    mean: float
    low: float
    high: float
    p: float


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


def excess(failures: int, problems: int, other_failures: int, other_problems: int) -> float:
    """The p-value of the hypothesis that the first failure rate is no higher than the other: Fisher's one-sided test.

    >>> round(excess(3, 3, 0, 3), 3), excess(0, 1_000_000, 0, 1_000_000)
    (0.05, 1.0)
    """
    found = hypergeom.sf(failures - 1, problems + other_problems, failures + other_failures, problems)
    return min(1.0, float(found))


def paired(differences: Sequence[float], confidence: float = CONFIDENCE) -> Effect:
    """The mean of the differences of pairs, with Student's interval and two-sided test, for at least two pairs.

    Differences that are all the same leave Student's test nothing to estimate an error from: p is then the share of
    the sign changes that give so large a mean.

    >>> effect = paired([1.0, 2.0, 3.0])
    >>> round(effect.mean, 2), round(effect.low, 2), round(effect.high, 2), round(effect.p, 3)
    (2.0, -0.48, 4.48, 0.074)
    >>> paired([0.0, 0.0]).p, paired([1.0, 1.0, 1.0]).p
    (1.0, 0.25)
    """
    count = len(differences)
    if count < 2:
        raise bad("pairs", count, "at least 2")
    mean = fmean(differences)
    if min(differences) == max(differences):
        return Effect(mean=mean, low=mean, high=mean, p=2.0 ** (1 - count) if mean else 1.0)
    error = stdev(differences) / math.sqrt(count)
    reach = error * float(t.ppf(0.5 + confidence / 2, count - 1))
    return Effect(mean=mean, low=mean - reach, high=mean + reach, p=2 * float(t.sf(abs(mean) / error, count - 1)))


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
