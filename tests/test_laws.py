"""Every law against brute force: shift law, base compatibility, and exact surrogate accuracy in any base."""

import math
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from cases import TASKS
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from carryproof.theory import (
    Task,
    base_compatibility,
    decisive_digits,
    shift_law,
    strategies,
    surrogate_accuracy,
    tasks,
)
from carryproof.theory.mixtures import dropped_run
from carryproof.theory.ranges import OperandLaw
from carryproof.theory.zero_sums import Run, excess


@given(strategies.tasks(modulus=st.none()), st.data())
def test_a_proved_shift_law_holds(task: Task, data: st.DataObject) -> None:
    operand = data.draw(st.sampled_from([None, *range(task.operands)]))
    law = shift_law(task, operand)
    values = data.draw(st.tuples(*[st.integers(0, 10**30)] * task.operands))
    moved = [value * task.base if index in law.shifted else value for index, value in enumerate(values)]
    if law.status == "proved":
        assert task(*moved) == task.base * task(*values)


@given(strategies.tasks(), st.data())
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


BASES = [2, 3, 7, 10, 12, 16]
LAWS: list[OperandLaw] = ["exact", "longest", "unequal"]


def exactly(length: int, base: int) -> range:
    return range(base ** (length - 1) if length > 1 else 0, base**length)


def brute_force(task: Task, trained: int, length: int, law: OperandLaw) -> Fraction:
    """The surrogate's accuracy by enumeration, straight from the definitions of the laws."""
    unit = task.base**trained

    def share(pools: list[range], longest: bool = False) -> Fraction:
        values = np.meshgrid(*(np.array(pool) for pool in pools), indexing="ij", sparse=True)
        truth, shadow = (np.asarray(task.operation.apply(*each)) for each in (values, [each % unit for each in values]))
        right = truth == shadow if task.modulus is None else (truth - shadow) % task.modulus == 0
        kept = np.array(False)
        for each in values:
            kept = kept | (each >= exactly(length, task.base).start) | (not longest)
        return Fraction(int((right & kept).sum()), int(kept.sum()))

    if law == "exact":
        return share([exactly(length, task.base)] * task.operands)
    if law == "longest":
        return share([range(task.base**length)] * task.operands, longest=True)
    cases = []
    for position in range(task.operands):
        for others in product(range(1, length), repeat=task.operands - 1):
            lengths = [*others[:position], length, *others[position:]]
            cases.append(share([exactly(each, task.base) for each in lengths]))
    return sum(cases, Fraction(0)) / len(cases)


SMALL_MODULI = st.integers(2, 200)
MODULI = st.none() | SMALL_MODULI | st.integers(200, 1_500) | st.integers(1_500, 10**12)


@settings(max_examples=400)
@given(
    strategies.tasks(base=st.integers(2, 16), modulus=MODULI, most_operands=5),
    st.integers(1, 4),
    st.integers(1, 12),
    st.sampled_from(LAWS),
)
def test_exact_accuracy_equals_counting(task: Task, trained: int, length: int, law: OperandLaw) -> None:
    """Any operation, base and law, two to five operands, small moduli and moduli above every operand."""
    assume(task.base ** (length * task.operands) <= 300_000)
    assume(law != "unequal" or 1 < length < 6)
    found = surrogate_accuracy(task, trained=trained, length=length, law=law)
    if found is None:  # the counts out of reach here
        assert task.modulus is not None and task.modulus > 1_500
        assert task.operation.name == "multiplication" or (law == "unequal" and task.operands > 2)
    else:
        assert found == brute_force(task, trained, length, law)


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("modulus", [2, 6, 9, 51, 101, 150, 211, 1009])
@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("build", [tasks.modular_addition, tasks.modular_subtraction, tasks.modular_multiplication])
def test_exact_accuracy_equals_counting_in_the_bases_of_interest(
    build, law: OperandLaw, modulus: int, base: int
) -> None:
    task = build(modulus, base=base)
    for length in range(2, {2: 9, 3: 6, 7: 3}.get(base, 3)):
        for trained in range(1, length):
            found = surrogate_accuracy(task, trained=trained, length=length, law=law)
            assert found == brute_force(task, trained, length, law)


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("operands", [3, 4, 5])
def test_sums_of_many_numbers_equal_counting(operands: int, law: OperandLaw, base: int) -> None:
    for modulus in (None, 2, 7, 9, 30, 101, 997, 100_003):
        task = Task(operation=tasks.ADDITION, operands=operands, base=base, modulus=modulus)
        for length in (2, 3, 4):
            places = length + (operands - 1) * (length - 1) if law == "unequal" else length * operands
            if base**places > 150_000:
                continue
            for trained in range(1, length):
                found = surrogate_accuracy(task, trained=trained, length=length, law=law)
                assert found == brute_force(task, trained, length, law)


