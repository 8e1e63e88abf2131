"""The whole loop on disk: register, run, resume, refuse what was changed, compare seed by seed."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from carryproof.benchmarks import store
from carryproof.benchmarks.compare import compare, score_study
from carryproof.benchmarks.configuration import Evaluation, Recipe, RunConfig
from carryproof.benchmarks.measure import against, measure
from carryproof.benchmarks.registry import read_registry
from carryproof.benchmarks.run import execute
from carryproof.benchmarks.runner import Event, run_suite
from carryproof.benchmarks.suites import SUITES, Experiment, Suite, build
from carryproof.models.checkpoints import load
from carryproof.theory import Question, TrainingRange, formats, predict, tasks
from carryproof.theory.rivals import THEORIES

TINY = Recipe(d_model=16, n_heads=2, n_layers=1, steps=4, batch=8, warmup_steps=1)


def tiny_suite(modulus: int = 11, seeds: tuple[int, ...] = (0, 1)) -> Suite:
    question = Question(
        task=tasks.modular_addition(modulus),
        format=formats.padded(2),
        encoding="absolute",
        train=TrainingRange(lengths=(1,)),
    )
    evaluation = Evaluation(test_digits=(1, 2), problems=60)
    experiment = Experiment(question=question, recipe=TINY, evaluation=evaluation, seeds=seeds)
    return Suite(name="tiny", title="A tiny study", experiments=(experiment,))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("study")
    run_suite(tiny_suite(), out, jobs=2)
    return out


def copy_of(study: Path, tmp_path: Path) -> Path:
    import shutil

    return Path(shutil.copytree(study, tmp_path / "copy"))


def test_a_study_registers_first_and_leaves_whole_runs(finished: Path) -> None:
    registry, sha256 = read_registry(finished)
    runs = [store.read_run(finished, run.run_id) for run in tiny_suite().runs()]
    assert all(run["registry_sha256"] == sha256 for run in runs)
    assert {run["prediction_id"] for run in runs} == {registry["predictions"][0]["prediction_id"]}
    assert [each["prediction_id"] for each in registry["forecasts"]] == [registry["predictions"][0]["prediction_id"]]
    assert {each["theory"] for each in registry["forecasts"][0]["forecasts"]} == set(THEORIES)
    registered = (finished / "predictions.json").stat().st_mtime_ns
    for run in runs:
        folder = finished / "runs" / run["run_id"]
        assert (folder / "run.json").stat().st_mtime_ns > registered
        assert load(folder / "model.safetensors").config.n_layers == 1
    assert not list((finished / "runs").glob(".*"))


def test_a_second_start_repeats_nothing(finished: Path) -> None:
    events: list[Event] = []
    counts: list[tuple[int, int]] = []
    run_suite(
        tiny_suite(),
        finished,
        jobs=1,
        on_start=lambda pending, done: counts.append((len(pending), done)),
        on_event=events.append,
    )
    assert events == [] and counts == [(0, 2)]


def test_a_killed_study_goes_on_where_it_was(finished: Path, tmp_path: Path) -> None:
    out = copy_of(finished, tmp_path)
    first, second = tiny_suite().runs()
    before = (out / "runs" / first.run_id / "run.json").read_bytes()
    (out / "runs" / second.run_id / "run.json").unlink()  # taken apart by hand; the checkpoint is left lying there
    (out / "runs" / f".{second.run_id}.abc").mkdir()  # what a killed worker leaves
    done: list[str] = []
    run_suite(tiny_suite(), out, jobs=1, on_event=lambda event: done.append(event.run.run_id) if event.record else None)
    assert done == [second.run_id]
    assert (out / "runs" / first.run_id / "run.json").read_bytes() == before
    old, new = (store.read_run(each, second.run_id) for each in (finished, out))
    assert old["records"] == new["records"] and old["loss"] == new["loss"]
    assert not list((out / "runs").glob(".*"))


def test_changed_predictions_are_never_scored(finished: Path, tmp_path: Path) -> None:
    out = copy_of(finished, tmp_path)
    path = out / "predictions.json"
    value = json.loads(path.read_text())
    value["predictions"][0]["cells"][1]["accuracy"] = "1/2"
    path.write_text(json.dumps(value))
    with pytest.raises(ValueError, match="changed after they were registered"):
        score_study(out)
    with pytest.raises(ValueError, match="changed after they were registered"):
        run_suite(tiny_suite(), out, jobs=1)
    from carryproof.benchmarks.registry import registry_hash

    value["sha256"] = registry_hash(value)  # a careful forger fixes the hash as well
    path.write_text(json.dumps(value))
    with pytest.raises(ValueError, match="was trained under registry"):
        score_study(out)
    with pytest.raises(ValueError, match="differ from today's"):
        run_suite(tiny_suite(), out, jobs=1)


@pytest.mark.parametrize("change", [{"margin": 0.6}, {"runs": []}, {"in_range_threshold": 0.0}])
def test_a_changed_plan_is_never_scored(finished: Path, tmp_path: Path, change: dict) -> None:
    out = copy_of(finished, tmp_path)
    path = out / "predictions.json"
    value = json.loads(path.read_text())
    value["plan"] |= change
    path.write_text(json.dumps(value))
    with pytest.raises(ValueError, match="changed after they were registered"):
        score_study(out)


@pytest.mark.parametrize("change", [{"seeds": (0, 1, 2)}, {"recipe": replace(TINY, steps=5)}])
def test_a_study_with_other_runs_is_refused_even_if_its_predictions_agree(finished: Path, change: dict) -> None:
    suite = tiny_suite()
    other = replace(suite, experiments=(replace(suite.experiments[0], **change),))
    for refused in (other, replace(suite, margin=0.1)):
        with pytest.raises(ValueError, match="choose another --out"):
            run_suite(refused, finished, jobs=1)


def test_a_run_copied_over_another_is_refused(finished: Path, tmp_path: Path) -> None:
    out = copy_of(finished, tmp_path)
    first, second = (out / "runs" / run.run_id / "run.json" for run in tiny_suite().runs())
    second.write_bytes(first.read_bytes())
    with pytest.raises(ValueError, match="not the one its folder is named after"):
        score_study(out)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("share_seen", "x"),
        ("records", "x"),
        ("records", [{}]),
        ("in_range", "x"),
        ("loss", [3]),
        ("prediction_id", "x"),
    ],
)
def test_fields_of_the_wrong_kind_are_one_line(finished: Path, tmp_path: Path, field: str, value: object) -> None:
    out = copy_of(finished, tmp_path)
    path = out / "runs" / tiny_suite().runs()[0].run_id / "run.json"
    run = json.loads(path.read_text())
    run[field] = value
    path.write_text(json.dumps(run))
    with pytest.raises(ValueError, match="corrupt results file") as error:
        score_study(out)
    assert "\n" not in str(error.value)


def test_another_study_in_the_same_folder_is_refused(finished: Path) -> None:
    with pytest.raises(ValueError, match="choose another --out"):
        run_suite(tiny_suite(modulus=7), finished, jobs=1)


@pytest.mark.parametrize("damage", ["truncate", "binary", "version", "field"])
def test_damaged_results_are_one_line(finished: Path, tmp_path: Path, damage: str) -> None:
    out = copy_of(finished, tmp_path)
    path = out / "runs" / tiny_suite().runs()[0].run_id / "run.json"
    text = path.read_text()
    match damage:
        case "truncate":
            path.write_text(text[: len(text) // 2])
        case "binary":
            path.write_bytes(b"\xff\xfe\x00")
        case "version":
            path.write_text(text.replace('"schema_version": 1', '"schema_version": 99', 1))
        case "field":
            path.write_text(text.replace('"records"', '"recrods"'))
    for use in (score_study, lambda out: run_suite(tiny_suite(), out, jobs=1)):
        with pytest.raises(ValueError, match=r"run\.json") as error:
            use(out)
        assert "\n" not in str(error.value)


def test_an_output_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("")
    for out in (path, path / "below"):
        with pytest.raises(ValueError, match="is a file"):
            run_suite(tiny_suite(), out, jobs=1)


def test_nothing_is_written_for_sizes_that_do_not_fit(tmp_path: Path) -> None:
    suite = tiny_suite()
    bad = replace(suite.experiments[0], recipe=replace(TINY, n_heads=3))
    with pytest.raises(ValueError, match="n_heads"):
        run_suite(replace(suite, experiments=(bad,)), tmp_path / "out", jobs=1)
    assert not (tmp_path / "out").exists()


def test_the_run_id_covers_everything_that_changes_numbers() -> None:
    base = tiny_suite().runs()[0]
    others = [
        replace(base, seed=5),
        replace(base, recipe=replace(TINY, steps=5)),
        replace(base, recipe=replace(TINY, learning_rate=0.5)),
        replace(base, evaluation=replace(base.evaluation, problems=61)),
        replace(base, question=replace(base.question, encoding="rope")),
    ]
    assert len({base.run_id, *(other.run_id for other in others)}) == 6
    assert replace(base).run_id == base.run_id


def test_a_diverged_run_is_recorded_and_not_dropped(tmp_path: Path) -> None:
    config = replace(tiny_suite().runs()[0], recipe=replace(TINY, learning_rate=1e30, clip=1e30, steps=30))
    (run,) = execute([config], tmp_path, registry_sha256="a", prediction_id="b")
    assert run["status"] == "diverged" and run["records"]
    assert store.read_run(tmp_path, config.run_id)["status"] == "diverged"


def records(correct: int, problems: int, in_range: float, seed: int, *, agree: int = 0) -> dict:
    record = {"test_digits": 6, "law": "exact", "stratum": "all", "problems": problems, "correct": correct}
    return {
        "run_id": f"run{seed}",
        "prediction_id": "p",
        "config": {"seed": seed},
        "in_range": in_range,
        "records": [record | {"agree": agree, "exhaustive": False, "selection": "random"}],
    }


def predicted(verdict: str, accuracy: str | None) -> dict:
    cell = {"test_digits": 6, "law": "exact", "verdict": verdict, "accuracy": accuracy}
    return {"prediction_id": "p", "task": {"name": "addition"}, "encoding": "absolute", "cells": [cell]}


@pytest.mark.parametrize(
    ("verdict", "accuracy", "runs", "outcome", "reason"),
    [
        ("excluded", "0", [(0, 1000, 1.0), (3, 1000, 0.99)], "confirmed", "every eligible seed"),
        ("excluded", "0", [(0, 1000, 1.0), (300, 1000, 1.0)], "refuted", "30.00%"),
        ("excluded", "0", [(0, 1000, 1.0), (300, 1000, 0.9)], "confirmed", "1 of 2 seeds eligible"),
        ("excluded", "0", [(20, 1000, 1.0)], "not testable", "inconclusive"),
        ("excluded", "0", [(0, 1000, 0.71), (0, 1000, 0.7)], "not testable", "in-range accuracy 71.0% < 99%"),
        ("excluded", "41/4050", [(12, 1000, 1.0)], "confirmed", "1.01% predicted"),
        ("excluded", "1/2", [(12, 1000, 1.0)], "refuted", "50.00% predicted"),
        ("excluded", None, [(12, 1000, 1.0)], "not testable", "names no accuracy"),
        ("permitted", "1", [(1000, 1000, 1.0)], "not testable", "no registered P(success)"),
        ("silent", None, [(1000, 1000, 1.0)], "not testable", "silent"),
        ("in-range", "1", [(1000, 1000, 1.0)], "not testable", "precondition"),
        ("excluded", "0", [], "not testable", "no finished run"),
    ],
)
def test_outcomes(verdict: str, accuracy: str | None, runs: list, outcome: str, reason: str) -> None:
    measured = [records(*run, seed) for seed, run in enumerate(runs)]
    (comparison,) = compare([predicted(verdict, accuracy)], measured, margin=0.02, threshold=0.99)
    assert comparison.outcome == outcome and reason in comparison.reason
    assert len(comparison.seeds) == len(runs)  # shown, eligible or not


def test_holm_makes_many_cells_harder_to_decide() -> None:
    run = records(12, 1000, 1.0, 0)
    one = compare([predicted("excluded", "0")], [run], margin=0.02, threshold=0.99)[0]
    several = predicted("excluded", "0")
    several["cells"] = several["cells"] * 40
    many = compare([several], [run], margin=0.02, threshold=0.99)[0]
    assert one.p_equivalence is not None and many.p_equivalence is not None
    assert many.p_equivalence > one.p_equivalence and (one.outcome, many.outcome) == ("confirmed", "not testable")


def test_predict_measure_compare_from_python(tmp_path: Path) -> None:
    question = tiny_suite().experiments[0].question
    prediction = predict(question, [2])
    measurement = measure(question, test_digits=[2], seeds=1, recipe=TINY, problems=40, out=tmp_path, jobs=1)
    (comparison,) = against(prediction, measurement)
    assert comparison.cell["test_digits"] == 2 and len(comparison.seeds) == 1
    other = predict(replace(question, encoding="rope"), [2])
    with pytest.raises(ValueError, match="a measurement of the predicted"):
        against(other, measurement)
    with pytest.raises(ValueError, match="not the one registered"):
        against(predict(question, [2], ["longest"]), measurement)


def test_the_full_study_does_not_grow_with_the_registry() -> None:
    asked = [(each.question.task.label, each.question.encoding) for each in build("full").experiments]
    known = {"absolute", "sinusoidal", "none", "relative-t5", "relative-shaw", "rope", "alibi"}
    assert len(asked) == 17 * 7 == len(set(asked)) and {encoding for _, encoding in asked} == known


@pytest.mark.parametrize("name", SUITES)
def test_every_suite_is_consistent(name: str) -> None:
    suite = build(name)
    runs: list[RunConfig] = suite.runs()
    ids = [run.run_id for run in (*runs, *suite.script_runs())]
    assert len(set(ids)) == len(ids) and runs
    for script in suite.scripts:
        assert script.prediction().verdict == "forced"
        assert script.tests[-1][0] > script.lengths[-1] and len(set(script.seeds)) == len(script.seeds)
        assert all(run.decoder().n_layers == 1 for run in script.runs())
    for experiment in suite.experiments:
        assert experiment.evaluation.test_digits[-1] > experiment.question.train.longest
        trained = experiment.question.train.lengths
        assert {trained[0], trained[-1]} <= set(experiment.evaluation.test_digits)
        assert next(experiment.runs()).decoder().n_layers >= 1


def test_unknown_suites_are_named() -> None:
    with pytest.raises(ValueError, match="suite: unknown value 'smok'; did you mean 'smoke'"):
        build("smok")
