"""Conformance of what needs data or torch: a task's streams, and a positional encoding beside its symbolic twin.

A stream's item i must be a function of (seed, i), and its problems uniform (chi-square). An encoding must fit the
decoder's three hooks and do what its twin says, since predictions are made from the twin: the same scores, invariant
under a shift of all ids exactly where the twin is. As in ``carryproof.theory.conformance``, each check is a callable.

>>> build, twin, parameters = registered("alibi")
>>> check_encoding(build, twin, parameters=parameters)
>>> check_encoding(build, encodings.get("none"))
Traceback (most recent call last):
    ...
carryproof.theory.conformance.Broken: none: in head 1, score(0, 1) = -0.0625 in the module and 0 in the twin, \
for q = (0, 0), k = (0, 0)
"""

from collections.abc import Callable, Mapping
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from jaxtyping import Float
from scipy.stats import chisquare
from torch import Tensor

from carryproof.benchmarks.streams import Stream, problem_count
from carryproof.models import Decoder, DecoderConfig
from carryproof.positional import ENCODINGS, Encoding, EncodingShape
from carryproof.positional.base import geometric_frequencies
from carryproof.positional.fire import INITIAL_C, INITIAL_L
from carryproof.positional.relative import CLIP_DISTANCE, NEAR
from carryproof.theory import Task, encodings
from carryproof.theory.conformance import Broken, Check, smallest, told
from carryproof.theory.digits import Digits
from carryproof.theory.encodings import SymbolicEncoding
from carryproof.theory.ranges import OperandLaw

# Two channels a head, as the twin has; ids and shifts below stay inside the context, so that learned tables take part.
# The context is long enough for ids beyond the index, 512 at first, from which on FIRE scales distances.
SHAPE = EncodingShape(d_model=6, n_heads=3, d_head=2, n_ctx=2048)
TOLERANCE = 1e-9
MOST_BINS = 2_000
DRAWS_PER_BIN = 20
IMPROBABLE = 1e-6  # fixed seeds make the outcome repeatable; this low, no sound stream of any task should meet it

Build = Callable[[EncodingShape], Encoding]
Parameters = Mapping[str, float | Callable[[int], float]]
Reading = Callable[[Any, int], Parameters]  # from the module and a head to the values of the twin's parameters
Pair = tuple[int, int]


def _column(table: Tensor, channel: int, first: int = 0) -> Callable[[int], float]:
    values = table.detach()[:, channel].tolist()
    return lambda at: float(values[at + first])


def _rate(logarithms: Tensor, head: int) -> float:
    return float(logarithms.detach()[head].exp())


def _fire(encoding: Any, head: int) -> Parameters:
    def network(share: float) -> float:
        return float(encoding.network(torch.tensor(share, dtype=torch.float64)).detach()[head])

    c, threshold = (float(log.detach().exp()) for log in (encoding.log_c, encoding.log_L))
    return {"f": network, "c": INITIAL_C * c, "L": INITIAL_L * threshold}


def no_parameters(_encoding: Any, _head: int) -> Parameters:
    """The reading of an encoding whose twin has neither scalars nor tables."""
    return {}


# Of each registered encoding: what the twin's parameters are in the module, for one head of SHAPE.
READINGS: dict[str, Reading] = {
    "absolute": lambda e, h: {"P1": _column(e.W_pos, 2 * h), "P2": _column(e.W_pos, 2 * h + 1)},
    "sinusoidal": lambda e, h: {"omega": geometric_frequencies(SHAPE.d_model)[h]},
    "none": no_parameters,
    "relative-t5": lambda e, h: {"b": _column(e.W_bias, h)},
    "relative-clipped": lambda e, h: {"b": _column(e.W_bias, h, NEAR)},
    "relative-shaw": lambda e, h: {name: _column(e.W_rel, c, CLIP_DISTANCE) for c, name in enumerate(("a1", "a2"))},
    "rope": lambda e, h: {"omega": geometric_frequencies(SHAPE.d_head)[0]},
    "alibi": lambda e, h: {"m": e.slopes[h]},
    "kerple": lambda e, h: {"r1": _rate(e.log_r1, h), "r2": _rate(e.log_r2, h)},
    "fire": _fire,
}


def registered(name: str) -> tuple[Build, SymbolicEncoding, Reading]:
    """The module, the twin and the reading of a registered encoding, to be checked like one of the user's own."""
    twin = encodings.get(name)
    return ENCODINGS[name], twin, READINGS.get(name, no_parameters)


