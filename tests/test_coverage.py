"""Windows shown, shortest training lengths and covered shares, against the enumeration of every problem."""

from dataclasses import replace
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carryproof.theory import cases, tasks
from carryproof.theory.cases import process_of
from carryproof.theory.coverage import covered_share, shortest_training, window_coverage, windows_shown
from carryproof.theory.processes import Machine, Process
from carryproof.theory.readers import reader_of
from carryproof.theory.windows import dependency_window

PROCESSES = [
    process_of(tasks.addition(base=2)),
    process_of(tasks.addition(base=3)),
    process_of(tasks.addition(3, base=2)),
    cases.unsigned_subtraction(2),
    cases.unsigned_subtraction(3),
    cases.copy(3),
    cases.running_parity(2),
    cases.running_comparison(2),
    cases.running_comparison(3, "most-first"),
    cases.horner(5, base=2),
    cases.horner(7, 2, base=3),
    cases.times_one_digit(3),
]
every_process = pytest.mark.parametrize("process", PROCESSES, ids=lambda each: f"{each.name}, {each.order}")


def lengths_of(law: str, operands: int, length: int):
    every = product(range(1, length + 1), repeat=operands)
    if law in ("exact", "spelled"):
        return [(length,) * operands]
    if law == "longest":
        return [each for each in every if max(each) == length]
    return [each for each in every if sorted(each)[-1] == length and sum(x == length for x in each) == 1]


def problems(process: Process, law: str, length: int):
    """(operand lengths, operands as integers) of every problem."""
    moving = len(process.homes) - len(process.fixed)
    for group in lengths_of(law, moving, length):
        ranges = [range(process.base ** (n - 1) if n > 1 and law != "spelled" else 0, process.base**n) for n in group]
        for values in product(*ranges, *[range(process.base)] * len(process.fixed)):
            yield group, values


