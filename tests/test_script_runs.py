"""Script runs of a study: registered first, certified, resumed, refused when changed, outside the claim when wrong."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from carryproof.benchmarks import store
from carryproof.benchmarks.certified import judge
from carryproof.benchmarks.certify import check_certificate, read_certificate
from carryproof.benchmarks.compare import score_study
from carryproof.benchmarks.configuration import Recipe
from carryproof.benchmarks.engine import Engine
from carryproof.benchmarks.literature import REACHES
from carryproof.benchmarks.registry import read_registry, registry_hash
from carryproof.benchmarks.report import write_report
from carryproof.benchmarks.runner import Event, run_suite, settled_script_engine
from carryproof.benchmarks.script_runs import ScriptConfig, ScriptExperiment, execute_script
from carryproof.benchmarks.scripted import ScriptRun
from carryproof.benchmarks.suites import Suite
from carryproof.models.checkpoints import load

COPY = Recipe(n_layers=1, n_heads=2, d_model=32, d_mlp=64, steps=120, batch=64, learning_rate=5e-3, warmup_steps=20)
RIGHT = ScriptExperiment(
    subject={"name": "copy", "base": 2}, lengths=(1, 2), recipe=COPY, tests=((1, 20), (5, 20), (60, 5)), seeds=(0, 1)
)
# Three steps teach nothing: its windows are wrong.
WRONG = ScriptExperiment(
    subject={"name": "addition", "base": 10},
    lengths=(1, 2, 3),
    recipe=replace(COPY, steps=3),
    tests=((1, 20), (40, 20)),
    seeds=(0,),
)
SUITE = Suite(name="scripts", title="Scripts alone", experiments=(), scripts=(RIGHT, WRONG))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("study")
    run_suite(SUITE, out, jobs=1)
    return out


def copy_of(study: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(study, tmp_path / "copy"))


def edited(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(path.read_text())
    return value


def test_what_is_forced_is_registered_before_training(finished: Path) -> None:
    registry, sha256 = read_registry(finished)
    assert [each["verdict"] for each in registry["scripts"]] == ["forced", "forced"]
    assert [each["test_digits"] for each in registry["scripts"]] == ["every length"] * 2
    assert [each["runs"] for each in registry["scripts"]] == [
        [run.run_id for run in each.runs()] for each in SUITE.scripts
    ]
    registered = (finished / "predictions.json").stat().st_mtime_ns
    for run in SUITE.script_runs():
        folder = finished / "runs" / run.run_id
        assert (folder / "run.json").stat().st_mtime_ns > registered
        record = store.read_script_run(finished, run.run_id)
        assert (record["kind"], record["registry_sha256"], record["status"]) == ("script", sha256, "finished")
        model = load(folder / "model.safetensors")
        again = check_certificate(read_certificate(folder / store.CERTIFICATE), model)
        assert again.windows == record["certificate"]["windows"] and again.wrong == record["certificate"]["wrong"]


def test_certified_runs_and_wrong_ones_are_told_apart(finished: Path) -> None:
    right, wrong = score_study(finished).scripts
    assert [run.outcome for run in right.runs] == ["certified", "certified"] and right.outcome == "confirmed"
    assert [set(run.shares.values()) for run in right.runs] == [{1.0}, {1.0}] and right.lengths == [1, 5, 60]
    (run,) = wrong.runs
    assert run.outcome == "outside the claim" and run.shares[40] == 0.0 and wrong.outcome == "not testable"
    assert run.reason == f"windows wrong: {run.certificate['wrong']:,} of 20,302" and run.certificate["wrong"] > 1_000
    assert wrong.summary == "its run outside the claim"


def test_the_report_shows_every_script_run(finished: Path, tmp_path: Path) -> None:
    page = write_report(score_study(finished), tmp_path / "report").read_text()
    assert "windows wrong: " in page and "right on all 8 windows, beyond rounding" in page
    assert all(f"<code>{run.run_id}</code>" in page for run in SUITE.script_runs())
    assert all(each.source in page for each in REACHES)
    with (tmp_path / "report" / "certified.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["run_id"], int(row["test_digits"])) for row in rows] == [
        (run.run_id, length) for run in SUITE.script_runs() for length, _ in run.tests
    ]
    assert {row["outcome"] for row in rows} == {"certified", "outside the claim"}
    table = (tmp_path / "report" / "tables" / "certified.tex").read_text()
    assert table.count("certified \\\\") == 2 and "outside the claim" in table
    assert (tmp_path / "report" / "figures" / "closing.svg").stat().st_size > 4_000


def test_a_second_start_makes_what_is_missing_alike(finished: Path, tmp_path: Path) -> None:
    out = copy_of(finished, tmp_path)
    first, second, _ = SUITE.script_runs()
    before = (out / "runs" / first.run_id / "run.json").read_bytes()
    (out / "runs" / second.run_id / "run.json").unlink()
    events: list[Event] = []
    run_suite(SUITE, out, jobs=1, on_event=events.append)
    assert {event.run.run_id for event in events} == {second.run_id}
    assert [event.result for event in events if event.record] == ["certified"]
    assert all("copy" in event.label and event.label.endswith("seed 1") for event in events)
    assert (out / "runs" / first.run_id / "run.json").read_bytes() == before
    old, new = (store.read_script_run(each, second.run_id) for each in (finished, out))
    for key in ("records", "loss", "certificate", "model_sha256"):
        assert old[key] == new[key]
    assert len(new["loss"]) == 20 and all(0 <= point["in_range"] <= 1 for point in new["loss"])


def test_a_run_that_is_missing_is_counted(finished: Path, tmp_path: Path) -> None:
    out = copy_of(finished, tmp_path)
    shutil.rmtree(out / "runs" / SUITE.script_runs()[1].run_id)
    result = score_study(out)
    assert [run.outcome for run in result.scripts[0].runs] == ["certified", "not finished"]
    assert result.scripts[0].summary == "of 2 runs 1 certified, 1 not finished"
    assert "planned, without a result" in write_report(result, tmp_path / "report").read_text()


def test_changed_scripts_are_never_scored(finished: Path, tmp_path: Path) -> None:
    out = copy_of(finished, tmp_path)
    path = out / "predictions.json"
    value = edited(path)
    value["scripts"][1]["verdict"] = "permitted"
    path.write_text(json.dumps(value))
    with pytest.raises(ValueError, match="changed after they were registered"):
        score_study(out)
    value["sha256"] = registry_hash(value)  # a careful forger fixes the hash as well
    path.write_text(json.dumps(value))
    with pytest.raises(ValueError, match="was trained under registry"):
        score_study(out)
    with pytest.raises(ValueError, match="differ from today's"):
        run_suite(SUITE, out, jobs=1)
    for change in ({"seeds": (0,)}, {"lengths": (1, 2, 3)}, {"tests": ((1, 20),)}):
        with pytest.raises(ValueError, match="choose another --out"):
            run_suite(replace(SUITE, scripts=(replace(RIGHT, **change), WRONG)), finished, jobs=1)
    with pytest.raises(ValueError, match="choose another --out"):
        run_suite(replace(SUITE, scripts=()), finished, jobs=1)


def test_a_registry_without_scripts_stays_as_it_is(tmp_path: Path) -> None:
    run_suite(replace(SUITE, scripts=()), tmp_path, jobs=1)  # what versions before scripts wrote
    before = (tmp_path / "predictions.json").read_bytes()
    assert "scripts" not in edited(tmp_path / "predictions.json")
    counts: list[tuple[int, int]] = []
    run_suite(SUITE, tmp_path, jobs=1, on_start=lambda pending, done: counts.append((len(pending), done)))
    assert counts == [(0, 0)] and (tmp_path / "predictions.json").read_bytes() == before
    result = score_study(tmp_path)
    assert result.scripts == ()
    assert 'id="certified"' not in write_report(result, tmp_path / "report").read_text()
    assert not (tmp_path / "report" / "certified.csv").exists()


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("run.json", {"model_sha256": "0" * 64}),
        ("run.json", {"records": [{"test_digits": 1, "problems": 20, "correct": 21}]}),
        ("run.json", {"prediction_id": "x"}),
        ("run.json", {"certify_seconds": None}),
        ("certificate.json", {"windows": 9}),
        ("certificate.json", {"wrong": "none"}),
        ("run.json", {"records": []}),
        ("certificate.json", {"slack": None}),
        ("certificate.json", {"slack": -0.5}),
        ("certificate.json", {"verdict": "undecided"}),
        ("certificate.json", {"subject": {"name": "reversal"}}),
        ("certificate.json", {"encoding": "window:0+0"}),
        ("certificate.json", {"trained": {"lengths": [1]}}),
    ],
)
def test_damaged_script_runs_are_one_line(finished: Path, tmp_path: Path, file: str, change: dict) -> None:
    out = copy_of(finished, tmp_path)
    path = out / "runs" / SUITE.script_runs()[0].run_id / file
    path.write_text(json.dumps(edited(path) | change))
    with pytest.raises(ValueError, match="corrupt results file") as error:
        score_study(out)
    assert "\n" not in str(error.value)


def test_a_missing_certificate_is_named(finished: Path, tmp_path: Path) -> None:
    out = copy_of(finished, tmp_path)
    (out / "runs" / SUITE.script_runs()[0].run_id / "certificate.json").unlink()
    for use in (score_study, lambda out: run_suite(SUITE, out, jobs=1)):
        with pytest.raises(ValueError, match=r"certificate\.json: no such file"):
            use(out)


def test_a_diverged_run_is_kept_without_a_certificate(tmp_path: Path) -> None:
    recipe = replace(COPY, steps=10, learning_rate=1e38, clip=1e38)
    config = next(replace(RIGHT, recipe=recipe).runs())
    record = execute_script(config, tmp_path, registry_sha256="a", prediction_id="b")
    assert record["status"] == record["verdict"] == "diverged" and len(record["records"]) == 3
    kept = store.read_script_run(tmp_path, config.run_id)
    assert kept["certificate"] is None and kept["loss"][-1]["loss"] is None
    assert judge(kept) == ("outside the claim", "diverged: its weights are not finite")


CERTIFIED = {"verdict": "certified", "windows": 46, "wrong": 0}


@pytest.mark.parametrize(
    ("certificate", "correct", "outcome", "reason"),
    [
        (CERTIFIED, (5, 2), "certified", "right on all 46 windows, beyond rounding, and on all 7 problems"),
        (CERTIFIED, (5, 1), "refuted", "certified, and yet wrong on 1 of 2 at 1,000 digits"),
        (CERTIFIED, (4, 0), "refuted", "1 of 5 at 9 digits, 2 of 2 at 1,000 digits"),
        (CERTIFIED | {"verdict": "refuted", "wrong": 3}, (5, 2), "outside the claim", "windows wrong: 3 of 46"),
        (CERTIFIED | {"verdict": "undecided"}, (5, 2), "outside the claim", "within what rounding can change"),
        (None, (0, 0), "outside the claim", "diverged"),
    ],
)
def test_judgements(certificate: dict | None, correct: tuple[int, int], outcome: str, reason: str) -> None:
    tested = zip((9, 1_000), (5, 2), correct, strict=True)
    records = [{"test_digits": length, "problems": of, "correct": right} for length, of, right in tested]
    found = judge({"certificate": certificate, "records": records})
    assert found[0] == outcome and reason in found[1]


def test_the_run_id_covers_everything_that_changes_numbers() -> None:
    base = next(RIGHT.runs())
    changes = [{"lengths": (1, 2, 3)}, {"recipe": replace(COPY, steps=9)}, {"tests": ((1, 20),)}, {"seeds": (7,)}]
    changes += [{"engine": Engine(dtype="bfloat16")}]
    others = [next(replace(RIGHT, **change).runs()) for change in changes]
    assert len({base.run_id, *(other.run_id for other in others)}) == 6 and replace(base).run_id == base.run_id


def test_a_number_format_is_asked_for_or_gone_on_with(tmp_path: Path) -> None:
    assert settled_script_engine(tmp_path) == Engine(dtype="float32")  # in which scripts are no slower
    half = settled_script_engine(tmp_path, dtype="bfloat16")
    suite = replace(SUITE, scripts=(replace(RIGHT, seeds=(0,)),)).scripts_on(half)
    run_suite(suite, tmp_path, jobs=1)
    (run,) = suite.script_runs()
    assert store.read_script_run(tmp_path, run.run_id)["config"]["script"]["dtype"] == "bfloat16"
    assert settled_script_engine(tmp_path) == half
    assert score_study(tmp_path).scripts[0].outcome == "confirmed"


def test_what_cannot_be_measured_or_told_apart_is_refused() -> None:
    script = ScriptRun(subject=RIGHT.subject, lengths=(1,), recipe=COPY, seed=0)
    for tests in (((2, 1), (1, 1)), ((1, 1), (1, 2)), ()):
        with pytest.raises(ValueError, match=r"^tests: got"):
            ScriptConfig(script=script, tests=tests)
    with pytest.raises(ValueError, match="problems of 4 digits: got 0"):
        ScriptConfig(script=script, tests=((4, 0),))
    with pytest.raises(ValueError, match=r"^scripts: got"):
        replace(SUITE, scripts=(RIGHT, replace(RIGHT, recipe=replace(COPY, steps=9))))
