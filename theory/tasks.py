"""Arithmetic tasks as values: what is computed, on how many operands, in which base, modulo what.

A task is an operation on integers, optionally followed by a reduction modulo p: f(a, b) = (a op b) mod p. Its truth is
available on Python integers, on digit arrays of any length, and as a sympy expression; sampler, text and predictions
derive from this one value (Xu et al., arXiv 2407.17963, study exactly these tasks in base 10).

>>> task = modular_addition(101)
>>> task(70, 40), str(task)
(9, 'addition of 2 numbers modulo 101 in base 10')
"""

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carryproof.theory.digits import Digits, carry_up, digits_le, length_of, require_base, residues, value_of
from carryproof.theory.errors import bad, require_integer, unknown


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """The answers of a batch: digits ``[problem, place]``, least significant first, and where they are negative."""

    digits: Digits
    negative: NDArray[np.bool_]

    def at(self, index: NDArray[np.bool_]) -> "Answer":
        """The answers that a mask selects."""
        return Answer(digits=self.digits[index], negative=self.negative[index])


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """An operation on integers: ``apply`` on values that know +, -, * (integers, arrays, sympy symbols).

    ``width(base, places, operands)`` is the number of digits the largest answer needs. ``columns`` maps operand digits
    ``[problem, operand, place]`` to column sums ``[problem, column]`` of the answer's absolute value; without it the
    answer is computed on Python integers, one problem at a time. All three are named functions of a module, so that a
    worker process can import them. ``polynomial`` says that the operation is a polynomial with integer coefficients:
    then residues of the operands decide the residue of the answer, and modular answers are computed on residues.
    """

    name: str
    symbol: str
    apply: Callable[..., Any]
    width: Callable[[int, int, int], int]
    columns: Callable[[Digits], tuple[NDArray[np.signedinteger], NDArray[np.bool_]]] | None = None
    operands: tuple[int, int] = (2, 2)
    signed: bool = False
    polynomial: bool = False


def _add(*values: Any) -> Any:
    return sum(values[1:], values[0])


def _add_columns(operands: Digits) -> tuple[NDArray[np.signedinteger], NDArray[np.bool_]]:
    columns = operands[:, 0].astype(np.int16)  # at most 100 digits below 36, and a carry
    for operand in range(1, operands.shape[1]):
        columns += operands[:, operand]
    return columns, np.zeros(len(operands), dtype=bool)


def _subtract_columns(operands: Digits) -> tuple[NDArray[np.signedinteger], NDArray[np.bool_]]:
    difference = operands[:, 0].astype(np.int16) - operands[:, 1]
    negative = np.zeros(len(difference), dtype=bool)
    for column in difference.T:  # the highest place where the operands differ decides
        np.copyto(negative, column < 0, where=column != 0)
    return difference * np.where(negative, -1, 1).astype(np.int16)[:, None], negative


def _multiply_columns(operands: Digits) -> tuple[NDArray[np.signedinteger], NDArray[np.bool_]]:
    left, right = operands[:, 0].astype(np.int64), operands[:, 1].astype(np.int64)
    places = left.shape[1]
    columns = np.zeros((len(left), 2 * places), dtype=np.int64, order="F")
    for place in range(places):
        columns[:, place : place + places] += left[:, place, None] * right
    return columns, np.zeros(len(left), dtype=bool)


def _sum_width(base: int, places: int, operands: int) -> int:
    return length_of(operands * (base**places - 1), base)


def _difference_width(base: int, places: int, operands: int) -> int:
    return places


def _product_width(base: int, places: int, operands: int) -> int:
    return 2 * places