@pytest.mark.parametrize("modulus", [1987, 2310, 4999])
@pytest.mark.parametrize("law", LAWS)
def test_products_modulo_thousands(modulus: int, law: OperandLaw) -> None:
    task = tasks.modular_multiplication(modulus, base=7)
    assert surrogate_accuracy(task, trained=1, length=3, law=law) == brute_force(task, 1, 3, law)


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


def test_the_accuracies_of_products_that_were_stated() -> None:
    def percent(modulus: int, trained: int, length: int) -> float:
        found = surrogate_accuracy(tasks.modular_multiplication(modulus), trained=trained, length=length)
        assert found is not None
        return 100 * float(found)

    assert {round(percent(150, 3, length), 4) for length in range(4, 12)} == {40.7704}
    assert round(percent(51, 3, 4), 3) == 2.398
    assert round(percent(51, 3, 60), 3) == 2.533
    assert round(percent(9, 1, 60), 2) == 16.59


def test_ten_thousand_digits_are_arithmetic_not_enumeration() -> None:
    found = surrogate_accuracy(tasks.modular_addition(101), trained=4, length=10_000)
    assert found is not None and abs(found - Fraction(1, 101)) < Fraction(1, 10**19_000)


def test_a_hundred_numbers_of_any_length() -> None:
    task = tasks.modular_addition(101, 100)
    near, far = (surrogate_accuracy(task, trained=4, length=length) for length in (6, 200))
    assert near is not None and far is not None
    assert 0 < abs(far - Fraction(1, 101)) < abs(near - Fraction(1, 101)) < Fraction(1, 10**6)


def test_mixtures_of_lengths_agree_with_the_sum_over_lengths() -> None:
    """Three numbers, one of them longest: the same by convolution as length by length."""
    task, trained, length, found = tasks.modular_addition(7, 3, base=5), 1, 7, Fraction(0)

    def runs(length: int) -> Run:
        return Run(start=0, size=1) if length == trained else dropped_run(task.base, trained, length)

    for others in product(range(1, length), repeat=2):
        chosen = [runs(each) for each in (length, *others)]
        found += Fraction(excess(7, chosen), 7 * math.prod(run.size for run in chosen))
    expected = Fraction(1, 7) + found / (length - 1) ** 2
    assert surrogate_accuracy(task, trained=trained, length=length, law="unequal") == expected


def test_what_is_out_of_reach_is_none_and_not_a_guess() -> None:
    assert surrogate_accuracy(tasks.modular_multiplication(9973), trained=1, length=3) is None
    far = tasks.modular_addition(10**9 + 7, 3)
    assert surrogate_accuracy(far, trained=1, length=20, law="unequal") is None
    assert surrogate_accuracy(far, trained=1, length=3, law="unequal") == 0  # the sum never reaches the modulus
    assert surrogate_accuracy(far, trained=1, length=20) is not None
    unknown = tasks.Operation(
        name="and", symbol="+", apply=lambda a, b: a & b, width=lambda base, places, operands: places
    )
    for modulus in (None, 2, 7):
        assert surrogate_accuracy(Task(operation=unknown, modulus=modulus), trained=1, length=3) is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"trained": 0, "length": 3}, "trained: got 0; allowed: an integer of at least 1"),
        ({"trained": 1, "length": 0}, "length: got 0; allowed: an integer of at least 1"),
        ({"trained": 1, "length": 1, "law": "unequal"}, "length: got 1; allowed: lengths above 1 under the law"),
    ],
)
def test_accuracy_is_refused_outside_its_domain(arguments, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        surrogate_accuracy(tasks.modular_addition(7), **arguments)
    assert "\n" not in str(error.value)
