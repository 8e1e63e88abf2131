"""Shortest sufficient training: computed accuracy against every problem, both sides of law L19, and resuming."""

import csv
import json
from dataclasses import replace
from functools import cache
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
import torch

from carryproof.benchmarks import guided, minimal, right_windows
from carryproof.benchmarks.certify import certify, decode
from carryproof.benchmarks.configuration import Recipe
from carryproof.benchmarks.draws import draw_digits
from carryproof.benchmarks.guided import problems_by_size, train_guided
from carryproof.benchmarks.minimal import MEASURED, STUDIES, Study, run_study, summary, write_tables
from carryproof.benchmarks.minimal_figure import draw_minimal
from carryproof.benchmarks.right_windows import (
    answered,
    beyond_rounding,
    never_shown,
    share_right,
    shown_windows,
    wrong_windows,
)
from carryproof.benchmarks.scripted import ScriptRun, ScriptTraining, process_named, train_script
from carryproof.models import Decoder
from carryproof.theory.coverage import families, windows_of_views, windows_shown
from carryproof.theory.readers import reader_of
from carryproof.theory.scripts import Script

SMALL = Recipe(n_layers=1, n_heads=2, d_model=32, d_mlp=128, steps=600, batch=128, learning_rate=5e-3, warmup_steps=30)
HALF = replace(SMALL, steps=120)
ALL_AT_MOST = 10_000  # problems of one size
SUBJECTS = [
    {"name": "addition", "base": 2},
    {"name": "addition", "base": 3},
    {"name": "addition", "base": 3, "operands": 3},
    {"name": "unsigned-subtraction", "base": 3},
    {"name": "times-one-digit", "base": 4},
    {"name": "horner", "base": 3, "operands": 2, "modulus": 5},
    {"name": "running-comparison", "base": 3},
    {"name": "copy", "base": 5},
]
BINARY = SUBJECTS[0]
every_subject = pytest.mark.parametrize("subject", SUBJECTS, ids=lambda each: "-".join(map(str, each.values())))


@cache
def binary(longest: int) -> Decoder:
    run = ScriptRun(subject=BINARY, lengths=tuple(range(1, longest + 1)), recipe=SMALL, seed=0)
    return train_script(run)[0]


@cache
def broken(index: int = 0, seed: int = 0) -> tuple[Decoder, Script]:
    """A model that is wrong on some windows: briefly trained, then biased towards one token until it errs."""
    run = ScriptRun(subject=SUBJECTS[index], lengths=(1, 2, 3), recipe=HALF, seed=seed)
    model, script = train_script(run)[0], run.script()
    every = windows_of_views(script.process)
    with torch.no_grad():
        while not len(wrong_windows(model, script, every)):
            model.unembed.b_U[1] += 0.25
    return model, script


def all_problems(process, size: int) -> list[np.ndarray]:
    widths = process.widths(size)
    values = np.array(list(product(range(process.base), repeat=sum(widths))), dtype=np.uint8)
    operands = np.split(values, np.cumsum(widths)[:-1], axis=1)
    if process.domain is not None:
        inside = process.domain(operands)
        operands = [each[inside] for each in operands]
    return operands


@pytest.mark.parametrize("index", range(len(SUBJECTS)), ids=lambda index: SUBJECTS[index]["name"])
def test_the_computed_accuracy_is_that_of_all_problems(index: int) -> None:
    model, script = broken(index)
    process = script.process
    every = windows_of_views(process)
    right = np.setdiff1d(every, wrong_windows(model, script, every), assume_unique=True)
    shares = []
    for size in range(1, 5):
        if process.base ** sum(process.widths(size)) <= ALL_AT_MOST:
            found = answered(model, script, all_problems(process, size))
            assert share_right(process, right, size) * len(found) == found.sum(), size
            shares.append(found.mean())
    assert len(shares) > 1 and any(0 < share < 1 for share in shares)
    assert share_right(process, every, 4) == 1 and share_right(process, every[:0], 4) == 0


@every_subject
def test_families_are_those_of_the_coverage_laws(subject) -> None:
    process = process_named(subject)
    reader = reader_of(process)
    for size in (1, 2, 5):
        (family,) = families(process, size, "spelled", None)
        assert np.array_equal(reader.windows(family)[0], windows_shown(process, [size], law="spelled"))
        if process.base ** sum(process.widths(size)) <= ALL_AT_MOST:
            assert reader.count(family) == len(all_problems(process, size)[0])