ADDITION = Operation(
    name="addition",
    symbol="+",
    apply=_add,
    width=_sum_width,
    columns=_add_columns,
    operands=(2, 100),
    polynomial=True,
)
SUBTRACTION = Operation(
    name="subtraction",
    symbol="-",
    apply=operator.sub,
    width=_difference_width,
    columns=_subtract_columns,
    signed=True,
    polynomial=True,
)
MULTIPLICATION = Operation(
    name="multiplication",
    symbol="*",
    apply=operator.mul,
    width=_product_width,
    columns=_multiply_columns,
    polynomial=True,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """An operation on ``operands`` non-negative integers in ``base``, modulo ``modulus`` unless that is None."""

    operation: Operation
    operands: int = 2
    base: int = 10
    modulus: int | None = None

    def __post_init__(self) -> None:
        require_base(self.base)
        low, high = self.operation.operands
        require_integer("operands", self.operands, low, high)
        if self.modulus is not None:
            require_integer("modulus", self.modulus, 2)

    def __call__(self, *operands: int) -> int:
        """The true answer on Python integers."""
        if len(operands) != self.operands:
            raise bad("operands", len(operands), f"exactly {self.operands} numbers")
        value: int = self.operation.apply(*operands)
        return value if self.modulus is None else value % self.modulus

    def __str__(self) -> str:
        reduced = "" if self.modulus is None else f" modulo {self.modulus}"
        return f"{self.operation.name} of {self.operands} numbers{reduced} in base {self.base}"

    @property
    def name(self) -> str:
        """The name on the command line, such as ``modular-addition``."""
        return self.operation.name if self.modulus is None else f"modular-{self.operation.name}"

    @property
    def label(self) -> str:
        """A short name that tells tasks of one study apart, such as ``addition mod 101``."""
        parts = [self.operation.name]
        if self.operands != 2:
            parts.append(f"of {self.operands}")
        if self.modulus is not None:
            parts.append(f"mod {self.modulus}")
        if self.base != 10:
            parts.append(f"base {self.base}")
        return " ".join(parts)

    @property
    def signed(self) -> bool:
        """Whether answers can be negative, so that the text carries a sign."""
        return self.operation.signed and self.modulus is None

    def answer_width(self, operand_width: int) -> int:
        """The number of digits of the largest answer to operands of ``operand_width`` digits."""
        if self.modulus is not None:
            return length_of(self.modulus - 1, self.base)
        return self.operation.width(self.base, operand_width, self.operands)

    def answer(self, operands: Digits) -> Answer:
        """The true answers to digits ``[problem, operand, place]``, padded to ``answer_width(places)``."""
        width = self.answer_width(operands.shape[2])
        positive = np.zeros(len(operands), dtype=bool)
        if self.modulus is not None and self.operation.polynomial:
            rest = residues(operands, self.base, self.modulus)
            value = self.operation.apply(*(rest[:, index] for index in range(self.operands))) % self.modulus
            return Answer(digits=carry_up(value[:, None], self.base, width), negative=positive)
        if self.modulus is None and self.operation.columns is not None:
            columns, negative = self.operation.columns(operands)
            return Answer(digits=carry_up(columns, self.base, width), negative=negative)
        values = [self(*(value_of(number, self.base) for number in problem)) for problem in operands]
        digits = np.stack([digits_le(abs(value), self.base, width) for value in values])
        return Answer(digits=digits, negative=np.array([value < 0 for value in values]))

    def to_dict(self) -> dict[str, Any]:
        """The task as plain data, the form that is hashed and stored."""
        return {"name": self.name, "operands": self.operands, "base": self.base, "modulus": self.modulus}


def addition(operands: int = 2, *, base: int = 10) -> Task:
    """The sum of ``operands`` numbers."""
    return Task(operation=ADDITION, operands=operands, base=base)


def subtraction(*, base: int = 10) -> Task:
    """The signed difference of two numbers."""
    return Task(operation=SUBTRACTION, base=base)


def multiplication(*, base: int = 10) -> Task:
    """The product of two numbers."""
    return Task(operation=MULTIPLICATION, base=base)


def modular_addition(modulus: int, operands: int = 2, *, base: int = 10) -> Task:
    """The sum of ``operands`` numbers modulo ``modulus``."""
    return Task(operation=ADDITION, operands=operands, base=base, modulus=modulus)


def modular_subtraction(modulus: int, *, base: int = 10) -> Task:
    """The difference of two numbers modulo ``modulus``."""
    return Task(operation=SUBTRACTION, base=base, modulus=modulus)


def modular_multiplication(modulus: int, *, base: int = 10) -> Task:
    """The product of two numbers modulo ``modulus``."""
    return Task(operation=MULTIPLICATION, base=base, modulus=modulus)


OPERATIONS: dict[str, Operation] = {operation.name: operation for operation in (ADDITION, SUBTRACTION, MULTIPLICATION)}


def task_names() -> list[str]:
    """The names that ``build`` accepts."""
    return [prefix + name for prefix in ("", "modular-") for name in OPERATIONS]


def build(name: str, *, operands: int = 2, base: int = 10, modulus: int | None = None) -> Task:
    """The task of a command-line name; ``modular-...`` needs a modulus and the others refuse one.

    >>> build("modular-multiplication", modulus=51)(7, 8)
    5
    """
    if name not in task_names():
        raise unknown("task", name, task_names())
    modular = name.startswith("modular-")
    if modular and modulus is None:
        raise bad("modulus", None, f"an integer of at least 2, which {name} needs")
    if not modular and modulus is not None:
        raise bad("modulus", modulus, f"none for {name}; did you mean 'modular-{name}'?")
    return Task(operation=OPERATIONS[name.removeprefix("modular-")], operands=operands, base=base, modulus=modulus)


def dropped_share(modulus: int, base: int, trained: int) -> int:
    """p' = p / gcd(p, B^n): what of the modulus the digits beyond the trained length can still change.

    >>> dropped_share(150, 10, 4), dropped_share(101, 10, 4), dropped_share(100, 10, 4)
    (3, 101, 1)
    """
    return modulus // math.gcd(modulus, pow(base, trained, modulus))
