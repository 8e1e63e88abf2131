"""Runs, from configurations to folders of results: train, measure, write.

It is what a worker process executes, for one run or for a stack of them. A record keeps the whole configuration, the
loss curve, k of n for every length, law and stratum, the share of in-range problems that training saw, and the hash of
the registry it was trained under; its seconds of training are its share of the stack's.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from carryproof.benchmarks.configuration import RunConfig
from carryproof.benchmarks.evaluate import Record, draw_test_set, evaluate
from carryproof.benchmarks.store import is_finished, new_run, read_run, write_json
from carryproof.benchmarks.streams import problem_count
from carryproof.benchmarks.train import LossPoint, logits_at, train_stacked, training_stream
from carryproof.models import checkpoints
from carryproof.models.decoder import Decoder
from carryproof.theory.digits import lengths

EXHAUSTIBLE = 1_000_000  # ranges up to this many problems report the share seen in training
_REPLAY = 100_000


def execute(
    configs: Sequence[RunConfig],
    out: Path,
    *,
    registry_sha256: str,
    prediction_id: str,
    progress: Callable[[int, LossPoint], None] = lambda index, point: None,
) -> list[dict[str, Any]]:
    """Train configurations that differ in their seeds together, measure each and write its folder; return the records.

    Whatever is finished already is trained along, since it is part of the stack, and left as it is.
    """
    started = time.monotonic()
    trained = train_stacked(configs, progress)
    share = round((time.monotonic() - started) / len(configs), 3)
    records = []
    for config, (model, points) in zip(configs, trained, strict=True):
        if is_finished(out, config.run_id):
            records.append(read_run(out, config.run_id))
            continue
        trained_at = time.monotonic()
        measured = measure_model(config, model)
        run = {
            "run_id": config.run_id,
            "config": config.to_dict(),
            "registry_sha256": registry_sha256,
            "prediction_id": prediction_id,
            "status": "finished" if math.isfinite(points[-1].loss) else "diverged",
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "loss": [asdict(point) | {"loss": point.loss if math.isfinite(point.loss) else None} for point in points],
            "records": [asdict(record) for record in measured],
            "in_range": in_range_accuracy(config, measured),
            "share_seen": share_seen(config),
            "train_seconds": share,
            "evaluate_seconds": round(time.monotonic() - trained_at, 3),
        }
        with new_run(out, config.run_id) as folder:
            write_json(folder / "run.json", run)
            checkpoints.save(
                folder / "model.safetensors", model, about={"run_id": config.run_id, "config": config.to_dict()}
            )
        records.append(run)
    return records


def measure_model(config: RunConfig, model: Decoder) -> list[Record]:
    """All records of a trained model: every test length under every law."""
    question, evaluation = config.question, config.evaluation
    records: list[Record] = []
    for law in evaluation.laws:
        for length in evaluation.test_digits:
            if law == "unequal" and length == 1:
                continue
            tests = draw_test_set(
                question.task, question.train, length, law, evaluation.problems, evaluation.seed + length
            )
            records += evaluate(logits_at(model), question.task, question.format, tests, question.train.longest)
    return records


def in_range_accuracy(config: RunConfig, records: list[Record]) -> float | None:
    """The lowest exact match over the trained lengths under the training law; None if no trained length was tested."""
    train = config.question.train
    shares = [
        record.correct / record.problems
        for record in records
        if record.stratum == "all" and record.test_digits in train.lengths and record.law == train.law
    ]
    return min(shares, default=None)


def share_seen(config: RunConfig) -> float | None:
    """The share of all in-range problems that training showed at least once, by replaying its stream.

    None where the range holds more than a million problems.
    """
    task, train, recipe = config.question.task, config.question.train, config.recipe
    total = sum(problem_count(task, length, train.law) for length in train.lengths)
    if total > EXHAUSTIBLE:
        return None
    stream, seen = training_stream(config), np.zeros(0, dtype=np.int64)
    places = task.base ** np.arange(train.longest * task.operands)
    for first in range(0, recipe.steps * recipe.batch, _REPLAY):
        operands = stream.block(first, min(_REPLAY, recipe.steps * recipe.batch - first))
        values = operands.reshape(len(operands), -1).astype(np.int64) @ places
        tops = lengths(operands).max(axis=1)  # zero has one digit: 0 + 0 is one problem of length 1
        seen = np.unique(np.concatenate([seen, values * (train.longest + 1) + tops]))
    return len(seen) / total
