"""Rows are trained, tested, resumed and refused; decisions are those of single precision and of decoding."""

import copy
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from carryproof.benchmarks.configuration import Recipe
from carryproof.benchmarks.engine import Engine
from carryproof.benchmarks.train import Training
from carryproof.circuits import accuracy
from carryproof.circuits.accuracy import Judge, examine, hardest_problems, right
from carryproof.circuits.curve import Point
from carryproof.circuits.mixture import Mixture, draw
from carryproof.circuits.running import Event, train_family
from carryproof.circuits.screening import Screening, hardest
from carryproof.circuits.snapshots import Snapshots
from carryproof.circuits.texts import VOCABULARY, context, prompt_length, write
from carryproof.circuits.training import CircuitRun, batches, begin, blocks, execute, train_circuit
from carryproof.cli import main
from carryproof.models import Decoder, DecoderConfig, load
from carryproof.models.decoding import greedy
from carryproof.models.stack import Stack

TINY = Recipe(d_model=24, n_heads=3, d_head=8, n_layers=1, activation="relu", steps=4, batch=8, warmup_steps=2)
ADDITION = CircuitRun(name="add_d5_l1_h3", recipe=TINY, seed=3)
TWO_LAYERS = replace(TINY, n_layers=2, steps=2)
SOURCE = CircuitRun(name="add_d5_l2_h3_s1", recipe=TWO_LAYERS, seed=0)
INSERTED = CircuitRun(name="ins_d5_l2_h3", recipe=TWO_LAYERS, seed=0)


@pytest.fixture(scope="module")
def half_right() -> Decoder:
    """A model of two digits that has learned some of addition and subtraction."""
    sizes = {"d_vocab": VOCABULARY, "n_ctx": context(2), "d_model": 32, "n_heads": 2, "n_layers": 2}
    model = Decoder.init(DecoderConfig(**sizes, encoding="absolute"), torch.Generator().manual_seed(0))
    recipe = Recipe(d_model=32, n_heads=2, steps=250, batch=128, warmup_steps=20, muon_rate=0.02)
    trainer, ids = Training([model], recipe, Engine()), torch.arange(context(2) - 1)[None, None]
    texts = torch.from_numpy(write(draw(Mixture(subtract=0.5), digits=2, seed=0, first=0, count=250 * 128)))
    for step, batch in enumerate(texts.split(128)):
        trainer.step(batch[None, :, :-1], ids, batch[None, :, prompt_length(2) :], recipe.scale_at(step))
    return model


def test_half_precision_decides_nothing_that_single_precision_decides_otherwise(half_right: Decoder) -> None:
    problems = draw(Mixture(subtract=0.5), digits=2, seed=1, first=0, count=5_000)
    single, half = Judge(half_right, 2, Engine()), Judge(half_right, 2, Engine(dtype="bfloat16"))
    expected = single.wrong(problems)
    assert 0.02 < expected.any(axis=1).mean() < 0.9
    assert (half.wrong(problems) == expected).all()
    assert single.decided_twice == 0 < half.decided_twice < 5_000


def test_what_is_clearly_wrong_is_decided_once(half_right: Decoder) -> None:
    problems = draw(Mixture(subtract=0.5), digits=2, seed=1, first=0, count=2_000)
    model, equals = copy.deepcopy(half_right), int(write(problems)[0, prompt_length(2) - 1])
    model.unembed.b_U.data[equals] = 1e3  # a token that no answer has
    judge = Judge(model, 2, Engine(dtype="bfloat16"))
    assert judge.wrong(problems).all() and judge.decided_twice == 0


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_model_whose_logits_are_no_numbers_is_right_about_nothing(half_right: Decoder, dtype: str) -> None:
    model = copy.deepcopy(half_right)
    model.unembed.W_U.data[0, 0] = torch.nan
    problems = draw(Mixture(subtract=0.5), digits=2, seed=1, first=0, count=2_000)
    assert not right(model, problems, Engine(dtype=dtype)).any()


def test_one_pass_decides_what_greedy_decoding_would(half_right: Decoder) -> None:
    problems = draw(Mixture(subtract=0.5), digits=2, seed=2, first=0, count=2_000)
    texts, start = torch.from_numpy(write(problems)), prompt_length(2)
    written = greedy(half_right, texts[:, :start], torch.arange(context(2))[None], steps=4)
    assert (right(half_right, problems) == (written == texts[:, start:]).all(dim=1).numpy()).all()


