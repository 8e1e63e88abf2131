"""Dependency windows against independent brute force, and the machines against the processes they stand for."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from carryproof.theory import cases, machines, processes, tasks, windows
from carryproof.theory.cases import process_of
from carryproof.theory.enumeration import clash, counterexample
from carryproof.theory.processes import Process, WindowSlot
from carryproof.theory.windows import column_window, dependency_window


def digit(value: int, place: int, base: int) -> int:
    return value // base**place % base if place >= 0 else 0


def is_function(pairs) -> bool:
    """Brute force, on a dictionary: no key comes with two values."""
    seen: dict = {}
    return all(seen.setdefault(key, value) == value for key, value in pairs)


def sums(base: int, operands: int, size: int, radius: int):
    """(window, digit) pairs of addition on Python integers: columns and written digits up to ``radius`` back."""
    for values in product(range(base**size), repeat=operands):
        total = sum(values)
        for place in range(size + 3):
            columns = tuple(digit(v, place - back, base) for v in values for back in range(radius + 1))
            written = tuple(digit(total, place - back, base) for back in range(1, radius + 1))
            yield (columns, written), digit(total, place, base)


@settings(max_examples=25)
@given(
    st.sampled_from(
        [(2, 2, 4), (2, 3, 3), (2, 4, 3), (2, 5, 2), (3, 2, 3), (3, 3, 2), (4, 2, 2), (7, 2, 2), (10, 2, 2)]
    )
)
def test_the_radius_of_addition_by_brute_force(case: tuple[int, int, int]) -> None:
    base, operands, size = case
    found = dependency_window(process_of(tasks.addition(operands, base=base)))
    assert found.status == "proved" and found.bounded and found.radius is not None
    assert is_function(sums(base, operands, size, found.radius))
    if base == 2 and operands <= 4:
        assert not is_function(sums(base, operands, size, found.radius - 1))


@given(st.integers(2, 12), st.integers(2, 30))
def test_the_radius_of_addition_is_a_logarithm(base: int, operands: int) -> None:
    machine = process_of(tasks.addition(operands, base=base)).machine
    assert machine is not None
    radius = next(r for r in range(1, 9) if base**r >= operands)  # ceil(log_B k), and at least 1
    assert machines.machine_radius(machine) == radius


@given(st.integers(2, 36), st.data())
def test_the_carry_of_law_l2_is_recovered(base: int, data: st.DataObject) -> None:
    operands = data.draw(st.integers(2, base))
    column = np.arange(operands * (base - 1) + 1)[:, None]
    carry = np.arange(operands)[None, :]
    assert ((column + carry) // base).max() <= operands - 1
    assert ((((column + carry) % base) - column) % base == carry).all()


def test_the_largest_carry_symbolically() -> None:
    k, base = sympy.symbols("k B", integer=True, positive=True)
    # column + carry <= k (B-1) + (k-1) = k B - 1 < k B, so that the next carry is at most k-1 again
    assert sympy.expand(k * (base - 1) + (k - 1) - (k * base - 1)) == 0


@pytest.mark.parametrize("base", [2, 3, 7, 10])
def test_one_operand_more_than_the_base_breaks_the_window_of_law_l2(base: int) -> None:
    process = process_of(tasks.addition(base + 1, base=base))
    window = column_window(process, 1)
    top = ((base - 1, base - 1, 0, 0),) * (base + 1)
    found = clash(process, window, top, ((0, 0, 0, 0),) * (base + 1))
    assert found is not None and found.coordinates == ((3,), (3,)) and found.tokens == (1, 0)
    total = (base + 1) * (base**2 - 1)  # by hand: c_2 = 0 as in 0 + ... + 0, but c_3 = 1
    assert (digit(total, 2, base), digit(total, 3, base)) == (0, 1)
    wider = dependency_window(process)
    assert (wider.status, wider.radius) == ("proved", 2)
    if base == 2:
        smallest = counterexample(process, window, 3)
        assert smallest is not None and str(smallest) == "c[0] is 0 in (0, 0, 0) and c[3] is 1 in (11, 11, 10)"


def registered() -> list[Process]:
    found = [
        *(process_of(tasks.addition(k, base=base), order) for k, base in ((2, 10), (3, 2), (4, 3)) for order in ORDERS),
        *(process_of(build(base=base), order) for build in SIGNED for base in (2, 3, 10) for order in ORDERS),
        *(process_of(tasks.modular_addition(p), order) for p in (100, 101) for order in ORDERS),
        *(build(base, order) for build in ORDERED for base in (2, 3) for order in ORDERS),
        *(build(base) for build in PLAIN for base in (2, 3)),
        cases.reversal(3, counted_from_the_other_end=True),
        *(cases.horner(p, k, base=base) for p, k, base in ((7, 1, 3), (4, 1, 2), (5, 2, 2), (101, 2, 10))),
    ]
    return found


ORDERS = ("least-first", "most-first")
SIGNED = (tasks.subtraction, tasks.multiplication)
ORDERED = (cases.unsigned_subtraction, cases.copy, cases.running_comparison)
PLAIN = (
    cases.reversal,
    cases.parity,
    cases.running_parity,
    cases.comparison,
    cases.times_one_digit,
    cases.multiply_add_rows,
)


@pytest.mark.parametrize("process", registered(), ids=lambda process: f"{process.name}, {process.order}")
def test_the_decision_and_the_enumeration_agree(process: Process) -> None:
    found = dependency_window(process)
    assert found.status in ("proved", "refuted") and found.bounded == (found.status == "proved")
    assert process.name in found.statement
    if found.status == "refuted":
        for radius, each in zip(windows.WITNESSED_RADII, found.counterexamples, strict=True):
            (place, *_), _ = each.coordinates
            for operand, (one, other) in enumerate(zip(*each.problems, strict=True)):
                home = process.homes[operand].place((place,), len(one))
                near = slice(max(0, home - radius), home + radius + 1)
                assert one[near] == other[near]
            assert each.problems[0] != each.problems[1]
            assert each.tokens[0] != each.tokens[1]
    elif found.position_independent and process.base ** sum(process.widths(3)) < 20_000:
        searched = dependency_window(replace(process, machine=None, witness=None))
        assert searched.status == "checked" and searched.bounded and searched.radius == found.radius
        assert searched.absent == "zero" and searched.position_independent
        assert counterexample(process, found.slots, found.size) is None
        if searched.radius == 1 or not searched.radius:
            assert set(searched.slots) == set(found.slots)
            for slot in found.slots:  # and no slot can go
                assert counterexample(process, [each for each in found.slots if each != slot], found.size) is not None


def test_windows_that_a_law_of_its_own_decides() -> None:
    found = dependency_window(process_of(tasks.modular_multiplication(150 // 3)))
    assert (found.status, found.position_independent, len(found.slots)) == ("proved", False, 4)
    assert is_function(((a % 100, b % 100), a * b % 50) for a in range(1000) for b in range(0, 1000, 7))


def test_multiply_add_rows_have_six_slots() -> None:
    found = dependency_window(cases.multiply_add_rows(10))
    assert set(found.texts) == {"b[j]", "a[i-j]", "a[i-j-1]", "c[j-1,i]", "c[j-1,i-1]", "c[j,i-1]"}


def test_functions_of_a_users_own() -> None:
    xor = processes.plain("xor", lambda a, b: [x ^ y for x, y in zip(a, b, strict=True)], operands=2, base=4)
    found = dependency_window(xor)
    assert (found.strength, found.texts) == ("checked to size 3", ("a[i]", "b[i]"))
    alternating = processes.plain("every other", lambda a: [x * (t % 2) for t, x in enumerate(a)], operands=1, base=3)
    placed = dependency_window(alternating, 6)
    assert (placed.bounded, placed.position_independent) == (True, False)
    backwards = dependency_window(processes.plain("backwards", lambda a: a[::-1], operands=1, base=2), 6)
    assert backwards.bounded is None and backwards.status == "checked" and backwards.counterexamples


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match=r"size: got 3; allowed: .* 300,000 problems; .* has 1,010,100"):
        dependency_window(process_of(tasks.addition()), 3)
    with pytest.raises(ValueError, match="10\\^"):
        dependency_window(process_of(tasks.addition()), 10**9)
    with pytest.raises(ValueError, match="integers from 0"):
        dependency_window(processes.plain("half", lambda a: [x / 2 for x in a], operands=1))
    with pytest.raises(ValueError, match="ZeroDivisionError"):
        dependency_window(processes.plain("inverse", lambda a: [1 // x for x in a], operands=1))
    count = iter(range(10**9))
    with pytest.raises(ValueError, match="deterministic"):
        dependency_window(processes.plain("counter", lambda a: [next(count)], operands=1, base=2))
    with pytest.raises(ValueError, match="at most 1,000"):
        dependency_window(cases.horner(1009))
    with pytest.raises(ValueError, match="size"):
        dependency_window(processes.plain("wide", lambda *a: [0], operands=6, base=36))


def test_invisible_columns_are_followed_too() -> None:
    machine = cases.running_parity(2).machine
    assert machine is not None
    assert machines.determines(machine, inputs={0}, outputs={1})
    assert not machines.determines(machine, inputs={0, 1}, outputs=set())
    assert not machines.determines(machine, inputs={1}, outputs={1})
    assert WindowSlot("operand", 0, (0,)) in dependency_window(cases.running_parity(2)).slots


LETTERS = {  # the column letter that each machine reads, written a second time
    "addition": (process_of(tasks.addition(3, base=4)), lambda column, base: sum(column)),
    "subtraction": (cases.unsigned_subtraction(3), lambda column, base: (column[0] - column[1]) % (2 * base - 1)),
    "copy": (cases.copy(5), lambda column, base: column[0]),
    "parity": (cases.running_parity(3), lambda column, base: column[0]),
    "horner": (cases.horner(7, 2, base=3), lambda column, base: sum(column)),
    "least-first": (
        cases.running_comparison(3),
        lambda column, base: 2 * (column[0] > column[1]) + (column[0] < column[1]),
    ),
    "most-first": (
        cases.running_comparison(3, "most-first"),
        lambda column, base: 2 * (column[0] > column[1]) + (column[0] < column[1]),
    ),
}


@pytest.mark.parametrize("name", LETTERS)
@settings(max_examples=30)
@given(data=st.data())
def test_a_machine_writes_what_its_process_writes(name: str, data: st.DataObject) -> None:
    process, letter = LETTERS[name]
    assert process.machine is not None
    size, operands = data.draw(st.integers(1, 6)), len(process.homes)
    problem = [
        data.draw(st.lists(st.integers(0, process.base - 1), min_size=size, max_size=size)) for _ in range(operands)
    ]
    if name == "subtraction":
        problem.sort(key=lambda digits: digits[::-1], reverse=True)
    written = {
        place: int(token[0]) for (place,), token in process.write([np.array([x], dtype=np.uint8) for x in problem])
    }
    state = process.machine.starts[0]
    for place in sorted(written, reverse=process.order == "most-first"):
        column = [digits[place] if place < size else 0 for digits in problem]
        state, token = process.machine.step(state, letter(column, process.base) % process.machine.letters)
        assert token == written[place]
