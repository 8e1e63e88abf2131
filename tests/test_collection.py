"""The collection: every model that ships is loaded by name, is what its checkpoint says, and its certificate holds."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import carryproof
from carryproof.benchmarks.certify import check_certificate
from carryproof.benchmarks.collection import ENTRIES, is_finished, main, make_missing, table
from carryproof.benchmarks.configuration import Recipe
from carryproof.benchmarks.scripted import ScriptRun, draw_digits, process_named
from carryproof.models import Decoder, load, read_about
from carryproof.models.library import FOLDER, certificate_of, locate, names
from carryproof.models.windowed import rows_of, windowed_logits
from carryproof.theory.coverage import shortest_training
from carryproof.theory.scripts import script_of

DIGITS = 1_000
QUICK_WINDOWS = 2_500  # decided in a second
QUICK = {"addition-base10", "addition-of-3-base10"}  # and these, in a few


def windows(name: str) -> int:
    return certificate_of(name)["windows"]


every_model = pytest.mark.parametrize("name", names())
every_model_or_slow = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if windows(name) <= QUICK_WINDOWS or name in QUICK else pytest.mark.slow)
        for name in names()
    ],
)


def test_what_ships_is_what_is_registered() -> None:
    assert set(names()) == set(ENTRIES)
    assert {path.name for path in FOLDER.iterdir()} == {
        name + suffix for name in ENTRIES for suffix in (".safetensors", ".json")
    }
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 4_000_000


@every_model
def test_a_model_says_where_it_comes_from(name: str) -> None:
    run, about, certificate = ENTRIES[name], read_about(name), certificate_of(name)
    assert is_finished(name, run, FOLDER) and about["run"] == json.loads(json.dumps(run.to_dict()))
    assert about["subject"] == certificate["subject"] == run.subject
    assert about["trained"] == certificate["trained"] == {"lengths": list(run.lengths)}
    model = load(name)
    assert certificate["encoding"] == model.config.encoding
    assert certificate["parameters"] == sum(weight.numel() for weight in model.parameters())
    assert certificate["verdict"] == "certified" and certificate["slack"] > 0


@every_model_or_slow
def test_training_showed_every_window_and_no_longer_length_than_that_takes(name: str) -> None:
    process = ENTRIES[name].script().process
    shortest = shortest_training(process, law="spelled", more=(process.output_at(1),))
    assert ENTRIES[name].lengths == tuple(range(1, shortest.length + 1))
    assert shortest.windows[-1] == windows(name)


@every_model_or_slow
def test_the_certificate_is_found_again(name: str) -> None:
    stored = certificate_of(name)
    found = check_certificate(stored, load(name))
    assert found.holds
    assert found.margin == pytest.approx(stored["margin"], rel=1e-6)
    assert found.slack == pytest.approx(stored["slack"], rel=1e-6)


@every_model_or_slow
def test_problems_of_a_thousand_digits_are_right(name: str) -> None:
    script = script_of(process_named(ENTRIES[name].subject))
    model, start = load(name), script.prompt_length(DIGITS)
    tokens = torch.from_numpy(script.write(draw_digits(script.process, DIGITS, 3, np.random.default_rng(4))))
    with torch.inference_mode():
        logits = [
            windowed_logits(model, rows, script.derivation.slot_classes).unflatten(0, (len(tokens), -1))
            for rows in rows_of(tokens, torch.from_numpy(script.keys(DIGITS)), start)
        ]
    assert torch.equal(torch.cat(logits, dim=1).argmax(dim=-1), tokens[:, start:])


@pytest.mark.parametrize("name", ["addition-base2", "copy-base10"])
def test_a_changed_weight_is_noticed(name: str, tmp_path: Path) -> None:
    content = bytearray(locate(name).read_bytes())
    content[-1000] ^= 1
    (tmp_path / "changed.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match="the weights do not match the checksum in the header"):
        load(tmp_path / "changed.safetensors")
    model = load(name)
    changed = Decoder(model.config)
    changed.load_state_dict(model.state_dict())
    with torch.no_grad():
        changed.unembed.b_U[0] += 1e-5
    with pytest.raises(ValueError, match="SHA-256 of the model differs"):
        check_certificate(certificate_of(name), changed)


def test_names_and_paths_are_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    by_name = carryproof.load("addition-base10")
    assert torch.equal(load(FOLDER / "addition-base10.safetensors").embed.W_E, by_name.embed.W_E)
    assert torch.equal(load(str(FOLDER / "addition-base10.safetensors")).embed.W_E, by_name.embed.W_E)
    (tmp_path / "mine").write_bytes(locate("addition-base10").read_bytes())
    monkeypatch.chdir(tmp_path)
    assert torch.equal(load("mine").embed.W_E, by_name.embed.W_E)


def test_what_cannot_be_loaded_is_one_line() -> None:
    with pytest.raises(
        ValueError, match=r"^model: 'adition-base10' is no file .* did you mean 'addition-base10'\?"
    ) as no:
        load("adition-base10")
    assert "\n" not in str(no.value) and "horner-mod101" in str(no.value)
    with pytest.raises(ValueError, match=r"^path: 'no/such' is not a file"):
        load("no/such")
    with pytest.raises(ValueError, match=r"^path: 'addition-base10.pt' is not a file"):
        load("addition-base10.pt")
    with pytest.raises(ValueError, match=r"^model: got .*; allowed: addition-base10, "):
        certificate_of("no/such")


def test_an_entry_is_made_once_and_only_if_its_certificate_holds(tmp_path: Path) -> None:
    recipe = Recipe(n_layers=1, n_heads=1, d_model=16, steps=300, batch=64, learning_rate=1e-2, warmup_steps=20)
    trained, untrained = (
        ScriptRun(subject={"name": "copy", "base": 2}, lengths=(1, 2), recipe=each, seed=0)
        for each in (recipe, replace(recipe, steps=1))
    )
    entries = {"trained": trained, "untrained": untrained}
    made = {name: certificate for name, certificate, _ in make_missing(entries, tmp_path)}
    assert made["trained"].holds and made["untrained"].wrong
    assert sorted(path.name for path in tmp_path.iterdir()) == ["trained.json", "trained.safetensors"]
    assert [name for name, *_ in make_missing(entries, tmp_path)] == ["untrained"]
    assert not is_finished("trained", untrained, tmp_path)  # the weights of another run
    heading, line = table(entries, tmp_path).splitlines()
    assert heading.split()[:3] == ["model", "windows", "weights"]
    assert line.split()[:4] == ["trained", "8", f"{made['trained'].parameters:,}", "1-2"]


def test_the_command_makes_nothing_twice(capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in FOLDER.iterdir()}
    assert main(["addition-base2", "addition-base10"]) == 0
    assert before == {path: path.stat().st_mtime_ns for path in FOLDER.iterdir()}
    assert capsys.readouterr().out.count("\n") == 1 + len(ENTRIES)
    with pytest.raises(ValueError, match=r"^model: unknown value 'copy-base1'; did you mean 'copy-base10'\?"):
        main(["copy-base1"])
