"""Written texts: how far before a token its digits stand, whether short intervals settle it, what a half must remember.

A window names digits by place; a text puts them somewhere, and ``token_offsets`` reads off a layout how far away.
``interval_clash`` sees a text as (n, r)-consistency does (Xiao and Liu, arXiv 2404.00560 and ICLR 2025), and
``half_split_rows`` counts what the first half of a problem must tell the second (Huang et al., arXiv 2410.02140).

>>> from carryproof.theory import formats, tasks
>>> from carryproof.theory.cases import parity, process_of
>>> from carryproof.theory.windows import column_window
>>> adding = tasks.addition(base=2)
>>> sorted(token_offsets(process_of(adding), formats.padded(8).layout(adding, 8), column_window(process_of(adding), 0)))
[9, 18]
>>> print(interval_clash(adding, formats.free(), count=2, length=3, width=3))
'11+111=01' goes on with 0 and '111+111=01' with 1
>>> [half_split_rows(process_of(adding), places) for places in (1, 2, 3)], half_split_rows(parity(), 6)
([2, 4, 8], 2)
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from carryproof.theory.digits import Digits
from carryproof.theory.enumeration import PROBLEMS_LIMIT
from carryproof.theory.errors import bad, require_integer
from carryproof.theory.formats import Format, Slot, render, token_of, vocabulary_size
from carryproof.theory.processes import Process, WindowSlot
from carryproof.theory.tasks import Task


def token_offsets(process: Process, layout: Sequence[Slot], window: Sequence[WindowSlot]) -> frozenset[int]:
    """How many tokens before an answer digit the slots of its window stand, over all digits of one layout."""
    return frozenset(position - target for position, target in _needed(process, layout, window))


def token_pairs(process: Process, layout: Sequence[Slot], window: Sequence[WindowSlot]) -> frozenset[tuple[int, int]]:
    """Where the query that predicts an answer digit stands, which is the token before it, and where each other key."""
    pairs = {(position - 1, target) for position, target in _needed(process, layout, window)}
    return frozenset((query, key) for query, key in pairs if query != key)


def _needed(process: Process, layout: Sequence[Slot], window: Sequence[WindowSlot]) -> Iterator[tuple[int, int]]:
    """Where each answer digit stands, and where each slot of its window that it has."""
    at = {(slot.role, slot.operand, slot.place): position for position, slot in enumerate(layout)}
    size = 1 + max(slot.place for slot in layout if slot.role == "operand")
    for position, written in enumerate(layout):
        if written.role != "answer":
            continue
        for slot in window:
            own = slot.role == "operand"
            home = process.homes[slot.operand].place((written.place,), size) if own else written.place
            target = at.get((slot.role, slot.operand, home + slot.offset[0]))
            if target is not None:
                yield position, target


def interval_clash(task: Task, form: Format, *, count: int, length: int, width: int) -> str | None:
    """Two texts that agree on what ``count`` intervals of ``length`` tokens show, and go on differently; or None.

    One interval is centred on the digit (or sign) to be written, so that half of it is known; of the others only their
    contents count, not where they lie: each run of tokens in the text so far, as often as it occurs, up to
    ``count - 1`` times. All operands of up to ``width`` digits 0 and B-1 are written: enough to refute, a check of no
    others.
    """
    require_integer("count", count, 2)
    if require_integer("length", length, 1) % 2 == 0:
        raise bad("length", length, "an odd number of tokens, so that an interval has a centre")
    if vocabulary_size(task) ** (length + 1) >= 2**62:
        raise bad("length", length, "intervals that fit an integer")
    radix, blank, half = vocabulary_size(task), token_of(task, "_"), length // 2
    nothing = radix**length
    seen: dict[tuple[bytes, bytes], tuple[int, str]] = {}
    for places in range(1, require_integer("width", width, 1) + 1):
        digits = _every(2, task.operands * places) * np.uint8(task.base - 1)
        operands = digits.reshape(len(digits), task.operands, places)
        text = (form if form.width is None else replace(form, width=places)).write(task, operands)
        tokens = np.pad(text.tokens, ((0, 0), (length, 0)), constant_values=blank)
        runs = np.stack([tokens[:, end - length : end] for end in range(length, tokens.shape[1] + 1)], axis=1)
        codes = runs @ radix ** np.arange(length)  # [problem, token]: the run that ends before it
        for position in range(text.answer_start, text.tokens.shape[1]):
            told = text.scored[:, position] & (text.tokens[:, position] != token_of(task, ";"))
            problems = np.flatnonzero(told)
            shown = np.sort(codes[problems, 1 : position + 1], axis=1)
            often = np.zeros(shown.shape, dtype=bool)
            often[:, count - 1 :] = shown[:, count - 1 :] == shown[:, : max(0, shown.shape[1] - count + 1)]
            shown = np.sort(np.where(often, nothing, shown), axis=1)
            centres = tokens[problems, position + length - half : position + length]
            for problem, centre, others in zip(problems, centres, shown, strict=True):
                here = int(text.tokens[problem, position]), render(task, text.tokens[problem, :position])
                first = seen.setdefault((centre.tobytes(), others[others < nothing].tobytes()), here)
                if first[0] != here[0]:
                    (one, start), (other, end) = ((render(task, np.array([t])), said) for t, said in (first, here))
                    return f"{start!r} goes on with {one} and {end!r} with {other}"
    return None


def half_split_rows(process: Process, size: int) -> int:
    """How many rows of the half-split matrix differ: first half of the digits x second half -> everything written.

    Its logarithm is what a reader of the first half must tell a reader of the second. The digits of all operands stand
    in a row, least significant first; up to 300,000 problems are enumerated.
    """
    widths = process.widths(require_integer("size", size, 1))
    places = sum(widths)
    if places > 64 or process.base**places > PROBLEMS_LIMIT:
        raise bad("size", size, f"a size of at most {PROBLEMS_LIMIT:,} problems")
    digits = _every(process.base, places)
    ends = np.cumsum([0, *widths]).tolist()
    operands = [digits[:, first:last] for first, last in pairwise(ends)]
    written = np.stack([values for _, values in process.write(operands)], axis=1)
    if process.domain is not None:
        written[~process.domain(operands)] = -1  # no such problem
    rows = written.reshape(process.base ** (places // 2), -1)
    return len(np.unique(rows, axis=0))


def _every(letters: int, places: int) -> Digits:
    """All rows of ``places`` digits below ``letters``; the first place changes slowest."""
    powers = letters ** np.arange(places - 1, -1, -1)
    return (np.arange(letters**places)[:, None] // powers % letters).astype(np.uint8)