def test_a_report_adds_up(half_right: Decoder) -> None:
    report = examine(half_right, ("add", "sub"), problems=2_000)
    assert [(test["operation"], test["set"]) for test in report["tests"]] == [
        *(("add", "random"), ("add", "stratified"), ("sub", "random"), ("sub", "stratified"))
    ]
    for test in report["tests"]:
        classes = test["classes"].values()
        assert sum(each["problems"] for each in classes) == test["problems"] >= 2_000
        assert sum(each["failures"] for each in classes) == test["failures"] <= sum(test["tokens"].values())
        assert test["interval"][0] <= test["per_million"] <= test["interval"][1]
        assert len(test["shown"]) == min(test["failures"], accuracy.FAILURES_SHOWN)
        if test["set"] == "stratified":
            assert len({each["problems"] for each in classes}) == 1
    assert {"99+01=+100", "10-01=+009", "00-01=-001", "00+00=+000", "99-99=+000"} <= set(report["hardest"])
    assert json.loads(json.dumps(report)) == report


def test_models_of_another_size_are_refused(half_right: Decoder) -> None:
    with pytest.raises(ValueError, match=r"^model n_ctx: got 10; allowed: 13, for 3 digits$"):
        right(half_right, draw(Mixture(), digits=3, seed=0, first=0, count=1))
    assert len(hardest_problems(("add",), 40)) == 11


def test_training_is_a_function_of_its_configuration(tmp_path: Path) -> None:
    seen = []
    model, points = train_circuit(ADDITION, progress=seen.append)
    again, _ = train_circuit(ADDITION)
    other, _ = train_circuit(replace(ADDITION, seed=4))
    assert torch.equal(model.unembed.W_U, again.unembed.W_U) and not torch.equal(model.embed.W_E, other.embed.W_E)
    assert [point.step for point in points] == [1, 2, 3, 4] and points == seen
    assert torch.equal(batches(ADDITION, 1, 3), batches(ADDITION, 0, 4)[1:])


def test_screening_keeps_the_problems_with_the_largest_loss(half_right: Decoder) -> None:
    texts, start = torch.from_numpy(write(draw(Mixture(), digits=2, seed=3, first=0, count=1_500))), prompt_length(2)
    logits = half_right(texts[:, :-1])[:, start - 1 :]
    truth = torch.nn.functional.cross_entropy(logits.transpose(1, 2), texts[:, start:], reduction="none").amax(dim=1)
    kept = hardest(Stack([half_right]), texts, start, 100, torch.float32)
    order = truth.argsort(descending=True)
    assert truth[order[99]] - truth[order[100]] > 1e-5, "no tie at the border"
    assert {tuple(text) for text in kept.tolist()} == {tuple(text) for text in texts[order[:100]].tolist()}


def test_the_last_steps_read_more_problems_and_every_problem_once() -> None:
    run = replace(ADDITION, recipe=replace(TINY, steps=130), screening=Screening(share=0.2, candidates=20))
    assert [*blocks(run)] == [range(0, 50), range(50, 100), range(100, 104), range(104, 130)]
    assert [*blocks(run, done=104)] == [range(104, 130)]
    read = torch.cat([batches(run, steps.start, len(steps)).flatten(0, 1) for steps in blocks(run)])
    assert len(read) == 104 * 8 + 26 * 20 == run.problems_before(130)
    assert torch.equal(read, torch.from_numpy(write(draw(run.mixture, digits=5, seed=3, first=0, count=len(read)))))
    assert run.run_id != replace(run, screening=None).run_id
    with pytest.raises(ValueError, match=r"^screening candidates: got 7; allowed: at least the batch, 8$"):
        replace(run, screening=Screening(candidates=7))
    with pytest.raises(ValueError, match=r"^screening share: got 1.5; allowed: a number from 0 to 1$"):
        Screening(share=1.5)
    with pytest.raises(ValueError, match=r"^screening candidates: got 0; allowed: an integer of at least 1$"):
        Screening(candidates=0)


@pytest.mark.parametrize("screening", [None, Screening(share=0.2, candidates=32)])
def test_a_training_that_was_killed_ends_with_the_same_bits(tmp_path: Path, screening: Screening | None) -> None:
    run = replace(ADDITION, recipe=replace(TINY, steps=120, muon_rate=0.02), screening=screening)
    expected, points = train_circuit(run)

    def kill(point: Point) -> None:
        if point.step > 100:
            raise KeyboardInterrupt

    def snapshots(run_id: str) -> Snapshots:
        return Snapshots(tmp_path / "snapshot", run_id, seconds_between=0.0)

    with pytest.raises(KeyboardInterrupt):
        train_circuit(run, progress=kill, snapshots=snapshots(run.run_id))
    seen: list[Point] = []
    model, resumed = train_circuit(run, progress=seen.append, snapshots=snapshots(run.run_id))
    assert seen[0].step > 100 and resumed == points
    assert all(map(torch.equal, model.parameters(), expected.parameters()))
    kept: dict[int, Decoder] = {}
    again, _ = train_circuit(run, keep=lambda step, model: kept.update({step: copy.deepcopy(model)}))
    begun, _ = begin(run, None)
    assert [*kept] == [0, 100] and torch.equal(again.unembed.W_U, expected.unembed.W_U)
    assert torch.equal(kept[0].unembed.W_U, begun.unembed.W_U)
    seen.clear()
    train_circuit(run, progress=seen.append, snapshots=snapshots("another"))
    assert seen == points


