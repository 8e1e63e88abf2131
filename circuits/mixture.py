"""Streams of problems for training and tests: uniform ones mixed with carry and borrow cascades and other hard kinds.

A subtraction is planted as the addition of the second operand's complement, 9 - d for every digit d: a column with sum
9 then passes a carry or a borrow on, so that one sampler plants cascades of both operations. Item i is a function of
(seed, i) and of nothing else, each item having a SplitMix64 generator of its own.

>>> whole = draw(Mixture(), digits=4, seed=7, first=0, count=5)
>>> bool((draw(Mixture(), digits=4, seed=7, first=2, count=3).operands == whole.operands[2:]).all())
True
>>> equal = draw(Mixture(kinds=(("passing", 1.0),), subtract=1.0, short=0.0), digits=4, seed=0, first=0, count=1_000)
>>> 0.4 < float((equal.operands[:, 0] == equal.operands[:, 1]).mean()) < 0.7
True
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from carryproof.benchmarks.splitmix import split_mix, uniform_digits, word_count, words
from carryproof.circuits.texts import Problems, require_digits
from carryproof.theory.digits import Digits
from carryproof.theory.errors import bad, require_integer, unknown

ITEMS_AT_ONCE = 16_384
DIFFERENT_AT_MOST = 2  # columns of nearly equal operands
_EXTREME = np.array([0, 0, 0, 0, 9, 9, 9, 9, 1, 8], dtype=np.uint8)
_BITS = 16  # of a word, that make one choice
_BYTES = 8  # of a word, one for every column

Words = NDArray[np.uint64]  # one an item
Columns = tuple[Digits, Digits]  # the digits of both operands, [place, item]


@dataclass(frozen=True, kw_only=True, slots=True)
class Mixture:
    """The share of each kind among the problems, of subtractions, and of operands cut to lengths of their own."""

    kinds: tuple[tuple[str, float], ...] = (
        ("uniform", 0.3),
        ("passing", 0.3),
        ("cascade", 0.2),
        ("near", 0.1),
        ("border", 0.05),
        ("extreme", 0.05),
    )
    subtract: float = 0.0
    short: float = 0.05

    def __post_init__(self) -> None:
        for name, share in (*self.kinds, ("subtract", self.subtract), ("short", self.short)):
            if not 0 <= share <= 1:
                raise bad(f"share of {name}", share, "a number from 0 to 1")
        for name, _ in self.kinds:
            if name not in KINDS:
                raise unknown("kinds", name, KINDS)
        if abs(sum(share for _, share in self.kinds) - 1) > 1e-9:
            raise bad("kinds", self.kinds, "shares that add up to 1")


def draw(mixture: Mixture, *, digits: int, seed: int, first: int, count: int) -> Problems:
    """Items ``first`` .. ``first + count - 1`` of the stream of a seed, with operands of up to ``digits`` digits.

    Raises ``ValueError`` for digits outside 1 to 40.
    """
    require_digits("digits", digits)
    require_integer("count", count, 0)
    operands = np.empty((2, digits, count), dtype=np.uint8)
    subtract = np.empty(count, dtype=bool)
    key = split_mix(np.array([seed], dtype=np.uint64))
    bounds = np.cumsum([round(share * 2**_BITS) for _, share in mixture.kinds])[:-1].astype(np.uint64)
    for low in range(0, count, ITEMS_AT_ONCE):
        here = slice(low, low + ITEMS_AT_ONCE)
        states = words(key, first + low, min(ITEMS_AT_ONCE, count - low))[:, 0]
        subtracts, kind, cut, _ = _choices(states, 0)
        kind = np.searchsorted(bounds, kind, side="right")
        drawn = uniform_digits(states, 2, 2 * digits, base=10).reshape(2, digits, -1)
        for index, (name, _) in enumerate(mixture.kinds):
            chosen = np.flatnonzero(kind == index)
            if name != "uniform" and chosen.size:
                left, right = drawn[..., chosen]
                drawn[..., chosen] = KINDS[name](left, right, states[chosen], 2 + word_count(2 * digits))
        subtract[here] = subtracts < round(mixture.subtract * 2**_BITS)
        np.subtract(9, drawn[1], out=drawn[1], where=subtract[here])
        chosen = np.flatnonzero(cut < round(mixture.short * 2**_BITS))
        lengths = below(_choices(states[chosen], 1)[:2], digits + 1)
        drawn[..., chosen] *= np.arange(digits)[:, None] < lengths[:, None]
        operands[..., here] = drawn
    return Problems(operands=operands.transpose(2, 0, 1), subtract=subtract)


def _uniform(left: Digits, right: Digits, states: Words, first: int) -> Columns:
    """Every digit as likely as any other."""
    return left, right


def _passing(left: Digits, right: Digits, states: Words, first: int) -> Columns:
    """Each column passes a carry on with a probability that is uniform among problems."""
    density, _, _, _ = _choices(states, first)
    dice = words(states, first + 1, -(-len(left) // _BYTES)).astype("<u8").view(np.uint8)
    dice = dice.reshape(-1, len(states), _BYTES).transpose(0, 2, 1).reshape(-1, len(states))[: len(left)]
    return left, np.where(dice < density >> np.uint64(8), 9 - left, right)


def _cascade(left: Digits, right: Digits, states: Words, first: int) -> Columns:
    """A column that decides, carry or none, and passing columns above it: where it starts and its length uniform."""
    start, length, *decision = _choices(states, first)
    start = below(start, len(left))
    end = start + below(length, len(left) - start)  # the highest passing column, or the start
    place = np.arange(len(left))[:, None]
    right = np.where((place > start) & (place <= end), 9 - left, right)
    items = np.arange(len(states))
    left[start, items], right[start, items] = _deciding(*decision)
    return left, right


def _near(left: Digits, right: Digits, states: Words, first: int) -> Columns:
    """All columns pass a carry on but at most two, anywhere: equal or nearly equal numbers if they are subtracted."""
    count, *places = _choices(states, first)
    count = below(count, DIFFERENT_AT_MOST + 1)
    place = np.arange(len(left))[:, None]
    keep = np.zeros(left.shape, dtype=bool)
    for index, chosen in enumerate(places[:DIFFERENT_AT_MOST]):
        keep |= (place == below(chosen, len(left))) & (index < count)
    return left, np.where(keep, right, 9 - left)


def _border(left: Digits, right: Digits, states: Words, first: int) -> Columns:
    """The highest columns pass a carry on, the next has sum 8 or 10: numbers on both sides of equal ones."""
    start, digit, above, _ = _choices(states, first)
    start, above = below(start, len(left)), above % np.uint64(2) == 1
    right = np.where(np.arange(len(left))[:, None] > start, 9 - left, right)
    items, low = np.arange(len(states)), below(digit, 9).astype(np.uint8)
    left[start, items], right[start, items] = np.where(above, (9 - low, 1 + low), (low, 8 - low))
    return left, right


def _extreme(left: Digits, right: Digits, states: Words, first: int) -> Columns:
    """Mostly zeros and nines, with ones and eights between."""
    return _EXTREME[left], _EXTREME[right]


Sampler = Callable[[Digits, Digits, Words, int], Columns]
KINDS: dict[str, Sampler] = {
    "uniform": _uniform,
    "passing": _passing,
    "cascade": _cascade,
    "near": _near,
    "border": _border,
    "extreme": _extreme,
}


def _deciding(digit: Words, other: Words) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Digits with a sum of at least 10 or, as likely, of at most 8."""
    left = 1 + below(digit, 9)
    right = 10 - left + below(other, left)
    carries = other % 2 == 1
    return np.where(carries, left, 9 - left), np.where(carries, right, 9 - right)


def _choices(states: Words, word: int) -> NDArray[np.uint64]:
    """Four numbers of 16 bits, ``[4, item]``, from one word of each item."""
    (drawn,) = words(states, word, 1)
    shifts = np.arange(0, 64, _BITS).astype(np.uint64)
    return drawn >> shifts[:, None] & np.uint64(2**_BITS - 1)


def below(choice: Words, bound: int | NDArray[np.int64]) -> NDArray[np.int64]:
    """A number from 0 up to, not including, ``bound``, from 16 bits."""
    return (choice.astype(np.int64) * bound) >> _BITS
