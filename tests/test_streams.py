"""Streams: item i is a function of (seed, i); laws, lengths and the hold-out are what they claim to be."""

import numpy as np
import pytest
from cases import TASKS
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from carryproof.benchmarks.strata import longest_chain, strata
from carryproof.benchmarks.streams import Stream, all_problems, held_out, problem_count
from carryproof.theory import Task, strategies, tasks
from carryproof.theory.digits import digits_le, lengths
from carryproof.theory.ranges import OperandLaw

LAWS: list[OperandLaw] = ["exact", "longest", "unequal"]


@given(strategies.tasks(), st.sampled_from(LAWS), st.integers(0, 2**63), st.integers(0, 10**9), st.integers(1, 30))
def test_any_block_of_a_stream_can_be_drawn_alone(task: Task, law: OperandLaw, seed: int, start: int, cut: int) -> None:
    stream = Stream(task=task, lengths=(2, 5), law=law, seed=seed, split="train")
    whole = stream.block(start, 40)
    parts = [stream.block(start, cut), stream.block(start + cut, 40 - cut)]
    assert (np.concatenate(parts) == whole).all()
    assert (stream.block(start + 7, 1)[0] == whole[7]).all()


@given(strategies.tasks(), st.sampled_from(LAWS), st.integers(2, 6))
def test_operands_follow_their_law(task: Task, law: OperandLaw, length: int) -> None:
    drawn = lengths(Stream(task=task, lengths=(length,), law=law, seed=3).block(0, 200))
    assert (drawn.max(axis=1) == length).all()
    if law == "exact":
        assert (drawn == length).all()
    if law == "unequal":
        assert ((drawn == length).sum(axis=1) == 1).all()


@pytest.mark.parametrize("law", ["exact", "longest"])
@pytest.mark.parametrize("base", [2, 3, 10])
def test_problems_are_uniform(law: OperandLaw, base: int) -> None:
    task, length = tasks.addition(base=base), {2: 3, 3: 2, 10: 1}[base]
    problems = all_problems(task, length, law)
    assert len(problems) == problem_count(task, length, law) == len(np.unique(problems, axis=0))
    weights = base ** np.arange(2 * length)
    codes = (problems.reshape(len(problems), -1) * weights).sum(axis=1)
    drawn = Stream(task=task, lengths=(length,), law=law, seed=11).block(0, 50_000)
    found = (drawn.reshape(len(drawn), -1) * weights).sum(axis=1)
    counts = np.array([(found == code).sum() for code in codes])
    assert counts.sum() == len(found)
    assert chisquare(counts).pvalue > 1e-4


def test_unequal_problems_are_counted() -> None:
    task = tasks.addition(base=3)
    assert len(all_problems(task, 3, "unequal")) == problem_count(task, 3, "unequal")


def test_lengths_are_drawn_in_proportion_to_their_squares() -> None:
    drawn = lengths(Stream(task=tasks.addition(), lengths=(1, 3), seed=5).block(0, 20_000)).max(axis=1)
    assert chisquare([(drawn == 1).sum(), (drawn == 3).sum()], [2_000, 18_000]).pvalue > 1e-4


@pytest.mark.parametrize("task", TASKS, ids=str)
def test_two_thousand_digits_are_drawn_digit_by_digit(task: Task) -> None:
    drawn = Stream(task=task, lengths=(2_000,), seed=1).block(0, 3)
    assert drawn.shape == (3, task.operands, 2_000) and drawn.max() == task.base - 1


def test_held_out_problems_are_never_trained_and_padding_does_not_matter() -> None:
    stream = Stream(task=tasks.addition(), lengths=(2,), seed=0, split="train")
    assert not held_out(stream.block(0, 20_000)).any()
    test = Stream(task=tasks.addition(), lengths=(2,), seed=0, split="held-out").block(0, 500)
    assert held_out(test).all()
    assert held_out(np.pad(test, [(0, 0), (0, 0), (0, 9)])).all()


def test_one_problem_in_ten_is_held_out() -> None:
    share = held_out(all_problems(tasks.addition(), 2, "exact")).mean()
    assert 0.08 < share < 0.12


def test_small_lengths_are_trained_whole() -> None:
    stream = Stream(task=tasks.addition(), lengths=(1,), seed=0, split="train")
    assert len(np.unique(stream.block(0, 5_000), axis=0)) == 100


def test_the_global_generators_are_left_alone() -> None:
    before = np.random.get_state()[1].copy()  # noqa: NPY002 - NumPy's global state, which must not move
    Stream(task=tasks.addition(), lengths=(3,), seed=0).block(0, 10)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002 - as above


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=12))
def test_carry_chains_by_their_definition(columns: list[tuple[int, int]]) -> None:
    sums = [left + right for left, right in columns]
    longest = 0
    for start, first in enumerate(sums):
        if first >= 10:
            chain = 1
            while start + chain < len(sums) and sums[start + chain] == 9:
                chain += 1
            longest = max(longest, chain)
    assert longest_chain(np.array([columns], dtype=np.uint8).transpose(0, 2, 1), 10)[0] == longest


def test_strata_partition_the_problems() -> None:
    operands = Stream(task=tasks.addition(), lengths=(8,), seed=2).block(0, 3_000)
    found = strata(tasks.addition(), operands)
    assert sum(mask.sum() for name, mask in found.items() if name != "all") == 3_000
    assert set(strata(tasks.multiplication(), operands)) == {"all"}


def test_a_long_chain() -> None:
    nines = np.array([[digits_le(10**6 - 1, 10, 6), digits_le(1, 10, 6)]])
    assert longest_chain(nines, 10)[0] == 6
