"""Laws L6 to L8 against enumeration: any digit distribution, digit by digit, limits and bounds."""

import math
from fractions import Fraction
from itertools import product

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from carryproof.theory import Task, surrogate_accuracy, tasks
from carryproof.theory.digit_laws import (
    DigitLaw,
    digit_accuracy,
    digit_law_accuracy,
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


def by_enumeration(task: Task, trained: int, length: int, laws: list[DigitLaw]) -> Fraction:
    """Every pair of digit strings, weighted by its probability."""
    numbers = []
    for law in laws:
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
    assert found == by_enumeration(task, trained, trained + extra, laws)


@given(st.integers(2, 16), st.integers(2, 150), st.integers(1, 3), st.integers(1, 12), st.booleans())
def test_uniform_digits_give_law_l4(base: int, modulus: int, trained: int, extra: int, minus: bool) -> None:
    task = (tasks.modular_subtraction if minus else tasks.modular_addition)(modulus, base=base)
    laws = [uniform_digits(base)] * 2
    found = digit_law_accuracy(task, trained=trained, length=trained + extra, laws=laws)
    assert found == surrogate_accuracy(task, trained=trained, length=trained + extra)


def test_three_operands_multiply() -> None:
    task = tasks.modular_addition(7, 3)
    found = digit_law_accuracy(task, trained=1, length=3, laws=[uniform_digits(10)] * 3)
    assert found == surrogate_accuracy(task, trained=1, length=3)


@pytest.mark.parametrize(
    ("base", "trained", "length"), [(10, 1, 2), (10, 1, 3), (10, 2, 3), (3, 1, 4), (3, 2, 5), (2, 1, 4)]
)
def test_digit_accuracy_by_enumeration(base: int, trained: int, length: int) -> None:
    numbers, unit = range(base ** (length - 1), base**length), base**trained
    right = [0] * (length + 1)
    for left, other in product(numbers, repeat=2):
        truth, shadow = left + other, left % unit + other % unit
        for place in range(length + 1):
            right[place] += truth // base**place % base == shadow // base**place % base
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
        (lambda: first_possible_length(tasks.multiplication(), trained=1), "modular addition or subtraction"),
        (lambda: digit_accuracy(base=10, trained=2, length=2), "length: got 2"),
    ],
)
def test_laws_state_their_domain_and_refuse_outside_it(call, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
