"""Intervals and tests do what they promise, checked by exact coverage and by simulation-free binomial sums."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from carryproof.benchmarks.statistics import difference, equivalence, holm, interval


@settings(max_examples=40)
@given(st.integers(1, 60), st.floats(0.01, 0.99))
def test_intervals_cover_at_least_their_level(trials: int, share: float) -> None:
    covered = 0.0
    for successes in range(trials + 1):
        found = interval(successes, trials)
        if found.low <= share <= found.high:
            covered += binom.pmf(successes, trials, share)
    assert covered >= 0.95


def test_known_intervals() -> None:
    assert interval(100, 100).low == pytest.approx(0.964, abs=5e-4)
    assert interval(1000, 1000).low == pytest.approx(0.9963, abs=5e-5)
    assert (interval(0, 0).low, interval(0, 0).high) == (0.0, 1.0)


@settings(max_examples=40)
@given(st.floats(0, 1), st.floats(0.01, 0.2), st.integers(10, 80))
def test_equivalence_is_claimed_wrongly_at_most_at_its_level(predicted: float, margin: float, trials: int) -> None:
    for edge in (predicted - margin, predicted + margin):
        if 0 <= edge <= 1:
            wrong = sum(
                binom.pmf(k, trials, edge)
                for k in range(trials + 1)
                if equivalence(k, trials, predicted, margin) <= 0.05
            )
            assert wrong <= 0.05 + 1e-9


@settings(max_examples=40)
@given(st.floats(0, 1), st.floats(0.0, 0.2), st.integers(10, 80))
def test_difference_is_claimed_wrongly_at_most_at_its_level(predicted: float, margin: float, trials: int) -> None:
    for truth in {max(0.0, predicted - margin), predicted, min(1.0, predicted + margin)}:
        wrong = sum(
            binom.pmf(k, trials, truth) for k in range(trials + 1) if difference(k, trials, predicted, margin) <= 0.05
        )
        assert wrong <= 0.05 + 1e-9


@given(st.integers(0, 500), st.floats(0, 1), st.floats(0.001, 0.3))
def test_no_result_is_both_equivalent_and_different(successes: int, predicted: float, margin: float) -> None:
    both = (
        equivalence(successes, 500, predicted, margin) <= 0.05 and difference(successes, 500, predicted, margin) <= 0.05
    )
    assert not both


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_monotone_and_between_raw_and_bonferroni(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    for raw, each in zip(p_values, adjusted, strict=True):
        assert raw <= each <= min(1.0, raw * len(p_values)) + 1e-12 or each >= raw
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    assert all(adjusted[a] <= adjusted[b] for a, b in pairwise(order))
    assert adjusted[order[0]] == pytest.approx(min(1.0, p_values[order[0]] * len(p_values)))
