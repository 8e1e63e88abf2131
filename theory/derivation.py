"""Derivation: the positional encoding that a process needs, read off its dependency window, or why there is none.

The slots of the window become classes of keys: an axis (what a place is counted from, such as the token's own place)
and an offset on it. A query sees the keys at those offsets and the token ``=``, and nothing else. By enumeration no two
windows with different answers then look the same to an averaging head (law L16). Digits of equal significance share an
axis unless that would show keys outside the window or leave windows confused. Source: ours; coupled ids after position
coupling, Cho et al., arXiv 2405.20671.

>>> from carryproof.theory import tasks
>>> from carryproof.theory.cases import process_of, unsigned_subtraction
>>> adding = derive(process_of(tasks.addition()))
>>> adding.encoding, adding.axes
('window:0+0,0-1', ('i',))
>>> derive(unsigned_subtraction()).encoding                            # a, b and the answer on axes of their own
'window:0+0,1+0,0-1,1-1,2-1'
>>> print(derive(process_of(tasks.addition(), "most-first")))          # doctest: +ELLIPSIS
addition of 2 numbers in base 10, most-first: no window of any radius determines the digit, ...
"""

from dataclasses import dataclass, replace
from functools import cache
from typing import Literal, get_args

import numpy as np

from carryproof.theory.averaging import confused_windows, ties
from carryproof.theory.errors import bad
from carryproof.theory.multisets import as_multisets
from carryproof.theory.processes import Process, Table, WindowSlot
from carryproof.theory.windows import dependency_window

Apart = Literal["nothing", "answer", "operands"]  # whose digits of equal significance have axes of their own


@dataclass(frozen=True, kw_only=True, slots=True)
class Derivation:
    """What attention is told of a process: for each slot of the window the class of its key.

    ``slots`` are the dependency window and the token before, which is the query. ``classes`` are pairs of an axis and
    an offset; ``slot_classes[k]`` is the class of slot k, and two beyond the last one where slot k is the query itself
    and looked for at no place. ``axes`` are the homes that places are counted from.
    """

    process: Process
    slots: tuple[WindowSlot, ...]
    axes: tuple[str, ...]
    classes: tuple[tuple[int, int], ...]
    slot_classes: tuple[int, ...]
    apart: Apart

    @property
    def encoding(self) -> str:
        """The name under which a decoder builds the encoding: its classes."""
        return "window:" + ",".join(f"{axis}{offset:+d}" for axis, offset in self.classes)

    @property
    def placed(self) -> tuple[tuple[WindowSlot, int], ...]:
        """The slots that are looked for at a place, each with the axis of that place: all but the query itself."""
        pairs = zip(self.slots, self.slot_classes, strict=True)
        return tuple((slot, self.classes[kind][0]) for slot, kind in pairs if kind < len(self.classes))

    @property
    def told(self) -> str:
        """Which digits share ids."""
        return {
            "nothing": "equal significance, equal id",
            "answer": "the answer on an axis of its own",
            "operands": "each number on an axis of its own",
        }[self.apart]

    def __str__(self) -> str:
        seen = ", ".join(map(self.process.text, self.slots))
        return (
            f"{self.process.name}, {self.process.order}: keys {seen} and '='; {self.told}; no two windows are confused"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Obstruction:
    """Why no bounded set of keys can serve a process."""

    process: Process
    statement: str

    def __str__(self) -> str:
        return self.statement


@cache
def derive(process: Process) -> Derivation | Obstruction:
    """The encoding of a process, or the obstruction: no bounded window, or windows that averaging confuses.

    Raises ``ValueError`` for a process whose windows cannot be enumerated (see ``coverage.windows_shown``).
    """
    if process.table is not None:
        return _tabled(process, process.table())
    found = dependency_window(process)
    if not found.bounded or not found.position_independent:
        return Obstruction(process=process, statement=found.statement)
    slots = tuple(dict.fromkeys((*found.slots, process.output_at(1))))
    for apart in get_args(Apart):
        # operands in one class are seen as a multiset
        derived = _classified(process if apart == "operands" else as_multisets(process), slots, apart)
        told = {"anchor": True, "operands_apart": apart == "operands"}
        if not len(confused_windows(derived.process, **told)) and _shows_only_the_window(derived):
            return derived
    confused = ties(derived.process, **told)
    equal = [tie for tie in confused if tie.equal]
    why = "an averaging head confuses" if not equal else "the window does not say which token follows in"
    statement = f"{process.name}, {process.order}: {why} {len(equal or confused)} pairs of windows, such as"
    return Obstruction(process=process, statement=f"{statement} {(equal or confused)[0]}")


def _classified(process: Process, slots: tuple[WindowSlot, ...], apart: Apart) -> Derivation:
    axes: dict[object, str] = {}
    classes: dict[tuple[int, int], int] = {}
    slot_classes = []
    for slot in slots:
        home = _home(process, slot)
        kind = {"nothing": None, "answer": slot.role, "operands": (slot.role, slot.operand)}[apart]
        axes.setdefault((home, kind), home)
        axis = list(axes).index((home, kind))
        slot_classes.append(classes.setdefault((axis, slot.offset[-1]), len(classes)))
    return Derivation(
        process=process,
        slots=slots,
        axes=tuple(axes.values()),
        classes=tuple(classes),
        slot_classes=tuple(slot_classes),
        apart=apart,
    )


def _home(process: Process, slot: WindowSlot) -> str:
    if slot.role == "operand":
        return process.homes[slot.operand].text
    return process.answers[slot.operand].text if slot.operand else process.coordinates[-1]


def _tabled(process: Process, table: Table) -> Derivation:
    """Every number on an axis of its own: no averaging head confuses different views, as '=' is seen too."""
    views = np.unique(np.column_stack([table.queries, table.views]), axis=0)
    if (views[1:, :-1] == views[:-1, :-1]).all(axis=1).any():
        raise bad("table", process.name, "one in which what a query sees decides the token")
    looked_for = tuple(slot for slot in table.slots if slot != process.output_at(1))
    derived = _classified(process, looked_for, "operands")
    kinds = dict(zip(looked_for, derived.slot_classes, strict=True))
    itself = len(derived.classes) + 1
    return replace(derived, slots=table.slots, slot_classes=tuple(kinds.get(slot, itself) for slot in table.slots))


def _shows_only_the_window(derived: Derivation) -> bool:
    """Whether every digit that a class shows is a slot of the window, or an answer not yet written."""
    behind = derived.process.output_at(1).offset[-1]
    numbers = {(slot.role, slot.operand): axis for slot, axis in derived.placed}
    shown = {(*number, offset) for number, on in numbers.items() for axis, offset in derived.classes if axis == on}
    slots = {(slot.role, slot.operand, slot.offset[-1]) for slot in derived.slots}
    return all(role == "answer" and offset * behind <= 0 for role, operand, offset in shown - slots)
