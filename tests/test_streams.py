"""Streams: item i is a function of (seed, i); laws, lengths and the hold-out are what they claim to be."""

import numpy as np
import pytest
from cases import TASKS
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from carryproof.benchmarks.splitmix import DIGITS_PER_WORD, uniform_digits, words
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


def test_a_block_is_drawn_in_parts_without_a_seam() -> None:
    stream = Stream(task=tasks.addition(), lengths=(1, 3), seed=4, split="train")
    whole = stream.block(16_000, 1_000)
    assert (stream.block(0, 17_000)[16_000:] == whole).all()
    assert whole.flags.f_contiguous  # the digits of one place side by side
    assert stream.block(3, 0).shape == (0, 2, 3)


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=5), st.integers(0, 2**40), st.integers(1, 9))
def test_words_are_those_of_splitmix64(states: list[int], first: int, count: int) -> None:
    """Against the definition, on Python integers."""

    def output(state: int) -> int:
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        state = (state ^ state >> 27) * 0x94D049BB133111EB % 2**64
        return state ^ state >> 31

    found = words(np.array(states, dtype=np.uint64), first, count)
    steps = range(first + 1, first + count + 1)
    assert found.tolist() == [[output((s + step * 0x9E3779B97F4A7C15) % 2**64) for s in states] for step in steps]


@given(st.integers(0, 2**64 - 1), st.integers(2, 36), st.integers(1, 20))
def test_digits_are_those_of_the_fractions_that_words_are(state: int, base: int, count: int) -> None:
    states = np.array([state], dtype=np.uint64)
    fractions = words(states, 5, count)[:, 0].tolist()
    found = uniform_digits(states, 5, count, base)[:, 0].tolist()
    for index, digit in enumerate(found):
        word, place = divmod(index, DIGITS_PER_WORD)
        assert digit == (fractions[word] >> 6) * base ** (place + 1) // 2**58 % base


@pytest.mark.parametrize("base", [2, 10, 36])
def test_digits_are_uniform_and_independent(base: int) -> None:
    """Of one item and its neighbours, of one seed and the next, within one word and across two."""
    draw = {seed: Stream(task=tasks.addition(base=base), lengths=(8,), seed=seed).block(0, 60_000) for seed in (3, 4)}
    digits = draw[3].reshape(-1, 16)  # [item, operand and place]
    pairs = {
        "places": (digits[:, 1], digits[:, 2]),
        "operands": (digits[:, 0], digits[:, 8]),
        "words": (digits[:, 0], digits[:, 3]),
        "items": (digits[:-1, 5], digits[1:, 5]),
        "far items": (digits[:-4_096, 0], digits[4_096:, 0]),
        "seeds": (digits[:, 2], draw[4].reshape(-1, 16)[:, 2]),
    }
    for name, (one, other) in pairs.items():
        counts = np.bincount(one.astype(int) * base + other, minlength=base**2)
        assert chisquare(counts).pvalue > 1e-4, name
    tops = np.bincount(digits[:, [7, 15]].ravel(), minlength=base)
    assert tops[0] == 0 and (base == 2 or chisquare(tops[1:]).pvalue > 1e-4)


def test_shorter_operands_have_any_length_and_any_place() -> None:
    drawn = lengths(Stream(task=tasks.addition(3), lengths=(4,), law="unequal", seed=2).block(0, 30_000))
    assert chisquare((drawn == 4).sum(axis=0)).pvalue > 1e-4
    first = drawn[drawn[:, 0] == 4]
    counts = np.bincount(first[:, 1] * 4 + first[:, 2], minlength=16).reshape(4, 4)[1:, 1:]
    assert chisquare(counts.ravel()).pvalue > 1e-4


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


@given(st.integers(2, 36), st.lists(st.lists(st.integers(0, 35), min_size=3, max_size=3), min_size=1, max_size=4))
def test_the_split_is_a_fixed_function_of_the_digits(base: int, numbers: list[list[int]]) -> None:
    """Never another one, so that problems held out of training stay so: the definition, on Python integers."""
    total = 0
    for operand, number in enumerate(numbers):
        factors = np.random.Philox(key=[0xCA22, operand]).random_raw(3).tolist()
        total += sum(digit % base * factor for digit, factor in zip(number, factors, strict=True))
    mixed = total % 2**64
    mixed = (mixed ^ mixed >> 32) * 0x9E3779B97F4A7C15 % 2**64
    problem = np.array([numbers], dtype=np.uint8) % base
    assert held_out(problem)[0] == ((mixed >> 32) % 10 == 0)


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