@every_subject
def test_what_was_never_shown_falls_to_nothing_at_the_shortest_sufficient_length(subject) -> None:
    study = Study(name="any", title="any", subject=subject, recipe=SMALL)
    process, shortest = process_named(subject), study.shortest
    assert study.runs(seeds=2)[-1].lengths == tuple(range(1, shortest + 1))
    missing = [len(never_shown(process, range(1, n + 1))) for n in range(1, shortest + 1)]
    assert missing == sorted(missing, reverse=True) and missing[-1] == 0 and 0 not in missing[:-1]
    curves = []
    for n in range(1, shortest + 1):
        known = shown_windows(process, range(1, n + 1))
        curves.append([share_right(process, known, size) for size in range(1, 6)])
        assert curves[-1][:n] == [1] * n  # right on all that training showed, hence on the trained lengths
    for fewer, more in pairwise(curves):
        assert all(low <= high for low, high in zip(fewer, more, strict=True))
    assert curves[-1] == [1] * 5 and all(curve[-1] < 1 for curve in curves[:-1])


@pytest.mark.parametrize("longest", [1, 2, 3])
def test_both_sides_of_the_law_in_base_2(longest: int) -> None:
    """Right on what training showed: below n* wrong on nothing else, and at n* right at every length."""
    run = ScriptRun(subject=BINARY, lengths=tuple(range(1, longest + 1)), recipe=SMALL, seed=0)
    script, model = run.script(), binary(longest)
    for size in run.lengths:
        assert answered(model, script, all_problems(script.process, size)).all()
    wrong = wrong_windows(model, script, windows_of_views(script.process))
    assert np.isin(wrong, never_shown(script.process, run.lengths)).all()
    found = certify(model, BINARY, trained={"lengths": list(run.lengths)})
    assert found.wrong == len(wrong) and found.holds == (longest == 3)
    assert (len(wrong) > 0) == (longest < 3)


def test_computed_and_measured_accuracy_agree_within_sampling_error() -> None:
    study = replace(STUDIES["addition-base-2"], measured=(1, 2, 3, 5, 10, 20, 50), computed=(), problems=2_000)
    values = []
    for seed in (0, 1):
        model, script = broken(0, seed)
        wrong = wrong_windows(model, script, windows_of_views(script.process))
        points = minimal.accuracy_points(study, model, script, wrong, seed)
        values += [point.p_value for point in points]
        assert any(0.02 < point.computed_float < 0.98 for point in points)
    assert min(minimal.holm(values)) > 0.01


def test_one_pass_is_greedy_decoding_in_chunks_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    model, script = broken()
    operands = draw_digits(script.process, 6, 40, np.random.default_rng(0))
    tokens, start = script.write(operands), script.prompt_length(6)
    greedy = [decode(model, script, torch.from_numpy(text[:start]), 6) == text[start:].tolist() for text in tokens]
    assert answered(model, script, operands).tolist() == greedy and 0 < sum(greedy) < 40
    for rows in (3, 8, 17):
        monkeypatch.setattr(right_windows, "ROWS_AT_ONCE", rows)
        monkeypatch.setattr("carryproof.models.windowed.ROWS_AT_ONCE", rows)
        assert answered(model, script, operands).tolist() == greedy


def test_a_model_that_is_no_longer_finite_is_wrong_everywhere() -> None:
    script = STUDIES["addition-base-2"].runs(1)[0].script()
    broken = Decoder(binary(3).config)
    broken.load_state_dict(binary(3).state_dict())
    with torch.no_grad():
        broken.unembed.b_U[0] = torch.nan
    every = windows_of_views(script.process)
    assert len(wrong_windows(broken, script, every)) == len(every)
    with torch.no_grad():
        for weight in (broken.unembed.b_U, broken.unembed.W_U):
            weight.zero_()
    assert len(wrong_windows(broken, script, every)) == len(every)  # a tie decides nothing
    assert beyond_rounding(binary(3), script, every) and not beyond_rounding(broken, script, every)


@pytest.fixture
def tiny() -> Study:
    recipe = replace(SMALL, steps=40, batch=32)
    return Study(
        name="tiny",
        title="binary addition",
        subject=BINARY,
        recipe=recipe,
        measured=(1, 2, 5),
        computed=(3,),
        problems=50,
    )


def without_time(records: list[dict]) -> list[dict]:
    return [{key: value for key, value in record.items() if key != "train_seconds"} for record in records]


def test_a_stopped_study_goes_on_where_it_was(tiny: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop_after_two(record: dict) -> None:
        if record["longest"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(tiny, tmp_path / "stopped", seeds=1, progress=stop_after_two)
    trained = []
    measure = minimal.measure

    def watched(study: Study, run: ScriptRun) -> tuple[dict, Decoder]:
        trained.append(run.lengths[-1])
        return measure(study, run)

    monkeypatch.setattr(minimal, "measure", watched)
    again = run_study(tiny, tmp_path / "stopped", seeds=1)
    assert trained == [3]
    whole = run_study(tiny, tmp_path / "whole", seeds=1)
    assert without_time(again) == without_time(whole)
    assert run_study(tiny, tmp_path / "whole", seeds=1) == whole and trained == [3, 1, 2, 3]
    path = tmp_path / "whole" / "runs" / whole[0]["run_id"] / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"config": {}}))
    with pytest.raises(ValueError, match="its configuration is not the one its folder is named after"):
        run_study(tiny, tmp_path / "whole", seeds=1)


