"""Laws L6 to L8 against enumeration: any digit distribution, digit by digit, limits and bounds."""

import math
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from carryproof.theory import Task, surrogate_accuracy, tasks
from carryproof.theory.digit_laws import (
    DigitLaw,
    digit_accuracy,
    digit_law_accuracy,
    digit_law_interval,
    dropped_residues,
    error_bound,
    first_possible_length,
    ideal_product_limit,
    limit_accuracy,
    plateaus,
    uniform_digits,
)


def weights(base: int) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(0, 5), min_size=base, max_size=base).filter(any)


def digit_law(top: list[int], rest: list[int]) -> DigitLaw:
    return DigitLaw(top=normal(top), rest=normal(rest))


def normal(raw: list[int]) -> tuple[Fraction, ...]:
    return tuple(Fraction(each, sum(raw)) for each in raw)


def by_enumeration(task: Task, trained: int, lengths: tuple[int, int], laws: list[DigitLaw]) -> Fraction:
    """Every pair of digit strings, weighted by its probability."""
    numbers = []
    for law, length in zip(laws, lengths, strict=True):
        row = []
        for places in product(range(task.base), repeat=length):  # least significant first
            weight = math.prod((law.rest[digit] for digit in places[:-1]), start=law.top[places[-1]])
            if weight:
                row.append((sum(digit * task.base**place for place, digit in enumerate(places)), weight))
        numbers.append(row)
    unit, total = task.base**trained, Fraction(0)
    for (left, weight_l), (right, weight_r) in product(*numbers):
        if task(left, right) == task(left % unit, right % unit):
            total += weight_l * weight_r
    return total


@settings(max_examples=60)
@given(st.data(), st.integers(2, 4), st.integers(2, 40), st.booleans())
def test_any_digit_law_by_enumeration(data: st.DataObject, base: int, modulus: int, minus: bool) -> None:
    task = (tasks.modular_subtraction if minus else tasks.modular_addition)(modulus, base=base)
    trained, extra = data.draw(st.integers(1, 2)), data.draw(st.integers(1, 2))
    assume(base ** (2 * (trained + extra)) <= 70_000)
    laws = [digit_law(data.draw(weights(base)), data.draw(weights(base))) for _ in range(2)]
    found = digit_law_accuracy(task, trained=trained, length=trained + extra, laws=laws)
    assert found == by_enumeration(task, trained, (trained + extra,) * 2, laws)


@given(st.integers(2, 16), st.integers(2, 150), st.integers(1, 3), st.integers(1, 12), st.booleans())
def test_uniform_digits_give_law_l4(base: int, modulus: int, trained: int, extra: int, minus: bool) -> None:
    task = (tasks.modular_subtraction if minus else tasks.modular_addition)(modulus, base=base)
    laws = [uniform_digits(base)] * 2
    found = digit_law_accuracy(task, trained=trained, length=trained + extra, laws=laws)
    assert found == surrogate_accuracy(task, trained=trained, length=trained + extra)


BASES = [2, 3, 7, 10, 12, 16]


@settings(max_examples=60)
@given(st.data(), st.sampled_from(BASES), st.integers(2, 300), st.booleans())
def test_operands_of_different_lengths_by_enumeration(
    data: st.DataObject, base: int, modulus: int, minus: bool
) -> None:
    task = (tasks.modular_subtraction if minus else tasks.modular_addition)(modulus, base=base)
    lengths = data.draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    assume(base ** sum(lengths) <= 5_000)
    trained = data.draw(st.integers(1, 2))
    laws = [digit_law(data.draw(weights(base)), data.draw(weights(base))) for _ in range(2)]
    found = digit_law_accuracy(task, trained=trained, length=lengths, laws=laws)
    assert found == by_enumeration(task, trained, lengths, laws)
    interval = digit_law_interval(task, trained=trained, length=lengths, laws=laws)
    assert interval.low <= found <= interval.high <= interval.low + Fraction(1, 10**10)


@settings(max_examples=60)
@given(st.data(), st.sampled_from(BASES), st.integers(2, 120), st.integers(2, 5), st.integers(1, 120))
def test_intervals_hold_the_exact_accuracy(
    data: st.DataObject, base: int, modulus: int, operands: int, length: int
) -> None:
    task = tasks.modular_addition(modulus, operands, base=base)
    laws = [digit_law(data.draw(weights(base)), data.draw(weights(base))) for _ in range(operands)]
    exact = digit_law_accuracy(task, trained=2, length=length, laws=laws)
    interval = digit_law_interval(task, trained=2, length=length, laws=laws)
    assert interval.low <= exact <= interval.high <= interval.low + Fraction(1, 10**9)


