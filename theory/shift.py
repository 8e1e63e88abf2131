"""The digit-shift law of a task, proved as a polynomial identity or refuted by its smallest counterexample.

Shifting an operand by one place multiplies it by the base B. A task is equivariant under the joint shift if
f(B a, B b) = B f(a, b) for all a, b, so that one rule serves every place (law L1; translation invariance in Xu et al.,
arXiv 2407.17963). Addition is; multiplication is equivariant in each operand alone, and a reduction modulo p never is.

>>> from carryproof.theory import tasks
>>> shift_law(tasks.addition()).status
'proved'
>>> print(shift_law(tasks.multiplication()).statement)
multiplication of 2 numbers in base 10 is not jointly shift-equivariant: f(10*1, 10*1) = 100, 10*f(1, 1) = 10
"""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Literal

from carryproof.theory.tasks import Task

SEARCH_LIMIT = 100_000


@dataclass(frozen=True, kw_only=True, slots=True)
class ShiftLaw:
    """What is known of f(shifted operands) = B f(operands), with the proof or the smallest counterexample."""

    task: Task
    shifted: tuple[int, ...]
    status: Literal["proved", "refuted", "unknown"]
    statement: str
    counterexample: tuple[int, ...] | None = None


@cache
def shift_law(task: Task, operand: int | None = None) -> ShiftLaw:
    """Decide the law for all operands shifted together, or for one ``operand`` (0 is the first) shifted alone.

    The smallest counterexample has the smallest largest operand, then comes first in lexicographic order. Modulo p the
    law fails wherever B f reaches p, so beyond the first 100,000 tuples such a witness is given, smallest or not. A
    task with neither an identity nor a counterexample stays ``unknown``.
    """
    import sympy

    shifted = tuple(range(task.operands)) if operand is None else (operand,)
    manner = _manner(shifted, task.operands)
    if task.modulus is None:
        symbols = sympy.symbols(f"a:{task.operands}", integer=True)
        base = sympy.Symbol("B", integer=True)
        moved = [base * symbol if index in shifted else symbol for index, symbol in enumerate(symbols)]
        try:
            left, right = task.operation.apply(*moved), base * task.operation.apply(*symbols)
        except TypeError:  # an operation of one's own, such as a bitwise one, that has no polynomial
            left, right = sympy.Integer(1), sympy.Integer(0)
        if sympy.expand(left - right) == 0:
            statement = f"{task} is {manner}: f = {sympy.expand(left)} = B*({task.operation.apply(*symbols)})"
            return ShiftLaw(task=task, shifted=shifted, status="proved", statement=statement)
    found = _counterexample(task, shifted)
    if found is None:
        statement = f"{task}: no counterexample among the first {SEARCH_LIMIT:,} operand tuples, and no proof"
        return ShiftLaw(task=task, shifted=shifted, status="unknown", statement=statement)
    moved_value = task(*(value * task.base if index in shifted else value for index, value in enumerate(found)))
    statement = shift_refutation(str(task), task.base, shifted, found, moved_value, task.base * task(*found))
    return ShiftLaw(task=task, shifted=shifted, status="refuted", statement=statement, counterexample=found)


def applied(operands: Collection[int], base: int = 0, shifted: Collection[int] = ()) -> str:
    """f at some operands, of which those ``shifted`` are written as multiples of the base.

    >>> applied((7, 1), 10, shifted=(0,))
    'f(10*7, 1)'
    """
    terms = (f"{base}*{value}" if index in shifted else str(value) for index, value in enumerate(operands))
    return f"f({', '.join(terms)})"


def shift_refutation(
    name: str, base: int, shifted: tuple[int, ...], operands: tuple[int, ...], moved: int, multiple: int
) -> str:
    """The sentence that refutes a shift law: f at the shifted operands is ``moved``, B times f is ``multiple``."""
    return (
        f"{name} is not {_manner(shifted, len(operands))}: "
        f"{applied(operands, base, shifted)} = {moved}, {base}*{applied(operands)} = {multiple}"
    )


def _manner(shifted: tuple[int, ...], operands: int) -> str:
    together = len(shifted) == operands > 1
    return "jointly shift-equivariant" if together else f"shift-equivariant in operand {shifted[0] + 1} alone"


def _counterexample(task: Task, shifted: tuple[int, ...]) -> tuple[int, ...] | None:
    """The first tuple, by largest operand and then lexicographically, that breaks the law; or a witness beyond."""

    def breaks(values: tuple[int, ...]) -> bool:
        moved = (value * task.base if index in shifted else value for index, value in enumerate(values))
        return task(*moved) != task.base * task(*values)

    tried, largest = 0, 0
    while tried < SEARCH_LIMIT:
        for values in product(range(largest + 1), repeat=task.operands):
            if max(values) < largest:
                continue
            if breaks(values):
                return values
            tried += 1
            if tried == SEARCH_LIMIT:  # many operands have more tuples of one largest value than would ever end
                break
        largest += 1
    top = 0 if task.modulus is None else task.modulus - 1
    witnesses = [(top, *(rest,) * (task.operands - 1)) for rest in (0, 1)]
    return next((values for values in witnesses if breaks(values)), None)