def by_hand(process: Process, group: tuple[int, ...], values: tuple[int, ...], width: int | None):
    """(place, slot values or -1, token or -2) of one problem, from what the process writes."""
    base, size = process.base, max(group) if width is None else width
    widths = process.widths(size)
    digits = [[value // base**i % base for i in range(w)] for value, w in zip(values, widths, strict=True)]
    if process.domain is not None and not process.domain([np.array([d], dtype=np.uint8) for d in digits])[0]:
        return None
    ends = [n if width is None else width for n in group] + [1] * len(process.fixed)
    written = {at[0]: int(token[0]) for at, token in process.write([np.array([d], dtype=np.uint8) for d in digits])}
    end = len(written) if process.order == "least-first" else -1
    found = []
    for place in [*sorted(written, reverse=process.order == "most-first"), end]:
        held = []
        for slot in dependency_window(process).slots:
            at = (0 if slot in process.fixed else place) + slot.offset[0]
            if slot.role == "answer":
                held.append(written.get(at, -1))
            elif slot in process.fixed:
                held.append(digits[slot.operand][0])
            else:
                held.append(digits[slot.operand][at] if 0 <= at < ends[slot.operand] else -1)
        found.append((place, (*held, written.get(place, -2))))
    return found


def enumerated(process: Process, law: str, lengths, width: int | None = None) -> set[tuple[int, ...]]:
    each = (by_hand(process, *problem, width) for length in lengths for problem in problems(process, law, length))
    return {window for rows in each if rows is not None for _, window in rows}


def decoded(process: Process, keys) -> set[tuple[int, ...]]:
    return set(zip(*(column.tolist() for column in reader_of(process).unpack(keys)), strict=True))


@every_process
@pytest.mark.parametrize("law", ["exact", "spelled", "longest", "unequal"])
def test_windows_equal_those_of_every_problem(process: Process, law: str) -> None:
    moving = len(process.homes) - len(process.fixed)
    if law == "unequal" and moving == 1:
        return
    for length in range(2 if law == "unequal" else 1, 4 if moving * process.base < 7 else 3):
        for width in (None, length, length + 2):
            found = windows_shown(process, [length], law=law, width=width)
            assert decoded(process, found) == enumerated(process, law, [length], width), (length, width)


@every_process
@pytest.mark.parametrize("law", ["exact", "spelled"])
def test_no_longer_problem_has_a_window_that_the_shortest_training_lacks(process: Process, law: str) -> None:
    found = shortest_training(process, law=law)
    longest = max(found.length + 1, 4)
    if process.base ** sum(process.widths(longest)) > 5_000:
        longest = found.length
    sets = [enumerated(process, law, range(1, n + 1)) for n in range(1, longest + 1)]
    interiors = [{w for w in each if -1 not in w and -2 not in w} for each in sets]
    for every, counts, shortest in (
        (sets, found.windows, found.length),
        (interiors, found.interiors, found.interior),
    ):
        assert [len(each) for each in every[: len(counts)]] == list(counts[: len(every)])
        assert len(every[-1]) == counts[-1] == len(every[shortest - 1])
        assert shortest == 1 or len(every[shortest - 2]) < counts[-1]


def test_problems_that_must_end_in_a_final_state_settle_later() -> None:
    """Numbers with three ones at least: no problem of one or two digits, and windows that need four."""
    machine = Machine(
        letters=2,
        starts=((0,),),
        step=lambda state, x: ((min(3, state[0] + x),), x),
        read=lambda columns: columns[:, 0],
        final=((3,),),
    )
    process = replace(
        cases.copy(2), machine=machine, domain=lambda operands: operands[0].sum(axis=1) >= 3, name="copy of many ones"
    )
    found = shortest_training(process, law="spelled")
    assert found.length == 4 and found.windows[:4] == (0, 0, 2, 3)
    for length in (1, 2, 3, 4, 6, 9):
        assert decoded(process, windows_shown(process, [length], law="spelled")) == enumerated(
            process, "spelled", [length]
        )


def test_the_shortest_training_of_sums_is_that_of_law_l19_in_every_base() -> None:
    """A carry into place i-1 needs i >= 2, and without leading zeros place i must not be the top one."""
    for base in (2, 3, 7, 10, 12, 16):
        for law, shortest in (("spelled", 3), ("exact", 4)):
            found = shortest_training(process_of(tasks.addition(base=base)), law=law)
            assert (found.interior, found.interiors[-1]) == (shortest, 2 * base**4)
            assert found.interiors[1] == (base**4 if law == "spelled" else (base * (base - 1)) ** 2)


@pytest.mark.parametrize("placed", [False, True])
@settings(max_examples=12)
@given(data=st.data())
def test_covered_shares_equal_those_counted_one_by_one(placed: bool, data: st.DataObject) -> None:
    process = data.draw(st.sampled_from([each for each in PROCESSES if each.base == 2 or each.name.startswith("copy")]))
    moving = len(process.homes) - len(process.fixed)
    laws = ["exact", "spelled", "longest"] + (["unequal"] if moving > 1 else [])
    law, test_law = data.draw(st.sampled_from(laws)), data.draw(st.sampled_from(laws))
    trained = sorted(data.draw(st.sets(st.integers(2, 3), min_size=1)))
    length = data.draw(st.integers(2, 3 if moving > 2 else 4))
    width = data.draw(st.sampled_from([None, 5]))
    seen = set()
    for each in trained:
        for problem in problems(process, law, each):
            rows = by_hand(process, *problem, width)
            seen |= {(place if placed else 0, window) for place, window in rows or ()}
    shares: dict[tuple[int, ...], list[int]] = {}
    for group, values in problems(process, test_law, length):
        rows = by_hand(process, group, values, width)
        if rows is not None:
            covered = all((place if placed else 0, window) in seen for place, window in rows)
            shares.setdefault(group, []).append(covered)
    counts = [(sum(each), len(each)) for each in shares.values()]
    if test_law == "unequal":  # lengths are drawn first
        expected = sum(Fraction(*each) for each in counts) / len(counts)
    else:
        expected = Fraction(sum(right for right, _ in counts), sum(every for _, every in counts))
    found = covered_share(
        process, trained=trained, length=length, law=law, test_law=test_law, width=width, placed=placed
    )
    assert found == expected


def test_the_published_failure_at_three_digits_is_not_covered_by_four() -> None:
    """Law L9: training on four digits never shows two zeros at place 4, so the bound is 0, hence vacuous."""
    adding = process_of(tasks.addition())
    bounds = [
        covered_share(adding, trained=(4,), length=3, law=law, test_law="exact", width=5, placed=True)
        for law in ("exact", "longest", "spelled")
    ]
    assert bounds == [0, 0, 1]


def test_windows_of_very_long_numbers_cost_no_more() -> None:
    adding = process_of(tasks.addition())
    assert np.array_equal(windows_shown(adding, [20_000], width=30_000), windows_shown(adding, [5], width=9))
    short = window_coverage(adding, trained=(1, 2, 3), tested=(10_000,), width=10_003)
    assert short.missing and short.interior_missing and "never shows" in short.statement
    enough = window_coverage(adding, trained=(1, 2, 3, 4), tested=(10_000,), width=10_003)
    assert not enough.missing and "shows all 20,102 windows" in enough.statement
    # numbers that fill the width present windows at its end that shorter ones never do
    full = window_coverage(adding, trained=(1, 2, 3, 4), tested=(10_000,), width=10_000)
    assert full.missing == 163 and not full.interior_missing


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match=r"process: got 'multiplication .* least-first'; allowed: one with a bounded"):
        shortest_training(process_of(tasks.multiplication()))
    with pytest.raises(ValueError, match="law: unknown value 'longest'"):
        shortest_training(process_of(tasks.addition()), law="longest")
    with pytest.raises(ValueError, match="at most 2,500,000 windows at a place; here are"):
        shortest_training(process_of(tasks.addition(3, base=16)))
    with pytest.raises(ValueError, match="width: got 3; allowed: at least 4"):
        windows_shown(process_of(tasks.addition()), [4], width=3)
    with pytest.raises(ValueError, match="at most 64 combinations of lengths; here are 199"):
        windows_shown(process_of(tasks.addition()), [100], law="longest")