def check_encoding(build: Build, twin: SymbolicEncoding, *, parameters: Reading = no_parameters) -> None:
    """Run every check of an encoding; raise ``Broken``, an ``AssertionError``, at the first that does not hold."""
    __tracebackhide__ = True
    for check in encoding_checks(build, twin, parameters=parameters):
        check()


def encoding_checks(build: Build, twin: SymbolicEncoding, *, parameters: Reading = no_parameters) -> list[Check]:
    """The checks of an encoding, for ``pytest.mark.parametrize``.

    ``build`` makes the module at given sizes; ``parameters(module, head)`` reads the values of the twin's scalars and
    tables from the module, for channels 2 head and 2 head + 1 of the residual stream.
    """
    runs = {
        "shapes": partial(_shapes, build, twin),
        "types": partial(_types, build, twin),
        "initialization": partial(_initialization, build, twin),
        "batch": partial(_batch, build, twin),
        "late-query": partial(_late_query, build, twin),
        "causality": partial(_causality, build, twin),
        "twin": partial(_agreement, build, twin, parameters),
        "shift": partial(_shift, build, twin),
    }
    return [Check(subject=twin.name, name=name, run=run) for name, run in runs.items()]


def check_stream(task: Task, *, seed: int = 0) -> None:
    """Run every check of a task's streams; raise ``Broken``, an ``AssertionError``, at the first that fails."""
    __tracebackhide__ = True
    for check in stream_checks(task, seed=seed):
        check()


def stream_checks(task: Task, *, seed: int = 0) -> list[Check]:
    """The checks of a task's streams under every operand law, for ``pytest.mark.parametrize``."""
    laws: tuple[OperandLaw, ...] = ("exact", "longest", "unequal")
    runs = {f"seed-and-index-{law}": partial(_seed_and_index, task, law, seed) for law in laws}
    runs |= {f"uniformity-{law}": partial(_uniformity, task, law, seed) for law in laws[:2]}
    return [Check(subject=task.label, name=name, run=run) for name, run in runs.items()]


def _seed_and_index(task: Task, law: OperandLaw, seed: int) -> None:
    def drawn(seed: int, start: int, count: int) -> Digits:
        return Stream(task=task, lengths=(2, 5), law=law, seed=seed).block(start, count)

    whole = drawn(seed, 3, 40)
    for start, count in ((3, 40), (3, 1), (10, 7), (42, 1)):
        if not np.array_equal(drawn(seed, start, count), whole[start - 3 : start - 3 + count]):
            raise Broken(
                f"{task.label}: under the law {law!r}, items {start} to {start + count - 1} of seed {seed} drawn alone "
                "are not those drawn with items 3 to 42"
            )
    if np.array_equal(drawn(seed + 1, 3, 40), whole):
        raise Broken(f"{task.label}: under the law {law!r}, seeds {seed} and {seed + 1} give the same problems")


def _uniformity(task: Task, law: OperandLaw, seed: int) -> None:
    """Chi-square over all problems of the longest length that has few enough, or over two of the operands' digits."""
    length = 1
    while problem_count(task, length + 1, law) <= MOST_BINS:
        length += 1
    few = problem_count(task, length, law) <= MOST_BINS
    bins = problem_count(task, length, law) if few else task.base**2
    operands = Stream(task=task, lengths=(length,), law=law, seed=seed).block(0, DRAWS_PER_BIN * bins)
    seen = operands if few else operands[:, :2]
    problems, counts = np.unique(seen.reshape(len(seen), -1), axis=0, return_counts=True)
    if len(problems) <= bins:
        counts = np.concatenate([counts, np.zeros(bins - len(problems), dtype=counts.dtype)])
        p_value = float(chisquare(counts).pvalue)
        if p_value >= IMPROBABLE:
            return
        reason = f"chi-square has p = {p_value:.1e}"
    else:
        reason = f"{len(problems)} different problems of {bins}"
    top = int(np.argmax(counts))
    raise Broken(
        f"{task.label}: problems of length {length} under the law {law!r} are not uniform: {reason}; the digits "
        f"{problems[top].tolist()} (least significant first) came {counts[top]} times, {DRAWS_PER_BIN} were expected"
    )


def _drawn(build: Build, twin: SymbolicEncoding, dtype: torch.dtype = torch.float64) -> Encoding:
    with told(f"{twin.name}: building the module raises"):
        encoding = build(SHAPE).to(dtype)
        encoding.initialize(torch.Generator().manual_seed(2))
    return encoding.requires_grad_(False)


def _normal(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)