@pytest.mark.parametrize("modulus", [9, 101])
def test_ten_thousand_digits_of_any_law(modulus: int) -> None:
    task, fair = tasks.modular_addition(modulus), uniform_digits(10)
    found = digit_law_accuracy(task, trained=4, length=10_000, laws=[fair, fair])
    assert found == surrogate_accuracy(task, trained=4, length=10_000)
    skewed = digit_law([0] * 9 + [1], list(range(10)))
    interval = digit_law_interval(task, trained=4, length=10_000, laws=[fair, skewed])
    assert interval.low <= digit_law_accuracy(task, trained=4, length=10_000, laws=[fair, skewed]) <= interval.high


def test_residue_laws_are_the_laws_of_the_numbers() -> None:
    residues = dropped_residues(uniform_digits(10), 2, 7)
    assert residues == tuple(Fraction(sum(number % 7 == r for number in range(10, 100)), 90) for r in range(7))
    assert dropped_residues(uniform_digits(10), 0, 7) == (1, 0, 0, 0, 0, 0, 0)


def test_three_operands_multiply() -> None:
    task = tasks.modular_addition(7, 3)
    found = digit_law_accuracy(task, trained=1, length=3, laws=[uniform_digits(10)] * 3)
    assert found == surrogate_accuracy(task, trained=1, length=3)


