"""Comparison of registered predictions with measurements: confirmed, refuted, or not testable with the reason.

The seed is the unit. A prediction speaks of models that are right in range, so only seeds at or above the in-range
threshold are tested; the others are shown and counted. A cell is confirmed if every eligible seed's accuracy is
equivalent to the predicted fraction within the margin (intersection-union test), refuted if some seed's accuracy lies
outside it (Bonferroni over the seeds), both after Holm's adjustment over all testable cells of the study.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from carryproof.benchmarks.certified import JudgedScript, score_scripts
from carryproof.benchmarks.registry import read_registry, require_registered
from carryproof.benchmarks.statistics import Interval, difference, equivalence, holm, interval
from carryproof.benchmarks.store import is_finished, read_run, read_study, runs_folder
from carryproof.theory.prediction import read_fraction

Outcome = Literal["confirmed", "refuted", "not testable"]
LEVEL = 0.05
SUCCESS = 0.99  # a seed generalizes at a length if its exact match there is at least this


@dataclass(frozen=True, kw_only=True, slots=True)
class SeedResult:
    """What one seed did in one cell: k of n against the truth and against the surrogate, and its in-range accuracy."""

    run_id: str
    seed: int
    problems: int
    correct: int
    agree: int
    exhaustive: bool
    selection: str
    in_range: float | None
    eligible: bool

    @property
    def accuracy(self) -> float:
        """The share of right answers."""
        return self.correct / self.problems


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """One cell of one question: what was predicted, what every seed did, and the outcome with its reason.

    ``p_equivalence`` and ``p_difference`` are adjusted over the study; None where nothing was tested.
    """

    prediction_id: str
    question: Mapping[str, Any]
    cell: Mapping[str, Any]
    seeds: tuple[SeedResult, ...]
    outcome: Outcome
    reason: str
    p_equivalence: float | None = None
    p_difference: float | None = None

    def __str__(self) -> str:
        cell = self.cell
        return f"{cell['test_digits']} digits ({cell['law']}), {cell['verdict']}: {self.outcome}; {self.reason}"

    @property
    def predicted(self) -> Fraction | None:
        """The exact predicted accuracy, if there is one."""
        text = self.cell["accuracy"]
        return None if text is None else read_fraction(text)

    @property
    def successes(self) -> Interval:
        """The Clopper-Pearson interval of P(success): seeds with exact match of at least 99 %, of all seeds."""
        return interval(sum(seed.accuracy >= SUCCESS for seed in self.seeds), len(self.seeds))


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyResult:
    """A scored study: its description, registry, runs and comparisons, and its runs on scripts, if it planned any."""

    study: Mapping[str, Any]
    registry: Mapping[str, Any]
    runs: tuple[Mapping[str, Any], ...]
    comparisons: tuple[Comparison, ...]
    scripts: tuple[JudgedScript, ...] = ()

    @property
    def missing(self) -> int:
        """How many planned runs, but for those on scripts, are not finished."""
        return len(self.study["runs"]) - len(self.runs)


def score_study(out: Path) -> StudyResult:
    """Read a study's folder, check its registry, and compare every registered cell with its measurements."""
    registry, sha256 = read_registry(out)
    plan, known = registry["plan"], {prediction["prediction_id"] for prediction in registry["predictions"]}
    study = read_study(out) | plan
    runs = []
    for run_id in plan["runs"]:
        if is_finished(out, run_id):
            run, path = read_run(out, run_id), runs_folder(out) / run_id / "run.json"
            require_registered(run, sha256, path)
            if run["prediction_id"] not in known:
                raise ValueError(f"{path}: corrupt results file; prediction_id names no registered prediction")
            runs.append(run)
    comparisons = compare(registry["predictions"], runs, plan["margin"], plan["in_range_threshold"])
    return StudyResult(
        study=study,
        registry=registry,
        runs=tuple(runs),
        comparisons=tuple(comparisons),
        scripts=score_scripts(out, registry, sha256),
    )


def compare(
    predictions: Sequence[Mapping[str, Any]],
    runs: Sequence[Mapping[str, Any]],
    margin: float,
    threshold: float,
) -> list[Comparison]:
    """Compare predictions with run records (both as plain data), cell by cell; Holm over the testable cells."""
    comparisons = []
    for prediction in predictions:
        own = [run for run in runs if run["prediction_id"] == prediction["prediction_id"]]
        question = {key: value for key, value in prediction.items() if key not in ("cells", "schema_version")}
        for cell in prediction["cells"]:
            seeds = _seed_results(cell, own, threshold)
            comparisons.append(_test(prediction["prediction_id"], question, cell, seeds, margin, threshold))
    return _adjust(comparisons, margin)


