"""Whether the digits that an answer digit depends on stand at constant token offsets (law L10).

A score that sees only differences can pick out digit i of an operand for answer digit i with one rule for all i iff the
offset pos(c_i) - pos(a_i) is the same for every i, and for every problem iff the widths are fixed as well. Both are
read off the layout of the text, not assumed.

>>> from carryproof.theory import formats, tasks
>>> print(alignment(tasks.addition(), formats.padded(8)).statement)
offsets from an answer digit to the same digit of each operand are constant: 18, 9
"""

from dataclasses import dataclass

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
    """Read the offsets between answer digits and equal places of the operands off the layout."""
    width = form.width or FREE_EXAMPLE_WIDTH
    layout = form.layout(task, width)
    answer = {slot.place: position for position, slot in enumerate(layout) if slot.role == "answer"}
    offsets = []
    for operand in range(task.operands):
        places = {s.place: p for p, s in enumerate(layout) if s.role == "operand" and s.operand == operand}
        offsets.append(tuple(answer[place] - places[place] for place in sorted(places) if place in answer))
    constant = all(len(set(row)) == 1 for row in offsets)
    if not constant:
        changing = next(row for row in offsets if len(set(row)) > 1)
        statement = f"offsets from an answer digit to the same digit of an operand change with the digit: {changing}"
    elif form.width is None:
        statement = "offsets from an answer digit to the same digit of an operand change with the operands' lengths"
    else:
        listed = ", ".join(str(row[0]) for row in offsets)
        statement = f"offsets from an answer digit to the same digit of each operand are constant: {listed}"
    return Alignment(offsets=tuple(offsets), constant=constant and form.width is not None, statement=statement)
