"""The study of insertion: arms that differ in their first weights only, resumed; effects are paired by seed."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from carryproof.benchmarks.configuration import Recipe
from carryproof.benchmarks.engine import Engine
from carryproof.circuits import arms, insertion_study
from carryproof.circuits.arms import ARMS, ArmRun, begin, moments, sources, target, train_arm
from carryproof.circuits.family import FAMILY, decoder_config
from carryproof.circuits.insertion import GROUPS
from carryproof.circuits.insertion_figure import curves, draw_curves
from carryproof.circuits.insertion_study import findings, outcome, plans, reached, run_study
from carryproof.circuits.mixture import Mixture, draw
from carryproof.circuits.texts import write
from carryproof.circuits.training import MODEL
from carryproof.cli import main
from carryproof.console import print_findings
from carryproof.models import Decoder, checkpoints

TINY = Recipe(d_model=16, n_heads=4, d_head=4, d_mlp=16, n_layers=3, activation="relu", steps=3, batch=4)
NAME = "add_d5_l2_h3_s1"
TEXTS = torch.from_numpy(write(draw(Mixture(), digits=5, seed=0, first=0, count=20)))


@pytest.fixture(scope="module")
def source() -> Decoder:
    recipe = replace(TINY, n_layers=2, n_heads=3)
    return Decoder.init(decoder_config(FAMILY[NAME], recipe), torch.Generator().manual_seed(100))


def run_of(arm: str, source: Decoder, **changes: Any) -> ArmRun:
    trained = {}
    if ARMS[arm].source == "trained":
        trained = {"source": NAME, "source_sha256": checkpoints.digest(source.state_dict())}
    given = {"arm": arm, "digits": 5, "seed": 0, "recipe": TINY, "problems": 6, "last_problems": 6} | trained
    return ArmRun(**given | changes)


def begun(arm: str, source: Decoder, seed: int = 0) -> Decoder:
    return begin(run_of(arm, source, seed=seed), source if ARMS[arm].source == "trained" else None)


@pytest.mark.parametrize("arm", ARMS)
def test_only_a_whole_circuit_adds_before_the_first_step(arm: str, source: Decoder) -> None:
    model, scratch = begun(arm, source), begun("scratch", source)
    same = torch.allclose(model(TEXTS), source(TEXTS), atol=1e-4)
    assert same == (arm in ("left", "right"))
    unlike = torch.equal(model(TEXTS), scratch(TEXTS))
    assert unlike == (arm == "scratch")


def test_an_arm_of_one_group_changes_what_that_group_names(source: Decoder) -> None:
    scratch = dict(begun("scratch", source).named_parameters())
    changed = {
        arm: {name for name, value in begun(arm, source).named_parameters() if not torch.equal(value, scratch[name])}
        for arm in (*GROUPS, "left")
    }
    assert changed["embeddings"] == {"embed.W_E", "pos_embed.W_pos"} and changed["output"] == {"unembed.W_U"}
    assert all(".attn." in name for name in changed["attention"]) and all(".mlp." in name for name in changed["mlps"])
    assert set.union(*(changed[group] for group in GROUPS)) == changed["left"]


def test_arms_of_a_seed_share_data_and_what_they_do_not_copy(source: Decoder) -> None:
    one, two = run_of("scratch", source).training, run_of("left", source).training
    assert one == two and one.name == "mix_d5_l3_h4"
    left, scratch, other = begun("left", source), begun("scratch", source), begun("scratch", source, seed=1)
    assert torch.equal(left.blocks[2].mlp.W_in, scratch.blocks[2].mlp.W_in)
    assert not torch.equal(other.blocks[2].mlp.W_in, scratch.blocks[2].mlp.W_in)
    fresh = begun("zeroed", source)
    assert not fresh.blocks[2].mlp.W_out.any() and torch.equal(fresh.blocks[2].attn.W_Q, scratch.blocks[2].attn.W_Q)


@given(st.integers(1, 20_000))
def test_moments_end_with_the_last_step(steps: int) -> None:
    found = moments(steps)
    assert list(found) == sorted(set(found)) and found[-1] == steps and len(found) <= arms.POINTS
    assert found[0] == min(steps, arms.FIRST_POINT)


def test_training_is_a_function_of_its_configuration_and_measured_before_it(source: Decoder) -> None:
    run, seen = run_of("left", source), []
    model, points = train_arm(run, source, seen.append)
    again, _ = train_arm(run, source)
    assert all(map(torch.equal, model.parameters(), again.parameters()))
    assert [point.step for point in points] == [0, 3] and points[1:] == seen and points[0].loss is None
    assert set(points[0].right) == {"add random", "add stratified", "sub random", "sub stratified"}
    assert len({run.run_id, run_of("right", source).run_id, run_of("left", source, seed=1).run_id}) == 3


def test_a_study_is_run_once_and_paired_by_seed(source: Decoder, tmp_path: Path) -> None:
    trained, out = tmp_path / "circuits", tmp_path / "study"
    (trained / NAME).mkdir(parents=True)
    checkpoints.save(trained / NAME / MODEL, source)
    runs = [run_of(arm, source, seed=seed) for seed in (0, 1) for arm in ("scratch", "left")]
    events: list[insertion_study.Event] = []
    run_study(runs, trained, out, jobs=1, on_event=events.append)
    assert sum(event.record is not None for event in events) == len(runs)
    events.clear()
    run_study(runs, trained, out, jobs=1, on_event=events.append)
    assert not events
    records = {run: insertion_study.read_arm(run, out) for run in runs}
    found = findings(records)
    assert [(each.arm, each.outcome, each.seeds) for each in found] == [
        ("left", name, (0, 1)) for name in insertion_study.OUTCOMES
    ]
    written = json.loads(insertion_study.write_findings(found, records, out).read_text())
    assert len(written["runs"]) == 4 and len(written["findings"]) == len(insertion_study.OUTCOMES)
    draw_curves(records, out)
    assert {path.suffix for path in out.glob("insertions.*")} == {".json", ".png", ".svg", ".pdf"}
    assert len(curves(records)) == 4 * 2 * 4
    stranger = replace(runs[1], source_sha256="0" * 64, seed=7)
    with pytest.raises(ValueError, match=r"^sources: got .* whose add_d5_l2_h3_s1 has the weights 000"):
        arms.execute(stranger, trained, out)


def record(shares: list[float], failures: int = 0) -> dict[str, Any]:
    """A run that has these shares of both sets of subtractions right at steps 0, 10, 20, ..."""
    points = [{"step": 10 * at, "right": {"sub random": 1.0, "sub stratified": each}} for at, each in enumerate(shares)]
    tests = [{"operation": name, "problems": 500_000, "failures": failures} for name in ("add", "sub", "sub")]
    return {"points": points, "accuracy": {"tests": tests}}


def test_outcomes_are_what_they_say() -> None:
    slow = record([0.0, 0.5, 0.989, 0.99, 0.9], failures=3)
    assert (reached(slow, 0.99), reached(slow, 0.999), reached(slow, 0.0)) == (30, None, 0)
    assert outcome(slow, "steps_to_99") == math.log2(30) and outcome(slow, "steps_to_99.9") is None
    assert outcome(slow, "failures_per_million") == 6.0
    assert outcome(slow, "share_failed_on_the_way") == pytest.approx((1 + 0.5 + 0.011 + 0.01 + 0.1) / 10)
    with pytest.raises(ValueError, match=r"^outcome: got 'steps'"):
        outcome(slow, "steps")


def test_effects_are_ratios_of_steps_and_want_every_seed(source: Decoder, capsys: pytest.CaptureFixture[str]) -> None:
    late, soon, never = record([0, 0, 0, 0, 1.0], 4), record([0, 0, 1.0, 1.0, 1.0], 2), record([0, 0, 0, 0, 0.995], 2)
    records = {}
    for seed in range(3):
        records |= {run_of("scratch", source, seed=seed): late, run_of("left", source, seed=seed): soon}
        records[run_of("mlps", source, seed=seed)] = never if seed == 2 else soon
    found = {(each.arm, each.outcome): each for each in findings(records)}
    ratio = found["left", "steps_to_99.9"]
    assert ratio.effect is not None and ratio.effect.mean == pytest.approx(0.5)
    assert ratio.values == pytest.approx((20.0,) * 3) and ratio.baseline == pytest.approx((40.0,) * 3)
    assert ratio.p_holm == ratio.effect.p == 0.25
    censored = found["mlps", "steps_to_99.9"]
    assert censored.effect is None and censored.p_holm is None and censored.values[2] is None
    assert found["mlps", "steps_to_99"].effect is not None
    fewer = found["left", "failures_per_million"]
    assert fewer.effect is not None and fewer.effect.mean == pytest.approx(-4.0) and fewer.p_holm == 0.5
    print_findings(found.values(), Path("insertions.json"))
    printed = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["5", "left", "steps_to_99.9", "3", "0.5", "0.5", "to", "0.5", "0.25"] in printed
    assert ["5", "mlps", "steps_to_99.9", "3", "2", "of", "3", "got", "there", "-", "-"] in printed


def test_plans_hold_every_arm_of_every_seed_with_sources_in_turn() -> None:
    hashes = {name: name[-1] * 64 for name in (*sources(5), *sources(6))}
    found = plans((5, 6), 5, hashes, Engine())
    assert len(found) == 2 * 5 * len(ARMS) == len({run.run_id for run in found})
    left = {(run.digits, run.seed): run.source for run in found if run.arm == "left"}
    assert [left[5, seed] for seed in range(5)] == [sources(5)[seed % 2] for seed in range(5)]
    assert [left[6, seed] for seed in range(5)] == [sources(6)[seed % 4] for seed in range(5)]
    assert {run.recipe.steps for run in found} == {insertion_study.STEPS} and set(map(target, (5, 6))) == {
        run.training.name for run in found
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--digits", "4"], "digits: got 4; allowed: 5, 6, 7, 8, 9, 10, 11, 12, 13"),
        (["--digits", "5-x"], "digits: "),
        (["--seeds", "0"], "seeds: got 0; allowed: an integer of at least 1"),
        ([], "with add_d5_l2_h3_s1; `carryproof circuits train add_d5_l2_h3_s1` makes it"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folders = ["--sources", str(tmp_path), "--out", str(tmp_path / "out")]
    assert main(["circuits", "insertions", *arguments, *folders]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_arms_refuse_what_they_cannot_mean(source: Decoder) -> None:
    with pytest.raises(ValueError, match=r"^arm: unknown value 'lefty'; did you mean 'left'"):
        ArmRun(arm="lefty", digits=5, seed=0, recipe=TINY)
    with pytest.raises(ValueError, match=r"^source: got None; allowed: a row, for the arm 'left'"):
        ArmRun(arm="left", digits=5, seed=0, recipe=TINY)
    with pytest.raises(ValueError, match=r"^source: got 'add_d5_l2_h3_s1'; allowed: none, for the arm 'zeroed'"):
        ArmRun(arm="zeroed", digits=5, seed=0, recipe=TINY, source=NAME)
