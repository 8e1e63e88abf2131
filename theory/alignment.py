"""Whether the digits that an answer digit depends on stand at constant offsets of the position ids (law L10).

A score that sees only differences can pick out digit i of an operand for answer digit i with one rule for all i iff the
offset pos(c_i) - pos(a_i) is the same for every i, and for every problem iff the widths are fixed as well or the ids
are counted from the units. All is read off the layout of the text and its ids, not assumed.

>>> from carryproof.theory import formats, tasks
>>> print(alignment(tasks.addition(), formats.padded(8)).statement)
offsets from an answer digit to the same digit of each operand are constant: 18, 9
>>> alignment(tasks.addition(), formats.parse("free,ids=coupled")).offsets[0]
(0, 0, 0)
"""

from dataclasses import dataclass

import numpy as np

from carryproof.theory.formats import Format
from carryproof.theory.tasks import Task

FREE_EXAMPLE_WIDTH = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Alignment:
    """The offsets pos(c_i) - pos(x_i), one tuple over i for each operand x, and whether one rule serves all."""

    offsets: tuple[tuple[int, ...], ...]
    constant: bool
    statement: str


def alignment(task: Task, form: Format) -> Alignment:
    """Read the offsets between the ids of answer digits and of equal places of the operands off the layout."""
    layout = form.layout(task, form.width or FREE_EXAMPLE_WIDTH)
    ids = form.positions.ids(layout, np.arange(len(layout))[None])[0].tolist()
    answer = {slot.place: at for at, slot in zip(ids, layout, strict=True) if slot.role == "answer"}
    offsets = []
    for operand in range(task.operands):
        own = [(at, s) for at, s in zip(ids, layout, strict=True) if s.role == "operand" and s.operand == operand]
        places = {s.place: at for at, s in own}
        offsets.append(tuple(answer[place] - places[place] for place in sorted(places) if place in answer))
    constant = all(len(set(row)) == 1 for row in offsets) and form.positions.scheme != "random"
    fixed = form.width is not None or _counted_from_the_units(form)
    if form.positions.scheme == "random":
        statement = "offsets from an answer digit to the same digit of an operand are drawn anew for every text"
    elif not constant:
        changing = next(row for row in offsets if len(set(row)) > 1)
        statement = f"offsets from an answer digit to the same digit of an operand change with the digit: {changing}"
    elif not fixed:
        statement = "offsets from an answer digit to the same digit of an operand change with the operands' lengths"
    else:
        listed = ", ".join(str(row[0]) for row in offsets)
        statement = f"offsets from an answer digit to the same digit of each operand are constant: {listed}"
    return Alignment(offsets=tuple(offsets), constant=constant and fixed, statement=statement)


def _counted_from_the_units(form: Format) -> bool:
    """Whether the id of a digit follows from its place, whatever the length of its number."""
    scheme = form.positions.scheme
    return scheme == "coupled" or (scheme == "abacus" and form.operands == form.answer == "least-first")
