"""The results of a study on disk: one folder a run, written whole or not at all, named by its configuration's hash.

    DIR/predictions.json   the registry: every prediction, and a SHA-256 over them, written before the first training
    DIR/study.json         suite, margin, versions, commit
    DIR/runs/RUN_ID/       run.json (configuration, loss curve, records) and model.safetensors; certificate.json where
                           the run was trained on scripts
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

from carryproof.theory import content_hash
from carryproof.theory.errors import bad

SCHEMA_VERSION = 1
STUDY = "study.json"
CERTIFICATE = "certificate.json"


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
    target = runs_folder(out) / run_id
    try:
        yield temporary
        if not is_finished(out, run_id):
            shutil.rmtree(target, ignore_errors=True)  # what is left of a run that somebody took apart
        try:
            os.rename(temporary, target)
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
    path, run = _read_run(out, run_id, _RUN_FIELDS, _RECORD_FIELDS)
    for record in run["records"]:
        _require_count(path, record, "agree")
    return run


def read_script_run(out: Path, run_id: str) -> dict[str, Any]:
    """The record of a finished script run with its ``certificate``, None if it diverged; damage is a ``ValueError``."""
    path, run = _read_run(out, run_id, _SCRIPT_FIELDS, _SCRIPT_RECORD_FIELDS)
    if run["status"] == "diverged":
        return run | {"certificate": None}
    proof = path.with_name(CERTIFICATE)
    certificate = read_json(proof)
    require_fields(proof, certificate, _CERTIFICATE_FIELDS)
    if certificate["model_sha256"] != run["model_sha256"]:
        raise ValueError(f"{proof}: corrupt results file; it is not about the model of this run")
    return run | {"certificate": certificate}


def _read_run(
    out: Path, run_id: str, fields: Mapping[str, Any], record_fields: Mapping[str, Any]
) -> tuple[Path, dict[str, Any]]:
    path = runs_folder(out) / run_id / "run.json"
    run = read_json(path)
    require_fields(path, run, fields)
    if not run_id == run["run_id"] == content_hash(run["config"])[:16]:
        raise ValueError(f"{path}: corrupt results file; its configuration is not the one its folder is named after")
    for point in run["loss"]:
        require_fields(path, point, {"step": int, "loss": float | int | None, "in_range": float | int})
    for record in run["records"]:
        require_fields(path, record, record_fields)
        _require_count(path, record, "correct")
    return path, run


def _require_count(path: Path, record: Mapping[str, Any], name: str) -> None:
    if not 0 <= record[name] <= record["problems"] > 0:
        raise ValueError(f"{path}: corrupt results file; a record counts more answers than problems")


def read_study(out: Path) -> dict[str, Any]:
    """The description of a study; a damaged one is a one-line ``ValueError``."""
    study = read_json(out / STUDY)
    fields = {"suite": str, "title": str, "versions": dict, "commit": str | None, "machine": str}
    require_fields(out / STUDY, study, fields)
    return study


def require_fields(path: Path, value: Any, fields: Mapping[str, Any]) -> None:
    """Refuse plain data that lacks a field, or holds a value of another type there."""
    for name, kind in fields.items():
        if not isinstance(value, dict) or name not in value or not isinstance(value[name], kind):
            raise ValueError(f"{path}: corrupt results file; field {name!r} is missing or of the wrong type")


_RUN_FIELDS = {
    "run_id": str,
    "config": dict,
    "registry_sha256": str,
    "prediction_id": str,
    "status": str,
    "parameters": int,
    "loss": list,
    "records": list,
    "in_range": float | int | None,
    "share_seen": float | int | None,
    "train_seconds": float | int,
    "evaluate_seconds": float | int,
}
_SCRIPT_FIELDS = {
    "kind": str,
    "run_id": str,
    "config": dict,
    "registry_sha256": str,
    "prediction_id": str,
    "status": str,
    "model_sha256": str | None,
    "parameters": int,
    "loss": list,
    "records": list,
    "train_seconds": float | int,
    "certify_seconds": float | int,
    "evaluate_seconds": float | int,
}
_SCRIPT_RECORD_FIELDS = {"test_digits": int, "problems": int, "correct": int}
_CERTIFICATE_FIELDS = {
    "subject": dict,
    "encoding": str,
    "trained": dict,
    "verdict": str,
    "model_sha256": str,
    "windows": int,
    "wrong": int,
    "margin": float | int | None,
    "slack": float | int | None,
    "failures": list,
}
_RECORD_FIELDS = {
    "test_digits": int,
    "law": str,
    "stratum": str,
    "problems": int,
    "correct": int,
    "agree": int,
    "exhaustive": bool,
    "selection": str,
}
