"""Sums with their column values written: one column and the token before decide the next one, for any many numbers.

A token is v[i] = a1[i] + ... + ak[i] + floor(v[i-1] / B), what stands in a column before it is split into digit and
carry. Modulo B it is the digit of the sum, and the top one is not split, so that it holds all that is left. No carry
has to be inferred from two columns, as plain digits ask (law L2), and windows are as many as columns times values.
Source: ours; cumulative sums of several numbers are written out in Cho et al., arXiv 2410.15787.

>>> digits = [np.array([places], dtype=np.uint8) for places in ((9, 9), (9, 0), (9, 1))]
>>> [values.tolist() for _, values in column_sums(3).write(digits)]        # 99 + 09 + 19 = 120 + 7
[[27], [12]]
"""

from collections.abc import Sequence
from functools import cache

import numpy as np

from carryproof.theory.digits import Digits, require_base
from carryproof.theory.errors import require_integer
from carryproof.theory.processes import SAME_PLACE, Machine, Process, State, Tokens, Values, equal_widths

MOST_OPERANDS = 100


@cache
def column_sums(operands: int = 2, *, base: int = 10) -> Process:
    """The sum of numbers from the units, a value for each column; see ``total`` for the number they stand for."""
    require_integer("operands", operands, 2, MOST_OPERANDS)
    require_base(base)

    def write(digits: list[Digits]) -> Tokens:
        carry = np.zeros(len(digits[0]), dtype=np.int64)
        tokens: Tokens = []
        for place in range(digits[0].shape[1]):
            value = carry + sum(each[:, place].astype(np.int64) for each in digits)
            tokens.append(((place,), value))
            carry = value // base
        return tokens

    def step(state: State, total: int) -> tuple[State, int]:
        return ((state[0] + total) // base,), state[0] + total

    return Process(
        name=f"addition of {operands} numbers by column values in base {base}",
        base=base,
        homes=(SAME_PLACE,) * operands,
        order="least-first",
        write=write,
        widths=equal_widths(operands),
        machine=Machine(letters=operands * (base - 1) + 1, starts=((0,),), step=step, read=_sums),
        why="the state is the carry, and it is written",
    )


def total(values: Sequence[int], base: int = 10) -> int:
    """The number that column values stand for: their digits, and all of the top one.

    >>> total((27, 12))
    127
    """
    top = len(values) - 1
    return values[top] * base**top + sum(value % base * base**place for place, value in enumerate(values[:top]))


def _sums(columns: Values) -> Values:
    return columns.sum(axis=1)