def test_tables_and_figure_hold_every_run(tiny: Study, tmp_path: Path) -> None:
    records = run_study(tiny, tmp_path, seeds=2)
    write_tables(records, tmp_path)
    rows = list(csv.DictReader((tmp_path / "windows.csv").read_text().splitlines()))
    assert [(row["longest"], row["seed"]) for row in rows] == [(n, s) for n in "123" for s in "01"]
    assert [row["never_shown"] for row in rows[::2]] == ["36", "16", "0"]
    assert len(list(csv.DictReader((tmp_path / "curves.csv").read_text().splitlines()))) == 6 * 4
    (told,) = json.loads((tmp_path / "summary.json").read_text())["studies"]
    assert told == summary(records) and (told["runs"], told["points"], told["shortest"]) == (6, 18, 3)
    drawn = [draw_minimal(records, {"tiny": tiny.title}, tmp_path) for _ in range(2)]
    assert drawn[0] == drawn[1]
    for ending in ("png", "svg", "pdf"):
        assert (tmp_path / f"minimal.{ending}").stat().st_size > 1_000


def test_the_command_line(tiny: Study, tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(STUDIES, "tiny", tiny)
    threads = torch.get_num_threads()
    assert minimal.main(["--out", str(tmp_path), "--study", "tiny", "--seeds", "1"]) == 0
    assert "tiny n=3 seed=0: 46 windows, 0 never shown" in capsys.readouterr().out
    assert minimal.main(["--out", str(tmp_path), "--study", "tine"]) == 2
    assert minimal.main(["--out", str(tmp_path), "--study", "tiny", "--seeds", "0"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"minimal: study: unknown value 'tine'; did you mean 'tiny'? allowed: {', '.join(sorted(STUDIES))}",
        "minimal: seeds: got 0; allowed: an integer of at least 1",
    ]
    torch.set_num_threads(threads)
    assert all(study.measured == MEASURED for name, study in STUDIES.items() if name != "tiny")


@pytest.mark.parametrize("longest", [2, 3])
def test_guided_training_feeds_back_shown_windows_alone(longest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    run = ScriptRun(subject=BINARY, lengths=tuple(range(1, longest + 1)), recipe=SMALL, seed=0)
    sizes, fed = [], []
    step, by_size = ScriptTraining.on_problems, guided.problems_by_size

    def watched(training, operands, scale) -> tuple[float, float]:
        sizes.append({digits.shape for digits in operands})
        return step(training, operands, scale)

    def watched_feeding(process, windows):
        fed.extend(windows.tolist())
        return by_size(process, windows)

    monkeypatch.setattr(ScriptTraining, "on_problems", watched)
    monkeypatch.setattr(guided, "problems_by_size", watched_feeding)
    found = train_guided(run, every=40)
    script = run.script()
    shown = shown_windows(script.process, run.lengths)
    assert (
        found.closed
        and beyond_rounding(found.model, script, shown)
        and found.wrong[-1] == 0 == len(wrong_windows(found.model, script, shown))
    )
    assert len(sizes) == found.steps < SMALL.steps and found.steps % 40 == 0
    assert set().union(*sizes) == {(SMALL.batch, size) for size in run.lengths}
    assert np.isin(fed, shown).all() and len(set(fed)) == found.windows_fed > 0 and found.problems_fed > 0
    assert certify(found.model, BINARY, trained={}).holds == (longest == 3)


def test_guided_training_may_run_out_of_steps() -> None:
    run = ScriptRun(subject=BINARY, lengths=(1, 2), recipe=replace(SMALL, steps=25), seed=0)
    found = train_guided(run, every=10)
    control = train_guided(run, every=10, at_once=0)
    assert control.windows_fed == control.problems_fed == 0 < found.windows_fed
    assert not found.closed and found.steps == 25 and len(found.wrong) == 3 and found.wrong[-1] > 0
    with pytest.raises(ValueError, match=r"lengths: got \(2, 3\); allowed: 1 to n, all of them"):
        train_guided(replace(run, lengths=(2, 3)))


@every_subject
def test_problems_that_flow_back_present_their_windows(subject) -> None:
    process = process_named(subject)
    keys = shown_windows(process, (1, 2))[::7]
    found = problems_by_size(process, keys)
    assert set(found) <= {1, 2} and sum(len(digits[0]) for digits in found.values()) == len(keys)
