"""How often a model is wrong: exact match of all n + 2 tokens of the answer, in one pass over the true text.

If every token is the most likely one after the true tokens before it, greedy decoding writes just these, and else it
departs at the first that is not; so one pass decides what decoding would. Decisions are those of single precision: half
precision is asked first where it is quicker, and trusted only where it is clear by many times its measured error.

>>> from carryproof.models.config import DecoderConfig
>>> config = DecoderConfig(d_vocab=15, n_ctx=10, d_model=8, n_heads=2, n_layers=1, encoding="absolute")
>>> model = Decoder.init(config, torch.Generator().manual_seed(0))
>>> report = examine(model, ("add",), problems=100)
>>> [(test["set"], test["problems"], test["failures"]) for test in report["tests"]], list(report["tests"][0]["tokens"])
([('random', 100, 100), ('stratified', 102, 102)], ['sign', 'A2', 'A1', 'A0'])
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from carryproof.benchmarks.configuration import FIRST_TEST_SEED
from carryproof.benchmarks.engine import Engine
from carryproof.benchmarks.statistics import interval
from carryproof.circuits.classes import classify, names, sample
from carryproof.circuits.mixture import Mixture, draw
from carryproof.circuits.texts import Problems, context, prompt_length, render, write
from carryproof.models.decoder import Decoder
from carryproof.models.stack import Stack
from carryproof.theory.digits import digits_le
from carryproof.theory.errors import bad, require_integer

PROBLEMS = 1_000_000  # of each test set
DRAWN_AT_ONCE = 65_536
PROBLEMS_AT_ONCE = 512  # more outgrow a core's cache and are slower
SAFETY = 8.0  # times the largest error of half precision that is seen, for a lead to count as clear
FAILURES_SHOWN = 20
UNIFORM = (("uniform", 1.0),)


class Judge:
    """Decides for one model which tokens it gets wrong."""

    def __init__(self, model: Decoder, digits: int, engine: Engine) -> None:
        if model.config.n_ctx != context(digits):
            raise bad("model n_ctx", model.config.n_ctx, f"{context(digits)}, for {digits} digits")
        self.stack, self.engine, self.start = Stack([model]), engine, prompt_length(digits)
        self.ids = torch.arange(context(digits) - 1, device=engine.device)[None, None]
        self.clear: float | None = None  # the lead or lag that half precision must show; None until it is measured
        self.decided_twice = 0

    @torch.inference_mode()
    def wrong(self, problems: Problems) -> NDArray[np.bool_]:
        """Which tokens of the answers are wrong after true ones, ``[problem, n + 2]``."""
        with self.engine.at_work():
            texts = torch.from_numpy(write(problems)).to(self.engine.device)
            found: NDArray[np.bool_] = torch.cat([self._wrong(part) for part in texts.split(PROBLEMS_AT_ONCE)]).numpy(
                force=True
            )
            return found

    def _wrong(self, texts: Int[Tensor, "problem token"]) -> Tensor:
        answers = texts[:, self.start :]
        if self.engine.dtype == "float32":
            return self._logits(texts, torch.float32).argmax(-1) != answers
        quick = self._logits(texts, self.engine.torch_dtype)
        if self.clear is None:
            self.clear = SAFETY * float((quick - self._logits(texts, torch.float32)).abs().max())
        true = quick.gather(2, answers[..., None])
        others = quick.scatter(2, answers[..., None], -torch.inf).amax(-1, keepdim=True)
        lead = (true - others)[..., 0]
        wrong = ~(lead > 0)
        unclear = (~(lead.abs() >= self.clear)).any(dim=1).nonzero()[:, 0]
        if len(unclear):
            self.decided_twice += len(unclear)
            wrong[unclear] = self._logits(texts[unclear], torch.float32).argmax(-1) != answers[unclear]
        return wrong

    def _logits(self, texts: Int[Tensor, "problem token"], dtype: torch.dtype) -> Float[Tensor, "problem row d_vocab"]:
        return self.stack.logits(texts[None, :, :-1], self.ids, slice(self.start - 1, None), dtype)[0]


def right(model: Decoder, problems: Problems, engine: Engine | None = None) -> NDArray[np.bool_]:
    """Whether each problem is answered right, in single precision."""
    return np.asarray(~Judge(model, problems.digits, engine or Engine()).wrong(problems).any(axis=1))


def examine(
    model: Decoder, operations: Sequence[str], *, problems: int = PROBLEMS, engine: Engine | None = None
) -> dict[str, Any]:
    """The failures of a model on random problems, on problems stratified by class, and on the hardest by name.

    ``problems`` is the size of each set, for each operation; all classes of a stratified one are of equal size. Counts
    come with Clopper-Pearson intervals of 95 %, per million. Raises ``ValueError`` if the model's context fits no size.
    """
    require_integer("problems", problems, 1)
    digits = (model.config.n_ctx - context(0)) // 3
    judge, began = Judge(model, digits, engine or Engine()), time.monotonic()
    tests = []
    for operation in operations:
        for name, parts in (
            ("random", random_problems(operation, digits, problems)),
            ("stratified", stratified_problems(operation, digits, problems)),
        ):
            tally = _Tally.empty(digits)
            for part in parts:
                tally.add(part, judge.wrong(part))
            tests.append({"operation": operation, "set": name} | tally.to_dict())
    hardest = hardest_problems(operations, digits)
    answered = ~np.asarray(judge.wrong(hardest).any(axis=1))
    return {
        "problems": problems,
        "seed": FIRST_TEST_SEED,
        "tests": tests,
        "hardest": {render(text): bool(hit) for text, hit in zip(write(hardest), answered, strict=True)},
        "decided_twice": judge.decided_twice,
        "seconds": round(time.monotonic() - began, 1),
    }


def random_problems(operation: str, digits: int, count: int) -> Iterator[Problems]:
    """Uniform problems, in parts."""
    mixture = Mixture(kinds=UNIFORM, subtract=float(operation == "sub"), short=0.0)
    for first in range(0, count, DRAWN_AT_ONCE):
        size = min(DRAWN_AT_ONCE, count - first)
        yield draw(mixture, digits=digits, seed=FIRST_TEST_SEED, first=first, count=size)


def stratified_problems(operation: str, digits: int, count: int) -> Iterator[Problems]:
    """Equally many problems of every class, in parts."""
    classes = names(operation, digits)
    each = -(-count // len(classes))
    for index, name in enumerate(classes, start=1):
        for first in range(0, each, DRAWN_AT_ONCE):
            size = min(DRAWN_AT_ONCE, each - first)
            yield sample(name, digits=digits, seed=FIRST_TEST_SEED + index, first=first, count=size)


def hardest_problems(operations: Sequence[str], digits: int) -> Problems:
    """The longest cascades, equal numbers, the largest and the smallest: known by name, and in every test."""
    top, all_nines = 10 ** (digits - 1), 10**digits - 1
    ones, fours, rising = all_nines // 9, 4 * all_nines // 9, int("1234567890" * 4) // 10 ** (40 - digits)
    additions = [
        *((all_nines, 1), (1, all_nines), (all_nines, all_nines), (0, 0), (0, all_nines), (all_nines, 0)),
        *((fours + 1, 5 * ones), (5 * ones, fours + 1), (5 * top, 5 * top), (top, all_nines - top), (fours, 5 * ones)),
    ]
    differences = [
        *((top, 1), (1, top), (0, 1), (1, 0), (0, 0), (all_nines, all_nines), (rising, rising), (all_nines, 0)),
        *((0, all_nines), (fours, fours + 1), (fours + 1, fours), (top, top - 1), (top - 1, top), (5 * top, all_nines)),
    ]
    chosen = [(pair, False) for pair in additions if "add" in operations]
    chosen += [(pair, True) for pair in differences if "sub" in operations]
    operands = np.array([[digits_le(number, 10, digits) for number in pair] for pair, _ in chosen])
    return Problems(operands=operands, subtract=np.array([subtract for _, subtract in chosen]))


@dataclass(kw_only=True, slots=True)
class _Tally:
    """Failures of one test set: by class, by token, and the first of them as texts."""

    digits: int
    problems: dict[str, int]
    failures: dict[str, int]
    tokens: NDArray[np.int64]
    shown: list[str]

    @classmethod
    def empty(cls, digits: int) -> "_Tally":
        return cls(digits=digits, problems={}, failures={}, tokens=np.zeros(digits + 2, dtype=np.int64), shown=[])

    def add(self, problems: Problems, wrong: NDArray[np.bool_]) -> None:
        """Count some problems and their wrong tokens."""
        labels, failed = classify(problems), wrong.any(axis=1)
        for counts, chosen in ((self.problems, labels), (self.failures, labels[failed])):
            for name, count in zip(*np.unique(chosen, return_counts=True), strict=True):
                counts[str(name)] = counts.get(str(name), 0) + int(count)
        self.tokens += wrong.sum(axis=0)
        room = FAILURES_SHOWN - len(self.shown)
        self.shown += [render(text) for text in write(problems.at(np.flatnonzero(failed)[:room]))]

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        places = ["sign", *(f"A{place}" for place in reversed(range(self.digits + 1)))]
        order = sorted(self.problems, key=lambda name: (name[0], int(name[1:])))
        return {
            **_share(sum(self.failures.values()), sum(self.problems.values())),
            "classes": {name: _share(self.failures.get(name, 0), self.problems[name]) for name in order},
            "tokens": dict(zip(places, self.tokens.tolist(), strict=True)),
            "shown": self.shown,
        }


def _share(failures: int, problems: int) -> dict[str, Any]:
    """Failures of problems, and per million with the bounds of the interval."""
    bounds = interval(failures, problems)
    per_million = [round(1e6 * share, 3) for share in (failures / problems, bounds.low, bounds.high)]
    return {"problems": problems, "failures": failures, "per_million": per_million[0], "interval": per_million[1:]}