def _seed_results(
    cell: Mapping[str, Any], runs: Sequence[Mapping[str, Any]], threshold: float
) -> tuple[SeedResult, ...]:
    found = []
    for run in sorted(runs, key=lambda run: run["config"]["seed"]):
        for record in run["records"]:
            if (record["test_digits"], record["law"], record["stratum"]) == (cell["test_digits"], cell["law"], "all"):
                in_range = run["in_range"]
                found.append(
                    SeedResult(
                        run_id=run["run_id"],
                        seed=run["config"]["seed"],
                        problems=record["problems"],
                        correct=record["correct"],
                        agree=record["agree"],
                        exhaustive=record["exhaustive"],
                        selection=record["selection"],
                        in_range=in_range,
                        eligible=in_range is not None and in_range >= threshold,
                    )
                )
    return tuple(found)


def _test(
    prediction_id: str,
    question: Mapping[str, Any],
    cell: Mapping[str, Any],
    seeds: tuple[SeedResult, ...],
    margin: float,
    threshold: float,
) -> Comparison:
    eligible = [seed for seed in seeds if seed.eligible]
    untested = Comparison(
        prediction_id=prediction_id, question=question, cell=cell, seeds=seeds, outcome="not testable", reason=""
    )
    if not seeds:
        return replace(untested, reason="no finished run")
    match cell["verdict"]:
        case "in-range":
            return replace(untested, reason="in range: the precondition of the other cells, not a prediction")
        case "silent":
            return replace(untested, reason="the theory is silent")
        case "permitted":
            return replace(untested, reason="permitted only: no registered P(success)")
    if cell["accuracy"] is None:
        return replace(untested, reason=f"{cell['verdict']}, but the theory names no accuracy")
    if all(seed.in_range is None for seed in seeds):
        return replace(untested, reason="in-range accuracy was not measured")
    if not eligible:
        best = max((seed.in_range or 0.0) for seed in seeds)
        return replace(untested, reason=f"in-range accuracy {best:.1%} < {threshold:.0%} in every seed")
    predicted = float(read_fraction(cell["accuracy"]))
    equal = max(_p_equivalence(seed, predicted, margin) for seed in eligible)
    differ = min(1.0, len(eligible) * min(_p_difference(seed, predicted, margin) for seed in eligible))
    return replace(untested, reason="to be adjusted", p_equivalence=equal, p_difference=differ)


def _p_equivalence(seed: SeedResult, predicted: float, margin: float) -> float:
    if seed.exhaustive:  # every problem was tried: nothing is left to chance
        return 0.0 if abs(seed.accuracy - predicted) < margin else 1.0
    return equivalence(seed.correct, seed.problems, predicted, margin)


def _p_difference(seed: SeedResult, predicted: float, margin: float) -> float:
    if seed.exhaustive:
        return 0.0 if abs(seed.accuracy - predicted) > margin else 1.0
    return difference(seed.correct, seed.problems, predicted, margin)


def _adjust(comparisons: list[Comparison], margin: float) -> list[Comparison]:
    tested = [index for index, each in enumerate(comparisons) if each.p_equivalence is not None]
    equal = holm([comparisons[index].p_equivalence or 0.0 for index in tested])
    differ = holm([comparisons[index].p_difference or 0.0 for index in tested])
    for index, p_equal, p_differ in zip(tested, equal, differ, strict=True):
        each = comparisons[index]
        eligible = [seed for seed in each.seeds if seed.eligible]
        shares = ", ".join(f"{seed.accuracy:.2%}" for seed in eligible)
        predicted = float(each.predicted or 0)
        about = f"{shares} measured ({len(eligible)} of {len(each.seeds)} seeds eligible), {predicted:.2%} predicted"
        outcome: Outcome
        if p_equal <= LEVEL:
            outcome, reason = "confirmed", f"within {margin * 100:g} percentage points in every eligible seed: {about}"
        elif p_differ <= LEVEL:
            outcome, reason = "refuted", f"more than {margin * 100:g} percentage points away in some seed: {about}"
        else:
            outcome, reason = "not testable", f"inconclusive at this number of problems: {about}"
        comparisons[index] = replace(each, outcome=outcome, reason=reason, p_equivalence=p_equal, p_difference=p_differ)
    return comparisons
