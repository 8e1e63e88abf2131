"""Whether a model answers every pair of n digits: 10^(2n) problems of an operation, decided one by one.

Texts that begin alike share what was computed of their beginning: the second operands are written digit by digit below
each first one, so that a pair costs its n + 2 tokens from the equals sign on and little more than one before it. A
problem is right if every token of the true answer has the largest logit given those before it, which is what greedy
decoding needs. Sums are taken in another order than ``Decoder`` takes them; wherever two logits are within ``NEAR`` of
each other, ``Decoder`` decides. The work is cut by first operands into parts that are stored when finished. Source:
ours.

>>> from carryproof.models.config import DecoderConfig
>>> config = DecoderConfig(d_vocab=15, n_ctx=7, d_model=8, n_heads=2, n_layers=1, encoding="absolute")
>>> untrained = Decoder.init(config, torch.Generator().manual_seed(0))
>>> proof = prove(untrained, "add")
>>> proof.problems, proof.failures, proof.examples[:2], proof.holds
(100, 100, ((0, 0), (0, 1)), False)
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from carryproof.benchmarks import store
from carryproof.benchmarks.engine import Engine
from carryproof.benchmarks.workers import interrupts_ignored, workers
from carryproof.circuits.texts import MINUS, OPERATIONS, PLUS, Problems, context, digits_of, prompt_length, write
from carryproof.models.checkpoints import digest
from carryproof.models.decoder import Decoder
from carryproof.models.decoding import Cache, read_on
from carryproof.theory.errors import require_integer, unknown

DIGITS_AT_MOST = 5
PAIRS_AT_ONCE = 1_000
TIMES_ON_A_GPU = 100  # as many pairs; a guess, not measured
PAIRS_A_PART = 1_000_000
EXAMPLES = 20
NEAR = 1e-2  # of logits; single precision sums them to about 1e-5 of their size


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """The pairs of the first operands ``first .. first + firsts - 1``; up to ``EXAMPLES`` of those that are wrong.

    ``smallest_margin`` is by how much a logit of the true answer exceeded all others, at least (negative where wrong).
    """

    first: int
    firsts: int
    problems: int
    failures: int
    examples: tuple[tuple[int, int], ...]
    smallest_margin: float
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Proof:
    """All pairs of an operation: it ``holds`` if none fails. The model is named by the SHA-256 of its weights."""

    model_sha256: str
    operation: str
    digits: int
    problems: int
    failures: int
    examples: tuple[tuple[int, int], ...]
    smallest_margin: float
    seconds: float

    @property
    def holds(self) -> bool:
        """Whether every pair is answered right."""
        return not self.failures

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self) | {"holds": self.holds}


def prove(
    model: Decoder,
    operation: str,
    out: Path | None = None,
    *,
    jobs: int = 1,
    progress: Callable[[int, int], None] = lambda problems, of: None,
) -> Proof:
    """Decide every pair of an operation, ``add`` or ``sub``, of as many digits as the model's context is for.

    With a folder ``out`` every part is kept there when it is finished, under the model's hash, and a second start goes
    on. More ``jobs`` than one are processes of one thread each; start them under ``if __name__ == "__main__"``.
    The model computes where it is, on a GPU as one job. ``seconds`` are those of all jobs over all starts.
    ``progress`` is told how many problems are decided, of how many. Raises ``ValueError`` for another operation, a
    model of other texts or of more than five digits, and a folder that cannot be written or holds a damaged part.
    """
    digits, device = require_provable(model, operation), model.embed.W_E.device
    jobs = require_integer("jobs", jobs, 1, None if device.type == "cpu" else 1)
    sha256 = digest({name: value.detach().cpu() for name, value in model.state_dict().items()})
    kept = None if out is None else store.require_folder(out / f"{operation}-{digits}-{sha256[:16]}")
    done: dict[int, Part] = {}
    for part in _parts(model, operation, kept, jobs):
        done[part.first] = part
        progress(sum(each.problems for each in done.values()), 100**digits)
    found = [done[first] for first in sorted(done)]
    return Proof(
        model_sha256=sha256,
        operation=operation,
        digits=digits,
        problems=sum(part.problems for part in found),
        failures=sum(part.failures for part in found),
        examples=tuple(pair for part in found for pair in part.examples)[:EXAMPLES],
        smallest_margin=min(part.smallest_margin for part in found),
        seconds=sum(part.seconds for part in found),
    )


def _parts(model: Decoder, operation: str, kept: Path | None, jobs: int) -> Iterator[Part]:
    """Every part, those first that are kept already."""
    pending: list[tuple[range, Path | None]] = []
    for firsts in parts(digits_of(model.config)):
        path = None if kept is None else kept / f"{firsts.start}.json"
        if path is not None and path.exists():
            yield read_part(path, firsts)
        else:
            pending.append((firsts, path))
    if jobs == 1 or len(pending) < 2:
        yield from (_keep(model, operation, *each) for each in pending)
        return
    with workers(min(jobs, len(pending))) as (pool, _):
        with interrupts_ignored():
            futures = [pool.submit(_keep, model, operation, *each) for each in pending]
        for future in as_completed(futures):
            yield future.result()


def _keep(model: Decoder, operation: str, firsts: range, path: Path | None) -> Part:
    """Decide a part, and store it where there is a path."""
    part = prove_part(model, operation, firsts)
    if path is not None:
        store.write_json(path, asdict(part))
    return part


def require_provable(model: Decoder, operation: str) -> int:
    """The digits of the model's operands, or a one-line ``ValueError`` if their pairs cannot be enumerated."""
    if operation not in OPERATIONS:
        raise unknown("operation", operation, OPERATIONS)
    return require_integer("digits", digits_of(model.config), 1, DIGITS_AT_MOST)


