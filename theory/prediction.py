"""Questions and predictions as values: frozen, written as canonical JSON, and named by a SHA-256 over it.

A question is (task, format, encoding, training range). Its prediction holds one cell per test length and operand law:
a verdict with its strength, the exact accuracy as a fraction or None, the surrogate function, and the conditions that
decided, each with the id of its law. The hash makes a registered prediction tamper-evident.

>>> canonical_json({"b": 1, "a": [Fraction(1, 3)]})
'{"a":["1/3"],"b":1}'
"""

import hashlib
import json
import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal, Inexact
from fractions import Fraction
from functools import lru_cache
from typing import Any, Literal

from carryproof.theory import encodings
from carryproof.theory.errors import unknown
from carryproof.theory.formats import Format
from carryproof.theory.ranges import OperandLaw, TrainingRange, write_lengths
from carryproof.theory.tasks import Task

SCHEMA_VERSION = 1
_SHORT_BITS = 4096  # integers up to this size are converted at once
_SHORT_TWOS = 64
_EXACT = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[Inexact])
Verdict = Literal["in-range", "excluded", "permitted", "forced", "silent"]


def write_fraction(fraction: Fraction) -> str:
    """A fraction of any size as text, the same that ``str`` gives where it is not refused or slow.

    >>> write_fraction(Fraction(-41, 4050)), len(write_fraction(Fraction(1, 3**20_000)))
    ('-41/4050', 9545)
    """
    numerator, denominator = _write_integer(fraction.numerator), _write_integer(fraction.denominator)
    return numerator if denominator == "1" else f"{numerator}/{denominator}"


def _write_integer(value: int) -> str:
    """Python writes n digits in n^2 steps; halves are put together by the fast products of ``decimal``."""

    def decimal(rest: int) -> Decimal:
        width = rest.bit_length()
        if width <= _SHORT_BITS:
            return Decimal(rest)
        half = 1 << (width - 1).bit_length() - 1  # a power of two, so that the factors below are few
        return _EXACT.fma(decimal(rest >> half), _power_of_two(half), decimal(rest & ((1 << half) - 1)))

    if value < 0:
        return "-" + _write_integer(-value)
    # A denominator is often a short number times 10^k; the factors 2 tell k, but for those of the short number.
    zeros = (value & -value).bit_length() - _SHORT_TWOS
    if zeros > 0 and value.bit_length() > max(_SHORT_BITS, zeros * math.log2(10)):
        short, rest = divmod(value, 10**zeros)
        if rest == 0:
            return _write_integer(short) + "0" * zeros
    return str(decimal(value))


@lru_cache(maxsize=32)
def _power_of_two(exponent: int) -> Decimal:
    if exponent <= _SHORT_BITS:
        return Decimal(1 << exponent)
    root = _power_of_two(exponent // 2)
    return _EXACT.multiply(root, root)


def read_fraction(text: str) -> Fraction:
    """The fraction that ``write_fraction`` wrote."""
    with _any_number_of_digits():
        return Fraction(text)


@contextmanager
def _any_number_of_digits() -> Iterator[None]:
    """Lift Python's limit on the digits of integers read and written as text, which guards servers and not us."""
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        yield
    finally:
        sys.set_int_max_str_digits(limit)


def canonical_json(value: Any) -> str:
    """The one text of plain data: keys sorted, no spaces, ASCII, fractions as text, NaN and infinity refused."""

    def plain(item: Any) -> Any:
        if isinstance(item, Fraction):
            return write_fraction(item)
        raise TypeError(f"{type(item).__name__} is not plain data")

    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, default=plain)


def content_hash(value: Any) -> str:
    """SHA-256, in hexadecimal, of the canonical JSON of plain data."""
    return hashlib.sha256(canonical_json(value).encode("ascii")).hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What is asked: a task written in a format, seen through an encoding, trained on a range of lengths."""

    task: Task
    format: Format
    encoding: str
    train: TrainingRange

    def __post_init__(self) -> None:
        if self.encoding not in encodings.ENCODINGS:  # window encodings read the ids of scripts, not those of formats
            raise unknown("encoding", self.encoding, encodings.ENCODINGS)
        self.format.require_room(self.train.longest)
        self.format.positions.require_room(self.format.layout(self.task, self.format.width or self.train.longest))

    @property
    def label(self) -> str:
        """A line for people: task, encoding and trained lengths."""
        return f"{self.task.label} / {self.encoding} / trained on {write_lengths(self.train.lengths)}"

    def to_dict(self) -> dict[str, Any]:
        """The question as plain data, the form that is hashed and stored."""
        return {
            "task": self.task.to_dict(),
            "format": str(self.format),
            "encoding": self.encoding,
            "train": self.train.to_dict(),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Reason:
    """A condition that decided a verdict: the law it comes from, whether it holds here, and why."""

    law: str
    condition: str
    holds: bool
    why: str

    def to_dict(self) -> dict[str, Any]:
        """The reason as plain data."""
        return {"law": self.law, "condition": self.condition, "holds": self.holds, "why": self.why}


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """The prediction at one test length and operand law.

    ``accuracy`` is the exact share of right answers of a model that computes ``surrogate``, or None where the theory
    names no number. For the verdicts in-range and permitted it is a condition, not a promise.
    """

    test_digits: int
    law: OperandLaw
    verdict: Verdict
    accuracy: Fraction | None
    surrogate: str | None
    reasons: tuple[Reason, ...]

    def to_dict(self) -> dict[str, Any]:
        """The cell as plain data; ``accuracy`` is a fraction as text."""
        return {
            "test_digits": self.test_digits,
            "law": self.law,
            "verdict": self.verdict,
            "accuracy": None if self.accuracy is None else write_fraction(self.accuracy),
            "accuracy_float": None if self.accuracy is None else float(self.accuracy),
            "surrogate": self.surrogate,
            "reasons": [reason.to_dict() for reason in self.reasons],
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """The cells predicted for a question, with a hash over question and cells."""

    question: Question
    cells: tuple[Cell, ...]
    prediction_id: str = field(init=False)

    def __post_init__(self) -> None:
        # The canonical JSON of {"cells", "question", "schema_version"}, a cell at a time: all at once can fill memory.
        digest = hashlib.sha256(b'{"cells":[')
        for index, cell in enumerate(self.cells):
            digest.update((("," if index else "") + canonical_json(cell.to_dict())).encode("ascii"))
        rest = canonical_json({"question": self.question.to_dict(), "schema_version": SCHEMA_VERSION})
        digest.update(("]," + rest.removeprefix("{")).encode("ascii"))
        object.__setattr__(self, "prediction_id", digest.hexdigest())

    def cell(self, test_digits: int, law: OperandLaw = "exact") -> Cell:
        """The cell of one test length and operand law; ``KeyError`` if it was not asked."""
        for cell in self.cells:
            if (cell.test_digits, cell.law) == (test_digits, law):
                return cell
        raise KeyError((test_digits, law))

    def to_dict(self) -> Mapping[str, Any]:
        """The object that ``carryproof predict --json`` prints."""
        question = self.question.to_dict()
        return {
            "schema_version": SCHEMA_VERSION,
            "prediction_id": self.prediction_id,
            "task": question["task"],
            "format": question["format"],
            "encoding": question["encoding"],
            "train_digits": write_lengths(self.question.train.lengths),
            "train_law": self.question.train.law,
            "cells": [cell.to_dict() for cell in self.cells],
        }
