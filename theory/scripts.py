"""Scripts: a process written as tokens, with the ids by which its derived encoding finds the keys of every query.

A script is operands in the order of the process, a separator between them, ``=``, the tokens of the process and the
end. All operands of a problem are padded with zeros to its longest. An id is a vector: the axis and the place of the
token as a key, and the places on every axis from which it, as a query, counts. Two tokens that share key part and axis
are coupled (position coupling, Cho et al., arXiv 2405.20671).

>>> from carryproof.theory import tasks
>>> from carryproof.theory.cases import process_of
>>> from carryproof.theory.derivation import derive
>>> adding = script_of(process_of(tasks.addition()))
>>> adding.text(adding.write([np.array([[7, 5]], dtype=np.uint8), np.array([[8, 0]], dtype=np.uint8)])[0])
'7 5 + 8 0 = 5 6 0 ;'
>>> adding.keys(2)[0].tolist()   # what the query '=' sees: a[0], b[0], nothing of places below, and itself
[0, 3, -1, -1, -1, 5]
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from carryproof.theory.derivation import Derivation, derive
from carryproof.theory.digits import Digits
from carryproof.theory.errors import bad
from carryproof.theory.machines import tables
from carryproof.theory.processes import ABSENT, END, Process, Values

NOTHING = -1
Ids = NDArray[np.int64]
ANCHOR_AXIS, NO_AXIS = -1, -2
NOWHERE = -(2**40)  # a place that no key has


@dataclass(frozen=True, kw_only=True, slots=True)
class Script:
    """How a process with a derived encoding is written. Tokens below ``values`` are values, then come ``+ = ;``."""

    derivation: Derivation
    values: int

    @property
    def process(self) -> Process:
        """What is written."""
        return self.derivation.process

    @property
    def vocabulary(self) -> int:
        """How many token ids there are."""
        return self.values + 3

    @property
    def separator(self) -> int:
        """The token between operands."""
        return self.values

    @property
    def equals(self) -> int:
        """The anchor, after which the answer begins."""
        return self.values + 1

    @property
    def end(self) -> int:
        """The token after the answer."""
        return self.values + 2

    def prompt_length(self, size: int) -> int:
        """How many tokens stand before the answer, ``=`` included, for operands of ``size`` places."""
        widths = self.process.widths(size)
        return sum(widths) + len(widths)

    def write(self, operands: list[Digits]) -> NDArray[np.int64]:
        """Tokens ``[problem, token]`` of operand digits ``[problem, place]``, least significant first."""
        count, size = operands[0].shape
        if [each.shape[1] for each in operands] != list(self.process.widths(size)):
            raise bad("operands", [each.shape[1] for each in operands], f"places {list(self.process.widths(size))}")
        rising = self.process.order == "least-first"
        columns: list[NDArray[np.int64]] = []
        for index, digits in enumerate(operands):
            columns += [self._mark(self.separator, count)] if index else []
            columns.append((digits if rising else digits[:, ::-1]).astype(np.int64))
        answer = [values[:, None] for _, values in self.process.write(operands)]
        return np.concatenate([*columns, self._mark(self.equals, count), *answer, self._mark(self.end, count)], axis=1)

    def _mark(self, token: int, count: int) -> NDArray[np.int64]:
        return np.full((count, 1), token, dtype=np.int64)

    def ids(self, size: int) -> Ids:
        """The id of every token ``[token, 2 + axes]``: axis, place, and the home of the next token on every axis."""
        key_axis, key_place, homes = self._places(size)
        return np.concatenate([key_axis[:, None], key_place[:, None], homes], axis=1)

    def keys(self, size: int) -> NDArray[np.int64]:
        """For each answer token and the end, where its keys stand ``[row, slot + 1]``: the slots' and then ``=``."""
        rows, start = np.array(_rows(self.process, size)), self.prompt_length(size)
        rising = self.process.order == "least-first"
        widths = self.process.widths(size)
        firsts = np.cumsum([0, *(width + 1 for width in widths)])  # where each operand's text begins
        found = np.full((len(rows), len(self.derivation.slots) + 1), start - 1, dtype=np.int64)
        for column, slot in enumerate(self.derivation.slots):
            if slot.role == "answer":
                place = self.process.answers[slot.operand].place((rows,), size) + slot.offset[-1]
                index = place - rows[0] if rising else rows[0] - place
                found[:, column] = np.where((index >= 0) & (index < np.arange(len(rows))), start + index, NOTHING)
            else:
                width = widths[slot.operand]
                place = self.process.homes[slot.operand].place((rows,), size) + slot.offset[0]
                index = place if rising else width - 1 - place
                found[:, column] = np.where((place >= 0) & (place < width), firsts[slot.operand] + index, NOTHING)
        return found

    def views(self, operands: list[Digits]) -> Values:
        """What the query of every answer row sees ``[problem, row, view]``: the query, the slots, and the token.

        Nothing is ABSENT, as is the query '=', and the end is END: rows of a ``Table`` with their queries before them.
        """
        size = operands[0].shape[1]
        tokens, keys, start = self.write(operands), self.keys(size)[:, :-1], self.prompt_length(size)
        held = np.where(keys == NOTHING, ABSENT, tokens[:, np.maximum(keys, 0)])
        found = np.concatenate([tokens[:, start - 1 : -1, None], held, tokens[:, start:, None]], axis=2)
        found[:, 0, 0] = ABSENT
        found[:, -1, -1] = END
        return found

    def text(self, tokens: Sequence[int] | NDArray[np.int64]) -> str:
        """Tokens for people."""
        marks = {self.separator: "+", self.equals: "=", self.end: ";"}
        return " ".join(marks.get(int(token), str(token)) for token in tokens)

    def _operand_places(self, size: int) -> list[tuple[int, int]]:
        """Operand and place of every token before ``=``; operand -1 for separators."""
        found: list[tuple[int, int]] = []
        for operand, width in enumerate(self.process.widths(size)):
            places = range(width) if self.process.order == "least-first" else range(width - 1, -1, -1)
            found += [(-1, operand)] if operand else []
            found += [(operand, place) for place in places]
        return found

    def _places(self, size: int) -> tuple[Ids, Ids, Ids]:
        derived, process = self.derivation, self.process
        axis_of = {(slot.role, slot.operand if slot.role == "operand" else 0): axis for slot, axis in derived.placed}
        rows = _rows(self.process, size)
        keys = [(axis_of.get(("operand", o), NO_AXIS) if o >= 0 else NO_AXIS, p) for o, p in self._operand_places(size)]
        keys.append((ANCHOR_AXIS, 0))
        keys += [(axis_of[("answer", 0)], place) for place in rows[:-1]]
        keys.append((NO_AXIS, NOWHERE))  # the end
        homes = np.full((len(keys), len(derived.axes)), NOWHERE, dtype=np.int64)
        for slot, axis in derived.placed:
            home = (process.homes if slot.role == "operand" else process.answers)[slot.operand]
            homes[self.prompt_length(size) - 1 :, axis][: len(rows)] = home.place((np.array(rows),), size)
        axis, place = np.array(keys, dtype=np.int64).T
        return axis, place, homes


@cache
def _rows(process: Process, size: int) -> tuple[int, ...]:
    """The places of the answer's tokens in the order of writing, and the one after the last, where the end stands."""
    nothing = [np.zeros((1, places), dtype=np.uint8) for places in process.widths(size)]
    places = [coordinates[-1] for coordinates, _ in process.write(nothing)]
    return (*places, places[-1] + (1 if process.order == "least-first" else -1))


@cache
def script_of(process: Process) -> Script:
    """The script of a process; a ``ValueError`` with the obstruction where no encoding can be derived for it."""
    derived = derive(process)
    if not isinstance(derived, Derivation):
        raise bad("process", process.name, f"one with a derived encoding; here is an obstruction: {derived}")
    return Script(derivation=derived, values=max(process.base, _largest_token(process) + 1))


def _largest_token(process: Process) -> int:
    if process.table is not None:
        return int(process.table().views[:, -1].max())
    assert process.machine is not None
    _, written, _ = tables(process.machine)
    return int(written.max())
