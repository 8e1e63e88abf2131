"""The family's table: records of what is trained, the comparison with the published counts, and what falls short."""

import json
from dataclasses import replace
from fractions import Fraction
from math import comb
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carryproof.benchmarks.configuration import Recipe
from carryproof.benchmarks.statistics import excess, paired
from carryproof.benchmarks.store import write_json
from carryproof.circuits import records
from carryproof.circuits.family import FAMILY
from carryproof.circuits.records import collect, read_proofs, read_records
from carryproof.circuits.table import compare, markdown, summary
from carryproof.circuits.training import CircuitRun, execute, measure
from carryproof.cli import main
from carryproof.models import load

TINY = Recipe(d_model=24, n_heads=3, d_head=8, n_layers=2, activation="relu", steps=2, batch=4)
NAME = "add_d5_l2_h3_s1"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of trainings with one row in it, and another row that is not tested yet."""
    folder = tmp_path_factory.mktemp("circuits")
    run = CircuitRun(name=NAME, recipe=TINY, seed=0)
    execute(run, folder)
    measure(run, folder, 60)
    execute(CircuitRun(name="add_d6_l2_h3_s1", recipe=TINY, seed=0), folder)
    return folder


def made(name: str, *failures: int, problems: int = 1_000_000) -> dict[str, Any]:
    """A record with these failures on the random problems of each operation, and none on the others."""
    tests = [
        {"operation": operation, "set": each, "problems": problems, "failures": count, "interval": [0.0, 9.0]}
        for operation, failed in zip(FAMILY[name].operations, failures, strict=True)
        for each, count in (("random", failed), ("stratified", 0))
    ]
    about = {"row": name, "status": "finished", "parameters": 55_000, "train_seconds": 300.0, "test_seconds": 80.0}
    return about | {"tests": tests}


@settings(max_examples=60)
@given(st.integers(1, 8), st.integers(1, 8), st.data())
def test_fishers_test_counts_tables(problems: int, others: int, data: st.DataObject) -> None:
    failures, other = data.draw(st.integers(0, problems)), data.draw(st.integers(0, others))
    total = failures + other
    tables = sum(comb(problems, k) * comb(others, total - k) for k in range(failures, min(total, problems) + 1))
    assert excess(failures, problems, other, others) == pytest.approx(
        float(Fraction(tables, comb(problems + others, total)))
    )


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=9), st.floats(-1e3, 1e3))
def test_pairs_are_significant_where_their_interval_leaves_zero_out(values: list[float], shift: float) -> None:
    effect = paired(values)
    assert effect.low <= effect.mean <= effect.high and 0 <= effect.p <= 1
    if max(values) - min(values) > 1e-6:
        decisive = 1e-9 * (1 + max(map(abs, values)))
        if abs(effect.low) > decisive and abs(effect.high) > decisive:
            assert (effect.p < 0.05) == (effect.low > 0 or effect.high < 0)
        moved = paired([value + shift for value in values])
        assert moved.high - moved.low == pytest.approx(effect.high - effect.low, rel=1e-3, abs=1e-6)


def test_one_pair_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^pairs: got 1; allowed: at least 2"):
        paired([1.0])


def test_verdicts_are_those_of_the_random_problems() -> None:
    found = compare(
        {
            "add_d5_l1_h3": made("add_d5_l1_h3", 12_700),
            "add_d5_l2_h3_s1": made("add_d5_l2_h3_s1", 5),
            "mix_d6_l3_h4": made("mix_d6_l3_h4", 1, 4),
            "sub_d6_l2_h3_s1": made("sub_d6_l2_h3_s1", 0) | {"status": "diverged"},
            "sub_d6_l2_h3_s2": made("sub_d6_l2_h3_s2", 0, problems=1_000),
        }
    )
    assert len(found) == sum(len(row.operations) for row in FAMILY.values()) == 69
    said = {(line.row.name, line.operation): line for line in found}
    assert said["add_d5_l1_h3", "add"].verdict == "no worse" and not said["add_d5_l1_h3", "add"].solved
    assert said["add_d5_l2_h3_s1", "add"].verdict == "worse"
    assert said["add_d5_l2_h3_s1", "add"].p == pytest.approx(2**-5, rel=1e-4)
    assert said["mix_d6_l3_h4", "add"].verdict == said["mix_d6_l3_h4", "sub"].verdict == "no worse"
    assert said["mix_d6_l3_h4", "add"].solved and not said["mix_d6_l3_h4", "sub"].solved
    assert said["sub_d6_l2_h3_s1", "sub"].verdict == "diverged"
    assert said["sub_d6_l2_h3_s2", "sub"].verdict == "no worse" and not said["sub_d6_l2_h3_s2", "sub"].solved
    counts = summary(found)
    assert (counts["rows"], counts["trained"], counts["no_worse"], counts["solved"]) == (46, 5, 3, 1)
    assert counts["worse"] == ["add_d5_l2_h3_s1", "sub_d6_l2_h3_s1"] and len(counts["not_trained"]) == 41
    assert counts["train_hours"] == pytest.approx(5 * 300 / 3600)  # a mixed row once, though it has two lines
    page = markdown(found)
    assert "Worse: add_d5_l2_h3_s1, sub_d6_l2_h3_s1." in page and page.count("not trained yet") == 69 - 6
    assert "| add_d5_l2_h3_s1 | add | 5.0 (0.0 to 9.0) | 0.0 (0.0 to 9.0) | 0 | 0.031 | worse | 300 | 55,000 |" in page


def test_records_of_no_row_or_without_a_test_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^records: unknown value 'add_d5_l2_h9'"):
        compare({"add_d5_l2_h9": {}})
    with pytest.raises(ValueError, match=r"^record of mix_d6_l3_h4: no test of 'add' on random problems"):
        compare({"mix_d6_l3_h4": made("mix_d6_l3_h4", 0, 0) | {"tests": []}})


def test_what_is_trained_and_tested_is_kept(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["circuits", "table", "--runs", str(runs), "--out", str(tmp_path)]
    assert main(given) == 0
    assert capsys.readouterr().out == (tmp_path / "table.md").read_text()
    (record,) = read_records(tmp_path).values()
    assert record["row"] == NAME and record["config"]["recipe"]["steps"] == 2 and record["hardest"] == 11
    for test in record["tests"]:
        assert sum(failures for failures, _ in test["classes"].values()) == test["failures"]
        assert sum(problems for _, problems in test["classes"].values()) == test["problems"]
    kept = json.loads((tmp_path / "models.json").read_text())
    assert kept["model_sha256"] == {NAME: record["model_sha256"]} and kept["bytes"] < 100_000
    assert load(tmp_path / "models" / f"{NAME}.safetensors").config.n_layers == 2
    assert main([*given, "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert table["summary"]["trained"] == 1 and table["lines"][1]["verdict"] in ("worse", "no worse")
    # from the records alone, without the trainings
    before = (tmp_path / "table.md").read_bytes()
    assert main(["circuits", "table", "--runs", str(tmp_path / "none"), "--out", str(tmp_path)]) == 0
    assert (tmp_path / "table.md").read_bytes() == before


def test_proofs_of_the_same_weights_are_kept(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    proofs, out = tmp_path / "proofs", tmp_path / "out"
    proofs.mkdir()
    sha256 = json.loads((runs / NAME / "train.json").read_text())["model_sha256"]
    numbers = {"digits": 5, "problems": 100, "failures": 3, "smallest_margin": -0.25, "seconds": 7.0}
    written = [
        {"model_sha256": sha256, "operation": "add", **numbers},
        {"model_sha256": "0", "operation": "sub", **numbers},
    ]
    write_json(proofs / f"{NAME}.json", {"proofs": written})
    collect(runs, out, proofs=proofs)
    assert read_proofs(out) == [(NAME, written[0])]
    collect(runs, out)  # the record keeps them
    assert read_proofs(out) == [(NAME, written[0])]
    again = written[0] | {"seconds": 8.0}
    write_json(proofs / f"{NAME}.json", {"proofs": [again, written[1]]})
    collect(tmp_path / "none", out, proofs=proofs)  # nor does it need the training for what was decided since
    assert read_proofs(out) == [(NAME, again)]
    write_json(proofs / f"{NAME}.json", {"proofs": written})
    collect(runs, out, proofs=proofs)
    given = ["circuits", "table", "--runs", str(runs), "--out", str(out), "--proofs"]
    assert main([*given, str(tmp_path / "none")]) == 0
    assert f"| {NAME} | add | 100 | 3 | -0.2 | 7 |" in capsys.readouterr().out
    assert json.loads((out / "table.json").read_text())["proofs"] == [{"model": NAME, **written[0]}]
    write_json(proofs / f"{NAME}.json", {"proofs": [{"operation": "add"}]})
    assert main([*given, str(proofs)]) == 2
    assert f"{NAME}.json" in capsys.readouterr().err


def test_records_that_do_not_fit_are_refused(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    collect(runs, tmp_path)
    monkeypatch.setattr(records, "BYTES_AT_MOST", 1_000)
    with pytest.raises(ValueError, match=r"^weights of examples: got '.* bytes'; allowed: at most 1,000 in all"):
        collect(runs, tmp_path)
    path = tmp_path / "records" / f"{NAME}.json"
    path.write_text(path.read_text().replace('"tests"', '"test"', 1))
    assert main(["circuits", "table", "--runs", str(tmp_path / "none"), "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    copied = tmp_path / "runs" / NAME
    copied.mkdir(parents=True)
    for file in (runs / NAME).iterdir():
        (copied / file.name).write_bytes(file.read_bytes())
    other = CircuitRun(name=NAME, recipe=replace(TINY, steps=1), seed=0)
    execute(other, tmp_path / "other")
    (copied / "model.safetensors").write_bytes((tmp_path / "other" / NAME / "model.safetensors").read_bytes())
    with pytest.raises(ValueError, match=r"its weights are not those of train\.json"):
        collect(tmp_path / "runs", tmp_path / "results")
    (copied / "train.json").write_bytes((tmp_path / "other" / NAME / "train.json").read_bytes())
    with pytest.raises(ValueError, match=r"it is about another model than train\.json"):
        collect(tmp_path / "runs", tmp_path / "results")
