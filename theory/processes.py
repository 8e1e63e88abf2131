"""Processes: how an answer comes into being token by token, with the place of every token and the state behind it.

A process writes tokens at coordinates, and each operand has a home, the place that a token's coordinates point to.
Where a machine of finitely many states writes the answer it is part of the value; where the answer needs something far
away, pairs of problems that show it are (after Xiao and Liu, arXiv 2404.00560). A plain function is a process too.

>>> shout = plain("complement", lambda digits: [9 - digit for digit in digits], operands=1)
>>> [values.tolist() for _, values in shout.write([np.array([[3, 2, 1]], dtype=np.uint8)])]
[[6], [7], [8]]
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from carryproof.theory.digits import Digits
from carryproof.theory.errors import bad
from carryproof.theory.formats import Order

Coordinates = tuple[int, ...]
Values = NDArray[np.int64]
Tokens = list[tuple[Coordinates, Values]]  # in the order of writing; -1 where a problem has no such token
Problem = tuple[tuple[int, ...], ...]  # the digits of each operand, least significant first
State = tuple[int, ...]
Witness = Callable[[int], tuple[Problem, Problem]]
ABSENT, END = -1, -2  # what a slot holds that holds nothing; the token after the answer


@dataclass(frozen=True, slots=True, order=True)
class WindowSlot:
    """A digit relative to the token: of an operand, ``offset`` from its home, or an earlier one of the answer.

    For an earlier token ``operand`` says which of the process's ``answers`` the offset counts from.
    """

    role: Literal["operand", "answer"]
    operand: int
    offset: Coordinates


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """Finitely many states that read column letters and write one token each; letter 0 is a column of zeros.

    Problems with different ``starts`` are told apart by slots that are always visible, such as a one-digit factor.
    ``read`` gives the letters of columns of operand digits ``[column, operand]`` (the fixed operands left out; a start
    for each of their digits); without it columns hold more than operand digits. Problems end in a ``final`` state, or
    in any if none is named.
    """

    letters: int
    starts: tuple[State, ...]
    step: Callable[[State, int], tuple[State, int]]
    read: Callable[[Values], Values] | None = None
    final: tuple[State, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Home:
    """The place of an operand that a token's coordinates point to, and how it is written."""

    text: str
    place: Callable[[Any, int], Any]  # of coordinates as integers or as arrays of them


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Every view that problems of any length present, listed where no machine reads columns.

    ``slots`` are what a token's query sees. A row of ``views`` is what they hold and the token, ABSENT and END among
    them; ``queries`` are the tokens before, ABSENT for '='. Rows that no problem presents may be among them.
    """

    slots: tuple[WindowSlot, ...]
    views: Values
    queries: Values


def _same_place(coordinates: Any, size: int) -> Any:
    return coordinates[-1]


def _units(coordinates: Any, size: int) -> Any:
    return 0


SAME_PLACE = Home(text="i", place=_same_place)
UNITS = Home(text="0", place=_units)


def equal_widths(operands: int) -> Callable[[int], tuple[int, ...]]:
    """Every operand has as many places as the size says."""
    return lambda size: (size,) * operands


@dataclass(frozen=True, kw_only=True, slots=True)
class Process:
    """Operands of ``widths(size)`` places in, tokens at coordinates out, in the order in which they are written.

    ``machine`` reads the columns in the direction of ``order``; ``column(t)`` are the slots of the column t steps back,
    ``output(t)`` the token written there, and ``fixed`` what tells the machine's starts apart. ``witness(r)`` is a pair
    of problems in which something further than r from its home changes the answer, ``why`` says so in words.
    ``decided`` is a window known from a law of its own, with a rule for each coordinate where homes are the units.
    ``answers`` are the places near which earlier tokens are looked for: the token's own, and others where a process
    has them. ``table`` lists all views where no machine reads columns. Where
    ``columns`` are multisets, windows are looked at with the digits of a column in rising order only (see
    ``theory.multisets``).
    """

    name: str
    base: int
    homes: tuple[Home, ...]
    order: Order
    write: Callable[[list[Digits]], Tokens]
    widths: Callable[[int], tuple[int, ...]]
    coordinates: tuple[str, ...] = ("i",)
    domain: Callable[[list[Digits]], NDArray[np.bool_]] | None = None
    machine: Machine | None = None
    column: Callable[[int], tuple[WindowSlot, ...]] | None = None
    output: Callable[[int], WindowSlot] | None = None
    fixed: tuple[WindowSlot, ...] = ()
    witness: Witness | None = None
    decided: tuple[WindowSlot, ...] | None = None
    answers: tuple[Home, ...] = (SAME_PLACE,)
    table: Callable[[], Table] | None = None
    columns: Literal["tuples", "multisets"] = "tuples"
    why: str = ""

    def text(self, slot: WindowSlot) -> str:
        """A slot as mathematics, such as ``a[i-1]``; operands are a, b or a1, a2, ..., and the answer is c."""
        if slot.role == "operand":
            name = "ab"[slot.operand] if len(self.homes) <= 2 else f"a{slot.operand + 1}"
            return f"{name}[{shifted(self.homes[slot.operand].text, slot.offset[0])}]"
        if slot.operand:
            return f"c[{shifted(self.answers[slot.operand].text, slot.offset[0])}]"
        return f"c[{','.join(map(shifted, self.coordinates, slot.offset))}]"

    def column_at(self, back: int) -> tuple[WindowSlot, ...]:
        """The operand digits ``back`` steps before the present column."""
        if self.column is not None:
            return self.column(back)
        step = -back if self.order == "least-first" else back
        fixed = {slot.operand for slot in self.fixed}
        return tuple(WindowSlot("operand", o, (step,)) for o in range(len(self.homes)) if o not in fixed)

    def output_at(self, back: int) -> WindowSlot:
        """The token written ``back`` steps before the present one."""
        if self.output is not None:
            return self.output(back)
        return WindowSlot("answer", 0, (-back if self.order == "least-first" else back,))


def shifted(home: str, offset: int) -> str:
    """A place with an offset, as mathematics: ``i-1``, and a number where the home is one."""
    if home.isdecimal():
        return str(int(home) + offset)
    return f"{home}{offset:+d}" if offset else home


def number(value: int, base: int, size: int) -> tuple[int, ...]:
    """The digits of a number as a tuple, which problems are made of."""
    return tuple(value // base**place % base for place in range(size))


def plain(
    name: str, function: Callable[..., Sequence[int]], *, operands: int, base: int = 10, order: Order = "least-first"
) -> Process:
    """A user's Python callable from operand digits (tuples, least significant first) to the tokens it writes.

    Token t has coordinate t from the first, or from the last where the order is most-first.
    """

    def one(problem: Problem) -> tuple[int, ...]:
        try:
            answer = tuple(function(*problem))
        except Exception as error:
            raise bad(name, f"{type(error).__name__}: {error} on {problem}", "a function that answers") from error
        for token in answer:
            if isinstance(token, bool) or not isinstance(token, int | np.integer) or token < 0:
                raise bad(f"{name} on {problem}", token, "tokens that are integers from 0")
        return answer

    def write(digits: list[Digits]) -> Tokens:
        problems = [tuple(map(tuple, problem)) for problem in zip(*(each.tolist() for each in digits), strict=True)]
        answers = [one(problem) for problem in problems]
        for problem, answer in list(zip(problems, answers, strict=True))[:100]:
            if one(problem) != answer:
                raise bad(name, f"two answers to {problem}", "a deterministic function")
        longest = max((len(answer) for answer in answers), default=0)
        table = np.full((len(answers), longest), -1, dtype=np.int64)
        for row, answer in zip(table, answers, strict=True):
            row[: len(answer)] = answer
            if order == "most-first":  # aligned at the last token
                row[:] = np.roll(row, longest - len(answer))
        places = range(longest) if order == "least-first" else range(longest - 1, -1, -1)
        return [((place,), table[:, index]) for index, place in enumerate(places)]

    return Process(
        name=name,
        base=base,
        homes=(SAME_PLACE,) * operands,
        order=order,
        write=write,
        widths=equal_widths(operands),
        why="a function without a symbolic form is only enumerated",
    )