@pytest.mark.parametrize(
    ("base", "trained", "length"),
    [
        *[(2, 1, 4), (2, 3, 8), (3, 1, 4), (3, 2, 5), (7, 1, 2), (7, 1, 3), (7, 2, 3), (10, 1, 2), (10, 1, 3)],
        *[(10, 2, 3), (12, 1, 2), (12, 1, 3), (16, 1, 2), (16, 2, 3)],
    ],
)
def test_digit_accuracy_by_enumeration(base: int, trained: int, length: int) -> None:
    numbers, unit = np.arange(base ** (length - 1), base**length), base**trained
    right = [0] * (length + 1)
    for left in numbers:
        truth, shadow = left + numbers, left % unit + numbers % unit
        for place in range(length + 1):
            right[place] += int(np.sum(truth // base**place % base == shadow // base**place % base))
    assert digit_accuracy(base=base, trained=trained, length=length) == tuple(
        Fraction(count, len(numbers) ** 2) for count in right
    )


def test_the_digit_accuracies_that_were_stated() -> None:
    one_beyond, far_beyond = digit_accuracy(base=10, trained=4, length=5), digit_accuracy(base=10, trained=4, length=9)
    assert one_beyond[4] == Fraction(1, 9) and far_beyond[4] == Fraction(1, 10)
    assert far_beyond[5] == Fraction(1, 10)  # stated as about .100; it is exact
    assert float(far_beyond[8]) == pytest.approx(0.105, abs=5e-4)
    assert float(far_beyond[9]) == pytest.approx(0.395, abs=5e-4)


@pytest.mark.parametrize("modulus", [9, 51, 77, 150])
@pytest.mark.parametrize("trained", [1, 3])
def test_product_limits_are_what_long_numbers_approach(modulus: int, trained: int) -> None:
    task = tasks.modular_multiplication(modulus)
    near = surrogate_accuracy(task, trained=trained, length=trained + 40)
    assert near is not None and abs(near - limit_accuracy(task, trained=trained)) < Fraction(1, 10**30)


def test_the_product_limits_that_were_stated() -> None:
    assert float(ideal_product_limit(150, 10, 3)) == pytest.approx(0.407407, abs=5e-7)
    assert float(ideal_product_limit(51, 10, 3)) == pytest.approx(0.02529, abs=5e-6)
    assert float(limit_accuracy(tasks.modular_multiplication(51), trained=3)) == pytest.approx(0.02533, abs=5e-6)
    assert float(ideal_product_limit(9, 10, 1)) == pytest.approx(0.1440, abs=5e-5)
    assert float(limit_accuracy(tasks.modular_multiplication(9), trained=1)) == pytest.approx(0.1659, abs=5e-5)


@settings(max_examples=60)
@given(st.integers(2, 60), st.integers(2, 16), st.integers(1, 2))
def test_product_limits_by_counting(modulus: int, base: int, trained: int) -> None:
    """Every residue of the dropped parts with every pair of low parts."""
    share, unit = tasks.dropped_share(modulus, base, trained), base**trained
    high_l, high_r, low_l, low_r = np.ogrid[:share, :share, :unit, :unit]
    assume(share**2 * unit**2 <= 10**6)
    right = (high_l * high_r * unit + high_l * low_r + high_r * low_l) % share == 0
    task = tasks.modular_multiplication(modulus, base=base)
    assert limit_accuracy(task, trained=trained) == Fraction(int(right.sum()), right.size)


def test_limits_of_sums_and_of_the_largest_products() -> None:
    assert limit_accuracy(tasks.modular_addition(9973, 7, base=16), trained=2) == Fraction(1, 9973)
    assert limit_accuracy(tasks.addition(), trained=2) == 0
    found = limit_accuracy(tasks.modular_multiplication(4999), trained=4)
    near = surrogate_accuracy(tasks.modular_multiplication(4999), trained=4, length=40)
    assert near is not None and abs(found - near) < Fraction(1, 10**20)


@given(st.integers(2, 300), st.integers(2, 16), st.integers(1, 3))
def test_the_first_possible_length_is_the_first(modulus: int, base: int, trained: int) -> None:
    task = tasks.modular_addition(modulus, base=base)
    first = first_possible_length(task, trained=trained)
    assert surrogate_accuracy(task, trained=trained, length=first) != 0
    for length in range(trained + 1, first):
        assert surrogate_accuracy(task, trained=trained, length=length) == 0


@given(st.integers(2, 300), st.integers(2, 16), st.integers(1, 3), st.integers(1, 9), st.booleans())
def test_the_error_bound_holds(modulus: int, base: int, trained: int, extra: int, minus: bool) -> None:
    task = (tasks.modular_subtraction if minus else tasks.modular_addition)(modulus, base=base)
    found = surrogate_accuracy(task, trained=trained, length=trained + extra)
    limit = limit_accuracy(task, trained=trained)
    assert found is not None
    assert abs(found - limit) <= error_bound(task, trained=trained, length=trained + extra)


@given(st.integers(2, 60), st.integers(2, 12), st.integers(0, 3))
def test_plateaus_are_the_best_guess_from_the_last_digits(modulus: int, base: int, known: int) -> None:
    """With the rest uniform modulo p, the likeliest residue given the last k digits has probability gcd(p, B^k) / p."""
    unit = base**known
    for low in range(min(unit, 5)):
        residues = [(high * unit + low) % modulus for high in range(modulus)]
        best = max(residues.count(residue) for residue in set(residues))
        assert Fraction(best, modulus) == plateaus(modulus, base, known)[known]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: DigitLaw(top=(Fraction(1),), rest=(Fraction(1, 2), Fraction(1, 2))), "digit law top: got 1"),
        (lambda: DigitLaw(top=(Fraction(1), Fraction(0)), rest=(Fraction(1, 2), Fraction(1, 3))), "sum to 1"),
        (lambda: DigitLaw(top=(Fraction(2), Fraction(-1)), rest=(Fraction(1), Fraction(0))), "not negative"),
        (
            lambda: digit_law_accuracy(tasks.addition(), trained=1, length=2, laws=[uniform_digits(10)] * 2),
            "law L6 holds for these only",
        ),
        (
            lambda: digit_law_accuracy(tasks.modular_addition(7), trained=1, length=2, laws=[uniform_digits(9)] * 2),
            "2 digit laws in base 10",
        ),
        (
            lambda: digit_law_accuracy(
                tasks.modular_addition(7), trained=1, length=(2, 3, 4), laws=[uniform_digits(10)] * 2
            ),
            "one number, or 2, one an operand",
        ),
        (
            lambda: digit_law_accuracy(
                tasks.modular_addition(997), trained=1, length=10**5, laws=[uniform_digits(10)] * 2
            ),
            "beyond it use digit_law_interval",
        ),
        (
            lambda: digit_law_interval(
                tasks.modular_addition(10**9 + 7), trained=1, length=3, laws=[uniform_digits(10)] * 2
            ),
            "of at most 1,000,000",
        ),
        (lambda: DigitLaw(top=(Fraction(1),) * 40, rest=(Fraction(1, 40),) * 40), "not negative and sum to 1"),
        (lambda: uniform_digits(1), "base: got 1"),
        (lambda: limit_accuracy(tasks.modular_multiplication(9973), trained=1), "of at most 5,000; here it is 9973"),
        (lambda: limit_accuracy(tasks.addition(), trained=0), "trained: got 0"),
        (lambda: error_bound(tasks.modular_addition(7), trained=2, length=2), "length: got 2"),
        (lambda: error_bound(tasks.modular_addition(7, 3), trained=2, length=3), "of two numbers"),
        (lambda: first_possible_length(tasks.modular_addition(7), trained=0), "trained: got 0"),
        (lambda: ideal_product_limit(1, 10, 3), "modulus: got 1"),
        (lambda: plateaus(100, 10, -1), "places: got -1"),
        (lambda: first_possible_length(tasks.multiplication(), trained=1), "modular addition or subtraction"),
        (lambda: digit_accuracy(base=10, trained=2, length=2), "length: got 2"),
    ],
)
def test_laws_state_their_domain_and_refuse_outside_it(call, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
