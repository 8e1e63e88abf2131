"""Training one row of the family: batches of its mixture, Muon and AdamW, the loss on the answer's n + 2 tokens.

Batch t holds items t * batch .. (t + 1) * batch - 1 of the seed's stream, so a run is a function of its configuration;
with a ``Screening``, each of the last steps draws many more items and trains on the hardest of them.
A row that starts from an addition model has its circuit inserted first, and then computes that model's sums exactly.
A folder of the row's name keeps ``model.safetensors``, ``train.json`` (configuration, curve, seconds), the weights on
the way (``step-000800.safetensors``) and, once it is tested, ``accuracy.json``; each is written whole or not at all.
Source of the family: Quirke et al. 2402.02619.

>>> run = CircuitRun(name="add_d5_l1_h3", recipe=Recipe(n_layers=1, n_heads=3, d_head=8, steps=2, batch=4), seed=0)
>>> run.mixture.subtract, [point.step for point in train_circuit(run)[1]]
(0.0, [1, 2])
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from carryproof import __version__
from carryproof.benchmarks.configuration import ENGINE, FIRST_TEST_SEED, Recipe
from carryproof.benchmarks.engine import Engine
from carryproof.benchmarks.store import read_json, write_json
from carryproof.benchmarks.train import STEPS_PER_BLOCK, Training
from carryproof.circuits.accuracy import examine
from carryproof.circuits.curve import Point, watch
from carryproof.circuits.family import Row, decoder_config, row
from carryproof.circuits.insertion import RECOPY_EVERY, insert, insert_published
from carryproof.circuits.mixture import Mixture, draw
from carryproof.circuits.screening import Screening, hardest
from carryproof.circuits.snapshots import Snapshots
from carryproof.circuits.texts import context, prompt_length, write
from carryproof.models import checkpoints
from carryproof.models.decoder import Decoder
from carryproof.theory import content_hash
from carryproof.theory.errors import bad, require_integer

POINTS = 40  # of the curve
MONITORED = 1_000  # problems of the training mixture, of a stream of their own
SCHEMA_VERSION = 1
RECORD = "train.json"
ACCURACY = "accuracy.json"
SNAPSHOT = "snapshot.safetensors"
MILESTONES = (0, *(100 * 2**k for k in range(12)))  # steps whose weights are kept; whole blocks of batches
MODEL = "model.safetensors"


@dataclass(frozen=True, kw_only=True, slots=True)
class CircuitRun:
    """One training: a row by its name, the recipe, which problems its last steps choose, the seed, and how it is
    computed.
    """

    name: str
    recipe: Recipe
    seed: int
    screening: Screening | None = None
    engine: Engine = field(default_factory=Engine)

    def __post_init__(self) -> None:
        require_integer("seed", self.seed, 0, FIRST_TEST_SEED - 1)
        shape = (self.row.layers, self.row.heads)
        if (self.recipe.n_layers, self.recipe.n_heads) != shape:
            raise bad(
                "recipe", f"{self.recipe.n_layers} layers, {self.recipe.n_heads} heads", f"{shape}, as {self.name}"
            )

        if self.screening is not None and self.screening.candidates < self.recipe.batch:
            raise bad("screening candidates", self.screening.candidates, f"at least the batch, {self.recipe.batch}")

    @property
    def row(self) -> Row:
        """What the table says of it."""
        return row(self.name)

    @property
    def mixture(self) -> Mixture:
        """What it is trained on."""
        return self.row.mixture

    def to_dict(self) -> dict[str, Any]:
        """All that changes numbers, as plain data."""
        repeats = RECOPY_EVERY[self.row.insert_mode or 1] is not None
        return {
            "schema_version": SCHEMA_VERSION,
            "version": __version__,
            "engine": ENGINE,
            "row": asdict(self.row),
            "recipe": asdict(self.recipe),
            "mixture": asdict(self.mixture) | {"kinds": dict(self.mixture.kinds)},
            "screening": None if self.screening is None else asdict(self.screening),
            "seed": self.seed,
            "device": self.engine.device.partition(":")[0],
            "dtype": self.engine.dtype,
            **({"recopied_before": self.first_screened} if repeats else {}),
        }

    @property
    def first_screened(self) -> int:
        """The step from which on problems are screened, and insert modes copy nothing again; none if it is the number
        of steps.
        """
        steps = self.recipe.steps
        return steps if self.screening is None else self.screening.first(steps)

    @property
    def run_id(self) -> str:
        """The first 16 hexadecimal digits of the hash of the configuration."""
        return content_hash(self.to_dict())[:16]

    def problems_before(self, step: int) -> int:
        """How many problems of the stream the steps before one read."""
        screened = max(0, step - self.first_screened)
        return self.recipe.batch * (step - screened) + (self.screening.candidates if self.screening else 0) * screened


def batches(run: CircuitRun, first: int, steps: int) -> Int[Tensor, "step problem token"]:
    """The texts that steps ``first`` .. ``first + steps - 1`` read; all of them are screened, or none."""
    start, stop = run.problems_before(first), run.problems_before(first + steps)
    problems = draw(run.mixture, digits=run.row.digits, seed=run.seed, first=start, count=stop - start)
    return torch.from_numpy(write(problems)).unflatten(0, (steps, -1))


def blocks(run: CircuitRun, done: int = 0) -> Iterator[range]:
    """The steps from ``done`` on, in blocks that are drawn at once; one begins with the first screened step."""
    steps = run.recipe.steps
    bounds = sorted({*range(0, steps, STEPS_PER_BLOCK), run.first_screened, steps})
    return (range(*pair) for pair in pairwise(bounds) if pair[0] >= done)


def begin(run: CircuitRun, source: Decoder | None) -> tuple[Decoder, Callable[[int], None]]:
    """The model before its first step, and what is called with the number of every step before the first screened.

    It is freshly drawn; a row with a source has the source's circuit inserted, and modes 2 and 3 copy some of its
    weights again and again, as published. Raises ``ValueError`` where a source is missing or one too many.
    """
    model = Decoder.init(decoder_config(run.row, run.recipe), torch.Generator().manual_seed(run.seed))
    if (source is None) != (run.row.source is None):
        raise bad("source", None if source is None else "a model", f"{run.row.source or 'none'}, for {run.name}")
    if source is None or run.row.insert_mode is None:
        return model, lambda step: None
    insert(source, model)
    return model, insert_published(source, model, run.row.insert_mode)


def train_circuit(
    run: CircuitRun,
    source: Decoder | None = None,
    progress: Callable[[Point], None] = lambda point: None,
    snapshots: Snapshots | None = None,
    keep: Callable[[int, Decoder], None] = lambda step, model: None,
) -> tuple[Decoder, list[Point]]:
    """Train a row's model, from the addition model that it starts from where the table names one.

    With ``snapshots`` it goes on where an earlier training of the same configuration was killed. ``keep`` is given the
    model after each of the ``MILESTONES``.

    About forty times on the way the loss of the last batch is reported, with the exact match on ``MONITORED`` problems
    of the same mixture from a test stream. A loss that is not finite ends training.
    """
    recipe, start = run.recipe, prompt_length(run.row.digits)
    model, after = begin(run, source)
    model = model.to(run.engine.device)
    ids = torch.arange(context(run.row.digits) - 1, device=run.engine.device)[None, None]
    monitored = draw(run.mixture, digits=run.row.digits, seed=FIRST_TEST_SEED, first=0, count=MONITORED)
    every, points = max(1, recipe.steps // POINTS), list[Point]()
    with run.engine.at_work():
        training = Training([model], recipe, run.engine)
        done = 0 if snapshots is None else snapshots.resume(model, training, points)
        for steps in blocks(run, done):
            if steps.start in MILESTONES:
                keep(steps.start, model)
            drawn = batches(run, steps.start, len(steps)).to(run.engine.device)
            for step, texts in zip(steps, drawn, strict=True):
                if len(texts) > recipe.batch:
                    texts = hardest(training.stack, texts, start, recipe.batch, run.engine.torch_dtype)
                (loss,) = training.step(texts[None, :, :-1], ids, texts[None, :, start:], recipe.scale_at(step))
                if step < run.first_screened:
                    after(step)
                if (step + 1) % every == 0 or step + 1 == recipe.steps:
                    points.append(watch(model, monitored, step=step + 1, loss=float(loss)))
                    progress(points[-1])
                    if not math.isfinite(points[-1].loss):
                        return model, points
            if snapshots is not None:
                snapshots.take(steps.stop, model, training, points)
    return model, points


def execute(run: CircuitRun, out: Path, progress: Callable[[Point], None] = lambda point: None) -> dict[str, Any]:
    """Train a row and write its folder in ``out``; return the record. A finished one is read and left as it is, and
    one that was killed goes on from its last snapshot.

    Raises ``ValueError`` if the folder holds another configuration, or if the model to start from is not in ``out``.
    """
    done = finished(run, out)
    if done is not None:
        return done
    source = None if run.row.source is None else checkpoints.load(out / run.row.source / MODEL)
    folder = out / run.name
    snapshots = Snapshots(folder / SNAPSHOT, run.run_id)
    about = {"row": run.name, "run_id": run.run_id, "config": run.to_dict()}

    def keep(step: int, model: Decoder) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        checkpoints.save(milestone(folder, step), model, about=about | {"step": step})

    model, points = train_circuit(run, source, progress, snapshots, keep)
    record = {
        **about,
        "status": "finished" if math.isfinite(points[-1].loss) else "diverged",
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "source_sha256": None if source is None else checkpoints.digest(source.state_dict()),
        "model_sha256": checkpoints.digest(model.state_dict()),
        "loss": [point.to_dict() for point in points],
        "train_seconds": round(snapshots.seconds, 1),
    }
    folder.mkdir(parents=True, exist_ok=True)
    checkpoints.save(folder / MODEL, model, about=about)
    write_json(folder / RECORD, record)  # after the model, because its presence means that all is there
    snapshots.remove()
    return record


def milestone(folder: Path, step: int) -> Path:
    """Where the weights after so many steps are, for each of the ``MILESTONES`` of a training."""
    return folder / f"step-{step:06d}.safetensors"


def finished(run: CircuitRun, out: Path) -> dict[str, Any] | None:
    """The record of a run in ``out``, None if it is not there; another configuration is a one-line ``ValueError``."""
    return _read(run, out, RECORD)


def measured(run: CircuitRun, out: Path, problems: int) -> dict[str, Any] | None:
    """The accuracy that was measured on ``problems`` problems of each test set, None if it has not been."""
    found = _read(run, out, ACCURACY)
    return found if found is not None and found["problems"] == problems else None


def measure(run: CircuitRun, out: Path, problems: int) -> dict[str, Any]:
    """Measure the accuracy of a trained row of ``out`` and write it beside the model, unless it is there already."""
    done = measured(run, out, problems)
    if done is not None:
        return done
    model = checkpoints.load(out / run.name / MODEL).to(run.engine.device)
    found = examine(model, run.row.operations, problems=problems, engine=run.engine)
    about = {"row": run.name, "run_id": run.run_id, "model_sha256": checkpoints.digest(model.state_dict())}
    write_json(out / run.name / ACCURACY, about | found)
    return about | found


def _read(run: CircuitRun, out: Path, name: str) -> dict[str, Any] | None:
    path = out / run.name / name
    if not path.exists():
        return None
    record = read_json(path)
    if record.get("run_id") != run.run_id:
        raise bad("out", str(out), f"another folder: {path} is of another configuration")
    return record
