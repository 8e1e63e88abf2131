"""What an averaging head cannot tell apart: the criterion against random heads, and the trial that it explains."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carryproof.theory import cases, tasks
from carryproof.theory.averaging import Seen, diluted_from, dilution, same_mean, ties
from carryproof.theory.cases import process_of
from carryproof.theory.derivation import derive

KEYS = st.tuples(st.integers(0, 2), st.integers(0, 2))


def outputs(seen: Seen, heads: int = 3) -> np.ndarray:
    """What random softmax heads return: scores by (token, class), values by token."""
    found = []
    for head in range(heads):
        generator = np.random.default_rng(head)
        scores, values = generator.normal(size=(3, 3)), generator.normal(size=(3, 4))
        weight = np.exp([scores[token, kind] for token, kind in seen])
        found.append(weight @ np.array([values[token] for token, _ in seen]) / weight.sum())
    return np.array(found)


@given(st.lists(KEYS, min_size=1, max_size=6), st.lists(KEYS, min_size=1, max_size=6), st.integers(1, 3), st.data())
def test_views_with_the_same_mean_and_no_others(one: list, other: list, times: int, data: st.DataObject) -> None:
    repeated = tuple(data.draw(st.permutations(one * times)))
    assert same_mean(tuple(one), repeated)
    for first, second in ((tuple(one), repeated), (tuple(one), tuple(other))):
        assert same_mean(first, second) == np.allclose(outputs(first), outputs(second), rtol=0, atol=1e-9)


@pytest.mark.parametrize("base", [2, 3, 7, 10])
def test_an_anchor_breaks_every_tie_of_addition(base: int) -> None:
    adding = process_of(tasks.addition(base=base))
    assert ties(adding, anchor=True) == ()
    zeros, tops = ties(adding, anchor=False)
    assert str(zeros) == "c[i-1]=0 -> end looks like a[i-1]=0 b[i-1]=0 c[i-1]=0 -> 0"
    top = base - 1  # a carry in and a carry out: the tie that nobody had seen
    if base > 2:
        below = f"a[i-1]={top} b[i-1]={top} c[i-1]={top}"
        assert str(tops) == f"{below} -> 1 looks like a[i]={top} b[i]={top} {below} -> {top}"


def test_the_two_ties_of_addition_account_for_all_two_hundred_errors_of_the_trial() -> None:
    """Law L16: without an anchor 200 of the 20,000 three-digit problems that hold every interior window went wrong.

    All-zero views are right at the end, which half of all problems have, and all-nine views at the overflow, which is
    the commoner of its two; every problem with the other kind of view is lost, and no further one.
    """
    (zeros, tops), lost = ties(process_of(tasks.addition()), anchor=False), 0
    assert zeros.windows[0].token is None and tops.windows[0].token == 1
    for seed, a2, b2, a3, b3 in product((0, 9), *[range(10)] * 4):
        a, b = (seed, a2, a3), (seed, b2, b3)
        total = sum((x + y) * 10**i for i, (x, y) in enumerate(zip(a, b, strict=True)))
        c = [total // 10**i % 10 for i in range(4)]
        views = [(a[i - 1], b[i - 1], c[i - 1], *((a[i], b[i]) if i < 3 else ())) for i in (1, 2, 3)]
        lost += any(set(view) == {0} for view in views) or any(view == (9,) * 5 for view in views)
    assert lost == 200


def test_operands_of_a_difference_must_be_told_apart() -> None:
    less = cases.unsigned_subtraction(4)
    swapped = ties(less, anchor=True)
    assert swapped and ties(less, anchor=True, operands_apart=True) == ()
    for tie in swapped:
        one, other = ({s: v for s, v in zip(w.slots, w.values, strict=True) if v is not None} for w in tie.windows)
        assert sorted(one.values()) == sorted(other.values()) and one != other


@pytest.mark.parametrize(
    "process", [cases.horner(7), cases.horner(12, 2), cases.copy(), cases.running_parity(), cases.times_one_digit()]
)
def test_tasks_that_an_anchor_makes_visible(process) -> None:
    assert ties(process, anchor=False) and not ties(process, anchor=True)


@given(st.floats(0, 8), st.integers(1, 5), st.integers(0, 40), st.lists(st.floats(0, 1), min_size=45, max_size=45))
def test_no_scores_within_the_spread_give_more_weight(spread: float, attended: int, far: int, parts: list) -> None:
    scores = np.array(parts[: attended + far]) * spread
    weights = np.exp(scores) / np.exp(scores).sum()
    assert weights[:attended].sum() <= dilution(spread, attended, attended + far) + 1e-12


@given(st.floats(0, 10), st.integers(1, 9), st.floats(0.05, 0.95))
def test_the_length_of_dilution_is_the_first(spread: float, attended: int, weight: float) -> None:
    keys = diluted_from(spread, attended, weight=weight)
    assert dilution(spread, attended, keys + 1) < weight
    if keys > attended + 1:
        assert dilution(spread, attended, keys - 1) >= weight - 1e-9


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="attended: got 0"):
        dilution(1.0, 0, 5)
    with pytest.raises(ValueError, match="spread: got -1"):
        dilution(-1.0, 1, 5)
    with pytest.raises(ValueError, match="spread: got 1000"):
        diluted_from(1000.0, 1)
    assert dilution(1000.0, 5, 10) == 1
    with pytest.raises(ValueError, match="weight: got 1"):
        diluted_from(1.0, 1, weight=1.0)
    with pytest.raises(ValueError, match="allowed: one with a bounded window"):
        ties(process_of(tasks.multiplication()), anchor=True)


def test_an_end_that_the_window_does_not_tell_is_no_matter_of_averaging() -> None:
    three = process_of(tasks.addition(3, base=2))  # two digits for one-digit numbers, two more than any longer ones
    assert any(tie.equal for tie in ties(three, anchor=True, operands_apart=True))
    assert "does not say which token follows" in str(derive(three))
