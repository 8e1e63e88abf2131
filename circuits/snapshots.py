"""Trainings that go on where they were killed: weights, optimizer state and curve in one file of tensors.

A snapshot is taken between two steps and holds all that the later ones depend on, so that a training which was
interrupted ends with the bits that it would have ended with. It belongs to one configuration; that of another is not
read. The file is replaced whole, and removed when the training is done.
"""

import json
import time
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from carryproof.benchmarks.optimizer import Optimizer
from carryproof.benchmarks.train import Training
from carryproof.circuits.curve import Point
from carryproof.models.checkpoints import write_atomically
from carryproof.models.decoder import Decoder

SECONDS_BETWEEN = 60.0


class Snapshots:
    """The snapshot of one training, at ``path``; a new one is taken once the last is ``seconds_between`` old."""

    def __init__(self, path: Path, run_id: str, seconds_between: float = SECONDS_BETWEEN) -> None:
        self.path, self.run_id, self.seconds_between = path, run_id, seconds_between
        self.began = self.taken = time.monotonic()
        self.earlier_seconds = 0.0

    @property
    def seconds(self) -> float:
        """What the training has taken so far, before it was killed included."""
        return self.earlier_seconds + time.monotonic() - self.began

    def take(self, step: int, model: Decoder, training: Training, points: list[Point]) -> None:
        """Write the state after ``step`` steps, if the last snapshot is old enough."""
        if time.monotonic() - self.taken < self.seconds_between:
            return
        tensors = {name: value.detach().cpu().clone() for name, value in _state(model, training.optimizer).items()}
        about = {"run_id": self.run_id, "step": step, "seconds": self.seconds, "points": [asdict(p) for p in points]}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.path, to_bytes(tensors, metadata={"snapshot": json.dumps(about)}))
        self.taken = time.monotonic()

    def resume(self, model: Decoder, training: Training, points: list[Point]) -> int:
        """Put back what was written last, and return the steps that are done; 0 if there is nothing of this run."""
        if not self.path.exists():
            return 0
        with safe_open(self.path, framework="pt") as file:
            about = json.loads(file.metadata()["snapshot"])
            if about["run_id"] != self.run_id:
                return 0
            _prepare(training.optimizer)
            with torch.no_grad():
                for name, value in _state(model, training.optimizer).items():
                    value.copy_(file.get_tensor(name))
        points += [Point(**point | {"tokens": tuple(point["tokens"])}) for point in about["points"]]
        self.earlier_seconds = about["seconds"]
        return int(about["step"])

    def remove(self) -> None:
        """Forget the snapshot, once the training is written."""
        self.path.unlink(missing_ok=True)


def _state(model: Decoder, optimizer: Optimizer) -> dict[str, Tensor]:
    """All tensors that later steps depend on, by name; they are the ones in use, not copies."""
    found: dict[str, Tensor] = {f"model.{name}": value for name, value in model.state_dict().items()}
    weights = [weight for group in optimizer.adamw.param_groups for weight in group["params"]]
    for index, weight in enumerate(weights):
        found |= {f"adamw.{index}.{name}": value for name, value in optimizer.adamw.state[weight].items()}
    if optimizer.muon is not None:
        found |= {f"muon.{index}": momentum for index, (_, momentum) in enumerate(optimizer.muon.stacks)}
    return found


def _prepare(optimizer: Optimizer) -> None:
    """Give AdamW the state that it would have after its first step, to be overwritten."""
    for group in optimizer.adamw.param_groups:
        for weight in group["params"]:
            optimizer.adamw.state[weight] = {
                "step": torch.zeros((), dtype=torch.float32, device=weight.device),
                "exp_avg": torch.zeros_like(weight),
                "exp_avg_sq": torch.zeros_like(weight),
            }
