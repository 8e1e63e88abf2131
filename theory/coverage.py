"""Coverage: which windows the problems of a training range present, and from which length on they present all (L19).

A window is what its slots hold, digits or nothing, and the token to be written. Places are read one after the other,
and the machine's state with the last columns and tokens is followed as a set, so that windows are found without
enumerating problems; once that set stops changing inside a number, longer numbers hold no new window. Source: ours;
unseen digits at a place are behind the failure at 3 digits that Xu et al., arXiv 2407.17963, report (law L9).

>>> from carryproof.theory import tasks
>>> from carryproof.theory.cases import process_of
>>> adding = process_of(tasks.addition())
>>> [shortest_training(adding, law=law).interior for law in ("spelled", "exact")]
[3, 4]
>>> half = window_coverage(adding, trained=(1, 2), tested=(3,), law="spelled")
>>> half.interior_missing, half.interior
(10000, 20000)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import groupby, product
from typing import Literal, get_args

import numpy as np

from carryproof.theory.errors import bad, unknown
from carryproof.theory.processes import ABSENT, END, Process, WindowSlot
from carryproof.theory.ranges import OperandLaw, require_lengths, write_lengths
from carryproof.theory.readers import Family, Keys, Reader, Window, distinct, reader_of

FAMILIES_LIMIT = 64  # combinations of operand lengths
FAR = 64  # from here on an answer is longer than its operands by as many digits as at any greater length
Law = OperandLaw | Literal["spelled"]


@dataclass(frozen=True, kw_only=True, slots=True)
class WindowCoverage:
    """How many different windows the tested problems present, and how many of them training never showed.

    Interior windows are those whose slots all hold something and that ask for a digit.
    """

    process: Process
    windows: int
    missing: int
    interior: int
    interior_missing: int
    example: Window | None
    statement: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ShortestTraining:
    """From which n on training on 1 .. n digits shows every window, and every interior one, of any length.

    ``windows[n-1]`` and ``interiors[n-1]`` are how many the lengths up to n show.
    """

    process: Process
    length: int
    interior: int
    windows: tuple[int, ...]
    interiors: tuple[int, ...]
    statement: str


def window_coverage(
    process: Process,
    *,
    trained: Sequence[int],
    tested: Sequence[int],
    law: Law = "exact",
    test_law: Law | None = None,
    width: int | None = None,
) -> WindowCoverage:
    """Compare the windows of tested lengths with those of trained ones; see ``windows_shown`` for the arguments."""
    seen = windows_shown(process, trained, law=law, width=width)
    met = windows_shown(process, tested, law=test_law or law, width=width)
    missing = met[~np.isin(met, seen, assume_unique=True)]
    reader = reader_of(process)
    inside, missing_inside = _interior(reader, met), _interior(reader, missing)
    example = None
    where = f"training on {write_lengths(require_lengths('trained', trained))} digits"
    if len(missing):
        example = reader.decode(int((missing_inside if len(missing_inside) else missing)[0]))
        never = f"{len(missing):,} of the {len(met):,} windows that the tested problems present"
        statement = f"{where} never shows {never}, such as {example.text(process)}"
    else:
        statement = f"{where} shows all {len(met):,} windows that the tested problems present"
    return WindowCoverage(
        process=process,
        windows=len(met),
        missing=len(missing),
        interior=len(inside),
        interior_missing=len(missing_inside),
        example=example,
        statement=statement,
    )


@cache
def shortest_training(process: Process, *, law: Law = "exact", more: tuple[WindowSlot, ...] = ()) -> ShortestTraining:
    """The least n such that the lengths 1 .. n present every window that any length presents (law L19).

    For the laws ``exact`` and ``spelled`` only, where all operands have the same length. Windows hold the slots
    ``more`` besides those of the process.
    """
    if law not in ("exact", "spelled"):
        raise unknown("law", law, ("exact", "spelled"))
    reader = reader_of(process, more)
    found: list[Keys] = []
    settled = False
    while not settled:
        length = len(found) + 1
        (family,) = families(process, length, law, None)
        keys, steady = reader.windows(family)
        found.append(distinct(np.concatenate([*found[-1:], keys])))
        settled = steady and _overhang(process, length) == _overhang(process, FAR)
    insides = [_interior(reader, keys) for keys in found]
    shortest = [next(n for n, keys in enumerate(group, 1) if len(keys) == len(group[-1])) for group in (found, insides)]
    zeros = "leading zeros allowed" if law == "spelled" else "no leading zeros"
    statement = (
        f"{process.name}, {process.order}, {zeros}: training on 1 to {shortest[0]} digits shows all "
        f"{len(found[-1]):,} windows of every length, and 1 to {shortest[1]} all {len(insides[-1]):,} interior ones"
    )
    return ShortestTraining(
        process=process,
        length=shortest[0],
        interior=shortest[1],
        windows=tuple(map(len, found)),
        interiors=tuple(map(len, insides)),
        statement=statement,
    )


def covered_share(
    process: Process,
    *,
    trained: Sequence[int],
    length: int,
    law: Law = "exact",
    test_law: Law | None = None,
    width: int | None = None,
    placed: bool = False,
) -> Fraction:
    """The share of problems of a length all of whose windows occur in training (law L9).

    A model that is right on every window of its training, wherever it stands, is right on at least this share. With
    ``placed`` a window counts only at the place where it was seen, which is all that absolute positions promise.

    >>> from carryproof.theory import tasks
    >>> from carryproof.theory.cases import process_of
    >>> adding = process_of(tasks.addition())
    >>> [str(covered_share(adding, trained=(1, 2), length=m, law="spelled", width=9)) for m in (2, 3)]
    ['1', '1109/2000']
    """
    reader = reader_of(process)
    seen: dict[int, list[Keys]] = {}
    for each in require_lengths("trained", trained):
        for family in families(process, each, law, width):
            for place, keys in reader.places(family):
                seen.setdefault(place if placed else 0, []).append(keys)
    known = {place: distinct(np.concatenate(parts)) for place, parts in seen.items()}
    covered = total = Fraction(0)
    for family in families(process, length, test_law or law, width):
        if every := reader.count(family):  # none if the process does not take operands of these lengths
            weight = Fraction(1, every) if (test_law or law) == "unequal" else Fraction(1)  # there lengths come first
            covered += weight * reader.count(family, known, placed=placed)
            total += weight * every
    return covered / total


def windows_shown(
    process: Process,
    lengths: Sequence[int],
    *,
    law: Law = "exact",
    width: int | None = None,
    more: tuple[WindowSlot, ...] = (),
) -> Keys:
    """Every window of the problems of these lengths, as sorted keys of ``reader_of(process, more)``.

    Operands follow ``law``, where ``spelled`` means all strings of n digits, leading zeros included. With ``width``
    operands are padded with zeros to so many places, else each has its own; answers are written in full. The process
    must have a bounded window and a machine that reads its operands' columns. Raises ``ValueError`` otherwise, or if
    the windows or the combinations of operand lengths are too many.
    """
    reader = reader_of(process, more)
    wanted = require_lengths("lengths", lengths)
    parts = [reader.windows(family)[0] for each in wanted for family in families(process, each, law, width)]
    return distinct(np.concatenate(parts))


def windows_of_views(process: Process, *, law: Law = "spelled") -> Keys:
    """Every window of every length with the token before; keys of ``reader_of(process, (process.output_at(1),))``.

    Where the views of a process are listed the keys are the numbers of its table's rows.
    """
    if process.table is not None:
        return np.arange(len(process.table().views))
    before = (process.output_at(1),)
    longest = shortest_training(process, law=law, more=before).length
    return windows_shown(process, range(1, longest + 1), law=law, more=before)


def shortest_problem(process: Process, key: int, *, more: tuple[WindowSlot, ...] = ()) -> list[tuple[int, ...]]:
    """The operands, digits least significant first, of a shortest problem that presents a window (law ``spelled``).

    ``key`` is one of those that ``windows_shown`` gives for these slots.
    """
    reader, length = reader_of(process, more), 0
    while True:
        length += 1
        (family,) = families(process, length, "spelled", None)
        columns = reader.problem(family, key)
        if columns is not None:
            break
    *places, fixed = columns
    found = [list(fixed) for _ in process.homes]
    for rank, operand in enumerate(_moving(process)):
        held = {process.homes[operand].place((at,), length): column[rank] for at, column in enumerate(places)}
        found[operand] = [held[place] for place in range(length)]
    return [tuple(digits) for digits in found]


def _moving(process: Process) -> list[int]:
    """The operands that columns hold."""
    fixed = {slot.operand for slot in process.fixed}
    return [operand for operand in range(len(process.homes)) if operand not in fixed]


def _interior(reader: Reader, keys: Keys) -> Keys:
    *values, token = reader.unpack(keys)
    inside = token != END
    for value in values:
        inside &= value != ABSENT
    return keys[inside]


@cache
def _overhang(process: Process, size: int) -> int:
    """How many more tokens are written than operands have places."""
    nothing = [np.zeros((1, places), dtype=np.uint8) for places in process.widths(size)]
    return len(process.write(nothing)) - size


def families(process: Process, length: int, law: Law, width: int | None) -> list[Family]:
    """The problems of a length, one family for each combination of the operands' lengths; see ``windows_shown``."""
    base = process.base
    if width is not None and width < length:
        raise bad("width", width, f"at least {length}, the longest operand")
    places = length if width is None else width
    tokens = places + _overhang(process, min(places, FAR))

    moving = _moving(process)

    def digits(operand: int, each: int, at: int) -> tuple[int, ...]:
        place = process.homes[operand].place((at,), places)
        if 0 <= place < each:
            return tuple(range(int(law != "spelled" and place == each - 1 > 0), base))
        return (ABSENT,) if width is None or not 0 <= place < width else (0,)

    found = []
    for lengths in _lengths(len(moving), length, law):
        sized = list(zip(moving, lengths, strict=True))
        columns = [tuple(digits(operand, each, at) for operand, each in sized) for at in range(max(tokens, places))]
        ordered = columns if process.order == "least-first" else columns[::-1]
        runs = tuple((column, len(list(group))) for column, group in groupby(ordered))
        found.append(Family(runs=runs, tokens=tokens))
    return found


def _lengths(operands: int, length: int, law: Law) -> list[tuple[int, ...]]:
    """The combinations of lengths that the operands can have."""
    if law not in (*get_args(OperandLaw), "spelled"):
        raise unknown("law", law, (*get_args(OperandLaw), "spelled"))
    if law in ("exact", "spelled"):
        return [(length,) * operands]
    count = (
        operands * (length - 1) ** (operands - 1) if law == "unequal" else length**operands - (length - 1) ** operands
    )
    if count > FAMILIES_LIMIT:
        raise bad("length", length, f"one with at most {FAMILIES_LIMIT} combinations of lengths; here are {count:,}")
    if law == "unequal":
        others = list(product(range(1, length), repeat=operands - 1))
        return [(*each[:at], length, *each[at:]) for at in range(operands) for each in others]
    return [each for each in product(range(1, length + 1), repeat=operands) if max(each) == length]