def _hooks(
    encoding: Encoding, twin: SymbolicEncoding, ids: Tensor, dtype: torch.dtype = torch.float64, late: int = 0
) -> dict[str, Tensor | None]:
    """What each hook returns for a batch of two, with queries from token ``late`` on."""
    tokens = ids.shape[1]
    heads, residual = _normal(2, SHAPE.n_heads, tokens, SHAPE.d_head, dtype=dtype), _normal(2, tokens, SHAPE.d_model)
    with told(f"{twin.name}: embed raises"):
        embedded = encoding.embed(residual.to(dtype), ids)
    with told(f"{twin.name}: rotate raises"):
        rotated = encoding.rotate(heads[:, :, late:], ids[:, late:])
    with told(f"{twin.name}: bias raises"):
        bias = encoding.bias(heads[:, :, late:], ids[:, late:], ids)
    return {"embed": embedded, "rotate": rotated, "bias": bias}


IDS = torch.tensor([[3, 0, 7, 7, 20], [1, 2, 3, 4, 5]])  # ids need not grow, nor differ, nor be those of other rows


def _shapes(build: Build, twin: SymbolicEncoding) -> None:
    encoding, tokens = _drawn(build, twin), IDS.shape[1]
    for ids in (IDS, IDS[:1]):
        found = _hooks(encoding, twin, ids)
        expected = {"embed": (2, tokens, SHAPE.d_model), "rotate": (2, SHAPE.n_heads, tokens, SHAPE.d_head)}
        for hook, shape in expected.items():
            value = found[hook]
            if value is None or tuple(value.shape) != shape:
                got = "None" if value is None else list(value.shape)
                raise Broken(f"{twin.name}: {hook} returns the shape {got}; allowed: {list(shape)}, that of its input")
        bias = found["bias"]
        if bias is None:
            continue
        fits = bias.ndim == 4 and bias.shape[0] in (1, 2) and bias.shape[1] in (1, SHAPE.n_heads)
        if not fits or tuple(bias.shape[2:]) != (tokens, tokens):
            raise Broken(
                f"{twin.name}: bias returns the shape {list(bias.shape)}; allowed: [1 or batch, 1 or head, query, key] "
                f"with batch, head, query, key = 2, {SHAPE.n_heads}, {tokens}, {tokens}"
            )


def _types(build: Build, twin: SymbolicEncoding) -> None:
    for module_dtype in (torch.float32, torch.float64):
        encoding = _drawn(build, twin, module_dtype)
        for dtype in (torch.bfloat16, torch.float16, torch.float32, torch.float64):
            for hook, value in _hooks(encoding, twin, IDS, dtype).items():
                if value is not None and value.dtype != dtype:
                    raise Broken(f"{twin.name}: {hook} turns {dtype} into {value.dtype}; the type must be preserved")


def _initialization(build: Build, twin: SymbolicEncoding) -> None:
    before = torch.get_rng_state()
    first, again = _drawn(build, twin), _drawn(build, twin)
    if not torch.equal(before, torch.get_rng_state()):
        raise Broken(f"{twin.name}: building and initializing draw from torch's global generator, not from a given one")
    for (name, one), two in zip(first.named_parameters(), again.parameters(), strict=True):
        if not torch.equal(one, two):
            raise Broken(f"{twin.name}: the parameter {name} differs between two initializations from equal generators")


def _batch(build: Build, twin: SymbolicEncoding) -> None:
    encoding = _drawn(build, twin)
    contents = _normal(2, IDS.shape[1], SHAPE.d_model)
    together = _scores(encoding, twin, contents, IDS)
    for row in range(2):
        alone = _scores(encoding, twin, contents[row : row + 1], IDS[row : row + 1])
        if not torch.allclose(together[row : row + 1], alone, rtol=0, atol=TOLERANCE):
            raise Broken(f"{twin.name}: the scores of problem {row} depend on the other problem of its batch")


def _late_query(build: Build, twin: SymbolicEncoding) -> None:
    encoding, late = _drawn(build, twin), 3
    full, part = _hooks(encoding, twin, IDS), _hooks(encoding, twin, IDS, late=late)
    for hook in ("rotate", "bias"):
        whole, rows = full[hook], part[hook]
        if whole is None or rows is None:
            same = whole is rows
        else:
            same = torch.allclose(whole[:, :, late:], rows, rtol=0, atol=TOLERANCE)
        if not same:
            raise Broken(f"{twin.name}: {hook} of the last queries alone differs from their rows among all queries")


