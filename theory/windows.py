"""Dependency windows: which slots determine a token, whether finitely many do at every length, and why.

Slots (operand digits and earlier tokens, relative to the token) determine a token iff no two problems agree on the
slots and differ in it: enumerated at small sizes, and for a process with a machine decided for all lengths by following
every pair of states that the slots leave open (Huffman, 1959; Even, 1965). Carries of k numbers are at most k-1 and two
that agree modulo B differ by a B-th as much one column on: radius 1 up to B numbers (law L2), ceil(log_B k) beyond.

>>> from carryproof.theory import tasks
>>> from carryproof.theory.cases import process_of
>>> from carryproof.theory.enumeration import clash
>>> three = process_of(tasks.addition(3, base=2))
>>> found = dependency_window(three)
>>> found.strength, " ".join(found.texts)
('proved', 'a1[i] a2[i] a3[i] a1[i-1] a2[i-1] a3[i-1] c[i-1] a1[i-2] a2[i-2] a3[i-2]')
>>> print(clash(three, column_window(three, 1), ((1, 1),) * 3, ((0, 0),) * 3))
c[3] is 1 in (11, 11, 11) and 0 in (00, 00, 00)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Literal

from carryproof.theory.enumeration import Clash, affordable, clash, counterexample, pool, require_finishable
from carryproof.theory.errors import bad, require_integer
from carryproof.theory.machines import determines, machine_radius, tables
from carryproof.theory.processes import UNITS, Process, WindowSlot

WITNESSED_RADII = (1, 2, 4, 8, 16, 32)


@dataclass(frozen=True, kw_only=True, slots=True)
class DependencyWindow:
    """What determines the tokens of a process, and how far that is known.

    ``slots`` are minimal: none can go, where a machine decides no column and no token. ``bounded`` is None where no
    window was found and none is excluded. ``absent`` says how slots outside the problem are read: as zeros, or marked,
    so that one rule may tell the ends. Without ``position_independent`` each coordinate has a rule of its own.
    ``size`` is the number of places up to which every problem was enumerated; a proof holds beyond.
    """

    process: Process
    status: Literal["proved", "checked", "refuted"]
    bounded: bool | None
    slots: tuple[WindowSlot, ...]
    radius: int | None
    absent: Literal["zero", "marked"]
    position_independent: bool | None
    size: int
    statement: str
    counterexamples: tuple[Clash, ...] = ()

    @property
    def texts(self) -> tuple[str, ...]:
        """The slots as mathematics."""
        return tuple(map(self.process.text, self.slots))

    @property
    def strength(self) -> str:
        """``proved``, ``refuted`` or ``checked to size s``."""
        return f"checked to size {self.size}" if self.status == "checked" else self.status


@cache
def dependency_window(process: Process, size: int | None = None) -> DependencyWindow:
    """Find and decide the window of a process; enumerates all problems of up to ``size`` places.

    Without ``size`` as many places are enumerated as 20,000 problems allow, at most 6. A size with more than 300,000
    problems is refused, as is a process without a proof whose smallest problems are more than that.
    """
    places = affordable(process) if size is None else require_integer("size", size, 1)
    if places:
        require_finishable(process, places)
    if process.witness is not None:
        return _refuted(process, places)
    if process.machine is not None:
        return _decided_by_machine(process, places)
    if process.decided is not None:
        placed = UNITS in process.homes
        own = ", its own for each place" if placed else ""
        statement = f"each digit is a function of {_join(process, process.decided)}{own}: {process.why}"
        return _result(process, process.decided, places, statement, status="proved", independent=not placed)
    if not places:
        require_finishable(process, 1)
    return _searched(process, max(places, 1))


def column_window(process: Process, radius: int) -> tuple[WindowSlot, ...]:
    """The present column, the last ``radius`` columns and the tokens written there, and the fixed slots."""
    return _slots(process, set(range(radius + 1)), set(range(1, radius + 1)))


def _slots(process: Process, inputs: set[int], outputs: set[int]) -> tuple[WindowSlot, ...]:
    slots = list(process.fixed)
    for back in range(max([0, *inputs, *outputs]) + 1):
        slots += process.column_at(back) if back in inputs else ()
        slots += [process.output_at(back)] if back in outputs else []
    return tuple(dict.fromkeys(slots))


def _decided_by_machine(process: Process, size: int) -> DependencyWindow:
    machine = process.machine
    assert machine is not None
    if any(machine.step(start, 0) != (start, 0) for start in machine.starts):
        raise bad("machine", process.name, "one that stays in its start and writes 0 on columns of zeros")
    radius = machine_radius(machine)
    if radius is None:
        statement = f"no window of any radius determines the digit: {process.why}, and no number of columns reveals it"
        return _result(process, (), size, statement, status="refuted", bounded=False)
    inputs, outputs = set(range(radius + 1)), set(range(1, radius + 1))
    for back in range(radius, -1, -1):  # the farthest first, and a column, which is several slots, before its token
        if determines(machine, inputs=inputs - {back}, outputs=outputs):
            inputs.discard(back)
        if determines(machine, inputs=inputs, outputs=outputs - {back}):
            outputs.discard(back)
    slots = _slots(process, inputs, outputs)
    if size and (found := counterexample(process, slots, size)) is not None:
        raise bad("machine", process.name, f"one that writes what the process writes; {found}")
    statement = (
        f"at every length {process.text(WindowSlot('answer', 0, (0,) * len(process.coordinates)))} is one function of "
        f"{_join(process, slots)} (absent ones are 0): {process.why}, one of "
        f"{len(tables(machine)[0])}, and no two states that these slots leave open write different digits"
    )
    return _result(process, slots, size, statement, status="proved")


def _refuted(process: Process, size: int) -> DependencyWindow:
    assert process.witness is not None
    found = []
    for radius in WITNESSED_RADII:
        pair = process.witness(radius)
        seen = _around(process, radius, answers=max(map(len, pair[0])) * 2)
        where = clash(process, seen, *pair)
        if where is None:
            raise bad("witness", process.name, f"pairs that agree within radius {radius} and differ in the token")
        found.append(where)
    statement = f"no window of any radius determines the digit, even with all earlier digits: {process.why}; {found[0]}"
    return _result(process, (), size, statement, status="refuted", bounded=False, counterexamples=tuple(found))


def _searched(process: Process, size: int) -> DependencyWindow:
    """Windows of growing radius: one rule for all places first, then marked ends, then a rule for each place."""
    last: Clash | None = None
    for placed in (False, True):
        for radius in range(max(1, size - 1)):  # a larger one would see everything
            slots = _around(process, radius, answers=radius)
            rows = pool(process, size, slots)
            for marked in (False, True):
                chosen = list(range(len(slots)))
                found = rows.clash(chosen, marked=marked, placed=placed)
                if found is not None:
                    last = found
                    continue
                for index in sorted(chosen, key=lambda i: (-max(map(abs, slots[i].offset)), slots[i].role == "answer")):
                    fewer = [i for i in chosen if i != index]
                    if rows.clash(fewer, marked=marked, placed=placed) is None:
                        chosen = fewer
                kept = tuple(slots[i] for i in chosen)
                rule = "a function of its own for each place" if placed else "one function"
                statement = f"up to {size} places each token is {rule} of {_join(process, kept)}: {process.why}"
                return _result(process, kept, size, statement, status="checked", marked=marked, independent=not placed)
    assert last is not None
    statement = f"up to {size} places no window of radius {max(0, size - 2)} determines the token: {last}"
    return _result(process, (), size, statement, status="checked", bounded=None, counterexamples=(last,))


def _result(
    process: Process,
    slots: tuple[WindowSlot, ...],
    size: int,
    statement: str,
    *,
    status: Literal["proved", "checked", "refuted"],
    bounded: bool | None = True,
    marked: bool = False,
    independent: bool = True,
    counterexamples: tuple[Clash, ...] = (),
) -> DependencyWindow:
    return DependencyWindow(
        process=process,
        status=status,
        bounded=bounded,
        slots=slots,
        radius=max((max(map(abs, slot.offset)) for slot in slots), default=0) if bounded else None,
        absent="marked" if marked else "zero",
        position_independent=independent if bounded else None,
        size=size,
        statement=f"{process.name}, {process.order}: {statement}",
        counterexamples=counterexamples,
    )


def _join(process: Process, slots: Sequence[WindowSlot]) -> str:
    return ", ".join(map(process.text, slots)) or "nothing: it is constant"


def _around(process: Process, radius: int, *, answers: int) -> tuple[WindowSlot, ...]:
    """All slots within a radius, and earlier tokens within another; slots not yet written are never read."""
    operands = [
        WindowSlot("operand", operand, (offset,))
        for operand in range(len(process.homes))
        for offset in range(-radius, radius + 1)
    ]
    near = range(-answers, answers + 1)
    earlier = [
        WindowSlot("answer", 0, offset) for offset in product(near, repeat=len(process.coordinates)) if any(offset)
    ]
    return (*operands, *earlier)
