"""Residues modulo p that divides a power of the base, without a scratchpad: all views of all lengths (law L3).

The last k0 digits of each operand decide the answer, and the digits written so far tell which one comes next. So a
query that sees both, each at its fixed place, sees enough, and problems of 1 to k0 places present all there is: longer
ones differ in digits that are never looked at. Unlike the windows of sums, these have a rule for each place.

>>> from carryproof.theory import tasks
>>> from carryproof.theory.cases import process_of
>>> found = process_of(tasks.modular_addition(4, base=2)).table()    # of which 10 + 11:
>>> len(found.views), [row[4:] for row in found.views.tolist() if row[:4] == [0, 1, 1, 1]]
(60, [[-1, -1, 1], [1, 0, -2], [1, -1, 0]])
"""

import numpy as np

from carryproof.theory.enumeration import enumerated, require_finishable
from carryproof.theory.processes import ABSENT, END, Process, Table, WindowSlot


def residue_table(process: Process, decisive: int) -> Table:
    """The views of a process whose answers are decided by the last ``decisive`` digits; its homes are the units.

    Raises ``ValueError`` where the problems of so many places are too many to be enumerated.
    """
    require_finishable(process, decisive)
    parts = []
    for size in range(1, decisive + 1):
        digits = enumerated(process, size)
        nothing = np.full(len(digits[0]), ABSENT)
        operands = [each[:, place] if place < size else nothing for each in digits for place in range(decisive)]
        tokens = process.write(digits)
        written = {place: nothing for (place,), _ in sorted(tokens, key=lambda token: token[0])}
        before = nothing
        for (place,), values in [*tokens, ((END,), np.full(len(nothing), END))]:
            parts.append(np.column_stack([before, *operands, *written.values(), values]))
            written[place], before = values, values
    views = np.unique(np.concatenate(parts).astype(np.int64), axis=0)
    answers = tuple(WindowSlot("answer", 1, (place,)) for place in range(len(tokens)))
    assert process.decided is not None
    return Table(slots=(*process.decided, *answers), views=views[:, 1:], queries=views[:, 0])
