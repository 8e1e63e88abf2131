"""The results of a study on disk: one folder a run, written whole or not at all, named by its configuration's hash.

    DIR/predictions.json   the registry: every prediction, and a SHA-256 over them, written before the first training
    DIR/study.json         suite, margin, versions, commit
    DIR/runs/RUN_ID/       run.json (configuration, loss curve, records) and model.safetensors
    DIR/report/            written by ``carryproof report``

A run is written into a temporary folder and renamed, so a killed study loses nothing finished, and two processes that
finish the same run leave one. Every JSON file carries ``schema_version``.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from carryproof.theory.errors import bad

SCHEMA_VERSION = 1


def require_folder(path: Path, argument: str = "out") -> Path:
    """A folder that exists or can be made, and can be written; else a one-line ``ValueError``."""
    existing = path
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        raise bad(argument, str(path), f"a folder; {existing} is a file")
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            return path
    except OSError as error:
        raise bad(argument, str(path), f"a folder that can be written ({error.strerror})") from None


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write plain data with its schema version, by way of a temporary file, so that no reader sees half of it."""
    text = json.dumps({"schema_version": SCHEMA_VERSION, **value}, indent=1, allow_nan=False) + "\n"
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read_json(path: Path) -> dict[str, Any]:
    """Read what ``write_json`` wrote; a missing, truncated, foreign or newer file is a one-line ``ValueError``."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: corrupt or truncated JSON ({error})") from None
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from None
    version = value.get("schema_version") if isinstance(value, dict) else None
    if not isinstance(version, int) or not 1 <= version <= SCHEMA_VERSION:
        raise ValueError(f"{path}: schema_version is {version!r}; this version reads 1 to {SCHEMA_VERSION}")
    result: dict[str, Any] = value
    return result


def runs_folder(out: Path) -> Path:
    """Where the runs of a study lie."""
    return out / "runs"


def is_finished(out: Path, run_id: str) -> bool:
    """Whether a run has been written whole."""
    return (runs_folder(out) / run_id / "run.json").is_file()


@contextmanager
def new_run(out: Path, run_id: str) -> Iterator[Path]:
    """A temporary folder that becomes the run's folder when the block ends well, and vanishes when it does not."""
    runs_folder(out).mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=runs_folder(out), prefix=f".{run_id}."))
    try:
        yield temporary
        try:
            os.rename(temporary, runs_folder(out) / run_id)
        except OSError:
            if not is_finished(out, run_id):
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def sweep(out: Path) -> None:
    """Remove the temporary folders of runs that were killed."""
    for leftover in runs_folder(out).glob(".*"):
        shutil.rmtree(leftover, ignore_errors=True)


def read_run(out: Path, run_id: str) -> dict[str, Any]:
    """The record of a finished run; a damaged one is a one-line ``ValueError``."""
    path = runs_folder(out) / run_id / "run.json"
    run = read_json(path)
    missing = {"run_id", "config", "registry_sha256", "prediction_id", "loss", "records", "in_range"} - run.keys()
    if missing:
        raise ValueError(f"{path}: corrupt results file; missing {', '.join(sorted(missing))}")
    return run
