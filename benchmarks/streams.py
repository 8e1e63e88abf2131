"""Seeded streams of problems, drawn digit by digit: item i is a function of (seed, i) and of nothing else.

NumPy's counter-based Philox generator is advanced straight to the words of item i, so that any block of a stream can be
drawn alone, in any order, on any machine, for operands of any length. Items that a stream must not contain (an operand
law's empty tops, problems held out of training) are redrawn from the same place of the next key, which keeps item i a
function of (seed, i).

>>> from carryproof.theory import tasks
>>> stream = Stream(task=tasks.addition(), lengths=(2, 5), seed=7)
>>> bool((stream.block(0, 10)[4:] == stream.block(4, 6)).all()), stream.block(0, 3).shape
(True, (3, 2, 5))
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from carryproof.theory.digits import Digits
from carryproof.theory.ranges import OperandLaw
from carryproof.theory.tasks import Task

Split = Literal["all", "train", "held-out"]
HOLD_OUT_EVERY = 10  # one problem in ten is held out of training ...
HOLD_OUT_ABOVE = 1_000  # ... at lengths with more problems than this; smaller sets are trained and tested whole
_MAX_REDRAWS = 10_000
_HOLD_OUT_KEY = 0xCA22  # fixed, so that a problem's side of the split never depends on a run's seed


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
    count, places = operands.shape[1:]
    mixed = np.zeros(len(operands), dtype=np.uint64)
    for operand in range(count):
        factors = np.random.Philox(key=[_HOLD_OUT_KEY, operand]).random_raw(places)
        mixed += (operands[:, operand].astype(np.uint64) * factors).sum(axis=1, dtype=np.uint64)
    mixed ^= mixed >> np.uint64(32)
    mixed *= np.uint64(0x9E3779B97F4A7C15)
    return (mixed >> np.uint64(32)) % np.uint64(HOLD_OUT_EVERY) == 0


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
        """Operand digits ``[count, operand, place]`` of items start .. start + count - 1."""
        operands = np.zeros((count, self.task.operands, max(self.lengths)), dtype=np.uint8)
        missing = np.ones(count, dtype=bool)
        for redraw in range(_MAX_REDRAWS):
            drawn, valid = self._draw(start, count, redraw)
            fresh = missing & valid
            operands[fresh] = drawn[fresh]
            missing &= ~valid
            if not missing.any():
                return operands
        raise AssertionError("a stream whose items are all refused")

    def _draw(self, start: int, count: int, redraw: int) -> tuple[Digits, NDArray[np.bool_]]:
        task, width = self.task, max(self.lengths)
        heads = 2 + task.operands  # words for the length, for the long operand's position and for the other lengths
        words_each = -(-(heads + task.operands * width) // 4) * 4  # Philox steps are four words long
        generator = np.random.Philox(key=[self.seed, redraw])
        generator.advance(start * words_each // 4)
        words = generator.random_raw(count * words_each).reshape(count, words_each)
        bounds = np.cumsum(np.square(self.lengths)).astype(np.uint64)
        length = np.array(self.lengths)[np.searchsorted(bounds, words[:, 0] % bounds[-1], side="right")]
        lengths = np.repeat(length[:, None], task.operands, axis=1)
        if self.law == "unequal":
            shorter = 1 + (words[:, 2:heads] % np.maximum(lengths - 1, 1).astype(np.uint64)).astype(np.int64)
            position = (words[:, 1] % np.uint64(task.operands)).astype(np.int64)
            lengths = np.where(np.arange(task.operands) == position[:, None], lengths, shorter)
        raw = words[:, heads : heads + task.operands * width].reshape(count, task.operands, width)
        place = np.arange(width)
        top = (place == lengths[..., None] - 1) & (lengths[..., None] > 1)
        digits = (raw % np.uint64(task.base)).astype(np.uint8)
        if self.law != "longest":
            digits = np.where(top, 1 + raw % np.uint64(task.base - 1), digits).astype(np.uint8)
        digits = np.where(place < lengths[..., None], digits, 0).astype(np.uint8)
        valid = np.ones(count, dtype=bool)
        if self.law == "longest":
            valid &= (length == 1) | (digits * top).any(axis=(1, 2))
        if self.law == "unequal":
            valid &= length > 1
        if self.split != "all":
            large = np.isin(length, [each for each in self.lengths if self.splits(each)])
            out = held_out(digits) & large
            valid &= ~out if self.split == "train" else (out | ~large)
        return digits, valid

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
