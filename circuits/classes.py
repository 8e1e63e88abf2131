"""Complexity classes: the longest cascade of a problem, a carry or a borrow and the columns that it runs on through.

S0 is addition without a carry; in Sk the longest run of a column that carries and columns of sum 9 directly above it
has k columns. Mk and Nk mirror it for differences from 0 up and below 0, with borrows and equal digits of the larger
number above the smaller: a column borrows or is equal where the smaller's digit and 9 minus the larger's sum to 10 or
more, or to 9. A sample of a class is uniform in it: column by column, units first, each kind of column is drawn with
the share of the class that goes on from there. Source of the names: Quirke et al. 2402.02619, where they end at five.

>>> names("add", 3), names("sub", 3)
(('S0', 'S1', 'S2', 'S3'), ('M0', 'M1', 'M2', 'N0', 'N1', 'N2'))
>>> problems = sample("N2", digits=3, seed=0, first=0, count=4)
>>> problems.operands[0, :, ::-1].tolist(), classify(problems)
([[8, 9, 5], [9, 9, 1]], array(['N2', 'N2', 'N2', 'N2'], dtype='<U3'))
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
from jaxtyping import Shaped
from numpy.typing import NDArray

from carryproof.benchmarks.splitmix import split_mix, words
from carryproof.benchmarks.strata import longest_chain
from carryproof.circuits.texts import OPERATIONS, Problems, require_digits
from carryproof.theory.errors import bad, require_integer, unknown

BASE = 10
ITEMS_AT_ONCE = 65_536
LETTERS = {"add": ("S",), "sub": ("M", "N")}
BEHAVIOURS = {"S": "add", "M": "sub_positive", "N": "sub_negative"}  # what the classes of a letter have in common
_PAIRS = np.array([(left, right) for left in range(BASE) for right in range(BASE)], dtype=np.uint8)
# Pairs of digits by what their column does: it passes a carry on, gives none, or carries by itself.
_COLUMNS = tuple(_PAIRS[mask] for sums in [_PAIRS.sum(axis=1)] for mask in (sums == 9, sums < 9, sums > 9))
PASSES, STOPS, CARRIES = range(3)
_HALF = np.uint64(32)  # of a word: one for the column's kind, one for its digits


def names(operation: str, digits: int) -> tuple[str, ...]:
    """The classes of ``add`` or ``sub`` that are not empty; no difference borrows out of its highest column."""
    if operation not in OPERATIONS:
        raise unknown("operation", operation, OPERATIONS)
    require_digits("digits", digits)
    longest = digits if operation == "add" else digits - 1
    return tuple(f"{letter}{length}" for letter in LETTERS[operation] for length in range(longest + 1))


def classify(problems: Problems) -> Shaped[np.ndarray, " problem"]:
    """The class of every problem, as a string such as ``S2``."""
    left, right = problems.operands[:, 0], problems.operands[:, 1]
    subtract, negative = problems.subtract[:, None], problems.answer().negative[:, None]
    larger, smaller = np.where(negative, right, left), np.where(negative, left, right)
    sums = np.stack([np.where(subtract, smaller, left), np.where(subtract, BASE - 1 - larger, right)], axis=1)
    letter = np.where(problems.subtract, np.where(negative[:, 0], "N", "M"), "S")
    return np.char.add(letter, longest_chain(sums, BASE).astype("<U2"))


def sample(name: str, *, digits: int, seed: int, first: int, count: int) -> Problems:
    """Items ``first`` .. ``first + count - 1`` of the seed's stream of one class; item i is a function of (seed, i).

    Raises ``ValueError`` for digits outside 1 to 40 and for a class that problems of this size do not have.
    """
    require_digits("digits", digits)
    require_integer("count", count, 0)
    allowed = [each for operation in OPERATIONS for each in names(operation, digits)]
    if name not in allowed:
        raise unknown("class", name, allowed)
    plan = _plan(name, digits)
    drawn = np.empty((2, digits, count), dtype=np.uint8)
    key = split_mix(np.array([seed], dtype=np.uint64))
    for low in range(0, count, ITEMS_AT_ONCE):
        generators = words(key, first + low, min(ITEMS_AT_ONCE, count - low))[:, 0]
        state = np.zeros(len(generators), dtype=np.int64)
        for place in range(digits):
            (word,) = words(generators, place, 1)
            kind = ((word >> _HALF) / 2.0**32 >= plan.bounds[place][:, state]).sum(axis=0)
            for index, pairs in enumerate(_COLUMNS):
                chosen = np.flatnonzero(kind == index)
                choice = (word[chosen] & np.uint64(2**32 - 1)) * np.uint64(len(pairs)) >> _HALF
                drawn[:, place, low + chosen] = pairs[choice].T
            state = plan.after[kind, state]
    if name[0] in LETTERS["sub"]:
        drawn[1] = BASE - 1 - drawn[1]  # the smaller number, and the larger one
    if name[0] == "M":
        drawn = drawn[::-1]
    return Problems(operands=drawn.transpose(2, 0, 1), subtract=np.full(count, name[0] in LETTERS["sub"]))


def behaviours_of(operations: Iterable[str]) -> tuple[str, ...]:
    """The behaviours of some operations, in the order of ``BEHAVIOURS``; ``ValueError`` for none or an unknown one."""
    asked = tuple(operations)
    for operation in asked:
        if operation not in OPERATIONS:
            raise unknown("operations", operation, OPERATIONS)
    if not asked:
        raise bad("operations", "none", "add, sub or both")
    letters = [letter for operation in OPERATIONS if operation in asked for letter in LETTERS[operation]]
    return tuple(BEHAVIOURS[letter] for letter in letters)


def balanced(operations: Iterable[str], *, digits: int, seed: int, count: int) -> Problems:
    """``count`` problems of each behaviour of the operations, one after the other; in each, classes take turns.

    Raises ``ValueError`` for unknown operations, and for a count below 1.

    >>> labels = classify(balanced(("add", "sub"), digits=2, seed=0, count=4))
    >>> [str(label) for label in labels]
    ['S0', 'S0', 'S1', 'S2', 'M0', 'M0', 'M1', 'M1', 'N0', 'N0', 'N1', 'N1']
    """
    require_integer("count", count, 1)
    asked, found = behaviours_of(operations), []
    for letter, behaviour in BEHAVIOURS.items():
        if behaviour in asked:
            classes = [name for name in names("add" if letter == "S" else "sub", digits) if name[0] == letter]
            for index, name in enumerate(classes):
                share = count // len(classes) + (index < count % len(classes))
                found.append(sample(name, digits=digits, seed=seed, first=0, count=share))
    return Problems(
        operands=np.concatenate([part.operands for part in found]),
        subtract=np.concatenate([part.subtract for part in found]),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Plan:
    """How columns follow each other in a class, by state: 0 while all pass a carry on, then what runs and was reached.

    ``bounds`` [place, 2, state] divide the unit interval among the kinds of column, ``after`` [kind, state] says where
    each leads.
    """

    bounds: NDArray[np.float64]
    after: NDArray[np.int64]


@lru_cache(maxsize=256)
def _plan(name: str, digits: int) -> _Plan:
    letter, length = name[0], int(name[1:])
    states = [(None, False), *product(range(length + 1), (False, True))]  # columns that run now, length was reached
    follows = [[_next(kind, *state, length) for state in states] for kind in range(len(_COLUMNS))]
    after = [[states.index(state) if state in states else -1 for state in row] for row in follows]
    ways = [[int(_may_end(letter, *state, length)) for state in states]]  # from the highest place down
    bounds = np.ones((digits, 2, len(states)))
    for place in reversed(range(digits)):
        here = [
            [len(pairs) * ways[-1][to] if to >= 0 else 0 for pairs, to in zip(_COLUMNS, column, strict=True)]
            for column in zip(*after, strict=True)
        ]
        ways.append([sum(each) for each in here])
        for state, (passing, stopping, carrying) in enumerate(here):
            total = passing + stopping + carrying
            if total:
                bounds[place, :, state] = passing / total, (passing + stopping) / total
    return _Plan(bounds=bounds, after=np.array(after))


def _next(kind: int, running: int | None, reached: bool, length: int) -> tuple[int | None, bool]:
    """The state after a column; one whose run is too long is no state of the plan."""
    if kind == STOPS or (kind == PASSES and running == 0):
        return 0, reached
    if kind == PASSES and running is None:
        return None, False
    run = 1 if kind == CARRIES else 1 + (running or 0)
    return run, reached or run == length


def _may_end(letter: str, running: int | None, reached: bool, length: int) -> bool:
    """Whether a problem of the class may end so: a difference borrows from nothing, and one below 0 is not 0."""
    if letter != "S" and running:
        return False
    if letter == "N" and running is None:
        return False
    return reached or length == 0