def parts(digits: int) -> list[range]:
    """All first operands of so many digits, in parts of about ``PAIRS_A_PART`` pairs.

    >>> parts(3), len(parts(4)), parts(4)[0]
    ([range(0, 1000)], 100, range(0, 100))
    """
    every, size = 10**digits, max(1, PAIRS_A_PART // 10**digits)
    return [range(first, min(first + size, every)) for first in range(0, every, size)]


@torch.inference_mode()
def prove_part(model: Decoder, operation: str, firsts: range) -> Part:
    """Decide the pairs of some first operands; ``model`` and ``operation`` as in ``prove``."""
    digits, began = require_provable(model, operation), time.perf_counter()
    failures, examples, smallest = 0, list[tuple[int, int]](), float("inf")
    with Engine(device=str(model.embed.W_E.device)).at_work():
        for texts, cache in _pairs(model, operation, digits, firsts):
            problems, tokens = _written(texts, operation, digits)
            margins = _margins(model, tokens.to(texts.device), cache)
            right = margins > 0
            near = (margins.abs() < NEAR).nonzero().flatten()
            if len(near):
                right[near] = _decide(model, tokens[near].to(texts.device), digits)
            smallest = min(smallest, float(margins.min()))
            wrong = (~right).nonzero().flatten().cpu().numpy()
            failures += len(wrong)
            examples += _numbers(problems.at(wrong[: EXAMPLES - len(examples)]))
    return Part(
        first=firsts.start,
        firsts=len(firsts),
        problems=len(firsts) * 10**digits,
        failures=failures,
        examples=tuple(examples),
        smallest_margin=smallest,
        seconds=time.perf_counter() - began,
    )


def read_part(path: Path, firsts: range) -> Part:
    """A stored part, or a one-line ``ValueError`` if the file is damaged or of other operands."""
    stored = store.read_json(path)
    try:
        examples = tuple((int(one), int(other)) for one, other in stored["examples"])
        part = Part(**{key: value for key, value in stored.items() if key != "schema_version"} | {"examples": examples})
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{path}: not a part of a proof; remove it to decide it again") from None
    if (part.first, part.firsts) != (firsts.start, len(firsts)):
        raise ValueError(f"{path}: a part of other operands; remove it to decide it again")
    return part


def _pairs(
    model: Decoder, operation: str, digits: int, firsts: range
) -> Iterator[tuple[Int[Tensor, "pair token"], Cache]]:
    """Every text up to the equals sign, in order, ``_at_once`` or fewer at once, with what is known of it."""
    device = model.embed.W_E.device
    for start in range(firsts.start, firsts.stop, _at_once(device)):
        numbers = torch.arange(start, min(start + _at_once(device), firsts.stop), device=device)
        places = [numbers // 10**place % 10 for place in reversed(range(digits))]
        operator = torch.full_like(numbers, PLUS if operation == "add" else MINUS)
        texts = torch.stack([*places, operator], dim=1)
        cache = Cache(model, len(texts), context(digits) - 1)
        _read(model, texts, cache, rows=0)
        yield from _longer(model, texts, cache, prompt_length(digits) - 1)


def _at_once(device: torch.device) -> int:
    return PAIRS_AT_ONCE * (1 if device.type == "cpu" else TIMES_ON_A_GPU)


def _longer(
    model: Decoder, texts: Int[Tensor, "text token"], cache: Cache, size: int
) -> Iterator[tuple[Int[Tensor, "pair token"], Cache]]:
    """Texts of ``size`` tokens: each of these, followed by every digit, and so on."""
    if texts.shape[1] == size:
        yield texts, cache
        return
    tenth = _at_once(texts.device) // 10
    for first in range(0, len(texts), tenth):
        some = slice(first, first + tenth)
        begun = texts[some].repeat_interleave(10, dim=0)
        last = torch.arange(10, device=texts.device).repeat(len(begun) // 10)
        longer, known = torch.cat([begun, last[:, None]], dim=1), cache.branch(model, some, 10)
        _read(model, longer, known, rows=0)
        yield from _longer(model, longer, known, size)


def _read(model: Decoder, texts: Int[Tensor, "text token"], cache: Cache, rows: int) -> Float[Tensor, "text row word"]:
    """Logits at the last rows, after reading what the cache does not know yet."""
    ids = torch.arange(texts.shape[1], device=texts.device)[None]
    return read_on(model, texts[:, cache.filled :], ids, cache, rows=rows)


def _written(texts: Int[Tensor, "pair token"], operation: str, digits: int) -> tuple[Problems, Int[Tensor, "pair all"]]:
    """The problems that texts begin, and their texts with the true answers."""
    read = texts.cpu().numpy().astype(np.uint8)
    operands = np.stack([read[:, digits - 1 :: -1], read[:, :digits:-1]], axis=1)
    problems = Problems(operands=operands, subtract=np.full(len(read), operation == "sub"))
    return problems, torch.from_numpy(write(problems))


def _margins(model: Decoder, tokens: Int[Tensor, "pair all"], cache: Cache) -> Float[Tensor, " pair"]:
    """By how much the true token's logit exceeds all others, where that is least in the answer."""
    answer = tokens[:, cache.filled + 1 :, None]
    logits = _read(model, tokens[:, :-1], cache, rows=answer.shape[1])
    true = logits.gather(2, answer)[..., 0]
    others = logits.scatter(2, answer, -torch.inf).amax(dim=2)
    return (true - others).amin(dim=1).nan_to_num(nan=torch.finfo(logits.dtype).min)


def _decide(model: Decoder, tokens: Int[Tensor, "pair all"], digits: int) -> Tensor:
    """Whether each text's answer is what the model writes, by its own forward pass."""
    start = prompt_length(digits)
    return (model(tokens[:, :-1], rows=slice(start - 1, None)).argmax(dim=2) == tokens[:, start:]).all(dim=1)


def _numbers(problems: Problems) -> list[tuple[int, int]]:
    """The operands as integers."""
    powers = 10 ** np.arange(problems.digits)
    return [(int(one), int(other)) for one, other in problems.operands @ powers]
