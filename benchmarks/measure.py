"""Predict, train, compare, for one question from Python: the whole loop in a screen.

``measure`` trains a question from several seeds and returns a measurement that ``against`` holds next to a prediction.
Results are cached by configuration in a folder, so a second call returns at once and an interrupted one goes on.

    question = Question(task=task, format=formats.padded(5), encoding="rope", train=TrainingRange(lengths=(1, 2)))
    print(against(predict(question, range(3, 6)), measure(question, test_digits=range(3, 6))))
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from carryproof.benchmarks.compare import Comparison, compare
from carryproof.benchmarks.configuration import Evaluation, Recipe
from carryproof.benchmarks.engine import Engine, fastest_dtype
from carryproof.benchmarks.registry import read_registry, require_registered
from carryproof.benchmarks.runner import run_suite
from carryproof.benchmarks.store import read_run, runs_folder
from carryproof.benchmarks.suites import Experiment, Suite
from carryproof.theory import Prediction, Question, content_hash
from carryproof.theory.errors import require_integer
from carryproof.theory.ranges import OperandLaw

MARGIN = 0.02
IN_RANGE_THRESHOLD = 0.99


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """The run records of one question, one a seed, and the prediction registered before them, as plain data."""

    question: Question
    registered: dict[str, Any]
    runs: tuple[dict[str, Any], ...]


def measure(
    question: Question,
    *,
    test_digits: Iterable[int],
    seeds: int = 3,
    recipe: Recipe | None = None,
    problems: int = 1_000,
    laws: tuple[OperandLaw, ...] = ("exact",),
    out: str | Path = "runs",
    jobs: int | None = None,
    engine: Engine | None = None,
) -> Measurement:
    """Register the question's prediction in ``out``, train it from seeds 0 .. seeds - 1, and measure every length.

    Trained lengths are measured too, since every comparison is conditional on being right there. ``engine`` is by
    default the quicker one of this machine's number formats on its processor.
    """
    lengths = tuple(sorted({*test_digits, *question.train.lengths}))
    require_integer("seeds", seeds, 1)
    experiment = Experiment(
        question=question,
        recipe=Recipe() if recipe is None else recipe,
        evaluation=Evaluation(test_digits=lengths, laws=laws, problems=problems),
        seeds=tuple(range(seeds)),
    ).on(Engine(dtype=fastest_dtype()) if engine is None else engine)
    folder = Path(out) / content_hash([run.to_dict() for run in experiment.runs()])[:16]
    suite = Suite(name="measure", title=question.label, experiments=(experiment,))
    run_suite(suite, folder, jobs=jobs)
    registry, sha256 = read_registry(folder)
    runs = tuple(read_run(folder, run.run_id) for run in experiment.runs())
    for run in runs:
        require_registered(run, sha256, runs_folder(folder) / run["run_id"] / "run.json")
    return Measurement(question=question, registered=registry["predictions"][0], runs=runs)


def against(prediction: Prediction, measurement: Measurement, *, margin: float = MARGIN) -> list[Comparison]:
    """Compare every cell of a prediction with a measurement of the same question.

    Raises ``ValueError`` if they answer different questions, or if a cell is not what was registered before training.
    """
    if prediction.question != measurement.question:
        asked, measured = prediction.question.label, measurement.question.label
        raise ValueError(f"measurement: got {measured!r}; allowed: a measurement of the predicted {asked!r}")
    plain = dict(prediction.to_dict())
    for cell in plain["cells"]:
        if cell not in measurement.registered["cells"]:
            raise ValueError(
                f"prediction: the cell at {cell['test_digits']} digits (law {cell['law']}) is not the one registered "
                "before training; not scored"
            )
    runs = [run | {"prediction_id": prediction.prediction_id} for run in measurement.runs]
    return compare([plain], runs, margin, IN_RANGE_THRESHOLD)
