"""Seeded streams of problems, drawn digit by digit: item i is a function of (seed, i) and of nothing else.

Every item has a SplitMix64 generator of its own (Steele, Lea and Flood, OOPSLA 2014), whose state is output i of the
seed's, so that any items can be drawn alone, in any order, on any machine, for operands of any length. Items that a
stream must not contain (an operand law's empty tops, problems held out of training) are drawn again from the next words
of their own generator, which keeps item i a function of (seed, i).

>>> from carryproof.theory import tasks
>>> stream = Stream(task=tasks.addition(), lengths=(2, 5), seed=7)
>>> bool((stream.block(0, 10)[4:] == stream.block(4, 6)).all()), stream.block(0, 3).shape
(True, (3, 2, 5))
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from carryproof.benchmarks.splitmix import WORDS_AT_ONCE, split_mix, uniform_digits, word_count, words
from carryproof.theory.digits import Digits
from carryproof.theory.ranges import OperandLaw
from carryproof.theory.tasks import Task

Split = Literal["all", "train", "held-out"]
HOLD_OUT_EVERY = 10  # one problem in ten is held out of training ...
HOLD_OUT_ABOVE = 1_000  # ... at lengths with more problems than this; smaller sets are trained and tested whole
_MAX_REDRAWS = 10_000
_HOLD_OUT_KEY = 0xCA22  # fixed, so that a problem's side of the split never depends on a run's seed
_ITEMS_AT_ONCE = 16_384


def problem_count(task: Task, length: int, law: OperandLaw) -> int:
    """How many operand tuples of a length there are under a law."""
    base, operands = task.base, task.operands
    if law == "unequal" and length == 1:
        return 0
    exactly = base**length - (base ** (length - 1) if length > 1 else 0)
    match law:
        case "exact":
            return exactly**operands
        case "longest":
            return int(base ** (length * operands) - (base ** ((length - 1) * operands) if length > 1 else 0))
        case "unequal":
            return int(operands * exactly * base ** ((length - 1) * (operands - 1)))


def held_out(operands: Digits) -> NDArray[np.bool_]:
    """Whether each problem ``[problem, operand, place]`` is held out of training; zero padding does not matter."""
    digits = operands.transpose(2, 1, 0)  # [place, operand, problem]
    factors = _factors(*digits.shape[:2])[..., None]
    mixed = np.zeros(len(operands), dtype=np.uint64)
    at_once = max(1, WORDS_AT_ONCE // max(1, operands[..., 0].size))
    for low in range(0, len(digits), at_once):
        high = low + at_once
        mixed += (digits[low:high].astype(np.uint64) * factors[low:high]).sum(axis=(0, 1))
    mixed ^= mixed >> np.uint64(32)
    mixed *= np.uint64(0x9E3779B97F4A7C15)
    return (mixed >> np.uint64(32)) % np.uint64(HOLD_OUT_EVERY) == 0


@lru_cache(maxsize=8)
def _factors(places: int, operands: int) -> NDArray[np.uint64]:
    """The weight of every digit in the hash of a problem ``[place, operand]``, the same in longer problems."""
    streams = [np.random.Philox(key=[_HOLD_OUT_KEY, operand]) for operand in range(operands)]
    return np.stack([stream.random_raw(places) for stream in streams], axis=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Stream:
    """An endless stream: a length m of ``lengths`` with probability proportional to m^2, then operands under ``law``.

    (Long problems hold more to learn from, and more in common with each other; the few short ones are only repeated.)
    ``split`` keeps all problems, only those that training may see, or only those held out of it.
    """

    task: Task
    lengths: tuple[int, ...]
    law: OperandLaw = "exact"
    seed: int = 0
    split: Split = "all"

    def block(self, start: int, count: int) -> Digits:
        """Operand digits ``[count, operand, place]`` of items start .. start + count - 1.

        In memory the digits of one place lie side by side (Fortran order), as everything that computes on them reads.
        """
        digits = np.empty((max(self.lengths), self.task.operands, count), dtype=np.uint8)
        divided = np.zeros(max(self.lengths) + 1, dtype=bool)
        divided[list(filter(self.splits, self.lengths))] = True
        key = split_mix(np.array([self.seed], dtype=np.uint64))
        for first in range(0, count, _ITEMS_AT_ONCE):
            here = digits[..., first : first + _ITEMS_AT_ONCE]
            states = words(key, start + first, here.shape[2])[:, 0]
            here[...], valid = self._draw(states, 0, divided)
            missing = np.flatnonzero(~valid)
            for redraw in range(1, _MAX_REDRAWS):
                if not missing.size:
                    break
                drawn, valid = self._draw(states[missing], redraw, divided)
                here[..., missing[valid]] = drawn[..., valid]
                missing = missing[~valid]
            else:
                raise AssertionError("a stream whose items are all refused")
        return digits.transpose(2, 1, 0)

    def _draw(
        self, states: NDArray[np.uint64], redraw: int, divided: NDArray[np.bool_]
    ) -> tuple[Digits, NDArray[np.bool_]]:
        """One candidate for every item, ``[place, operand, item]``, and which of them the stream may contain.

        ``divided`` says of every length whether its problems are divided into trained and held-out ones.
        """
        base, operands, width = self.task.base, self.task.operands, max(self.lengths)
        heads, bodies, tops = 2 + operands, word_count(width * operands), word_count(operands)
        first = redraw * (heads + bodies + tops)
        lengths = self._lengths(states, first)
        digits = uniform_digits(states, first + heads, width * operands, base).reshape(width, operands, -1)
        digits *= np.arange(width)[:, None, None] < lengths
        top = digits[lengths - 1, np.arange(operands)[:, None], np.arange(len(states))]
        valid = np.ones(len(states), dtype=bool)
        if self.law == "longest":
            valid &= (lengths[0] == 1) | top.any(axis=0)
        else:
            leading = 1 + uniform_digits(states, first + heads + bodies, operands, base - 1)
            top = np.where(lengths > 1, leading, top)
            digits[lengths - 1, np.arange(operands)[:, None], np.arange(len(states))] = top
        longest = lengths.max(axis=0)
        if self.law == "unequal":
            valid &= longest > 1
        if self.split != "all":
            out, whole = held_out(digits.transpose(2, 1, 0)), ~divided[longest]
            valid &= whole | (out if self.split == "held-out" else ~out)
        return digits, valid

    def _lengths(self, states: NDArray[np.uint64], first: int) -> NDArray[np.int64]:
        """The length of every operand ``[operand, item]``."""
        operands = self.task.operands
        bounds = np.cumsum(np.square(self.lengths)).astype(np.uint64)
        chosen = np.searchsorted(bounds, words(states, first, 1)[0] % bounds[-1], side="right")
        longest = np.array(self.lengths)[chosen]
        if self.law != "unequal":
            return np.broadcast_to(longest, (operands, len(states)))
        position, *others = words(states, first + 1, 1 + operands)
        shorter = 1 + np.stack(others) % np.maximum(longest - 1, 1).astype(np.uint64)
        one = np.arange(operands)[:, None] == position % np.uint64(operands)
        return np.where(one, longest, shorter.astype(np.int64))

    def splits(self, length: int) -> bool:
        """Whether problems of this length are divided into trained and held-out ones, or all trained."""
        return problem_count(self.task, length, self.law) > HOLD_OUT_ABOVE


def all_problems(task: Task, length: int, law: OperandLaw) -> Digits:
    """Every problem of a length under a law, ``[problem, operand, place]``; meant for small sets."""
    low = task.base ** (length - 1) if length > 1 else 0
    full = range(task.base**length)
    numbers = range(low, task.base**length) if law == "exact" else full
    table = (np.array(full)[:, None] // task.base ** np.arange(length) % task.base).astype(np.uint8)

    def wanted() -> Iterator[tuple[int, ...]]:
        for values in product(numbers, repeat=task.operands):
            longs = sum(value >= low for value in values)
            if law == "exact" or (longs >= 1 if law == "longest" else longs == 1):
                yield values

    return table[np.array(list(wanted()))]
