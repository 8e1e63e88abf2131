"""Every law against brute force: shift law, base compatibility, and exact surrogate accuracy in any base."""

from fractions import Fraction
from itertools import product

import pytest
from cases import TASKS, small_tasks
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from carryproof.theory import Task, base_compatibility, decisive_digits, shift_law, surrogate_accuracy, tasks
from carryproof.theory.ranges import OperandLaw


@given(small_tasks(modular=False), st.data())
def test_a_proved_shift_law_holds(task: Task, data: st.DataObject) -> None:
    operand = data.draw(st.sampled_from([None, *range(task.operands)]))
    law = shift_law(task, operand)
    values = data.draw(st.tuples(*[st.integers(0, 10**30)] * task.operands))
    moved = [value * task.base if index in law.shifted else value for index, value in enumerate(values)]
    if law.status == "proved":
        assert task(*moved) == task.base * task(*values)


@given(small_tasks(), st.data())
def test_a_refuted_shift_law_has_the_smallest_counterexample(task: Task, data: st.DataObject) -> None:
    law = shift_law(task, data.draw(st.sampled_from([None, *range(task.operands)])))
    assume(law.status == "refuted")

    def breaks(values: tuple[int, ...]) -> bool:
        moved = [value * task.base if index in law.shifted else value for index, value in enumerate(values)]
        return task(*moved) != task.base * task(*values)

    found = law.counterexample
    assert found is not None and breaks(found)
    assume(max(found) ** task.operands < 20_000)
    for values in product(range(max(found) + 1), repeat=task.operands):
        if (max(values), values) < (max(found), found):
            assert not breaks(values)


def test_the_shift_laws_of_the_three_operations() -> None:
    assert shift_law(tasks.addition()).status == "proved"
    assert shift_law(tasks.addition(5, base=3)).status == "proved"
    assert shift_law(tasks.subtraction()).status == "proved"
    assert shift_law(tasks.addition(), 0).status == "refuted"
    product_law = shift_law(tasks.multiplication())
    assert (product_law.status, product_law.counterexample) == ("refuted", (1, 1))
    assert [shift_law(tasks.multiplication(), operand).status for operand in (0, 1)] == ["proved", "proved"]
    assert all(shift_law(task).status == "refuted" for task in TASKS if task.modulus is not None)


def test_operations_without_a_polynomial_are_searched() -> None:
    both = tasks.Operation(
        name="and", symbol="+", apply=lambda a, b: a & b, width=lambda base, places, operands: places
    )
    assert shift_law(Task(operation=both, base=2)).status == "unknown"  # true in base 2, and not proved
    assert shift_law(Task(operation=both, base=3)).status == "refuted"


@given(st.integers(2, 400), st.integers(2, 16))
def test_decisive_digits_by_brute_force(modulus: int, base: int) -> None:
    found = decisive_digits(modulus, base)
    for digits in range(9):
        power = base**digits
        # the last `digits` digits decide iff all numbers that share them are congruent
        decides = all((power * high) % modulus == 0 for high in range(1, modulus + 1))
        assert decides == (found is not None and digits >= found)


def test_huge_moduli_are_not_factored() -> None:
    hard = (2**521 - 1) * (2**607 - 1)
    assert base_compatibility(hard, 10).decisive is None
    assert base_compatibility(10**300, 10).decisive == 300


@pytest.mark.parametrize(
    ("modulus", "decisive"),
    [(16, 4), (125, 3), (625, 4), (32, 5), (64, 6), (3125, 5), (100, 2), (101, None), (150, None)],
)
def test_decisive_decimal_digits(modulus: int, decisive: int | None) -> None:
    assert decisive_digits(modulus, 10) == decisive
    assert str(modulus) in base_compatibility(modulus, 10).statement


def exactly(length: int, base: int) -> range:
    return range(base ** (length - 1) if length > 1 else 0, base**length)


