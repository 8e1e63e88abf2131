"""Exact match, by one forward pass over the written answer or by greedy decoding, with equal decisions.

A problem is right if every scored token (sign, digits, end) is the argmax given the true tokens before it. Greedy
decoding then writes exactly those tokens, and conversely, so one pass decides what token-by-token decoding would; ties
fall to the lowest token id in both. Any function of (tokens, position ids, rows) to logits can be measured, not only
our decoder.

>>> from carryproof.theory import formats, tasks
>>> task, form = tasks.addition(), formats.padded(2)
>>> operands = np.array([[[1, 0], [2, 0]]], dtype=np.uint8)
>>> truth = torch.from_numpy(form.write(task, operands).tokens)
>>> oracle = whole(lambda tokens: torch.nn.functional.one_hot(truth[:, 1:], 16).float())
>>> exact_match(oracle, form.write(task, operands)).tolist()
[True]
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from carryproof.benchmarks.strata import strata
from carryproof.benchmarks.streams import Stream, all_problems, problem_count
from carryproof.theory.digits import Digits
from carryproof.theory.formats import Format, Text, token_of
from carryproof.theory.ranges import OperandLaw, TrainingRange
from carryproof.theory.tasks import Task

# (tokens, position ids, rows)
LogitsAt = Callable[
    [Int[Tensor, "batch token"], Int[Tensor, "#batch token"], slice], Float[Tensor, "batch row vocabulary"]
]
BATCH = 1_000


def whole(model: Callable[[Tensor], Tensor]) -> LogitsAt:
    """Adapt a model that reads tokens only and returns the logits of every one."""
    return lambda tokens, ids, rows: model(tokens)[:, rows]


@dataclass(frozen=True, kw_only=True, slots=True)
class TestSet:
    """Problems of one length and law: their operands, how they were chosen, and whether they are all there are."""

    __test__ = False  # not a test, whatever pytest thinks of its name

    length: int
    law: OperandLaw
    operands: Digits
    selection: str
    exhaustive: bool


def draw_test_set(task: Task, train: TrainingRange, length: int, law: OperandLaw, count: int, seed: int) -> TestSet:
    """At most ``count`` problems of a length: all of them where so few exist, else a seeded sample.

    At trained lengths, under whatever law, only problems held out of training are drawn, where there are enough to hold
    any out.
    """
    trained = length in train.lengths
    stream = Stream(task=task, lengths=(length,), law=law, seed=seed, split="held-out" if trained else "all")
    held = trained and stream.splits(length)
    uniform = law != "unequal" or length == 2  # else short operands are drawn more often than their number
    if problem_count(task, length, law) <= count and uniform and not held:
        operands, exhaustive, selection = all_problems(task, length, law), True, "all problems"
    else:
        operands, exhaustive = stream.block(0, count), False
        selection = "held out of training" if held else "random"
    return TestSet(length=length, law=law, operands=operands, selection=selection, exhaustive=exhaustive)


@torch.inference_mode()
def exact_match(model: LogitsAt, text: Text) -> NDArray[np.bool_]:
    """Whether each written problem's scored tokens are all argmaxes, given the written tokens before them."""
    start = text.answer_start
    right = []
    for first in range(0, len(text.tokens), BATCH):
        tokens = torch.from_numpy(text.tokens[first : first + BATCH])
        ids = torch.from_numpy(_rows(text.ids, slice(first, first + BATCH)))
        guesses = model(tokens[:, :-1], ids[:, :-1], slice(start - 1, None)).argmax(dim=-1)
        hits = (guesses == tokens[:, start:]).numpy()
        right.append((hits | ~text.scored[first : first + BATCH, start:]).all(axis=1))
    return np.concatenate(right) if right else np.zeros(0, dtype=bool)


@torch.inference_mode()
def greedy_match(model: LogitsAt, task: Task, text: Text) -> NDArray[np.bool_]:
    """Whether token-by-token greedy decoding from the prompt, up to the end token, writes exactly the scored tokens.

    The decoder is never told how long the answer is; it may run to the length of the longest text.
    """
    right = np.zeros(len(text.tokens), dtype=bool)
    starts = text.scored.argmax(axis=1)
    end = token_of(task, ";")
    for start in np.unique(starts):
        rows = np.flatnonzero(starts == start)
        expected = text.tokens[rows]
        written, ids = torch.from_numpy(expected[:, :start]), torch.from_numpy(_rows(text.ids, rows))
        while written.shape[1] < expected.shape[1]:
            size = written.shape[1]
            next_token = model(written, ids[:, :size], slice(size - 1, None)).argmax(dim=-1)
            written = torch.cat([written, next_token], dim=1)
        for row, tokens, truth in zip(rows, written.numpy()[:, start:], expected[:, start:], strict=True):
            length = int(np.argmax(truth == end)) + 1  # what comes after the end token is never read
            right[row] = bool((tokens[:length] == truth[:length]).all())
    return right


def _rows(ids: NDArray[np.int64], rows: slice | NDArray[np.int64]) -> NDArray[np.int64]:
    """The ids of some problems: one row of ids serves all."""
    return ids if len(ids) == 1 else ids[rows]


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """k of n on one stratum of a test set: right answers, and answers equal to the surrogate's."""

    test_digits: int
    law: OperandLaw
    stratum: str
    problems: int
    correct: int
    agree: int
    exhaustive: bool
    selection: str


def truncated(operands: Digits, trained: int) -> Digits:
    """The operands modulo B^trained: the digits beyond the trained length set to zero."""
    kept = operands.copy()
    kept[..., trained:] = 0
    return kept


def evaluate(model: LogitsAt, task: Task, form: Format, tests: TestSet, trained: int) -> list[Record]:
    """Measure exact match against the truth and against the surrogate of ``trained`` digits, one record a stratum."""
    correct = exact_match(model, form.write(task, tests.operands))
    agree = correct.copy()
    shadow, truth = task.answer(truncated(tests.operands, trained)), task.answer(tests.operands)
    differs = (shadow.digits != truth.digits).any(axis=1) | (shadow.negative != truth.negative)
    if differs.any():
        agree[differs] = exact_match(model, form.write(task, tests.operands[differs], shadow.at(differs)))
    return [
        Record(
            test_digits=tests.length,
            law=tests.law,
            stratum=stratum,
            problems=int(mask.sum()),
            correct=int(correct[mask].sum()),
            agree=int(agree[mask].sum()),
            exhaustive=tests.exhaustive,
            selection=tests.selection,
        )
        for stratum, mask in strata(task, tests.operands).items()
    ]
