"""Predictions as text: fractions of any size, and a hash that is taken a cell at a time."""

import sys
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carryproof.theory import Question, TrainingRange, content_hash, formats, predict, tasks
from carryproof.theory.prediction import SCHEMA_VERSION, read_fraction, write_fraction


@given(st.integers(-(2**10_000), 2**10_000), st.integers(1, 2**5_000), st.integers(0, 1_200))
def test_fractions_are_written_as_python_writes_them(numerator: int, short: int, zeros: int) -> None:
    assert write_fraction(Fraction(numerator, short)) == str(Fraction(numerator, short))
    assert write_fraction(Fraction(1, short * 10**zeros)) == str(Fraction(1, short * 10**zeros))


@pytest.mark.parametrize("exponent", [4095, 4096, 4097, 8192, 8193, 14_000])
def test_integers_beside_powers_of_two_and_ten(exponent: int) -> None:
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        for value in (2**exponent - 1, 2**exponent, -(2**exponent), 10**exponent, 10**exponent + 1, 12**exponent):
            assert write_fraction(Fraction(value)) == str(value)
            assert read_fraction(str(value)) == value
    finally:
        sys.set_int_max_str_digits(limit)


def test_the_hash_is_that_of_the_whole_prediction() -> None:
    question = Question(
        task=tasks.modular_addition(101),
        format=formats.padded(9),
        encoding="absolute",
        train=TrainingRange(lengths=(4,)),
    )
    prediction = predict(question, range(1, 10))
    cells = [cell.to_dict() for cell in prediction.cells]
    whole = {"schema_version": SCHEMA_VERSION, "question": question.to_dict(), "cells": cells}
    assert prediction.prediction_id == content_hash(whole)
