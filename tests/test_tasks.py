"""Tasks and digit arrays agree with Python integers, at any length and in any base."""

import dataclasses
import operator
from collections.abc import Callable

import numpy as np
import pytest
from cases import TASKS
from hypothesis import given
from hypothesis import strategies as st

from carryproof.theory import Task, strategies, surrogate_accuracy, tasks
from carryproof.theory.conformance import check_task
from carryproof.theory.digits import carry_up, digits_le, length_of, lengths, residues, value_of


def arrays(task: Task, problems: list[tuple[int, ...]], width: int) -> np.ndarray:
    return np.array([[digits_le(value, task.base, width) for value in problem] for problem in problems])


@given(st.integers(0, 10**60), st.integers(2, 36))
def test_digits_round_trip(value: int, base: int) -> None:
    digits = digits_le(value, base)
    assert value_of(digits, base) == value
    assert len(digits) == length_of(value, base) == lengths(digits[None])[0]


@given(st.integers(2, 36), st.integers(1, 300))
def test_length_of_is_exact_at_powers(base: int, power: int) -> None:
    assert [length_of(base**power + change, base) for change in (-1, 0, 1)] == [power, power + 1, power + 1]


@given(st.data(), strategies.tasks(), st.integers(1, 40))
def test_digit_answers_equal_integer_answers(data: st.DataObject, task: Task, width: int) -> None:
    number = st.integers(0, task.base**width - 1)
    problems = data.draw(st.lists(st.tuples(*[number] * task.operands), min_size=1, max_size=4))
    answer = task.answer(arrays(task, problems, width))
    found = [
        -value_of(digits, task.base) if negative else value_of(digits, task.base)
        for digits, negative in zip(answer.digits, answer.negative, strict=True)
    ]
    assert found == [task(*problem) for problem in problems]


@pytest.mark.parametrize("task", TASKS, ids=str)
def test_answers_at_two_thousand_digits_do_not_overflow(task: Task) -> None:
    width = 2_000
    digits = np.full((1, task.operands, width), task.base - 1, dtype=np.uint8)
    digits[0, 0, 0] = 0
    answer = task.answer(digits)
    values = [value_of(number, task.base) for number in digits[0]]
    sign = -1 if answer.negative[0] else 1
    assert sign * value_of(answer.digits[0], task.base) == task(*values)


@given(strategies.tasks(), st.integers(1, 8))
def test_the_answer_width_is_enough_and_no_more_is_claimed_of_sums(task: Task, width: int) -> None:
    largest = [task.base**width - 1] * task.operands
    if task.modulus is None and task.operation.name == "addition":
        assert task.answer_width(width) == length_of(task(*largest), task.base)
    if task.modulus is not None:
        assert task.answer_width(width) == length_of(task.modulus - 1, task.base)


@pytest.mark.parametrize("task", TASKS, ids=str)
def test_an_operation_without_columns_falls_back_on_integers(task: Task) -> None:
    plain = dataclasses.replace(task, operation=dataclasses.replace(task.operation, columns=None))
    digits = np.random.Generator(np.random.Philox(3)).integers(0, task.base, (20, task.operands, 5)).astype(np.uint8)
    fast, slow = task.answer(digits), plain.answer(digits)
    assert (fast.digits == slow.digits).all() and (fast.negative == slow.negative).all()


def test_a_task_of_ones_own_is_one_value() -> None:
    squares = tasks.Operation(
        name="sum-of-squares",
        symbol="+",
        apply=lambda a, b: a * a + b * b,
        width=lambda base, places, operands: 2 * places + 1,
    )
    task = Task(operation=squares, base=7)
    assert task(3, 4) == 25
    assert value_of(task.answer(arrays(task, [(3, 4)], 2)).digits[0], 7) == 25


@pytest.mark.parametrize("apply", [operator.xor, operator.or_, max, operator.pow])
def test_a_modular_task_of_ones_own_needs_no_polynomial(apply: Callable[[int, int], int]) -> None:
    operation = tasks.Operation(name="mine", symbol="+", apply=apply, width=lambda base, places, operands: 100)
    task = Task(operation=operation, base=2, modulus=7)
    problems = [(a, b) for a in range(16) for b in range(16)]
    answer = task.answer(arrays(task, problems, 4))
    assert answer.digits.shape == (256, 3)
    assert [value_of(digits, 2) for digits in answer.digits] == [apply(a, b) % 7 for a, b in problems]
    check_task(task)


def test_residues_decide_only_polynomials() -> None:
    operation = tasks.Operation(name="mine", symbol="+", apply=max, width=lambda base, places, operands: places)
    task = Task(operation=operation, modulus=100)
    assert task(150, 130) == 50 != task(50, 30 + 100)
    assert surrogate_accuracy(task, trained=2, length=3) is None  # although 100 divides 10^2


@given(st.lists(st.integers(-500, 500), min_size=1, max_size=8), st.integers(2, 36))
def test_carry_up_keeps_the_value(columns: list[int], base: int) -> None:
    value = sum(column * base**place for place, column in enumerate(columns))
    digits = carry_up(np.array([columns]), base, len(columns) + 12)[0]
    assert value_of(digits, base) == value % base ** (len(columns) + 12)


@given(st.integers(0, 10**50), st.integers(2, 10**20))
def test_residues_are_exact_for_large_moduli(value: int, modulus: int) -> None:
    assert int(residues(digits_le(value, 10)[None], 10, modulus)[0]) == value % modulus


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "addition", "base": 1}, "base: got 1; allowed: an integer from 2 to 36"),
        ({"name": "addition", "base": 37}, "base: got 37"),
        ({"name": "modular-addition", "modulus": 0}, "modulus: got 0; allowed: an integer of at least 2"),
        ({"name": "modular-addition", "modulus": 1}, "modulus: got 1"),
        ({"name": "modular-addition"}, "modulus: got None"),
        ({"name": "addition", "modulus": 7}, "did you mean 'modular-addition'"),
        ({"name": "modular-adition", "modulus": 7}, "did you mean 'modular-addition'"),
        ({"name": "multiplication", "operands": 3}, "operands: got 3; allowed: an integer from 2 to 2"),
    ],
)
def test_bad_tasks_are_named_in_one_line(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError) as error:
        tasks.build(**arguments)
    assert message in str(error.value) and "\n" not in str(error.value)