def brute_force(task: Task, trained: int, length: int, law: OperandLaw) -> Fraction:
    """The surrogate's accuracy by enumeration, straight from the definitions of the laws."""
    unit = task.base**trained

    def right(values: tuple[int, ...]) -> bool:
        return task(*values) == task(*(value % unit for value in values))

    def share(pool: list[tuple[int, ...]]) -> Fraction:
        return Fraction(sum(map(right, pool)), len(pool))

    if law == "exact":
        return share(list(product(exactly(length, task.base), repeat=task.operands)))
    everything = product(range(task.base**length), repeat=task.operands)
    if law == "longest":
        return share([values for values in everything if any(value in exactly(length, task.base) for value in values)])
    cases = []
    for position in range(task.operands):
        for others in product(range(1, length), repeat=task.operands - 1):
            lengths = [*others[:position], length, *others[position:]]
            cases.append(share(list(product(*(exactly(each, task.base) for each in lengths)))))
    return sum(cases, Fraction(0)) / len(cases)


@settings(max_examples=300)
@given(
    small_tasks(largest_base=12),
    st.integers(1, 3),
    st.integers(1, 5),
    st.sampled_from(["exact", "longest", "unequal"]),
)
def test_exact_accuracy_equals_counting(task: Task, trained: int, length: int, law: OperandLaw) -> None:
    assume(task.base ** (length * task.operands) <= 30_000)
    assume(law != "unequal" or length > 1)
    assert surrogate_accuracy(task, trained=trained, length=length, law=law) == brute_force(task, trained, length, law)


@pytest.mark.parametrize("base", [2, 3, 7, 10, 12, 16])
@pytest.mark.parametrize("modulus", [2, 6, 9, 51, 101, 150])
@pytest.mark.parametrize("build", [tasks.modular_addition, tasks.modular_subtraction, tasks.modular_multiplication])
def test_exact_accuracy_equals_counting_in_the_bases_of_interest(build, modulus: int, base: int) -> None:
    length = {2: 6, 3: 4}.get(base, 2)
    task = build(modulus, base=base)
    for trained in range(1, length):
        assert surrogate_accuracy(task, trained=trained, length=length) == brute_force(task, trained, length, "exact")


def test_the_published_setting_of_modular_addition() -> None:
    found = [surrogate_accuracy(tasks.modular_addition(101), trained=4, length=length) for length in range(5, 10)]
    exact = ["0", "41/4050", "99/10000", "40099/4050000", "990099/100000000"]
    assert found == [Fraction(text) for text in exact]


@pytest.mark.parametrize(("modulus", "percent"), [(32, (50.62, 50.0)), (64, (24.69, 25.0)), (3125, (20.99, 20.0))])
def test_moduli_that_need_more_digits_than_were_trained(modulus: int, percent: tuple[float, float]) -> None:
    task = tasks.modular_addition(modulus)
    found = [surrogate_accuracy(task, trained=4, length=length) for length in (5, 9)]
    assert [round(100 * float(each or 0), 2) for each in found] == pytest.approx(percent, abs=0.01)


@given(st.integers(2, 300), st.integers(1, 4), st.integers(1, 30), st.integers(2, 16))
def test_the_error_bound_of_law_l4(modulus: int, trained: int, extra: int, base: int) -> None:
    task = tasks.modular_addition(modulus, base=base)
    length = trained + extra
    share = tasks.dropped_share(modulus, base, trained)
    numbers = (base - 1) * base ** (extra - 1)
    found = surrogate_accuracy(task, trained=trained, length=length)
    assert found is not None and abs(found - Fraction(1, share)) <= Fraction(share, 4 * numbers**2)


def test_subtraction_one_digit_beyond_training_is_a_ninth_where_addition_is_zero() -> None:
    for modulus in (19, 21, 101, 997):
        assert surrogate_accuracy(tasks.modular_subtraction(modulus), trained=3, length=4) == Fraction(1, 9)
        assert surrogate_accuracy(tasks.modular_addition(modulus), trained=3, length=4) == 0


def test_ten_thousand_digits_are_arithmetic_not_enumeration() -> None:
    found = surrogate_accuracy(tasks.modular_addition(101), trained=4, length=10_000)
    assert found is not None and abs(found - Fraction(1, 101)) < Fraction(1, 10**19_000)


def test_what_is_out_of_reach_is_none_and_not_a_guess() -> None:
    assert surrogate_accuracy(tasks.modular_multiplication(9973), trained=1, length=3) is None
    assert surrogate_accuracy(tasks.modular_addition(10**9 + 7, 3), trained=1, length=3) is None
    assert surrogate_accuracy(tasks.modular_addition(10**9 + 7), trained=1, length=20) is not None
