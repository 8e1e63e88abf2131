"""What a mixed model may start from, as arms of one experiment: the same seed, steps and data, other first weights.

An arm changes a freshly drawn model before its first step and nothing after it: every weight of an addition model (left
or right), the published partial copy, one group of weights, or the zeros alone that make room for an insertion. Each is
measured at the same thirty moments on the same problems, and at the end on many more. ``sources`` says which addition
models are taken in turn, since an effect of one of them would be no more than that.

>>> list(ARMS)
['scratch', 'left', 'right', 'published', 'embeddings', 'attention', 'mlps', 'output', 'zeroed']
>>> sources(5), moments(1_000)[:5]
(('add_d5_l2_h3_s1', 'add_d5_l2_h3_s2'), (50, 55, 61, 68, 76))
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from carryproof import __version__
from carryproof.benchmarks.configuration import ENGINE, Recipe
from carryproof.benchmarks.engine import Engine
from carryproof.benchmarks.store import is_finished, new_run, write_json
from carryproof.benchmarks.train import STEPS_PER_BLOCK, Training
from carryproof.circuits.accuracy import Judge, examine, random_problems, stratified_problems
from carryproof.circuits.family import FAMILY, decoder_config
from carryproof.circuits.insertion import GROUPS, insert, insert_groups, insert_published
from carryproof.circuits.texts import OPERATIONS, Problems, context, prompt_length
from carryproof.circuits.training import MODEL, CircuitRun, batches
from carryproof.models import checkpoints
from carryproof.models.decoder import Decoder
from carryproof.theory import content_hash
from carryproof.theory.errors import bad, require_integer, unknown

POINTS = 30  # of the curve
FIRST_POINT = 50  # steps
PROBLEMS = 1_000  # of each test set, at each of them
LAST_PROBLEMS = 50_000  # of each test set, after the last step
SCHEMA_VERSION = 1
SETS = {"random": random_problems, "stratified": stratified_problems}
FRESH = 5_000_000  # added to the seed, for a source that is drawn and not trained
RUN = "run.json"

Prepare = Callable[[Decoder, Decoder], object]  # source and target, which is changed in place


@dataclass(frozen=True, kw_only=True, slots=True)
class Arm:
    """A way to begin: what it copies, in words, from a ``trained`` source, a ``fresh`` one or ``none``."""

    title: str
    source: str
    prepare: Prepare


def _group(name: str) -> Arm:
    def prepare(source: Decoder, target: Decoder) -> None:
        insert_groups(source, target, (name,))

    return Arm(title=f"{name.replace('mlp', 'MLP')} only", source="trained", prepare=prepare)


ARMS: dict[str, Arm] = {
    "scratch": Arm(title="from scratch", source="none", prepare=lambda source, target: None),
    "left": Arm(title="all inserted, left", source="trained", prepare=insert),
    "right": Arm(title="all inserted, right", source="trained", prepare=partial(insert, placement="right")),
    "published": Arm(title="published copy", source="trained", prepare=partial(insert_published, mode=1)),
    **{name: _group(name) for name in GROUPS},
    "zeroed": Arm(title="fresh source inserted", source="fresh", prepare=insert),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ArmRun:
    """One training of one arm. ``source_sha256`` is the hash of the trained model it starts from, where it does.

    ``problems`` are those of each test set on the way, and ``last_problems`` of each at the end.
    """

    arm: str
    digits: int
    seed: int
    recipe: Recipe
    source: str | None = None
    source_sha256: str | None = None
    problems: int = PROBLEMS
    last_problems: int = LAST_PROBLEMS
    engine: Engine = field(default_factory=Engine)

    def __post_init__(self) -> None:
        if self.arm not in ARMS:
            raise unknown("arm", self.arm, ARMS)
        if (ARMS[self.arm].source == "trained") != (self.source is not None):
            raise bad("source", self.source, f"{'a row' if self.source is None else 'none'}, for the arm {self.arm!r}")
        for name in ("problems", "last_problems"):
            require_integer(name, getattr(self, name), 1)

    @property
    def name(self) -> str:
        """For people."""
        return f"d{self.digits}_{self.arm}_seed{self.seed}"

    @property
    def training(self) -> CircuitRun:
        """The row of the family whose shape and data these are, under this seed."""
        return CircuitRun(name=target(self.digits), recipe=self.recipe, seed=self.seed, engine=self.engine)

    def to_dict(self) -> dict[str, Any]:
        """All that changes numbers, as plain data."""
        training = self.training
        return {
            "schema_version": SCHEMA_VERSION,
            "version": __version__,
            "engine": ENGINE,
            "arm": self.arm,
            "digits": self.digits,
            "row": training.name,
            "recipe": asdict(self.recipe),
            "mixture": asdict(training.mixture) | {"kinds": dict(training.mixture.kinds)},
            "seed": self.seed,
            "source": self.source,
            "source_sha256": self.source_sha256,
            "problems": self.problems,
            "last_problems": self.last_problems,
            "device": self.engine.device.partition(":")[0],
            "dtype": self.engine.dtype,
        }

    @property
    def run_id(self) -> str:
        """The first 16 hexadecimal digits of the hash of the configuration."""
        return content_hash(self.to_dict())[:16]


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """A moment of a training: exact match of every operation and test set, by names such as ``sub random``.

    ``loss`` is that of the last batch, None before the first step; ``in_range`` the mean of the exact matches.
    """

    step: int
    loss: float | None
    right: Mapping[str, float]

    @property
    def in_range(self) -> float:
        """For people to watch."""
        return math.fsum(self.right.values()) / len(self.right)


def target(digits: int) -> str:
    """The mixed row of three layers and four heads whose shape and data the arms have.

    Raises ``ValueError`` for digits without such a row, or without an addition model of two layers and three heads.
    """
    name = f"mix_d{digits}_l3_h4"
    if name not in FAMILY or not sources(digits):
        allowed = [str(each.digits) for each in FAMILY.values() if each.family == "mix" and sources(each.digits)]
        raise bad("digits", digits, ", ".join(allowed))
    return name


def sources(digits: int) -> tuple[str, ...]:
    """The addition models of these digits with two layers and three heads: seed k starts from the k-th, in turn."""
    return tuple(name for name in FAMILY if name.startswith(f"add_d{digits}_l2_h3"))


def moments(steps: int) -> tuple[int, ...]:
    """The steps after which a training is measured, equally far apart in their logarithms, and the last."""
    first = min(FIRST_POINT, steps)
    return tuple(sorted({round(step) for step in np.geomspace(first, steps, POINTS)}))


def begin(run: ArmRun, source: Decoder | None) -> Decoder:
    """The model before its first step; every arm is given the same model to change, under the same seed.

    Raises ``ValueError`` where ``insert`` does.
    """
    training, arm = run.training, ARMS[run.arm]
    model = Decoder.init(decoder_config(training.row, run.recipe), torch.Generator().manual_seed(run.seed))
    if arm.source == "fresh":
        shape = FAMILY[sources(run.digits)[0]]
        recipe = replace(run.recipe, n_layers=shape.layers, n_heads=shape.heads)
        source = Decoder.init(decoder_config(shape, recipe), torch.Generator().manual_seed(FRESH + run.seed))
    if source is not None:
        arm.prepare(source, model)
    return model


def train_arm(
    run: ArmRun, source: Decoder | None, progress: Callable[[Point], None] = lambda point: None
) -> tuple[Decoder, list[Point]]:
    """Train the model of an arm, measured before the first step and at ``moments``.

    A loss that is not finite at such a moment ends training, and is the last point's.
    """
    recipe, engine, start = run.recipe, run.engine, prompt_length(run.digits)
    model = begin(run, source).to(engine.device)
    tests, when = measured_on(run), set(moments(recipe.steps))
    points = [Point(step=0, loss=None, right=_right(run, model, tests))]
    ids = torch.arange(context(run.digits) - 1, device=engine.device)[None, None]
    with engine.at_work():
        training = Training([model], recipe, engine)
        for first in range(0, recipe.steps, STEPS_PER_BLOCK):
            block = batches(run.training, first, min(STEPS_PER_BLOCK, recipe.steps - first)).to(engine.device)
            for step, texts in enumerate(block, start=first):
                (loss,) = training.step(texts[None, :, :-1], ids, texts[None, :, start:], recipe.scale_at(step))
                if step + 1 in when:
                    points.append(Point(step=step + 1, loss=float(loss), right=_right(run, model, tests)))
                    progress(points[-1])
                    if not math.isfinite(float(loss)):
                        return model, points
    return model, points


def measured_on(run: ArmRun) -> dict[str, Problems]:
    """The problems that every arm is measured on at every moment, by operation and set."""
    found = {}
    for operation in OPERATIONS:
        for name, parts in SETS.items():
            every = list(parts(operation, run.digits, run.problems))
            found[f"{operation} {name}"] = Problems(
                operands=np.concatenate([part.operands for part in every]),
                subtract=np.concatenate([part.subtract for part in every]),
            )
    return found


def _right(run: ArmRun, model: Decoder, tests: Mapping[str, Problems]) -> dict[str, float]:
    judge = Judge(model, run.digits, run.engine)
    return {name: float(1 - judge.wrong(problems).any(axis=1).mean()) for name, problems in tests.items()}


def execute(run: ArmRun, trained: Path, out: Path, progress: Callable[[Point], None] = lambda point: None) -> None:
    """Train an arm from what lies in ``trained`` and write its run in ``out``, unless it is finished there.

    Raises ``ValueError`` if the addition model is not there, or is not the one of the configuration.
    """
    if is_finished(out, run.run_id):
        return
    source = None if run.source is None else load_source(trained, run.source)
    if source is not None and checkpoints.digest(source.state_dict()) != run.source_sha256:
        raise bad("sources", str(trained), f"a folder whose {run.source} has the weights {run.source_sha256}")
    began = time.monotonic()
    model, points = train_arm(run, source, progress)
    seconds = time.monotonic() - began
    diverged = points[-1].loss is None or not math.isfinite(points[-1].loss)
    record = {
        "run_id": run.run_id,
        "config": run.to_dict(),
        "status": "diverged" if diverged else "finished",
        "points": [asdict(point) | {"loss": None if diverged else point.loss} for point in points],
        "train_seconds": round(seconds, 1),
        "model_sha256": checkpoints.digest(model.state_dict()),
        "accuracy": examine(model, OPERATIONS, problems=run.last_problems, engine=run.engine),
    }
    with new_run(out, run.run_id) as folder:
        checkpoints.save(folder / MODEL, model, about={"run_id": run.run_id, "arm": run.arm})
        write_json(folder / RUN, record)


def load_source(trained: Path, name: str) -> Decoder:
    """A trained addition model, or a one-line ``ValueError`` that says what to train."""
    path = trained / name / MODEL
    if not path.is_file():
        raise bad("sources", str(trained), f"a folder with {name}; `carryproof circuits train {name}` makes it")
    return checkpoints.load(path)
