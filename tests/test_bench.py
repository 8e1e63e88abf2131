"""The bench: its baseline computes what it says, its turns are told apart, and its numbers become the rows shown."""

import json
from functools import partial
from pathlib import Path
from statistics import median

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from carryproof import cli
from carryproof.bench_tables import amount
from carryproof.benchmarks import bench, peers, race, turns
from carryproof.benchmarks.baselines import GPT, PlainTraining, copy_of, generate
from carryproof.benchmarks.contestants import SHAPES, Shape, needed_flops, own_training, plain_training, whole_targets
from carryproof.benchmarks.engine import Engine
from carryproof.benchmarks.scores import TARGETS, Report, Row, Target
from carryproof.benchmarks.train import Training, batches
from carryproof.benchmarks.workers import usable_cores
from carryproof.models.config import DecoderConfig
from carryproof.models.decoder import Decoder
from carryproof.models.decoding import greedy

TINY = Shape(name="tiny", n_layers=2, d_model=16, n_heads=2, digits=2, places=2, batch=8)
CONFIG = TINY.config("float32", 0)


def drawn_decoder() -> Decoder:
    """A model whose biases and norms are not those of an untrained one."""
    generator = torch.Generator().manual_seed(3)
    model = Decoder.init(CONFIG.decoder(), generator)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model


def test_the_baseline_is_the_decoder() -> None:
    """Same logits, same text, and after a backward pass same gradients."""
    decoder = drawn_decoder()
    plain = copy_of(decoder)
    drawn = batches(CONFIG, 0, 1)
    tokens, targets = drawn.tokens[0], whole_targets(drawn.tokens[0], drawn.targets[0])
    ids = torch.arange(tokens.shape[1])[None]
    found = plain(tokens)
    assert torch.allclose(found, decoder(tokens, ids), rtol=1e-4, atol=1e-4)
    text = generate(plain, tokens[:, :4], 5)
    assert torch.equal(text[:, 4:], greedy(decoder, tokens[:, :4], torch.arange(9)[None], 5))
    functional.cross_entropy(found.flatten(0, 1), targets.flatten(), ignore_index=-100).backward()
    Training([decoder], CONFIG.recipe, Engine())  # builds on the same parameters without touching them
    functional.cross_entropy(decoder(tokens, ids).flatten(0, 1), targets.flatten(), ignore_index=-100).backward()
    assert plain.tokens.weight.grad is not None and decoder.embed.W_E.grad is not None
    assert torch.allclose(plain.tokens.weight.grad, decoder.embed.W_E.grad, rtol=1e-3, atol=1e-5)


def test_the_baseline_learns() -> None:
    config = DecoderConfig(
        d_vocab=17, n_ctx=12, d_model=16, n_heads=2, n_layers=1, encoding="absolute", activation="gelu"
    )
    model = GPT(config, torch.Generator().manual_seed(0))
    training = PlainTraining(model, model, 1e-2)
    tokens = torch.randint(0, 17, (8, 12), generator=torch.Generator().manual_seed(1))
    losses = [float(training.step(tokens, tokens)) for _ in range(30)]
    assert losses[-1] < 0.3 * losses[0]


@pytest.mark.parametrize("name, value", [("encoding", "rope"), ("activation", "relu"), ("d_head", 3)])
def test_the_baseline_says_what_it_cannot_be(name: str, value: object) -> None:
    sizes = {"d_vocab": 17, "n_ctx": 12, "d_model": 8, "n_heads": 2, "n_layers": 1, "encoding": "absolute"}
    config = DecoderConfig(**sizes | {"activation": "gelu"} | {name: value})
    with pytest.raises(ValueError, match=rf"^{name}: got "):
        GPT(config, torch.Generator())


def test_every_trainer_gets_the_same_problems() -> None:
    """Ours and the plain loop, at equal weights, have the same first loss."""
    config = TINY.config("float32", 5)
    drawn = batches(config, 0, 1)
    decoder = Decoder.init(config.decoder(), torch.Generator().manual_seed(5))
    ours = Training([decoder], config.recipe, Engine())
    plain = copy_of(decoder)
    theirs = PlainTraining(plain, plain, 1e-3)
    tokens, ids, targets = drawn.tokens[0], drawn.ids[0], drawn.targets[0]
    first = ours.step(tokens[None], ids[None], targets[None], 1.0)
    assert float(first[0]) == pytest.approx(float(theirs.step(tokens, whole_targets(tokens, targets))), rel=1e-5)


def test_the_work_of_contestants_is_work() -> None:
    (theirs,) = plain_training(peers.NANO, TINY, (0,))()
    (ours,) = own_training(TINY, "float32", ((0,),))()
    pair = own_training(TINY, "float32", ((0, 1),))()
    assert 2 < theirs < 5 and 2 < ours < 5  # about log 17, untrained
    assert len(pair) == 2 and pair[0] == pytest.approx(ours, rel=1e-4)


def test_needed_operations_are_those_of_the_products() -> None:
    """Against a count by hand for one layer: keys and values of all tokens, all else of scored rows."""
    one = Shape(name="one", n_layers=1, d_model=4, n_heads=1, digits=1, places=1, batch=1)
    tokens, rows, vocabulary = 6, 3, one.config("float32", 0).decoder().d_vocab
    products = 2 * tokens * 16 + rows * (2 * 16 + 2 * 4 * tokens + 2 * 4 * 16) + rows * 4 * vocabulary
    assert needed_flops(one) == 3 * 2 * products