def _causality(build: Build, twin: SymbolicEncoding) -> None:
    generator = torch.Generator().manual_seed(1)
    config = DecoderConfig(
        d_vocab=12,
        n_ctx=SHAPE.n_ctx,
        d_model=SHAPE.d_model,
        n_heads=SHAPE.n_heads,
        d_head=SHAPE.d_head,
        n_layers=2,
        encoding="none",
    )
    model = Decoder.init(config, generator)
    model.pos_embed = _drawn(build, twin)
    model = model.double().requires_grad_(False)
    tokens = torch.randint(12, (1, 8), generator=generator)
    with told(f"{twin.name}: the decoder raises"):
        logits = model(tokens)
        if not logits.isfinite().all():
            raise Broken(f"{twin.name}: logits of the decoder are not finite")
        for changed in range(1, 8):
            other = tokens.clone()
            other[0, changed] = (other[0, changed] + 1) % 12
            moved = (model(other) - logits)[0, :changed].abs().amax(dim=-1) > TOLERANCE
            if moved.any():
                early = int(moved.nonzero()[0])
                raise Broken(f"{twin.name} is not causal: the logits at token {early} change with token {changed}")


def _scores(
    encoding: Encoding, twin: SymbolicEncoding, contents: Float[Tensor, "batch token d_model"], ids: Tensor
) -> Float[Tensor, "batch head query key"]:
    """Attention scores after every hook, with W_Q = W_K = identity."""
    with told(f"{twin.name}: a hook raises"):
        heads = encoding.embed(contents, ids).unflatten(-1, (SHAPE.n_heads, SHAPE.d_head)).transpose(1, 2)
        heads = encoding.rotate(heads, ids)
        raw = heads @ heads.transpose(2, 3) * SHAPE.d_head**-0.5
        bias = encoding.bias(heads, ids, ids)
        return raw if bias is None else raw + bias


def _score(encoding: Encoding, twin: SymbolicEncoding, q: Pair, k: Pair, i: int, j: int) -> list[float]:
    """The score of query id i and key id j with contents q and k, the same in every head."""
    contents = torch.tensor([[q * SHAPE.n_heads, k * SHAPE.n_heads]], dtype=torch.float64)
    scores: list[float] = _scores(encoding, twin, contents, torch.tensor([[i, j]]))[0, :, 0, 1].tolist()
    return scores


def _pairs() -> st.SearchStrategy[Pair]:
    return st.tuples(st.integers(-2, 2), st.integers(-2, 2))


def _ids() -> st.SearchStrategy[int]:
    return st.integers(0, SHAPE.n_ctx // 2 - 1)


def _agreement(build: Build, twin: SymbolicEncoding, parameters: Reading) -> None:
    encoding = _drawn(build, twin)
    with told(f"{twin.name}: parameters(module, head) raises"):
        values = [parameters(encoding, head) for head in range(SHAPE.n_heads)]
    stated = [twin.evaluator(value) for value in values]

    def agrees(example: tuple[Pair, Pair, int, int]) -> None:
        q, k, i, j = example
        for head, measured in enumerate(_score(encoding, twin, *example)):
            expected = stated[head](q, k, i, j)
            if abs(measured - expected) > TOLERANCE * (1 + abs(expected)):
                raise Broken(
                    f"{twin.name}: in head {head + 1}, score({i}, {j}) = {measured:.6g} in the module and "
                    f"{expected:.6g} in the twin, for q = {q}, k = {k}"
                )

    smallest(st.tuples(_pairs(), _pairs(), _ids(), _ids()), agrees)


def _shift(build: Build, twin: SymbolicEncoding) -> None:
    encoding = _drawn(build, twin)

    def invariant(example: tuple[Pair, Pair, int, int, int]) -> None:
        q, k, i, j, shift = example
        here, there = _score(encoding, twin, q, k, i, j), _score(encoding, twin, q, k, i + shift, j + shift)
        for head, (one, two) in enumerate(zip(here, there, strict=True)):
            if abs(one - two) > TOLERANCE * (1 + abs(one)):
                raise Broken(
                    f"{twin.name} is not shift invariant: in head {head + 1}, score({i}, {j}) = {one:.6g} and "
                    f"score({i + shift}, {j + shift}) = {two:.6g}, for q = {q}, k = {k}"
                )

    law = twin.shift_invariance()
    if law.sees != twin.sees:
        raise Broken(f"{twin.name}: the twin is declared to see {twin.sees}, but its score sees {law.sees}")
    if law.holds:
        smallest(st.tuples(_pairs(), _pairs(), _ids(), _ids(), st.integers(1, SHAPE.n_ctx // 2)), invariant)
        return
    units = ((0, 1), (1, 0))
    try:
        for q, k, i, j, shift in product(units, units, range(3), range(3), (1, 7, SHAPE.n_ctx // 2)):
            invariant((q, k, i, j, shift))
    except Broken:
        return
    raise Broken(f"{twin.name}: the twin says that scores see absolute ids, but no shift of the ids changed a score")
