"""Contrasts: a counterexample to a window as two problems side by side, place by place.

The two problems agree on every digit that the window sees and on every token written before; they differ in the token.
Rows are operands and then the answer, cells run from the top place down to the units, and seen cells are marked.

>>> from carryproof.theory.cases import process_of
>>> from carryproof.theory import tasks, windows
>>> process = process_of(tasks.addition(), "most-first")
>>> found = contrast(process, windows.dependency_window(process).counterexamples[0], radius=1, signed=False)
>>> for first, second in zip(found.first, found.second):
...     print(first.text, second.text)
0999 0999
0000 0001
00999 01000
>>> found.first[0].seen
(False, True, True, False, False)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from carryproof.theory.digits import DIGIT_SYMBOLS
from carryproof.theory.enumeration import Clash
from carryproof.theory.notation import operand_name
from carryproof.theory.processes import Coordinates, Problem, Process


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """The digits of an operand or the tokens of the answer: one cell a place, '' where there is none."""

    name: str
    cells: tuple[str, ...]
    seen: tuple[bool, ...]

    @property
    def text(self) -> str:
        """The row as a number, or its tokens apart where they are longer than a digit."""
        there = [cell for cell in self.cells if cell]
        return ("" if all(len(cell) == 1 for cell in there) else " ").join(there)


@dataclass(frozen=True, kw_only=True, slots=True)
class Contrast:
    """Two problems that agree within ``radius`` (None: on a window given otherwise) and differ in a token."""

    radius: int | None
    coordinates: tuple[Coordinates, Coordinates]
    tokens: tuple[int, int]
    first: tuple[Row, ...]
    second: tuple[Row, ...]

    def to_dict(self) -> dict[str, Any]:
        """The contrast as plain data, numbers as text."""
        return {
            "radius": self.radius,
            "coordinates": [list(each) for each in self.coordinates],
            "problems": [[row.text for row in rows[:-1]] for rows in (self.first, self.second)],
            "answers": [rows[-1].text for rows in (self.first, self.second)],
            "tokens": list(self.tokens),
        }


def contrast(process: Process, clash: Clash, *, radius: int | None, signed: bool) -> Contrast:
    """Lay out a counterexample; with ``signed`` the token above the top digit is shown as a sign."""
    both = [
        (_operand_rows(process, problem, at, radius), _answer(process, problem, at))
        for problem, at in zip(clash.problems, clash.coordinates, strict=True)
    ]
    width = max(max(len(cells) for _, cells, _ in rows) for rows, _ in both)
    width = max(width, *(max(tokens, default=-1) + 1 for _, tokens in both))
    sides = []
    for (rows, tokens), problem, at in zip(both, clash.problems, clash.coordinates, strict=True):
        sign = len(problem[0]) if signed else None
        cells = [_token(tokens[place], sign == place) if place in tokens else "" for place in range(width)]
        side = [_row(name, digits, seen, width) for name, digits, seen in rows]
        sides.append((*side, _row("c", cells, {at[-1]}, width)))
    return Contrast(radius=radius, coordinates=clash.coordinates, tokens=clash.tokens, first=sides[0], second=sides[1])


def _operand_rows(
    process: Process, problem: Problem, at: Coordinates, radius: int | None
) -> list[tuple[str, list[str], set[int]]]:
    rows = []
    for operand, digits in enumerate(problem):
        home = process.homes[operand].place(at, len(problem[0]))
        seen = set() if radius is None else set(range(home - radius, home + radius + 1))
        name = operand_name(operand, len(problem))
        rows.append((name, [DIGIT_SYMBOLS[digit] for digit in digits], seen))
    return rows


def _answer(process: Process, problem: Problem, at: Coordinates) -> dict[int, int]:
    """The tokens in the row of the one that differs, by place."""
    written = process.write([np.array([digits], dtype=np.uint8) for digits in problem])
    row = [(where[-1], int(values[0])) for where, values in written if where[:-1] == at[:-1]]
    return {place: token for place, token in row if token >= 0}


def _token(token: int, is_sign: bool) -> str:
    if is_sign:
        return "-" if token else "+"
    return DIGIT_SYMBOLS[token] if token < len(DIGIT_SYMBOLS) else str(token)


def _row(name: str, cells_le: Sequence[str], seen: set[int], width: int) -> Row:
    padded = [*cells_le, *[""] * (width - len(cells_le))]
    marks = [bool(cell) and place in seen for place, cell in enumerate(padded)]
    return Row(name=name, cells=tuple(reversed(padded)), seen=tuple(reversed(marks)))
