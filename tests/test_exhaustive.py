"""Proofs over all pairs against the decoder itself, on models that are right, partly right, tied and untrained."""

import json
from copy import deepcopy
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from carryproof.benchmarks.configuration import Recipe
from carryproof.benchmarks.engine import Engine
from carryproof.benchmarks.train import Training
from carryproof.circuits import exhaustive
from carryproof.circuits.exhaustive import Part, parts, prove, prove_part
from carryproof.circuits.texts import OPERATIONS, VOCABULARY, Problems, context, prompt_length, write
from carryproof.cli import main
from carryproof.models import checkpoints
from carryproof.models.config import DecoderConfig
from carryproof.models.decoder import Decoder
from carryproof.models.decoding import greedy
from carryproof.positional import ENCODINGS

THREE_DIGITS = Path(__file__).parents[1] / "results" / "circuits" / "models" / "mix_d3_l2_h3.safetensors"


def shape(digits: int, **sizes: object) -> DecoderConfig:
    plain = {"d_model": 32, "n_heads": 2, "n_layers": 1, "encoding": "absolute"} | sizes
    return DecoderConfig(d_vocab=VOCABULARY, n_ctx=context(digits), **plain)


def trained(config: DecoderConfig, operation: str, steps: int, batch: int) -> Decoder:
    """A model after some steps on problems of which half have many columns that sum to nine or are equal."""
    digits, generator = (config.n_ctx - 4) // 3, np.random.default_rng(0)
    model = Decoder.init(config, torch.Generator().manual_seed(0))
    recipe = Recipe(steps=steps, batch=batch, learning_rate=3e-3, warmup_steps=steps // 10, muon_rate=0.02)
    ids = torch.arange(context(digits) - 1)[None, None]
    with Engine().at_work():
        training = Training([model], recipe, Engine())
        for step in range(steps):
            operands = generator.integers(0, 10, (batch, 2, digits), dtype=np.uint8)
            hard = generator.random((batch, digits)) < generator.random((batch, 1)) * (np.arange(batch) % 2)[:, None]
            partner = operands[:, 0] if operation == "sub" else 9 - operands[:, 0]
            operands[:, 1] = np.where(hard, partner, operands[:, 1])
            problems = Problems(operands=operands, subtract=np.full(batch, operation == "sub"))
            tokens = torch.from_numpy(write(problems))[None]
            training.step(tokens[:, :, :-1], ids, tokens[:, :, prompt_length(digits) :], recipe.scale_at(step))
    return model


def every_pair(digits: int, operation: str) -> Problems:
    numbers = np.arange(10**digits)
    first, second = np.divmod(np.arange(100**digits), 10**digits)
    places = numbers[:, None] // 10 ** np.arange(digits) % 10
    operands = np.stack([places[first], places[second]], axis=1).astype(np.uint8)
    return Problems(operands=operands, subtract=np.full(len(operands), operation == "sub"))


@torch.inference_mode()
def wrong_pairs(model: Decoder, digits: int, operation: str) -> list[tuple[int, int]]:
    """Those of all pairs that greedy decoding, token by token, gets wrong."""
    tokens = torch.from_numpy(write(every_pair(digits, operation)))
    start, ids = prompt_length(digits), torch.arange(context(digits))[None]
    right = [
        (greedy(model, some[:, :start], ids, digits + 2) == some[:, start:]).all(dim=1) for some in tokens.split(2000)
    ]
    wrong = (~torch.cat(right)).nonzero().flatten()
    return [divmod(int(pair), 10**digits) for pair in wrong]


@pytest.fixture(scope="module")
def half_right() -> Decoder:
    """A two-digit adder that is right on some pairs only."""
    model = trained(shape(2, n_layers=2), "add", steps=120, batch=96)
    assert 100 < len(wrong_pairs(model, 2, "add")) < 9_900
    return model


@cache
def right(operation: str) -> Decoder:
    """A one-digit model that is right on every pair."""
    return trained(shape(1), operation, steps=150, batch=100)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_model_that_is_right_on_every_pair_is_proved(operation: str) -> None:
    model = right(operation)
    proof = prove(model, operation)
    assert proof.holds and (proof.failures, proof.examples) == (0, ())
    assert proof.problems == 100 and proof.digits == 1 and proof.smallest_margin > 0.5
    assert not wrong_pairs(model, 1, operation)
    assert proof.to_dict()["holds"] is True and json.dumps(proof.to_dict())
    other = prove(model, "sub" if operation == "add" else "add")
    assert not other.holds and other.model_sha256 == proof.model_sha256


def test_failures_are_those_of_greedy_decoding(half_right: Decoder) -> None:
    wrong, proof = wrong_pairs(half_right, 2, "add"), prove(half_right, "add")
    assert (proof.problems, proof.failures, list(proof.examples)) == (10_000, len(wrong), wrong[:20])
    assert proof.smallest_margin < 0


@pytest.mark.parametrize("near", [0.0, 1e9])
@pytest.mark.parametrize("at_once", [10, 70, 300])
def test_no_size_and_no_nearness_changes_a_decision(
    half_right: Decoder, at_once: int, near: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a large ``NEAR`` the decoder itself decides everything."""
    expected = prove_part(half_right, "add", range(45, 52))
    monkeypatch.setattr(exhaustive, "PAIRS_AT_ONCE", at_once)
    monkeypatch.setattr(exhaustive, "NEAR", near)
    found = prove_part(half_right, "add", range(45, 52))
    assert (found.failures, found.examples) == (expected.failures, expected.examples)
    assert 0 < found.failures < found.problems == 700
    assert found.smallest_margin == pytest.approx(expected.smallest_margin, abs=1e-3)


@pytest.mark.parametrize("encoding", sorted(set(ENCODINGS) - {"window"}))
@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_encoding_is_decided_as_by_the_decoder(encoding: str, operation: str) -> None:
    model = Decoder.init(shape(1, encoding=encoding, n_layers=2), torch.Generator().manual_seed(0))
    with torch.no_grad():
        model.unembed.b_U[:2] += torch.tensor([1.0, 0.5])
        model.unembed.W_U.mul_(5)
    wrong = wrong_pairs(model, 1, operation)
    found = prove_part(model, operation, range(3, 7))
    assert found.failures == sum(3 <= first < 7 for first, _ in wrong)


def test_ties_are_decided_as_by_argmax() -> None:
    model = deepcopy(right("add"))
    for high, low, failing in ((14, 3, False), (3, 2, True)):  # the higher word is a copy of the lower one
        with torch.no_grad():
            model.unembed.W_U[:, high] = model.unembed.W_U[:, low]
            model.unembed.b_U[high] = model.unembed.b_U[low]
        proof = prove(model, "add")
        assert proof.smallest_margin <= 0 and proof.holds is not failing
        assert proof.failures == len(wrong_pairs(model, 1, "add"))


def test_a_second_start_goes_on_and_processes_share_the_work(
    half_right: Decoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exhaustive, "PAIRS_A_PART", 2_500)
    expected, told = prove(half_right, "add"), list[tuple[int, int]]()
    first = prove(half_right, "add", tmp_path, jobs=2, progress=lambda problems, of: told.append((problems, of)))
    assert (first.failures, first.examples) == (expected.failures, expected.examples)
    assert told == [(2_500 * part, 10_000) for part in (1, 2, 3, 4)]
    (folder,) = tmp_path.iterdir()
    assert folder.name == f"add-2-{first.model_sha256[:16]}" and len(list(folder.iterdir())) == 4
    (folder / "50.json").unlink()
    decided: list[range] = []

    def watched(model: Decoder, operation: str, firsts: range) -> Part:
        decided.append(firsts)
        return prove_part(model, operation, firsts)

    monkeypatch.setattr(exhaustive, "prove_part", watched)
    again = prove(half_right, "add", tmp_path)
    assert decided == [range(50, 75)]
    assert (again.failures, again.examples) == (expected.failures, expected.examples)
    other = deepcopy(half_right)
    with torch.no_grad():
        other.unembed.b_U[0] += 1e-6
    assert prove(other, "add", tmp_path).model_sha256 != first.model_sha256
    assert len(decided) == 5 and len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "corrupt or truncated JSON"),
        ('{"schema_version": 1}', "not a part of a proof; remove it to decide it again"),
        ('{"schema_version": 1, "examples": [3]}', "not a part of a proof; remove it to decide it again"),
        (None, "a part of other operands; remove it to decide it again"),
    ],
)
def test_a_damaged_part_is_named_in_one_line(tmp_path: Path, content: str | None, message: str) -> None:
    model = Decoder(shape(1))
    prove(model, "add", tmp_path)
    (path,) = tmp_path.rglob("0.json")
    path.write_text(path.read_text().replace('"firsts": 10', '"firsts": 9') if content is None else content)
    with pytest.raises(ValueError) as raised:
        prove(model, "add", tmp_path)
    assert str(raised.value).startswith(str(path)) and message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_parts_are_all_first_operands_once() -> None:
    for digits in range(1, 6):
        every = [first for firsts in parts(digits) for first in firsts]
        assert every == list(range(10**digits))


def test_what_cannot_be_proved_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="operation: unknown value 'mul'; allowed: add, sub"):
        prove(Decoder(shape(1)), "mul")
    with pytest.raises(ValueError, match="digits: got 6; allowed: an integer from 1 to 5"):
        prove(Decoder(shape(6)), "add")
    with pytest.raises(ValueError, match="model d_vocab: got 14; allowed: 15"):
        prove(Decoder(DecoderConfig(d_vocab=14, n_ctx=7, d_model=8, n_heads=2, n_layers=1, encoding="none")), "add")
    with pytest.raises(ValueError, match="jobs: got 0; allowed: an integer of at least 1"):
        prove(Decoder(shape(1)), "add", jobs=0)
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"out: got .*file"):
        prove(Decoder(shape(1)), "add", tmp_path / "file")


def test_the_command_says_what_was_decided(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path, out = tmp_path / "adder.safetensors", tmp_path / "proofs"
    checkpoints.save(path, right("add"))
    command = ["circuits", "prove", str(path), "--jobs", "1", "--out", str(out), "--operations"]
    assert main([*command, "add"]) == 0
    assert "adder: 100 pairs of 1 digits, add: every one is right; the true token leads by" in capsys.readouterr().out
    assert main([*command, "add,sub", "--json"]) == 1
    printed = json.loads(capsys.readouterr().out)
    assert [proof["holds"] for proof in printed["proofs"]] == [True, False] and printed["model"]["digits"] == 1
    assert json.loads((out / "adder.json").read_text())["proofs"] == printed["proofs"]
    for wrong, message in (
        (["--operations", "mul"], "operations: unknown value 'mul'"),
        (["--operations", "add", "--device", "cuda:97"], "device: got 'cuda:97'; allowed: one that is here: cpu"),
        ([], "operations: got None; allowed: add, sub or add,sub, for a checkpoint that does not name its row"),
    ):
        assert main(["circuits", "prove", str(path), *wrong]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("operation", ["add", pytest.param("sub", marks=pytest.mark.slow)])
def test_a_trained_model_is_right_on_every_pair_of_three_digits(operation: str) -> None:
    proof = prove(checkpoints.load(THREE_DIGITS), operation)
    assert proof.problems == 1_000_000 and proof.holds, proof
    recorded = json.loads((THREE_DIGITS.parents[1] / "records" / f"{THREE_DIGITS.stem}.json").read_text())["proofs"]
    (same,) = (each for each in recorded if each["operation"] == operation)
    assert same["model_sha256"] == proof.model_sha256
    assert same["smallest_margin"] == pytest.approx(proof.smallest_margin, abs=1e-3)


@pytest.mark.slow
def test_a_part_of_the_pairs_of_four_digits_is_decided_as_recorded() -> None:
    model = checkpoints.load(THREE_DIGITS.with_name("add_d4_l2_h3.safetensors"))
    recorded = json.loads((THREE_DIGITS.parents[1] / "records" / "add_d4_l2_h3.json").read_text())["proofs"]
    (proof,) = recorded
    assert (proof["problems"], proof["failures"]) == (10**8, 0)
    assert proof["model_sha256"] == checkpoints.digest(model.state_dict())
    part = prove_part(model, "add", range(5_000, 5_100))  # where the lead was least
    assert part.failures == 0 and part.smallest_margin == pytest.approx(proof["smallest_margin"], abs=1e-3)
