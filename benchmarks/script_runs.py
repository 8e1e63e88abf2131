"""Script runs in a study: trained on scripts, decided on all windows, and measured at lengths far beyond.

What is forced of them is registered before training (``theory.every_length``). Its premise is decided by a certificate,
and problems of every tested length are answered besides: one wrong answer of a certified model would refute the theory.
Each run leaves a folder of its own with ``run.json``, its weights and ``certificate.json``. Source: ours.

>>> recipe = Recipe(n_layers=1)
>>> tiny = ScriptExperiment(
...     subject={"name": "addition", "base": 2}, lengths=(1, 2, 3), recipe=recipe, tests=((4, 10),), seeds=(0, 1)
... )
>>> [run.script.seed for run in tiny.runs()], tiny.prediction().verdict
([0, 1], 'forced')
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from carryproof import __version__
from carryproof.benchmarks.certify import certify, write_certificate
from carryproof.benchmarks.configuration import ENGINE, FIRST_TEST_SEED, SCHEMA_VERSION, Recipe
from carryproof.benchmarks.draws import draw_digits
from carryproof.benchmarks.engine import Engine
from carryproof.benchmarks.right_windows import answered
from carryproof.benchmarks.scripted import ScriptRun, process_named, train_script
from carryproof.benchmarks.store import CERTIFICATE, new_run, write_json
from carryproof.benchmarks.train import LossPoint
from carryproof.models import checkpoints
from carryproof.models.config import DecoderConfig
from carryproof.models.decoder import Decoder
from carryproof.theory import content_hash, write_lengths
from carryproof.theory.errors import bad, require_integer
from carryproof.theory.every_length import EveryLength, predict_every_length
from carryproof.theory.ranges import require_lengths
from carryproof.theory.scripts import Script


@dataclass(frozen=True, kw_only=True, slots=True)
class ScriptConfig:
    """One training on scripts and its measurement: pairs of a length and how many problems of it are answered."""

    script: ScriptRun
    tests: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        require_integer("seed", self.script.seed, 0, FIRST_TEST_SEED - 1)
        lengths = [length for length, _ in self.tests]
        if tuple(lengths) != require_lengths("tests", lengths):
            raise bad("tests", self.tests, "lengths in rising order, each once")
        for length, problems in self.tests:
            require_integer(f"problems of {length} digits", problems, 1)

    @property
    def recipe(self) -> Recipe:
        """How the model is built and trained."""
        return self.script.recipe

    @property
    def label(self) -> str:
        """A line for people: the process, the trained lengths and the seed."""
        name = process_named(self.script.subject).name
        return f"{name} / trained on {write_lengths(self.script.lengths)}, seed {self.script.seed}"

    def decoder(self) -> DecoderConfig:
        """The model's configuration; raises ``ValueError`` where its sizes do not fit."""
        return self.script.decoder()

    def to_dict(self) -> dict[str, Any]:
        """All that changes numbers, as plain data."""
        return {
            "schema_version": SCHEMA_VERSION,
            "version": __version__,
            "engine": ENGINE,
            "dtype": self.script.engine.dtype,
            "kind": "script",
            "script": self.script.to_dict(),
            "tests": [list(test) for test in self.tests],
            "test_seed": FIRST_TEST_SEED,
        }

    @property
    def run_id(self) -> str:
        """The name of the run: the first 16 hexadecimal digits of the hash of its configuration."""
        return content_hash(self.to_dict())[:16]


@dataclass(frozen=True, kw_only=True, slots=True)
class ScriptExperiment:
    """One subject, trained on scripts of a few lengths with one recipe from several seeds, measured in one way."""

    subject: Mapping[str, Any]
    lengths: tuple[int, ...]
    recipe: Recipe
    tests: tuple[tuple[int, int], ...]
    seeds: tuple[int, ...]
    engine: Engine = field(default_factory=Engine)

    def runs(self) -> Iterator[ScriptConfig]:
        """One configuration a seed."""
        for seed in self.seeds:
            run = ScriptRun(
                subject=self.subject, lengths=self.lengths, recipe=self.recipe, seed=seed, engine=self.engine
            )
            yield ScriptConfig(script=run, tests=self.tests)

    def prediction(self) -> EveryLength:
        """What the theory says of every length."""
        return predict_every_length(process_named(self.subject), self.lengths)

    def registered(self) -> dict[str, Any]:
        """What is registered before training: the prediction, its subject and the planned runs."""
        runs = [run.run_id for run in self.runs()]
        return {**self.prediction().to_dict(), "subject": dict(self.subject), "runs": runs}


def execute_script(
    config: ScriptConfig,
    out: Path,
    *,
    registry_sha256: str,
    prediction_id: str,
    progress: Callable[[LossPoint], None] = lambda point: None,
) -> dict[str, Any]:
    """Train, certify and measure one configuration and write its folder; return the record.

    A model whose weights are not finite is measured and kept like any other, but has no certificate.
    """
    points: list[LossPoint] = []

    def log(point: LossPoint) -> None:
        points.append(point)
        progress(point)

    model, train_seconds = train_script(config.script, log)
    finite = all(bool(weight.isfinite().all()) for weight in model.parameters())
    began = time.monotonic()
    certificate = certify(model) if finite else None
    certified_at = time.monotonic()
    records = measure_lengths(model, config.script.script(), config.tests)
    run = {
        "kind": "script",
        "run_id": config.run_id,
        "config": config.to_dict(),
        "registry_sha256": registry_sha256,
        "prediction_id": prediction_id,
        "status": "finished" if finite else "diverged",
        "model_sha256": certificate.model if certificate else None,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "loss": [asdict(point) | {"loss": point.loss if math.isfinite(point.loss) else None} for point in points],
        "records": records,
        "train_seconds": round(train_seconds, 3),
        "certify_seconds": round(certified_at - began, 3),
        "evaluate_seconds": round(time.monotonic() - certified_at, 3),
    }
    about = {"run_id": config.run_id, "config": config.to_dict(), **model.about}
    with new_run(out, config.run_id) as folder:
        write_json(folder / "run.json", run)
        checkpoints.save(folder / "model.safetensors", model, about=about)
        if certificate is not None:
            write_certificate(folder / CERTIFICATE, certificate)
    return run | {"verdict": certificate.to_dict()["verdict"] if certificate else "diverged"}


def measure_lengths(model: Decoder, script: Script, tests: tuple[tuple[int, int], ...]) -> list[dict[str, int]]:
    """How many problems of each length are answered right, the end included; the same problems for every run."""
    found = []
    for length, problems in tests:
        operands = draw_digits(script.process, length, problems, np.random.default_rng([FIRST_TEST_SEED, length]))
        correct = int(answered(model, script, operands).sum())
        found.append({"test_digits": length, "problems": problems, "correct": correct})
    return found
