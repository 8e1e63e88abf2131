"""Cases: tasks without a scratchpad, single functions, and the scratchpads that make their windows bounded.

Each is a process with what is needed to decide it: a machine of finitely many states that writes the answer, or pairs
of problems in which something far away changes it. Scratchpads: Xiao and Liu, arXiv 2404.00560, and laws L17 and L18.

>>> for coordinates, values in horner(7, base=10).write([np.array([[3, 2, 1]], dtype=np.uint8)]):  # 123, from the top
...     print(coordinates, values.tolist())
(2,) [1]
(1,) [5]
(0,) [4]
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from carryproof.theory import tasks
from carryproof.theory.compatibility import base_compatibility
from carryproof.theory.digits import Digits, carry_up, require_base
from carryproof.theory.errors import require_integer
from carryproof.theory.formats import Order
from carryproof.theory.processes import (
    SAME_PLACE,
    UNITS,
    Home,
    Machine,
    Problem,
    Process,
    State,
    Tokens,
    Values,
    WindowSlot,
    Witness,
    equal_widths,
    number,
)
from carryproof.theory.residues import residue_table
from carryproof.theory.tasks import Task


def _pair(base: int, make: Callable[[int], tuple[int, Sequence[int], Sequence[int]]]) -> Witness:
    """For each radius two problems, given as (places, operands of the first, operands of the second)."""

    def pair(radius: int) -> tuple[Problem, Problem]:
        size, first, second = make(radius)
        return tuple(number(each, base, size) for each in first), tuple(number(each, base, size) for each in second)

    return pair


def _tokens(digits: NDArray[np.generic], order: Order) -> Tokens:
    """Digits ``[problem, place]`` as tokens whose coordinate is their place."""
    places = range(digits.shape[1])[:: 1 if order == "least-first" else -1]
    return [((place,), digits[:, place].astype(np.int64)) for place in places]


def _carry(base: int, letters: int) -> Machine:
    return Machine(letters=letters, starts=((0,),), step=lambda state, x: _divmod(state[0] + x, base), read=_sums)


def _sums(columns: Values) -> Values:
    return columns.sum(axis=1)


def _digits(columns: Values) -> Values:
    return columns[:, 0]


def _divmod(total: int, base: int, *kept: int) -> tuple[State, int]:
    return (*kept, total // base), total % base


def _scan(letters: int, read: Callable[[Values], Values], step: Callable[[int, int], int]) -> Machine:
    """A machine that writes its state."""

    def go(state: State, x: int) -> tuple[State, int]:
        return (step(state[0], x),), step(state[0], x)

    return Machine(letters=letters, starts=((0,),), step=go, read=read)


@cache
def process_of(task: Task, answer: Order = "least-first") -> Process:
    """A task without a scratchpad; a sign is the token above the top digit, last or first as in the formats."""

    def write(operands: list[Digits]) -> Tokens:
        found = task.answer(np.stack(operands, axis=1))
        signs: Tokens = [((found.digits.shape[1],), found.negative.astype(np.int64))] if task.signed else []
        tokens = _tokens(found.digits, answer)
        return tokens + signs if answer == "least-first" else signs + tokens

    base, rest = task.base, (0,) * (task.operands - 2)
    process = Process(
        name=str(task),
        base=base,
        homes=(SAME_PLACE,) * task.operands,
        order=answer,
        write=write,
        widths=equal_widths(task.operands),
    )
    if task.operation not in (tasks.ADDITION, tasks.SUBTRACTION, tasks.MULTIPLICATION):
        return process
    if task.modulus is not None:
        law, width = base_compatibility(task.modulus, base), task.answer_width(1)
        other = (int(task.operation is tasks.MULTIPLICATION), *rest)
        if law.decisive is None:
            far = _pair(base, lambda r: (r + width + 1, (0, *other), (base ** (r + width), *other)))
            return replace(process, witness=far, why=law.statement)
        last = law.decisive
        known = tuple(WindowSlot("operand", o, (k,)) for o in range(task.operands) for k in range(last))
        homes, answers = (UNITS,) * task.operands, (SAME_PLACE, UNITS)
        units = replace(process, homes=homes, decided=known, answers=answers, why=law.statement)
        return replace(units, table=cache(lambda: residue_table(units, last)))
    if task.operation is tasks.ADDITION:
        if answer == "least-first":
            return replace(process, machine=_carry(base, task.operands * (base - 1) + 1), why="the state is the carry")
        far = _pair(base, lambda r: (r + 3, (base ** (r + 2) - 1, 0, *rest), (base ** (r + 2) - 1, 1, *rest)))
        return replace(process, witness=far, why="a carry cascades from the units through digits B-1 to the top")
    if task.operation is tasks.SUBTRACTION:
        if answer == "least-first":
            far = _pair(base, lambda r: (r + 3, (1, 0), (1, base ** (r + 2))))
            return replace(process, witness=far, why="the top digits say which operand is to be subtracted from which")
        return replace(process, witness=_far_borrow(base), why="a borrow cascades from the units through zeros")
    if answer == "least-first":
        far = _pair(base, lambda r: (r + 2, (0, base ** (r + 1)), (1, base ** (r + 1))))
        return replace(process, witness=far, why="digit i of a product needs the operand digits at 0 to i")
    # a = B-1, 0, B-1, 0, ..., B-1, 0 from the top: a * (B+1) = B-1, ..., B-1, 0, and one more unit in a carries through
    far = _pair(base, lambda r: (2 * r + 3, (_every_other(base, r), base + 1), (_every_other(base, r) + 1, base + 1)))
    return replace(process, witness=far, why="a carry cascades through the product from the units to the top")


def _every_other(base: int, radius: int) -> int:
    return (base ** (2 * radius + 2) - 1) // (base + 1) * base


def _far_borrow(base: int) -> Witness:
    return _pair(base, lambda r: (r + 3, (base ** (r + 2), 0), (base ** (r + 2), 1)))


@cache
def unsigned_subtraction(base: int = 10, answer: Order = "least-first") -> Process:
    """The smaller number subtracted from the larger, which comes first."""

    def larger_first(operands: list[Digits]) -> NDArray[np.bool_]:
        return ~tasks.subtraction(base=base).answer(np.stack(operands, axis=1)).negative

    signed = process_of(tasks.subtraction(base=base), answer)
    # a column is a_i - b_i modulo 2B - 1, so that letter 0 is a column of zeros; the state is minus the borrow
    machine = Machine(
        letters=2 * base - 1,
        starts=((0,),),
        step=lambda state, x: _divmod(state[0] + (x if x < base else x - 2 * base + 1), base),
        read=lambda columns: (columns[:, 0] - columns[:, 1]) % (2 * base - 1),
        final=((0,),),  # nothing is left to borrow from
    )
    return replace(
        signed,
        name=f"subtraction of the smaller number in base {base}",
        write=lambda operands: [pair for pair in signed.write(operands) if pair[0] != (operands[0].shape[1],)],
        domain=larger_first,
        machine=machine if answer == "least-first" else None,
        witness=None if answer == "least-first" else _far_borrow(base),
        why="the state is the borrow" if answer == "least-first" else signed.why,
    )


def _one(
    name: str,
    base: int,
    order: Order,
    write: Callable[[Digits], Tokens],
    machine: Machine | None,
    why: str,
    witness: Witness | None = None,
) -> Process:
    return Process(
        name=f"{name} in base {base}",
        base=require_base(base),
        homes=(SAME_PLACE,),
        order=order,
        write=lambda operands: write(operands[0]),
        widths=equal_widths(1),
        machine=machine,
        witness=witness,
        why=why,
    )


def _far_digit(base: int, operands: int = 1) -> Witness:
    rest = (0,) * (operands - 1)
    return _pair(base, lambda r: (r + 2, (0, *rest), (base ** (r + 1), *rest)))


@cache
def copy(base: int = 10, order: Order = "least-first") -> Process:
    """The digits of a number, at the same places."""
    machine = Machine(letters=base, starts=((0,),), step=lambda state, x: (state, x), read=_digits)
    return _one("copy", base, order, lambda digits: _tokens(digits, order), machine, "nothing is carried")


@cache
def reversal(base: int = 10, *, counted_from_the_other_end: bool = False) -> Process:
    """The digits of a number in reverse: token i is the digit at n-1-i, whatever the length n is."""
    straight = copy(base)
    process = replace(
        straight,
        name=f"reversal in base {base}",
        write=lambda operands: _tokens(operands[0][:, ::-1], "least-first"),
        machine=None,
        witness=_far_digit(base),
        why="token i is the digit at n-1-i",
    )
    if not counted_from_the_other_end:
        return process
    home = Home(text="n-1-i", place=lambda coordinates, size: size - 1 - coordinates[0])
    return replace(
        process,
        name=f"reversal with ids from the other end in base {base}",
        homes=(home,),
        machine=straight.machine,
        column=lambda back: (WindowSlot("operand", 0, (back,)),),
        witness=None,
        why=straight.why,
    )


@cache
def parity(base: int = 2) -> Process:
    """Whether the sum of the digits is odd, written once."""
    return _one(
        "parity",
        base,
        "least-first",
        lambda digits: [((0,), digits.sum(axis=1, dtype=np.int64) % 2)],
        None,
        "every digit changes the answer",
        _far_digit(base),
    )


@cache
def running_parity(base: int = 2) -> Process:
    """The parity of the digits so far, written after each digit."""
    return _one(
        "running parity",
        base,
        "least-first",
        lambda digits: _tokens(np.cumsum(digits, axis=1, dtype=np.int64) % 2, "least-first"),
        _scan(base, _digits, lambda state, x: (state + x) % 2),
        "the state is the parity so far, and it is written",
    )


@cache
def comparison(base: int = 10) -> Process:
    """0 if two numbers are equal, 1 if the first is smaller, 2 if it is larger: written once."""
    return Process(
        name=f"comparison in base {base}",
        base=base,
        homes=(SAME_PLACE, SAME_PLACE),
        order="least-first",
        write=lambda operands: [((0,), _compared(operands, "least-first")[-1][1])],
        widths=equal_widths(2),
        witness=_far_digit(base, 2),
        why="every digit can decide",
    )


@cache
def running_comparison(base: int = 10, order: Order = "least-first") -> Process:
    """The comparison of the digits read so far, written after each place."""
    later_wins = order == "least-first"
    return replace(
        comparison(base),
        name=f"running comparison in base {base}",
        order=order,
        write=lambda operands: _compared(operands, order),
        machine=_scan(3, _ordered, lambda state, x: (x or state) if later_wins else (state or x)),
        witness=None,
        why="the state is the comparison so far, and it is written",
    )


def _ordered(columns: Values) -> Values:
    first, second = columns.T
    return np.where(first < second, 1, np.where(first > second, 2, 0))


def _compared(operands: list[Digits], order: Order) -> Tokens:
    state = np.zeros(len(operands[0]), dtype=np.int64)
    tokens: Tokens = []
    for place in range(operands[0].shape[1])[:: 1 if order == "least-first" else -1]:
        here = _ordered(np.stack([each[:, place].astype(np.int64) for each in operands], axis=1))
        keep = (here == 0) if order == "least-first" else (state != 0)
        state = np.where(keep, state, here)
        tokens.append(((place,), state))
    return tokens


@cache
def horner(modulus: int, operands: int = 1, *, base: int = 10) -> Process:
    """The sum of numbers modulo p, read from the top: after each place the remainder r <- (r B + digits) mod p."""
    require_integer("modulus", modulus, 2)

    def write(digits: list[Digits]) -> Tokens:
        rest = np.zeros(len(digits[0]), dtype=np.int64)
        tokens: Tokens = []
        for place in reversed(range(digits[0].shape[1])):
            rest = (rest * base + sum(each[:, place].astype(np.int64) for each in digits)) % modulus
            tokens.append(((place,), rest))
        return tokens

    named = "reduction" if operands == 1 else f"addition of {operands} numbers"
    return Process(
        name=f"{named} modulo {modulus} by Horner's rule in base {base}",
        base=require_base(base),
        homes=(SAME_PLACE,) * operands,
        order="most-first",
        write=write,
        widths=equal_widths(operands),
        machine=_scan(operands * (base - 1) + 1, _sums, lambda rest, x: (rest * base + x) % modulus),
        why="the state is the remainder so far, and it is written",
    )


def _with_factor(base: int) -> tuple[State, ...]:
    return tuple((factor, 0) for factor in range(base))


@cache
def times_one_digit(base: int = 10) -> Process:
    """A number times a number of one digit, which stands at place 0; the carry is at most B-2."""

    def write(operands: list[Digits]) -> Tokens:
        columns = operands[0].astype(np.int64) * operands[1]
        return _tokens(carry_up(columns, base, columns.shape[1] + 1), "least-first")

    return Process(
        name=f"multiplication by one digit in base {base}",
        base=require_base(base),
        homes=(SAME_PLACE, UNITS),
        order="least-first",
        write=write,
        widths=lambda size: (size, 1),
        machine=Machine(
            letters=base,
            starts=_with_factor(base),
            step=lambda state, x: _divmod(state[0] * x + state[1], base, state[0]),
            read=_digits,
        ),
        fixed=(WindowSlot("operand", 1, (0,)),),
        why="the state is the carry",
    )


@cache
def multiply_add_rows(base: int = 10) -> Process:
    """Multiplication with its running sums S_j = S_(j-1) + a b_j B^j written out, row by row (law L18)."""

    def write(operands: list[Digits]) -> Tokens:
        left, right = operands[0].astype(np.int64), operands[1].astype(np.int64)
        width = left.shape[1] + right.shape[1]
        columns = np.zeros((len(left), width), dtype=np.int64)
        tokens: Tokens = []
        for row in range(right.shape[1]):
            columns[:, row : row + left.shape[1]] += left * right[:, row, None]
            tokens += [
                ((row, *place), value) for place, value in _tokens(carry_up(columns, base, width), "least-first")
            ]
        return tokens

    # a column is s + B x, for the digit s of the row above and the digit x of the first number
    machine = Machine(
        letters=base * base,
        starts=_with_factor(base),
        step=lambda state, x: _divmod(x % base + state[0] * (x // base) + state[1], base, state[0]),
    )
    return Process(
        name=f"multiplication by multiply-add rows in base {base}",
        base=require_base(base),
        homes=(
            Home(text="i-j", place=lambda coordinates, size: coordinates[1] - coordinates[0]),
            Home(text="j", place=lambda coordinates, size: coordinates[0]),
        ),
        order="least-first",
        write=write,
        widths=lambda size: (size, max(1, size - 1)),
        coordinates=("j", "i"),
        machine=machine,
        column=lambda back: (WindowSlot("answer", 0, (-1, -back)), WindowSlot("operand", 0, (-back,))),
        output=lambda back: WindowSlot("answer", 0, (0, -back)),
        fixed=(WindowSlot("operand", 1, (0,)),),
        why="the state is the carry",
    )
