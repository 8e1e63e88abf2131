"""Training decoders: linear warm-up, cosine decay, next-token loss on the answer's tokens.

Batch t holds the items t * batch .. (t + 1) * batch - 1 of a run's seeded stream, so a run is a function of its
configuration; initialisation draws from a generator of its own. Runs that differ in their seeds only can be trained
stacked, in one process; each still has its own stream, loss, clipping and optimizer state. Nothing here looks at
lengths beyond the trained ones. Source of the setting: Xu et al., arXiv 2407.17963 (nanoGPT-style decoder, loss on the
answer), at smaller sizes.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from carryproof.benchmarks.configuration import Recipe, RunConfig
from carryproof.benchmarks.engine import Engine, require_room
from carryproof.benchmarks.evaluate import LogitsAt, draw_test_set, exact_match
from carryproof.benchmarks.optimizer import Optimizer
from carryproof.benchmarks.streams import Stream
from carryproof.models.decoder import Decoder
from carryproof.models.stack import Stack
from carryproof.theory.errors import bad

STEPS_PER_BLOCK = 50  # batches drawn and written at once
LOGGED_POINTS = 20
MONITOR_PROBLEMS = 200
UNSCORED = -100


@dataclass(frozen=True, kw_only=True, slots=True)
class LossPoint:
    """What is known at one moment of a training: step, loss of the last batch, in-range exact match on a sample."""

    step: int
    loss: float
    in_range: float


class Training:
    """Decoders of one configuration in training under one recipe, each on batches of its own."""

    def __init__(self, models: Sequence[Decoder], recipe: Recipe, engine: Engine) -> None:
        self.stack, self.engine = Stack(models), engine
        self.optimizer = Optimizer(models, recipe)

    def step(
        self,
        tokens: Int[Tensor, "model batch token"],
        ids: Int[Tensor, "model #batch token *id"],
        targets: Int[Tensor, "model batch row"],
        scale: float,
    ) -> Float[Tensor, " model"]:
        """One step at ``scale`` times the peak rate; each model's mean loss before it.

        ``targets`` are what the last tokens must be followed by, ``UNSCORED`` where that does not count.
        """
        rows = slice(tokens.shape[2] - targets.shape[2], None)
        logits = self.stack.logits(tokens, ids, rows, self.engine.torch_dtype)
        each = F.cross_entropy(logits.flatten(0, 2), targets.flatten(), ignore_index=UNSCORED, reduction="none")
        losses = each.view(len(targets), -1).sum(1) / (targets != UNSCORED).flatten(1).sum(1)
        losses.sum().backward()
        self.optimizer.step(scale)
        return losses.detach()


@dataclass(frozen=True, kw_only=True, slots=True)
class Batches:
    """What a run trains on in a few steps: inputs, their position ids, and targets for the last rows."""

    tokens: Int[Tensor, "step batch token"]
    ids: Int[Tensor, "step #batch token *id"]
    targets: Int[Tensor, "step batch row"]


def training_stream(config: RunConfig) -> Stream:
    """The stream that a run trains on."""
    train = config.question.train
    return Stream(task=config.question.task, lengths=train.lengths, law=train.law, seed=config.seed, split="train")


def batches(config: RunConfig, first: int, steps: int) -> Batches:
    """The batches of steps ``first`` .. ``first + steps - 1`` of a run."""
    question, batch = config.question, config.recipe.batch
    text = question.format.write(question.task, training_stream(config).block(first * batch, steps * batch))
    drawn = question.format.positions.draw(text.ids, len(text.tokens), seed=config.seed, first=first * batch)
    ids = torch.from_numpy(drawn[:, :-1])
    start = text.answer_start
    targets = torch.from_numpy(text.tokens[:, start:]).masked_fill(torch.from_numpy(~text.scored[:, start:]), UNSCORED)
    return Batches(
        tokens=torch.from_numpy(text.tokens[:, :-1]).unflatten(0, (steps, batch)),
        ids=ids.expand(steps, *ids.shape) if len(ids) == 1 else ids.unflatten(0, (steps, batch)),
        targets=targets.unflatten(0, (steps, batch)),
    )


def train(
    config: RunConfig, progress: Callable[[LossPoint], None] = lambda point: None
) -> tuple[Decoder, list[LossPoint]]:
    """Train the model of one configuration, alone; see ``train_stacked``."""
    ((model, points),) = train_stacked([config], lambda _, point: progress(point))
    return model, points


def train_stacked(
    configs: Sequence[RunConfig], progress: Callable[[int, LossPoint], None] = lambda index, point: None
) -> list[tuple[Decoder, list[LossPoint]]]:
    """Train the models of configurations that differ in their seeds only, each step of all at once.

    Loss and in-range accuracy of each are reported about twenty times on the way, with its index. A model whose loss is
    not finite is not reported again, and when none is left training ends; the last point then says so and the model is
    returned as it is.
    """
    one, steps = configs[0], configs[0].recipe.steps
    for config in configs:
        if replace(config, seed=one.seed) != one:
            raise bad("configs", config.question.label, f"those that differ from {one.question.label} in their seeds")
    engine, recipe = one.engine, one.recipe
    models = [Decoder.init(config.decoder(), torch.Generator().manual_seed(config.seed)) for config in configs]
    found = [(model.to(engine.device), list[LossPoint]()) for model in models]
    every = max(1, steps // LOGGED_POINTS)
    with engine.at_work():
        training = Training(models, recipe, engine)
        for first in range(0, steps, STEPS_PER_BLOCK):
            drawn = [batches(config, first, min(STEPS_PER_BLOCK, steps - first)) for config in configs]
            tokens, ids, targets = (
                torch.stack([getattr(each, name) for each in drawn], dim=1).to(engine.device)
                for name in ("tokens", "ids", "targets")
            )
            if first == 0:
                require_room(one.decoder(), engine, models=len(models), batch=recipe.batch, length=tokens.shape[3])
            for step, batch in enumerate(zip(tokens, ids, targets, strict=True), start=first):
                losses = training.step(*batch, recipe.scale_at(step))
                if step + 1 == steps or (step + 1) % every == 0:
                    for index, loss in enumerate(losses.tolist()):
                        model, points = found[index]
                        if points and not math.isfinite(points[-1].loss):
                            continue
                        points.append(LossPoint(step=step + 1, loss=loss, in_range=_monitor(one, model)))
                        progress(index, points[-1])
                    if not any(math.isfinite(loss) for loss in losses.tolist()):
                        return found
    return found


def logits_at(model: Decoder) -> LogitsAt:
    """A decoder as the function that evaluation measures."""
    return lambda tokens, ids, rows: model(tokens, ids, rows=rows)


def _monitor(config: RunConfig, model: Decoder) -> float:
    """In-range exact match on a small sample, for people to watch; never used to choose anything."""
    question = config.question
    count, seed = MONITOR_PROBLEMS, config.evaluation.seed
    sample = draw_test_set(question.task, question.train, question.train.longest, question.train.law, count, seed)
    return float(exact_match(logits_at(model), question.format.write(question.task, sample.operands)).mean())
