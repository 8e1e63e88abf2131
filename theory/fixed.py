"""Fixed numbers: times m from the units and divided by d from the top, each of which needs no scratchpad at all.

Times m: digit i is (m a_i + k) mod B with a carry k < m. Divided by d: digit i of the quotient is floor((B r + a_i)/d)
with the remainder r < d of the digits above. As the last column and token tell the carry modulo B, so they tell r: B s
+ a = d c + r for the remainder s before it. The last n tell either modulo B^n, hence wholly where B^n is no less than
m or d. The remainders themselves, written out, are those of ``cases.horner``. Source: ours, after law L2.

>>> digits = [np.array([[7, 5, 2]], dtype=np.uint8)]                   # 257, least significant first
>>> [values.tolist() for _, values in times(12).write(digits)]         # 257 * 12 = 3084, in five digits
[[4], [8], [0], [3], [0]]
>>> [values.tolist() for _, values in divided_by(7).write(digits)]     # 257 // 7 = 036, from the top
[[0], [3], [6]]
"""

from functools import cache
from typing import Protocol

import numpy as np

from carryproof.theory.digits import Digits, carry_up, require_base
from carryproof.theory.errors import require_integer
from carryproof.theory.processes import SAME_PLACE, Machine, Process, State, Tokens, Values, equal_widths

LARGEST = 1_000  # the machine has a state for each carry or remainder


def reach(number: int, base: int) -> int:
    """The least n for which B^n is no less than the number: how far back its carries and remainders are told.

    >>> [reach(number, 10) for number in (1, 2, 10, 11, 100)]
    [0, 1, 1, 2, 2]
    """
    places = 0
    while base**places < number:
        places += 1
    return places


@cache
def times(factor: int, *, base: int = 10) -> Process:
    """A number times a fixed one, from the units, in as many digits as the longest product of its length has."""
    require_integer("factor", factor, 1, LARGEST)
    more = reach(factor, require_base(base))

    def write(operands: list[Digits]) -> Tokens:
        columns = operands[0].astype(np.int64) * factor
        product = carry_up(columns, base, columns.shape[1] + more)
        return [((place,), product[:, place].astype(np.int64)) for place in range(product.shape[1])]

    def step(state: State, digit: int) -> tuple[State, int]:
        total = factor * digit + state[0]
        return (total // base,), total % base

    return Process(
        name=f"multiplication by {factor} in base {base}",
        base=base,
        homes=(SAME_PLACE,),
        order="least-first",
        write=write,
        widths=equal_widths(1),
        machine=Machine(letters=base, starts=((0,),), step=step, read=_digits),
        why="the state is the carry",
    )


@cache
def divided_by(divisor: int, *, base: int = 10) -> Process:
    """The digits of the quotient of a number by a fixed one, from the top, leading zeros included."""
    require_integer("divisor", divisor, 1, LARGEST)

    def write(operands: list[Digits]) -> Tokens:
        rest = np.zeros(len(operands[0]), dtype=np.int64)
        tokens: Tokens = []
        for place in reversed(range(operands[0].shape[1])):
            quotient, rest = np.divmod(rest * base + operands[0][:, place], divisor)
            tokens.append(((place,), quotient))
        return tokens

    def step(state: State, digit: int) -> tuple[State, int]:
        quotient, rest = divmod(state[0] * base + digit, divisor)
        return (rest,), quotient

    return Process(
        name=f"division by {divisor} in base {base}",
        base=require_base(base),
        homes=(SAME_PLACE,),
        order="most-first",
        write=write,
        widths=equal_widths(1),
        machine=Machine(letters=base, starts=((0,),), step=step, read=_digits),
        why="the state is the remainder",
    )


def _digits(columns: Values) -> Values:
    return columns[:, 0]


class Fixed(Protocol):
    """What makes the process of a number."""

    def __call__(self, number: int, /, *, base: int = 10) -> Process: ...


FIXED: dict[str, Fixed] = {"times": times, "divided-by": divided_by}