def test_a_row_that_starts_from_an_addition_model_computes_its_sums(tmp_path: Path) -> None:
    source, _ = train_circuit(SOURCE)
    inserted, after = begin(INSERTED, source)
    texts = torch.from_numpy(write(draw(Mixture(), digits=5, seed=0, first=0, count=20)))
    assert torch.allclose(inserted(texts), source(texts), atol=1e-4)
    after(0)
    with pytest.raises(ValueError, match=r"^source: got None; allowed: add_d5_l2_h3_s1, for ins_d5_l2_h3$"):
        begin(INSERTED, None)
    with pytest.raises(ValueError, match=r"^source: got 'a model'; allowed: none, for add_d5_l2_h3_s1$"):
        begin(SOURCE, source)


def test_an_insert_mode_copies_again_until_problems_are_screened() -> None:
    sizes = replace(TWO_LAYERS, steps=1)
    source, _ = train_circuit(CircuitRun(name="add_d6_l2_h3_s1", recipe=sizes, seed=0))
    copies = CircuitRun(name="ins_d6_l4_h3", recipe=replace(sizes, n_layers=4), seed=0)
    screens = replace(copies, screening=Screening(share=1.0, candidates=8))
    (copied, _), (trained, _) = (train_circuit(run, source) for run in (copies, screens))
    for layer in (0, 1):
        expected = source.blocks[layer].mlp.W_in
        assert torch.equal(copied.blocks[layer].mlp.W_in, expected)
        assert not torch.equal(trained.blocks[layer].mlp.W_in, expected)
    assert copies.to_dict()["recopied_before"] == 1 and screens.to_dict()["recopied_before"] == 0
    assert "recopied_before" not in INSERTED.to_dict()


def test_a_family_is_trained_in_order_and_only_once(tmp_path: Path) -> None:
    events: list[Event] = []
    train_family([INSERTED, SOURCE], tmp_path, problems=50, jobs=1, on_event=events.append)
    done = [event for event in events if event.record is not None]
    assert [event.run.name for event in done] == ["add_d5_l2_h3_s1", "ins_d5_l2_h3"]
    for event in done:
        folder = tmp_path / event.run.name
        record, report = (json.loads((folder / name).read_text()) for name in ("train.json", "accuracy.json"))
        assert record["run_id"] == report["run_id"] == event.run.run_id and record["status"] == "finished"
        assert record["model_sha256"] == report["model_sha256"]
        assert load(folder / "model.safetensors").about["run_id"] == event.run.run_id
        assert len(report["tests"]) == 2 * len(event.run.row.operations)
    sources = {event.run.name: event.record["source_sha256"] for event in done}
    assert sources["ins_d5_l2_h3"] == done[0].record["model_sha256"] and sources["add_d5_l2_h3_s1"] is None
    events.clear()
    train_family([INSERTED, SOURCE], tmp_path, problems=50, jobs=1, on_event=events.append)
    assert not events
    with pytest.raises(ValueError, match=r"^out: got .*train.json is of another configuration$"):
        train_family([replace(SOURCE, seed=1)], tmp_path, problems=0, jobs=1)


def test_a_loss_that_is_not_finite_ends_training_and_is_recorded(tmp_path: Path) -> None:
    run = replace(ADDITION, recipe=replace(TINY, learning_rate=1e30, steps=400, warmup_steps=0))
    record = execute(run, tmp_path)
    assert record["status"] == "diverged" and record["loss"][-1]["loss"] is None and record["loss"][-1]["step"] < 400


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["add_d5_l2_h9"], "row heads: got 9; allowed: an integer from 1 to 8"),
        (["add_d5_12_h3"], "row: unknown value 'add_d5_12_h3'; did you mean"),
        (["add_d0_l2_h3"], "row digits: got 0; allowed: an integer of at least 1"),
        (["mix_d41_l3_h4"], "row digits: got 41; allowed: 1 to 40"),
        ([], "name: give the name of one row, or --all"),
        (["add_d5_l2_h3", "--all"], "name: give the name of one row, or --all"),
        (["add_d5_l2_h3", "--steps", "0"], "recipe steps: got 0"),
        (["add_d5_l2_h3", "--seed", "-1"], "seed: got -1"),
        (["add_d5_l2_h3", "--dtype", "half"], "dtype: unknown value 'half'"),
        (["add_d5_l2_h3", "--problems", "-1", "--dtype", "float32"], "problems: got -1"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    given = ["circuits", "train", *arguments, "--out", str(tmp_path / "out")]
    if "--dtype" not in given:
        given += ["--dtype", "float32"]
    assert main(given) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
