"""Sums by column values: they add, one column and one token decide the next, and the windows are few."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carryproof.benchmarks.draws import draw_digits
from carryproof.theory.column_sums import column_sums, total
from carryproof.theory.coverage import shortest_training, windows_shown
from carryproof.theory.derivation import Derivation, derive
from carryproof.theory.enumeration import enumerated
from carryproof.theory.multisets import as_multisets
from carryproof.theory.windows import dependency_window


def check(operands: int, base: int, digits: list[np.ndarray]) -> None:
    values = np.stack([token for _, token in column_sums(operands, base=base).write(digits)], axis=1)
    assert values.max() < operands * base and values.shape[1] == digits[0].shape[1]
    for row in range(len(values)):
        added = sum(int(each[row, place]) * base**place for each in digits for place in range(each.shape[1]))
        assert total(values[row].tolist(), base) == added


@pytest.mark.parametrize(("operands", "base", "size"), [(2, 2, 5), (3, 2, 4), (3, 3, 2), (4, 2, 3)])
def test_columns_add_all_numbers_of_few_digits(operands: int, base: int, size: int) -> None:
    for places in range(1, size + 1):
        check(operands, base, enumerated(column_sums(operands, base=base), places))


@given(st.integers(2, 9), st.integers(2, 36), st.integers(1, 40), st.integers(0, 2**32))
def test_columns_add(operands: int, base: int, size: int, seed: int) -> None:
    check(operands, base, draw_digits(column_sums(operands, base=base), size, 4, np.random.default_rng(seed)))


@pytest.mark.parametrize("operands", [2, 3, 4, 5])
def test_one_column_and_the_token_before_decide(operands: int) -> None:
    process = column_sums(operands)
    found = dependency_window(process)
    assert found.status == "proved" and found.radius == 1
    assert {slot.offset for slot in found.slots if slot.role == "operand"} == {(0,)}
    derived = derive(process)
    assert isinstance(derived, Derivation) and derived.encoding == "window:0+0,1-1"


@given(st.integers(3, 4), st.integers(2, 3))
def test_windows_by_enumeration(operands: int, base: int) -> None:
    """The windows of columns read as multisets are those of all problems of up to three places, columns sorted."""
    process = column_sums(operands, base=base)
    listed = set()
    for size in (1, 2, 3) if base**operands < 30 else (1, 2):
        digits = enumerated(process, size)
        columns = np.sort(np.stack(digits, axis=2), axis=2)
        values = np.stack([token for _, token in process.write(digits)], axis=1)
        for row in range(len(values)):
            before = None
            for place in range(size):
                listed.add((tuple(columns[row, place]), before, int(values[row, place])))
                before = int(values[row, place])
            listed.add((None, before, None))
    seen = as_multisets(process)
    sizes = range(1, 4 if base**operands < 30 else 3)
    assert len(windows_shown(seen, sizes, law="spelled", more=(seen.output_at(1),))) == len(listed)


def test_five_decimal_numbers_have_a_hundred_thousand_windows() -> None:
    seen = as_multisets(column_sums(5))
    assert shortest_training(seen, law="spelled", more=(seen.output_at(1),)).windows == (2_048, 94_144, 102_152)


def test_too_many_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^operands: got 101; allowed: "):
        column_sums(101)
