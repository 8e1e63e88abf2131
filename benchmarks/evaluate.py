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
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from carryproof.benchmarks.strata import strata
from carryproof.benchmarks.streams import Stream, all_problems, problem_count
from carryproof.models.decoder import Decoder
from carryproof.models.decoding import greedy
from carryproof.theory.digits import Digits
from carryproof.theory.formats import Format, Text, token_of
from carryproof.theory.ranges import OperandLaw, TrainingRange
from carryproof.theory.tasks import Task

# (tokens, position ids, rows)
LogitsAt = Callable[
    [Int[Tensor, "batch token"], Int[Tensor, "#batch token"], slice], Float[Tensor, "batch row vocabulary"]
]
Write = Callable[[Int[Tensor, "batch prompt"], Int[Tensor, "#batch token"], int], Int[Tensor, "batch written"]]
TOKENS_AT_ONCE = 2**20  # written and compared: about 20 bytes each
_SCORES_AT_ONCE = 2**20  # pairs of tokens that attention compares in one pass, and some more for the tokens themselves
_WIDTH = 96  # a token of a small model takes about as much memory as this many pairs


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


def problems_at_once(tokens: int) -> int:
    """How many problems of so many tokens pass through a model together, so that memory stays flat at any length.

    >>> problems_at_once(22), problems_at_once(300)
    (403, 8)
    """
    return max(1, _SCORES_AT_ONCE // (tokens * (tokens + _WIDTH)))


@torch.inference_mode()
def exact_match(model: LogitsAt, text: Text) -> NDArray[np.bool_]:
    """Whether each written problem's scored tokens are all argmaxes, given the written tokens before them."""
    start, at_once = text.answer_start, problems_at_once(text.tokens.shape[1])
    right = np.zeros(len(text.tokens), dtype=bool)
    for first in range(0, len(right), at_once):
        here = slice(first, first + at_once)
        tokens, ids = torch.from_numpy(text.tokens[here]), torch.from_numpy(_rows(text.ids, here))
        guesses = model(tokens[:, :-1], ids[:, :-1], slice(start - 1, None)).argmax(dim=-1).cpu()
        hits = (guesses == tokens[:, start:]).numpy()
        right[here] = (hits | ~text.scored[here, start:]).all(axis=1)
    return right


def greedy_match(model: LogitsAt, task: Task, text: Text) -> NDArray[np.bool_]:
    """Whether token-by-token greedy decoding from the prompt, up to the end token, writes exactly the scored tokens.

    The decoder is never told how long the answer is; it may run to the length of the longest text. Every token is
    computed again in each step, as any model allows; ``cached_match`` is for decoders.
    """
    return _writes_truth(partial(_write_uncached, model), task, text)


def cached_match(model: Decoder, task: Task, text: Text) -> NDArray[np.bool_]:
    """As ``greedy_match``, from the keys and values that a decoder computed in earlier steps."""
    return _writes_truth(partial(greedy, model), task, text)


@torch.inference_mode()
def _write_uncached(
    model: LogitsAt, prompts: Int[Tensor, "batch prompt"], ids: Int[Tensor, "#batch token"], steps: int
) -> Int[Tensor, "batch written"]:
    written, start = prompts, prompts.shape[1]
    for size in range(start, start + steps):
        next_token = model(written, ids[:, :size], slice(size - 1, None)).argmax(dim=-1).cpu()
        written = torch.cat([written, next_token], dim=1)
    return written[:, start:]


def _writes_truth(write: Write, task: Task, text: Text) -> NDArray[np.bool_]:
    """Whether the answers written after every prompt are those of the text; prompts of one length go together."""
    right = np.zeros(len(text.tokens), dtype=bool)
    starts, size = text.scored.argmax(axis=1), text.tokens.shape[1]
    ends = text.tokens == token_of(task, ";")
    after = np.cumsum(ends, axis=1) > ends  # what comes after the end token is never read
    for start in np.unique(starts):
        alike = np.flatnonzero(starts == start)
        for first in range(0, len(alike), problems_at_once(size)):
            rows = alike[first : first + problems_at_once(size)]
            prompts, ids = torch.from_numpy(text.tokens[rows, :start]), torch.from_numpy(_rows(text.ids, rows))
            hits = write(prompts, ids, size - int(start)).numpy() == text.tokens[rows, start:]
            right[rows] = (hits | after[rows, start:]).all(axis=1)
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
    """Measure exact match against the truth and against the surrogate of ``trained`` digits, one record a stratum.

    Problems are written and measured some at a time: beyond the operands memory does not grow with the test set.
    """
    tokens = len(form.layout(task, form.width or tests.operands.shape[2]))
    at_once = max(1, TOKENS_AT_ONCE // tokens)
    parts = [
        _decide(model, task, form, tests.operands[first : first + at_once], trained)
        for first in range(0, len(tests.operands), at_once)
    ]
    correct, agree = (np.concatenate(part) for part in zip(*parts, strict=True))
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


def _decide(
    model: LogitsAt, task: Task, form: Format, operands: Digits, trained: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which answers to problems ``[problem, operand, place]`` are the truth, and which are the surrogate's."""
    truth, shadow = task.answer(operands), task.answer(truncated(operands, trained))
    correct = exact_match(model, form.write(task, operands))
    agree = correct.copy()
    differs = (shadow.digits != truth.digits).any(axis=1) | (shadow.negative != truth.negative)
    if differs.any():
        agree[differs] = exact_match(model, form.write(task, operands[differs], shadow.at(differs)))
    return correct, agree