@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=9), st.floats(1, 50), st.floats(0.1, 1))
def test_a_verdict_follows_the_median(values: list[float], goal: float, part: float) -> None:
    target = Target(goal=goal, floor=goal * part)
    row = Row(key="data/x", name="x", against="", unit="times", values=tuple(values), raw={}, target=target)
    assert row.missed == (median(values) < target.floor)
    assert (row.verdict == "goal met") == (median(values) >= goal)
    assert row.low <= row.median <= row.high and json.loads(json.dumps(row.to_dict()))["verdict"] == row.verdict


def test_goals_are_not_below_floors() -> None:
    assert all(target.goal >= target.floor > 0 for target in TARGETS.values())


def _sleeper(seconds: float) -> turns.Work:
    import time

    return partial(time.sleep, seconds)


def _failing() -> turns.Work:
    raise ValueError("threads: of two\nlines")


def test_turns_are_interleaved_and_told_apart() -> None:
    field = {"slow": [partial(_sleeper, 0.05)], "quick": [partial(_sleeper, 0.005)]}
    found, results = turns.take_turns(field, threads={"slow": 1, "quick": 1}, rounds=2, seconds_a_turn=0.05)
    assert all(slow > 0.05 > quick > 0.005 for slow, quick in zip(found["slow"], found["quick"], strict=True))
    assert results == {"slow": [None], "quick": [None]}


def test_what_fails_in_a_process_is_said_in_one_line() -> None:
    with turns.Contestant([_failing], threads=1) as contestant, pytest.raises(RuntimeError, match=r"of two lines$"):
        contestant.ready()


def report(*values: float) -> Report:
    rows = [
        Row(key="training/a/float32/nanoGPT-style", name="shape a, float32", against=peers.NANO, unit="times",
            values=values, raw={"ours": [1.0]}, target=Target(goal=2.2, floor=1.3)),
        Row(key="commands/x", name="x", against="", unit="seconds", values=(1.0, 2.0), raw={}),
    ]  # fmt: skip # read as a table
    return Report(machine={"cores": 2, "processor": "abacus"}, versions={}, plan={"threads": 2},
                  absent=("x-transformers",), rows=tuple(rows), remarks=("a remark",))  # fmt: skip # read as a table


@pytest.mark.parametrize("values, status", [((1.0, 1.2, 9.0), 1), ((1.0, 1.4, 1.5), 0)])
def test_the_exit_status_is_that_of_the_floors(
    values: tuple[float, ...],
    status: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.setattr(bench, "run_bench", lambda plan, progress: report(*values))
    assert cli.main(["bench", "--out", str(tmp_path / "new")]) == status
    out = capsys.readouterr().out
    assert ("below its floor: training, shape a, float32" in out) == bool(status)
    assert "not installed: x-transformers" in out and "a remark" in out
    written = json.loads((tmp_path / "new/bench.json").read_text())
    assert written["rows"][0]["median"] == median(values) and written["schema_version"] == 1
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "bench.json",
        "bench.pdf",
        "bench.png",
        "bench.svg",
    ]


@pytest.mark.parametrize(
    "arguments, line",
    [
        (["--shapes", "a,d"], "shapes: unknown value 'd'; allowed: a, b, c"),
        (["--repeats", "0"], "repeats: got 0"),
        (["--threads", "-1"], "threads: got -1"),
        (["--out", __file__], "out: "),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(
    arguments: list[str], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        status = cli.main(["bench", *arguments])
    except SystemExit as stop:
        status = int(stop.code or 0)
    err = capsys.readouterr().err
    assert status == 2 and line in err and err.count("\n") == 1 and not list(tmp_path.iterdir())


def test_threads_beyond_the_cores_are_cut() -> None:
    plan = bench.make_plan(threads=10_000)
    assert plan.threads == usable_cores()
    assert bench.quicker(plan).waived and bench.longer(plan).sections[-1] == "accuracy"
    assert [shape.name for shape in bench.make_plan(shapes="c,a,c").shapes] == ["c", "a"] and set(SHAPES) == set("abc")


def test_a_small_bench_from_end_to_end() -> None:
    plan = bench.Plan(shapes=(TINY,), threads=1, rounds=1, seconds_a_turn=0.01, sections=("data",))
    found = bench.run_bench(plan)
    keys = [row.key for row in found.rows]
    assert keys == ["peak/float32", "peak/bfloat16", "data/drawn"] and all(row.median > 0 for row in found.rows)
    assert found.missed == tuple(row for row in found.rows if row.missed)


def test_amounts_are_short() -> None:
    assert [amount(x, "times") for x in (0.9912, 4.219, 1234.5)] == ["0.991×", "4.22×", "1,234×"]
    assert amount(2.0, "seconds") == "2" and amount(0.5, "share") == "50.0 %"


def test_a_race_ends_at_its_limit_and_says_how_far_it_came(monkeypatch: pytest.MonkeyPatch) -> None:
    config = race.plain_config(0)
    steps = []

    def step(number: int, tokens: torch.Tensor, ids: torch.Tensor, targets: torch.Tensor) -> None:
        steps.append(number)

    def never(tokens: torch.Tensor, ids: torch.Tensor, rows: slice) -> torch.Tensor:
        return torch.zeros(len(tokens), tokens.shape[1], config.decoder().d_vocab)[:, rows]

    outcome = race.until_accurate(config, step, never, 0.01)
    assert outcome["steps"] == len(steps) >= race.EVERY and outcome["in_range"] < race.ACCURATE
    assert steps == list(range(len(steps)))
