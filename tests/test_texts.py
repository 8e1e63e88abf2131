"""The texts of the forty-four models say what integers say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carryproof.circuits.texts import DIGITS_AT_MOST, Problems, context, prompt_length, render, require_digits, write


@st.composite
def written(draw: st.DrawFn) -> tuple[list[tuple[int, int, bool]], int]:
    digits = draw(st.integers(1, DIGITS_AT_MOST))
    number = st.integers(0, 10**digits - 1)
    return draw(st.lists(st.tuples(number, number, st.booleans()), min_size=1, max_size=5)), digits


def as_problems(every: list[tuple[int, int, bool]], digits: int) -> Problems:
    operands = [[[n // 10**place % 10 for place in range(digits)] for n in (a, b)] for a, b, _ in every]
    return Problems(operands=np.array(operands, dtype=np.uint8), subtract=np.array([sub for _, _, sub in every]))


@given(written())
def test_texts_are_what_python_writes(drawn: tuple[list[tuple[int, int, bool]], int]) -> None:
    every, digits = drawn
    for (a, b, subtract), row in zip(every, write(as_problems(every, digits)), strict=True):
        value = a - b if subtract else a + b
        sign = "-" if value < 0 else "+"
        operator = "-" if subtract else "+"
        text = f"{a:0{digits}}{operator}{b:0{digits}}={sign}{abs(value):0{digits + 1}}"
        assert render(row) == text and len(text) == context(digits)
        assert text[: prompt_length(digits)].endswith("=")


@pytest.mark.parametrize("digits", [0, 41, "5", True])
def test_sizes_are_refused_in_one_line(digits: object) -> None:
    with pytest.raises(ValueError, match=r"^digits: got "):
        require_digits("digits", digits)
