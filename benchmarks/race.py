"""From the start of a process to 99.9 % in range: our recipe against the plain loop, on addition as it was published.

The task is that of Xu et al. (arXiv 2407.17963): two numbers of four digits zero-padded to twenty places, the answer's
units first, learned absolute positions. Model, batch, problems and checks are the same for both, and so is the clock:
it runs from before the process exists until a check on held-out problems passes. Ours trains by its own recipe; the
plain loop has a constant rate, the best of those tried on these very problems, which can only help it, and is stopped
when it has taken ``PATIENCE`` times as long as ours. Source: ours.

>>> plain_config(0).recipe.batch == own_config("float32", 0).recipe.batch
True
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from carryproof.benchmarks import peers
from carryproof.benchmarks.baselines import PlainTraining
from carryproof.benchmarks.configuration import RunConfig
from carryproof.benchmarks.contestants import QUICK_RECIPE, RACED, stack_logits, whole_targets
from carryproof.benchmarks.engine import fastest_dtype
from carryproof.benchmarks.evaluate import LogitsAt, draw_test_set, exact_match, whole
from carryproof.benchmarks.train import STEPS_PER_BLOCK, Training, batches
from carryproof.benchmarks.turns import Build, Contestant, Work
from carryproof.models.decoder import Decoder

ACCURATE = 0.999
STEPS = 800  # of our schedule
PROBLEMS, FIRST_PROBLEMS = 2_000, 200  # all are asked only where the first are right
EVERY = 25  # steps between checks
RATES = (3e-3, 1e-3)  # what the first needs is all that the other gets; 1e-3 is what most people use for small models
MOST_SECONDS = 900.0  # for ours
PATIENCE = 8.0  # times what ours took; a ratio that ends there is a lower bound, and the report says so
MOST_RACES = 3
Outcome = dict[str, Any]  # of one race: seconds, steps, in_range


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """Seconds of each race, ours and theirs, with the format that ours computed in and what should be said of it."""

    dtype: str
    ours: list[float]
    theirs: list[float]
    remarks: tuple[str, ...]


def own_config(dtype: str, seed: int) -> RunConfig:
    """Our run: Muon inside the blocks, warm-up, cosine decay."""
    return RACED.config(dtype, seed, steps=STEPS, **QUICK_RECIPE)


def plain_config(seed: int) -> RunConfig:
    """The same model and batches for the plain loop, which reads nothing else of the recipe."""
    return RACED.config("float32", seed)


def run_race(threads: int, rounds: int, progress: Callable[[str], None]) -> Found:
    """Race seed by seed, at most three times; the plain loop's rate is chosen with the first seed."""
    dtype = fastest_dtype()
    progress(f"time to {ACCURATE:.1%} in range: ours, seed 0")
    ours = [_timed(partial(own_race, 0, dtype), threads)]
    tried: dict[float, Outcome] = {}
    limit = PATIENCE * ours[0]["seconds"]
    for rate in RATES:
        progress(f"time to {ACCURATE:.1%} in range: the plain loop at a constant rate of {rate:g}")
        tried[rate] = _timed(partial(plain_race, 0, rate, limit), threads)
        if tried[rate]["in_range"] >= ACCURATE:
            limit = min(limit, tried[rate]["seconds"])
    best = min(RATES, key=lambda rate: (-min(tried[rate]["in_range"], ACCURATE), tried[rate]["seconds"]))
    theirs = [tried[best]]
    for seed in range(1, min(rounds, MOST_RACES)):
        progress(f"time to {ACCURATE:.1%} in range: both, seed {seed}")
        ours.append(_timed(partial(own_race, seed, dtype), threads))
        theirs.append(_timed(partial(plain_race, seed, best, PATIENCE * ours[-1]["seconds"]), threads))
    tries = ", ".join(f"{rate:g}: {_words(outcome)}" for rate, outcome in tried.items())
    remarks = [f"accuracy: constant rates tried for {peers.NANO}, the best one raced: {tries}"]
    for name, outcomes in (("ours", ours), (peers.NANO, theirs)):
        remarks.append(f"accuracy, {name}: {'; '.join(map(_words, outcomes))}")
    seconds = [[outcome["seconds"] for outcome in outcomes] for outcomes in (ours, theirs)]
    return Found(dtype=dtype, ours=seconds[0], theirs=seconds[1], remarks=tuple(remarks))


def _words(outcome: Outcome) -> str:
    ending = "" if outcome["in_range"] >= ACCURATE else f", stopped at {outcome['in_range']:.1%}"
    return f"{outcome['seconds']:.0f} s, {outcome['steps']:,} steps{ending}"


def _timed(build: Build, threads: int) -> Outcome:
    """The outcome of one race with its seconds, from before its process exists."""
    began = time.perf_counter()
    with Contestant([build], threads=threads) as racer:
        racer.ready()
        _, (outcome,) = racer.turn(1)
        return outcome | {"seconds": time.perf_counter() - began}


def own_race(seed: int, dtype: str) -> Work:
    """Train by our recipe until accurate."""
    config = own_config(dtype, seed)

    def work() -> Outcome:
        model = Decoder.init(config.decoder(), torch.Generator().manual_seed(seed))
        with config.engine.at_work():
            training = Training([model], config.recipe, config.engine)

            def step(number: int, tokens: torch.Tensor, ids: torch.Tensor, targets: torch.Tensor) -> None:
                training.step(tokens[None], ids[None], targets[None], config.recipe.scale_at(number))

            return until_accurate(config, step, stack_logits(model, config.engine), MOST_SECONDS)

    return work


def plain_race(seed: int, rate: float, limit: float) -> Work:
    """Train by the plain loop at a constant rate until accurate, or until so many seconds are over."""
    config = plain_config(seed)

    def work() -> Outcome:
        model, logits = peers.build(peers.NANO, config.decoder(), seed)
        training = PlainTraining(model, logits, rate)

        def step(number: int, tokens: torch.Tensor, ids: torch.Tensor, targets: torch.Tensor) -> None:
            whole_texts = whole_targets(tokens, targets)
            training.step(tokens, whole_texts)

        return until_accurate(config, step, whole(logits), limit)

    return work


def until_accurate(config: RunConfig, step: Callable[..., None], logits: LogitsAt, limit: float) -> Outcome:
    """Step until a check passes or ``limit`` seconds are over: steps taken, and the last share right in range."""
    question, evaluation = config.question, config.evaluation
    tests = draw_test_set(question.task, question.train, RACED.digits, "exact", PROBLEMS, evaluation.seed)
    few, all_of_them = (
        question.format.write(question.task, tests.operands[:problems]) for problems in (FIRST_PROBLEMS, PROBLEMS)
    )
    began, taken, share = time.perf_counter(), 0, 0.0
    while share < ACCURATE and time.perf_counter() - began < limit:
        drawn = batches(config, taken, STEPS_PER_BLOCK)
        for batch in zip(drawn.tokens, drawn.ids, drawn.targets, strict=True):
            step(taken, *batch)
            taken += 1
            if taken % EVERY == 0:
                share = float(exact_match(logits, few).mean())
                share = float(exact_match(logits, all_of_them).mean()) if share >= ACCURATE else share
                if share >= ACCURATE:
                    break
    return {"steps": taken, "in_range": share}
