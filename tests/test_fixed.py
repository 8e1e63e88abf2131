"""Times and divided by a fixed number: the tokens are those of integers, and the windows those of brute force."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carryproof.benchmarks.scripted import process_named
from carryproof.theory.coverage import shortest_training, windows_shown
from carryproof.theory.derivation import Derivation, Obstruction, derive
from carryproof.theory.fixed import LARGEST, divided_by, reach, times
from carryproof.theory.processes import number
from carryproof.theory.readers import reader_of
from carryproof.theory.windows import dependency_window

NUMBERS = st.integers(1, 150)
BASES = st.integers(2, 16)
FEW = [
    build(each, base=base)
    for build in (times, divided_by)
    for each, base in ((1, 3), (2, 3), (3, 3), (4, 3), (5, 3), (3, 2), (5, 2), (4, 2), (2, 10), (7, 10), (10, 10))
]
every = pytest.mark.parametrize("process", FEW, ids=lambda each: each.name)


def digits_of(value: int, base: int, places: int) -> list[np.ndarray]:
    return [np.array([number(value, base, places)], dtype=np.uint8)]


@given(NUMBERS, BASES, st.integers(1, 12), st.data())
def test_tokens_are_the_digits_of_the_integer(fixed: int, base: int, places: int, data: st.DataObject) -> None:
    value = data.draw(st.integers(0, base**places - 1))
    operand = digits_of(value, base, places)
    product = [(place, int(token[0])) for (place,), token in times(fixed, base=base).write(operand)]
    assert [place for place, _ in product] == list(range(places + reach(fixed, base)))
    assert sum(token * base**place for place, token in product) == value * fixed
    quotient = [(place, int(token[0])) for (place,), token in divided_by(fixed, base=base).write(operand)]
    assert [place for place, _ in quotient] == list(reversed(range(places)))
    assert sum(token * base**place for place, token in quotient) == value // fixed
    assert all(0 <= token < base for _, token in product + quotient)


@given(NUMBERS, BASES, st.data())
def test_the_last_digits_tell_the_carry_and_the_remainder(fixed: int, base: int, data: st.DataObject) -> None:
    """The lemma of the docstring, in integers: n columns and n tokens give the state before them modulo B^n."""
    power = base ** reach(fixed, base)
    block, state = data.draw(st.integers(0, power - 1)), data.draw(st.integers(0, fixed - 1))
    carried, tokens = divmod(fixed * block + state, power)
    assert (tokens - fixed * block) % power == state and carried < fixed
    quotient, rest = divmod(power * state + block, fixed)
    assert (block - fixed * quotient) % power == rest and quotient < power


@every
def test_windows_are_those_of_an_enumeration(process) -> None:
    found = dependency_window(process)
    fixed = int(process.name.split(" by ")[1].split()[0])
    assert found.bounded and found.position_independent
    assert found.radius is not None and found.radius <= reach(fixed, process.base)
    if process.base == 10:
        return
    searched = dependency_window(replace(process, machine=None))
    assert searched.bounded and searched.radius == found.radius


@every
def test_the_windows_of_all_lengths_are_those_of_all_short_problems(process) -> None:
    slots = dependency_window(process).slots
    shortest = shortest_training(process, law="spelled")
    lengths = range(1, shortest.length + 1)
    seen = set()
    for places in lengths:
        values = np.arange(process.base**places)[:, None] // process.base ** np.arange(places) % process.base
        tokens = process.write([values.astype(np.uint8)])
        written = {place: token.tolist() for (place,), token in tokens}
        last = tokens[-1][0][0] + (1 if process.order == "least-first" else -1)
        for place in [*written, last]:
            for row in range(len(values)):
                held = []
                for slot in slots:
                    at = place + slot.offset[0]
                    if slot.role == "answer":
                        held.append(written[at][row] if at in written else None)
                    else:
                        held.append(int(values[row, at]) if 0 <= at < places else None)
                seen.add((tuple(held), written[place][row] if place in written else None))
    reader = reader_of(process)
    enumerated = [reader.decode(int(key)) for key in windows_shown(process, lengths, law="spelled")]
    assert {(window.values, window.token) for window in enumerated} == seen
    assert shortest.windows[-1] == len(seen)


def test_what_averaging_cannot_tell_apart_has_no_encoding() -> None:
    assert isinstance(derive(times(12)), Derivation) and isinstance(derive(divided_by(7)), Derivation)
    assert isinstance(derive(divided_by(10)), Obstruction)


def test_numbers_are_checked() -> None:
    with pytest.raises(ValueError, match=r"^factor: got 0; allowed: an integer from 1 to 1000$"):
        times(0)
    with pytest.raises(ValueError, match=rf"^divisor: got {LARGEST + 1}; allowed: an integer from 1 to 1000$"):
        divided_by(LARGEST + 1)
    assert process_named({"name": "times", "number": 12}) is times(12, base=10)
    assert process_named({"name": "divided-by", "number": 3, "base": 2}) is divided_by(3, base=2)
    for subject in ({"name": "times"}, {"name": "times", "number": 3, "modulus": 7}):
        with pytest.raises(ValueError, match=r"^subject: got .*; allowed: name, number and, as needed, base$"):
            process_named(subject)
