"""Enumeration: every problem of a few places, and the first pair that refutes a set of slots.

Slots determine a token iff no two of its problems agree on the slots and differ in the token. Rows (slot values, token)
of all problems, places and sizes are pooled, repetitions dropped, and grouped by value, so that a window that passes is
one rule for all of them. This is a functional dependency in the sense of Codd (1970), decided by grouping.

>>> from carryproof.theory import tasks
>>> from carryproof.theory.cases import process_of
>>> from carryproof.theory.processes import WindowSlot
>>> here = [WindowSlot("operand", operand, (0,)) for operand in (0, 1)]
>>> print(counterexample(process_of(tasks.addition(base=2)), here, 2))
c[0] is 0 in (0, 0) and c[1] is 1 in (1, 1)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from carryproof.theory.digits import DIGIT_SYMBOLS, Digits
from carryproof.theory.errors import bad
from carryproof.theory.processes import Coordinates, Problem, Process, Values, WindowSlot

PROBLEMS_LIMIT = 300_000  # of an asked size: some seconds
PROBLEMS_UNASKED = 20_000
Rows = NDArray[np.int64]
Table = list[tuple[Coordinates, Rows, Values]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Clash:
    """Two problems that agree on some slots of a token and differ in the token."""

    coordinates: tuple[Coordinates, Coordinates]
    problems: tuple[Problem, Problem]
    tokens: tuple[int, int]

    def __str__(self) -> str:
        (here, there), (first, second) = self.coordinates, self.tokens
        one, other = (", ".join("".join(map(_symbol, reversed(x))) for x in problem) for problem in self.problems)
        again = "" if here == there else f"c[{_listed(there)}] is "
        return f"c[{_listed(here)}] is {first} in ({one}) and {again}{second} in ({other})"


def _symbol(digit: int) -> str:
    return DIGIT_SYMBOLS[digit]


def _listed(coordinates: Coordinates) -> str:
    return ",".join(map(str, coordinates))


def counterexample(process: Process, slots: Sequence[WindowSlot], size: int) -> Clash | None:
    """The first pair of problems of up to ``size`` places that refutes a window with absent slots read as zeros."""
    require_finishable(process, size)
    return pool(process, size, slots).clash(range(len(slots)), marked=False, placed=False)


def clash(process: Process, slots: Sequence[WindowSlot], first: Problem, second: Problem) -> Clash | None:
    """Where two problems of equal widths agree on the slots (absent ones marked) and differ in the token."""
    digits = [np.array(pair, dtype=np.uint8) for pair in zip(first, second, strict=True)]
    for coordinates, values, token in _rows(process, digits, slots):
        if -1 not in token and token[0] != token[1] and (values[0] == values[1]).all():
            tokens = (int(token[0]), int(token[1]))
            return Clash(coordinates=(coordinates, coordinates), problems=(first, second), tokens=tokens)
    return None


def _problems(process: Process, size: int) -> int:
    return sum(process.base ** sum(process.widths(places)) for places in range(1, size + 1))


def affordable(process: Process) -> int:
    """The most places up to which all problems together are few enough to be enumerated unasked; 0 for none."""
    return max((size for size in range(1, 7) if _problems(process, size) <= PROBLEMS_UNASKED), default=0)


def require_finishable(process: Process, size: int) -> None:
    # the exponent first: base ** places of an absurd size would not finish either
    places = sum(process.widths(size))
    if places > 64 or _problems(process, size) > PROBLEMS_LIMIT:
        count = f"{process.base}^{places}" if places > 64 else f"{_problems(process, size):,}"
        raise bad("size", size, f"a size of at most {PROBLEMS_LIMIT:,} problems; {process.name} has {count}")


def enumerated(process: Process, size: int) -> list[Digits]:
    """Every problem of ``size`` places, as operand digits."""
    widths = process.widths(size)
    index = np.arange(process.base ** sum(widths))
    places = [(index // process.base**place % process.base).astype(np.uint8) for place in range(sum(widths))]
    ends = np.cumsum([0, *widths])
    digits = [np.stack(places[a:b], axis=1) for a, b in pairwise(ends.tolist())]
    if process.domain is None:
        return digits
    inside = process.domain(digits)
    return [each[inside] for each in digits]


def _rows(process: Process, digits: list[Digits], slots: Sequence[WindowSlot]) -> Table:
    """For each token of a batch its coordinates, slot values ``[problem, slot]`` (-1 where absent), and values."""
    size = digits[0].shape[1]
    written: dict[Coordinates, Values] = {}
    rows = []
    nothing = np.full(len(digits[0]), -1, dtype=np.int64)
    for coordinates, token in process.write(digits):
        columns = []
        for slot in slots:
            column = nothing
            if slot.role == "answer":
                column = written.get(_earlier(process, slot, coordinates, size), nothing)
            else:
                place = process.homes[slot.operand].place(coordinates, size) + slot.offset[0]
                if 0 <= place < digits[slot.operand].shape[1]:
                    column = digits[slot.operand][:, place].astype(np.int64)
            columns.append(column)
        rows.append((coordinates, np.stack(columns, axis=1) if columns else nothing[:, None], token))
        written[coordinates] = token
    return rows


def _earlier(process: Process, slot: WindowSlot, coordinates: Coordinates, size: int) -> Coordinates:
    """The coordinates of an earlier token."""
    if slot.operand:
        return (process.answers[slot.operand].place(coordinates, size) + slot.offset[0],)
    return tuple(map(sum, zip(coordinates, slot.offset, strict=True)))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Pool:
    """One row for each token of each problem, without repetitions."""

    coordinates: list[Coordinates]
    values: Rows
    tokens: Values
    token_index: Values
    problems: list[Problem]

    def clash(self, chosen: Sequence[int], *, marked: bool, placed: bool) -> Clash | None:
        seen = self.values[:, list(chosen)]
        keys = _packed(seen if marked else np.maximum(seen, 0), self.token_index if placed else None)
        _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        differ = np.flatnonzero(self.tokens[first][inverse] != self.tokens)
        if not len(differ):
            return None
        one, other = int(first[inverse[differ[0]]]), int(differ[0])
        return Clash(
            coordinates=(self.coordinates[one], self.coordinates[other]),
            problems=(self.problems[one], self.problems[other]),
            tokens=(int(self.tokens[one]), int(self.tokens[other])),
        )


def _packed(values: Rows, extra: Values | None = None) -> Values:
    """Rows of integers from -1 as one integer each."""
    keys = np.zeros(len(values), dtype=np.int64) if extra is None else np.unique(extra, return_inverse=True)[1]
    for column in values.T:
        radix = int(column.max(initial=0)) + 2
        if (int(keys.max(initial=0)) + 1) * radix >= 2**62:
            keys = np.unique(keys, return_inverse=True)[1]
        keys = keys * radix + column + 1
    return keys


def pool(process: Process, size: int, slots: Sequence[WindowSlot]) -> _Pool:
    parts = []
    for places in range(1, size + 1):
        digits = enumerated(process, places)
        for coordinates, values, tokens in _rows(process, digits, slots):
            there = np.flatnonzero(tokens >= 0)
            keep = there[np.unique(_packed(values[there], tokens[there]), return_index=True)[1]]
            problems = list(zip(*(map(tuple, each[keep].tolist()) for each in digits), strict=True))
            parts.append((coordinates, values[keep], tokens[keep], problems))
    names = {coordinates: index for index, coordinates in enumerate(dict.fromkeys(part[0] for part in parts))}
    return _Pool(
        coordinates=[part[0] for part in parts for _ in part[2]],
        values=np.concatenate([part[1] for part in parts]),
        tokens=np.concatenate([part[2] for part in parts]),
        token_index=np.concatenate([np.full(len(part[2]), names[part[0]]) for part in parts]),
        problems=[problem for part in parts for problem in part[3]],
    )
