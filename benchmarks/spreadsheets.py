"""A scored study as CSV files: one row per cell and seed, one per run, length, law and stratum, one per forecast.

Nothing is dropped: a cell without a finished run has one row with an empty seed. Predicted accuracies are exact
fractions as text, with their value beside them. A study that registered no forecasts of theories, or no script runs,
has no file of them.
"""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from carryproof.benchmarks.certified import JudgedScript
from carryproof.benchmarks.compare import Comparison, SeedResult, StudyResult
from carryproof.benchmarks.curves import bounds
from carryproof.benchmarks.published import law_cells
from carryproof.benchmarks.theories import ScoredForecast
from carryproof.theory.prediction import write_fraction

Row = dict[str, Any]


def write_spreadsheets(result: StudyResult, forecasts: Sequence[ScoredForecast], folder: Path) -> None:
    """Write ``cells.csv``, ``records.csv``, ``published.csv`` and, where there are any, forecasts and script runs."""
    _write(folder / "cells.csv", cell_rows(result))
    _write(folder / "records.csv", record_rows(result))
    _write(folder / "published.csv", law_cells())
    if forecasts:
        _write(folder / "forecasts.csv", map(_forecast, forecasts))
    if result.scripts:
        _write(folder / "certified.csv", script_rows(result.scripts))


def cell_rows(result: StudyResult) -> Iterator[Row]:
    """One row per cell and seed."""
    for comparison in result.comparisons:
        for seed in comparison.seeds or (None,):
            yield _asked(comparison.prediction_id, comparison.question) | _cell(comparison) | _seed(seed)


def record_rows(result: StudyResult) -> Iterator[Row]:
    """One row per run, length, law and stratum."""
    questions = {comparison.prediction_id: comparison.question for comparison in result.comparisons}
    for run in result.runs:
        for record in run["records"]:
            span = bounds(record["correct"], record["problems"])
            yield (
                _asked(run["prediction_id"], questions[run["prediction_id"]])
                | {"run_id": run["run_id"], "seed": run["config"]["seed"], "status": run["status"]}
                | {"in_range": run["in_range"]}
                | {key: record[key] for key in ("test_digits", "law", "stratum", "problems", "correct", "agree")}
                | {"accuracy": record["correct"] / record["problems"], "low": span.low, "high": span.high}
                | {key: record[key] for key in ("exhaustive", "selection")}
            )


def script_rows(scripts: Sequence[JudgedScript]) -> Iterator[Row]:
    """One row per script run and length; one with empty numbers for a run without a result."""
    for script in scripts:
        claimed = {key: script.prediction[key] for key in ("prediction_id", "process", "encoding", "train_digits")}
        claimed |= {"verdict": script.prediction["verdict"], "windows": script.prediction["windows"]}
        for run in script.runs:
            record = run.record or {}
            row = claimed | {"run_id": run.run_id, "seed": run.seed, "outcome": run.outcome, "reason": run.reason}
            row |= {key: run.certificate.get(key) for key in ("wrong", "margin", "slack")}
            row |= {key: record.get(key) for key in ("status", "parameters", "train_seconds")}
            measured: Sequence[Mapping[str, int]] = record.get("records") or ({},)
            for each in measured:
                row |= {key: each.get(key) for key in ("test_digits", "problems", "correct")}
                limits = bounds(each["correct"], each["problems"]) if each else None
                yield row | {"low": limits and limits.low, "high": limits and limits.high}


def _asked(prediction_id: str, question: Mapping[str, Any]) -> Row:
    task = question["task"]
    return {
        "prediction_id": prediction_id,
        "task": task["name"],
        "operands": task["operands"],
        "base": task["base"],
        "modulus": task["modulus"],
        "format": question["format"],
        "encoding": question["encoding"],
        "train_digits": question["train_digits"],
        "train_law": question["train_law"],
    }


def _cell(comparison: Comparison) -> Row:
    cell = comparison.cell
    return {
        "test_digits": cell["test_digits"],
        "law": cell["law"],
        "verdict": cell["verdict"],
        "predicted": cell["accuracy"],
        "predicted_float": cell["accuracy_float"],
        "surrogate": cell["surrogate"],
        "outcome": comparison.outcome,
        "reason": comparison.reason,
        "p_equivalence": comparison.p_equivalence,
        "p_difference": comparison.p_difference,
    }


def _forecast(forecast: ScoredForecast) -> Row:
    comparison, named = forecast.comparison, forecast.named
    return _asked(comparison.prediction_id, comparison.question) | {
        "test_digits": comparison.cell["test_digits"],
        "law": comparison.cell["law"],
        "theory": forecast.theory,
        "claim": forecast.claim,
        "named": None if named is None else write_fraction(named),
        "named_float": None if named is None else float(named),
        "seeds_right_in_range": len(forecast.accuracies),
        "seeds_as_claimed": forecast.agreeing,
        "right": forecast.right,
        "error": forecast.error,
        "why": forecast.why,
    }


def _seed(seed: SeedResult | None) -> Row:
    columns = ("run_id", "seed", "problems", "correct", "agree", "accuracy", "low", "high")
    more = ("in_range", "eligible", "exhaustive", "selection")
    if seed is None:
        return dict.fromkeys((*columns, *more))
    span = bounds(seed.correct, seed.problems)
    values = (seed.run_id, seed.seed, seed.problems, seed.correct, seed.agree, seed.accuracy, span.low, span.high)
    return dict(zip(columns, values, strict=True)) | {name: getattr(seed, name) for name in more}


def _write(path: Path, rows: Iterable[Row]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = None
        for row in rows:
            if writer is None:
                writer = csv.DictWriter(file, fieldnames=list(row), lineterminator="\n")
                writer.writeheader()
            writer.writerow(row)
