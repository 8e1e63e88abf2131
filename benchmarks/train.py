"""Training one decoder: linear warm-up, cosine decay, next-token loss on the answer's tokens.

Batch t holds the items t * batch .. (t + 1) * batch - 1 of the run's seeded stream, so a run is a function of its
configuration; initialisation draws from a generator of its own. Nothing here looks at lengths beyond the trained ones.
Source of the setting: Xu et al., arXiv 2407.17963 (nanoGPT-style decoder, loss on the answer), at smaller sizes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from carryproof.benchmarks.configuration import RunConfig
from carryproof.benchmarks.evaluate import LogitsAt, draw_test_set, exact_match
from carryproof.benchmarks.optimizer import Optimizer
from carryproof.benchmarks.streams import Stream
from carryproof.models.decoder import Decoder

STEPS_PER_BLOCK = 50  # batches drawn and written at once
LOGGED_POINTS = 20
MONITOR_PROBLEMS = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class LossPoint:
    """What is known at one moment of a training: step, loss of the last batch, in-range exact match on a sample."""

    step: int
    loss: float
    in_range: float


def training_stream(config: RunConfig) -> Stream:
    """The stream that a run trains on."""
    train = config.question.train
    return Stream(task=config.question.task, lengths=train.lengths, law=train.law, seed=config.seed, split="train")


def train(
    config: RunConfig, progress: Callable[[LossPoint], None] = lambda point: None
) -> tuple[Decoder, list[LossPoint]]:
    """Train the model of a configuration; report loss and in-range accuracy about twenty times on the way.

    A loss that is not finite ends the training; the last point then says so and the model is returned as it is.
    """
    recipe, question = config.recipe, config.question
    model = Decoder.init(config.decoder(), torch.Generator().manual_seed(config.seed))
    optimizer = Optimizer(model, recipe)
    stream = training_stream(config)
    points: list[LossPoint] = []
    every = max(1, recipe.steps // LOGGED_POINTS)
    for first in range(0, recipe.steps, STEPS_PER_BLOCK):
        steps = min(STEPS_PER_BLOCK, recipe.steps - first)
        text = question.format.write(question.task, stream.block(first * recipe.batch, steps * recipe.batch))
        start = text.answer_start
        inputs = torch.from_numpy(text.tokens[:, :-1]).split(recipe.batch)
        drawn = question.format.positions.draw(text.ids, len(text.tokens), seed=config.seed, first=first * recipe.batch)
        ids = torch.from_numpy(drawn[:, :-1])
        unscored = torch.from_numpy(~text.scored[:, start:])
        targets = torch.from_numpy(text.tokens[:, start:]).masked_fill(unscored, -100).split(recipe.batch)
        for step in range(first, first + steps):
            here = ids if len(ids) == 1 else ids[(step - first) * recipe.batch :][: recipe.batch]
            logits = model(inputs[step - first], here, rows=slice(start - 1, None))
            loss = F.cross_entropy(logits.flatten(0, 1), targets[step - first].flatten(), ignore_index=-100)
            loss.backward()
            optimizer.step(recipe.scale_at(step))
            last = step + 1 == recipe.steps
            if last or (step + 1) % every == 0:
                value = float(loss.detach())
                points.append(LossPoint(step=step + 1, loss=value, in_range=_monitor(config, model)))
                progress(points[-1])
                if not torch.isfinite(loss):
                    return model, points
    return model, points


def logits_at(model: Decoder) -> LogitsAt:
    """A decoder as the function that evaluation measures."""
    return lambda tokens, ids, rows: model(tokens, ids, rows=rows)


def _monitor(config: RunConfig, model: Decoder) -> float:
    """In-range exact match on a small sample, for people to watch; never used to choose anything."""
    question = config.question
    count, seed = MONITOR_PROBLEMS, config.evaluation.seed
    sample = draw_test_set(question.task, question.train, question.train.longest, question.train.law, count, seed)
    return float(exact_match(logits_at(model), question.format.write(question.task, sample.operands)).mean())
