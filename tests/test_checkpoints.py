"""Checkpoints give back the same bits, are complete or absent, and refuse anything else with one clear line."""

import json
import os
import struct
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from carryproof.models import Decoder, DecoderConfig, load, read_about, save
from carryproof.positional import ENCODINGS


def drawn(encoding: str = "absolute", dtype: torch.dtype = torch.float32) -> Decoder:
    config = DecoderConfig(d_vocab=11, n_ctx=9, d_model=8, n_heads=2, n_layers=2, encoding=encoding, activation="gelu")
    return Decoder.init(config, torch.Generator().manual_seed(0)).to(dtype)


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save(path, drawn(), about={"task": "addition", "seed": 3})
    return path


def rewrite(path: Path, **tensors: torch.Tensor | None) -> None:
    """Replace, add or (with None) remove tensors, keeping the header. Double underscores stand for dots."""
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        content = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dictionary
    for name, value in tensors.items():
        name = name.replace("__", ".")
        content.pop(name, None)
        if value is not None:
            content[name] = value
    save_file(content, path, metadata)


def reheader(path: Path, **changes: object) -> None:
    """Change keys of carryproof's part of the header."""
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["carryproof"])
        content = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dictionary
    save_file(content, path, {"carryproof": json.dumps(header | changes)})


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("encoding", sorted(ENCODINGS))
def test_a_round_trip_keeps_every_bit(encoding: str, dtype: torch.dtype, tmp_path: Path) -> None:
    model = drawn(encoding, dtype)
    save(tmp_path / "m.safetensors", model)
    again = load(tmp_path / "m.safetensors")
    assert again.config == model.config
    assert list(again.state_dict()) == list(model.state_dict())
    for name, value in model.state_dict().items():
        assert again.state_dict()[name].dtype == dtype
        assert torch.equal(again.state_dict()[name], value), name
    tokens = torch.arange(9)[None]
    assert torch.equal(again(tokens), model(tokens))


def test_what_the_weights_are_about_is_kept(stored: Path) -> None:
    assert read_about(stored) == {"task": "addition", "seed": 3}
    assert read_about(str(stored)) == {"task": "addition", "seed": 3}


def test_the_same_model_gives_the_same_bytes(stored: Path) -> None:
    save(stored.with_name("again"), drawn(), about={"seed": 3, "task": "addition"})
    assert stored.read_bytes() == stored.with_name("again").read_bytes()


def test_an_interrupted_save_leaves_the_old_file_and_nothing_else(
    stored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = stored.read_bytes()

    def interrupted(_source: str, _target: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save(stored, drawn("rope"))
    assert stored.read_bytes() == before
    assert [path.name for path in stored.parent.iterdir()] == [stored.name]


def test_a_folder_is_neither_read_nor_written(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent" / "m.safetensors"):
        with pytest.raises(ValueError, match=r"^path: cannot write .*; allowed: a file in a writable folder$"):
            save(path, drawn())
        with pytest.raises(ValueError, match=r"^path: .* is not a file; allowed: a checkpoint written by carryproof$"):
            load(path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kept", [0, 4, 8, 100, 2000, -1])
def test_truncated_files_are_refused(stored: Path, kept: int) -> None:
    stored.write_bytes(stored.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"^checkpoint '.*model\.safetensors': not a complete safetensors file"):
        load(stored)


def test_one_flipped_bit_anywhere_in_the_weights_is_noticed(stored: Path) -> None:
    content = bytearray(stored.read_bytes())
    start = 8 + struct.unpack("<Q", content[:8])[0]
    for at in range(start, len(content), 997):
        content[at] ^= 1
        stored.write_bytes(content)
        with pytest.raises(ValueError, match=r"do not match the checksum|not finite"):
            load(stored)
        content[at] ^= 1


def test_text_that_is_no_checkpoint_is_refused(stored: Path) -> None:
    stored.write_text("hello, this is not a checkpoint at all")
    with pytest.raises(ValueError, match="not a complete safetensors file"):
        load(stored)
    save_file({"x": torch.zeros(2)}, stored)
    with pytest.raises(ValueError, match="no carryproof header"):
        load(stored)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"embed__W_E": None}, "tensor 'embed.W_E' is missing"),
        ({"embed__W_X": torch.zeros(3)}, "tensor 'embed.W_X' does not belong to this configuration"),
        ({"unembed__b_U": torch.zeros(12)}, r"tensor 'unembed.b_U' has shape \[12\], not \[11\]"),
        ({"unembed__b_U": torch.zeros(11, dtype=torch.int64)}, "tensor 'unembed.b_U' has type torch.int64"),
        ({"unembed__b_U": torch.full((11,), torch.nan)}, "tensor 'unembed.b_U' has entries that are not finite"),
        ({"unembed__b_U": torch.full((11,), torch.inf)}, "tensor 'unembed.b_U' has entries that are not finite"),
        ({"unembed__b_U": torch.ones(11)}, "the weights do not match the checksum in the header"),
    ],
)
def test_wrong_tensors_are_refused_by_name(stored: Path, tensors: dict[str, torch.Tensor | None], message: str) -> None:
    rewrite(stored, **tensors)
    with pytest.raises(ValueError, match=rf"^checkpoint '.*model\.safetensors': {message}"):
        load(stored)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": 99}, "schema_version 99; this version reads 1"),
        ({"config": None}, "the carryproof header is incomplete"),
        ({"config": {"d_model": 8}}, "configuration refused: configuration: missing d_vocab"),
        ({"sha256": "0"}, "the weights do not match the checksum in the header"),
    ],
)
def test_wrong_headers_are_refused(stored: Path, changes: dict[str, object], message: str) -> None:
    reheader(stored, **changes)
    with pytest.raises(ValueError, match=rf"^checkpoint '.*model\.safetensors': {message}"):
        load(stored)


def test_a_file_without_about_is_whole_in_every_other_way(tmp_path: Path) -> None:
    save(tmp_path / "m", drawn())
    assert read_about(tmp_path / "m") == {}
