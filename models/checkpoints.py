"""Checkpoints: one safetensors file that holds the weights and, in its header, the configuration they belong to.

A file is complete or absent (written beside its target, then renamed), and `load` gives back exactly the bits that
`save` was given or raises one clear error: the header carries a SHA-256 over names, types, shapes and bytes, and
every tensor is checked against the configuration.

>>> import tempfile, torch
>>> from carryproof.models import Decoder, DecoderConfig
>>> config = DecoderConfig(d_vocab=14, n_ctx=24, d_model=8, n_heads=2, n_layers=1, encoding="none")
>>> model = Decoder.init(config, torch.Generator().manual_seed(0))
>>> with tempfile.TemporaryDirectory() as folder:
...     save(Path(folder) / "m.safetensors", model, about={"task": "addition"})
...     again = load(Path(folder) / "m.safetensors")
...     read_about(Path(folder) / "m.safetensors")
{'task': 'addition'}
>>> again.config == config and torch.equal(again.embed.W_E, model.embed.W_E)
True
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from carryproof.models.config import DecoderConfig
from carryproof.models.decoder import Decoder

SCHEMA_VERSION = 1
KEY = "carryproof"


def save(path: str | Path, model: Decoder, *, about: Mapping[str, Any] | None = None) -> None:
    """Write the model to `path`. `about` is any JSON-able dictionary (task, format, seed) to keep with it; by default
    what the model's own checkpoint said.
    """
    target = Path(path)
    # Contiguous copies, because safetensors refuses tensors that share storage.
    tensors = {name: value.detach().cpu().clone().contiguous() for name, value in model.state_dict().items()}
    header = {
        "schema_version": SCHEMA_VERSION,
        "config": model.config.to_dict(),
        "about": dict(model.about if about is None else about),
        "sha256": digest(tensors),
    }
    write_atomically(target, to_bytes(tensors, metadata={KEY: json.dumps(header, sort_keys=True)}))


def write_atomically(target: Path, content: bytes) -> None:
    """Write beside the target, flush to the disk, rename: readers see the old file or the new one, never a part.

    Raises a one-line ``ValueError`` where that folder cannot be written.
    """
    try:
        _replace(target, content)
    except OSError as error:
        problem = error.strerror or str(error)
        raise ValueError(
            f"path: cannot write {str(target)!r} ({problem}); allowed: a file in a writable folder"
        ) from None


def _replace(target: Path, content: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, target)
    finally:
        Path(temporary).unlink(missing_ok=True)


def load(path: str | Path) -> Decoder:
    """The model that was saved there, on the CPU, in evaluation-ready state and with its own floating-point type."""
    header, tensors = read(path)
    try:
        model = Decoder(DecoderConfig.from_dict(header["config"]))
    except (TypeError, ValueError) as error:
        raise corrupt(path, f"configuration refused: {error}") from None
    require_tensors(tensors, model, path)
    if header.get("sha256") != digest(tensors):
        raise corrupt(path, "the weights do not match the checksum in the header")
    model.to(tensors["embed.W_E"].dtype).load_state_dict(tensors)
    model.about = header["about"]
    return model


def require_tensors(tensors: Mapping[str, Tensor], model: Decoder, path: str | Path) -> None:
    """A one-line ``ValueError`` that names a tensor of the file, unless they are the model's by name and shape, of one
    floating-point type and finite.
    """
    expected = model.state_dict()
    for name in sorted(expected.keys() - tensors.keys()):
        raise corrupt(path, f"tensor {name!r} is missing")
    for name in sorted(tensors.keys() - expected.keys()):
        raise corrupt(path, f"tensor {name!r} does not belong to this configuration")
    dtype = tensors["embed.W_E"].dtype
    for name, value in tensors.items():
        if value.shape != expected[name].shape:
            raise corrupt(path, f"tensor {name!r} has shape {list(value.shape)}, not {list(expected[name].shape)}")
        if value.dtype != dtype or not dtype.is_floating_point:
            raise corrupt(path, f"tensor {name!r} has type {value.dtype}, unlike 'embed.W_E' or not floating-point")
        if not value.isfinite().all():
            raise corrupt(path, f"tensor {name!r} has entries that are not finite")


def read_about(path: str | Path) -> dict[str, Any]:
    """The dictionary given to `save` as `about`."""
    about: dict[str, Any] = read(path)[0]["about"]
    return about


def read(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and tensors as they are in the file, parsed but not checked against each other."""
    if not Path(path).is_file():
        raise ValueError(f"path: {str(path)!r} is not a file; allowed: a checkpoint written by carryproof")
    try:
        with safe_open(path, framework="pt") as stored:
            metadata = stored.metadata() or {}
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 - not a dictionary
        header = json.loads(metadata[KEY])
    except (SafetensorError, OSError) as error:
        raise corrupt(path, f"not a complete safetensors file ({error})") from None
    except (KeyError, json.JSONDecodeError):
        raise corrupt(path, "no carryproof header") from None
    if not isinstance(header, dict) or not all(isinstance(header.get(key), dict) for key in ("config", "about")):
        raise corrupt(path, "the carryproof header is incomplete")
    if header.get("schema_version") != SCHEMA_VERSION:
        raise corrupt(path, f"schema_version {header.get('schema_version')!r}; this version reads {SCHEMA_VERSION}")
    return header, tensors


def digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over the tensors in order of name: name, type and shape, then the bytes."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name]
        total.update(f"{name} {value.dtype} {list(value.shape)}\n".encode())
        total.update(value.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def corrupt(path: str | Path, problem: str) -> ValueError:
    """One line that names the file and what is wrong with it."""
    return ValueError(f"checkpoint {str(path)!r}: {problem}")
