"""The registry of a study's predictions: written before the first training, checked before anything is scored.

Its SHA-256 is taken over the canonical JSON of all predictions, and every run stores it when it starts. A study whose
predictions differ from the registered ones, whether the file was edited, its hash with it, or the theory changed, is
refused.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from carryproof.benchmarks.store import read_json, write_json
from carryproof.theory import Prediction, content_hash

FILE_NAME = "predictions.json"


def registry_hash(predictions: Iterable[dict[str, Any]]) -> str:
    """The SHA-256 of predictions as plain data, in their order."""
    return content_hash(list(predictions))


def register(out: Path, predictions: Iterable[Prediction]) -> str:
    """Write the registry of a new study, or check that an old one says the same; return its SHA-256."""
    plain = [dict(prediction.to_dict()) for prediction in predictions]
    path = out / FILE_NAME
    if path.exists():
        _, registered = read_registry(out)
        if registered != registry_hash(plain):
            raise ValueError(
                f"{path}: these predictions were registered before and differ from today's; a study is scored only "
                "against the predictions it was trained under: choose another --out"
            )
        return registered
    sha256 = registry_hash(plain)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    write_json(path, {"sha256": sha256, "registered_at": now, "predictions": plain})
    return sha256


def read_registry(out: Path) -> tuple[dict[str, Any], str]:
    """The registry file and its SHA-256, after checking that it covers the predictions in the file."""
    path = out / FILE_NAME
    registry = read_json(path)
    if not {"predictions", "sha256", "registered_at"} <= registry.keys():
        raise ValueError(f"{path}: corrupt registry; it must hold predictions, sha256 and registered_at")
    sha256 = registry_hash(registry["predictions"])
    if sha256 != registry["sha256"]:
        raise ValueError(f"{path}: predictions were changed after they were registered (SHA-256 differs); not scored")
    return registry, sha256


def require_registered(run: dict[str, Any], sha256: str, path: Path) -> None:
    """Refuse a run that was trained under other predictions than those registered."""
    if run["registry_sha256"] != sha256:
        raise ValueError(
            f"{path}: run {run['run_id']} was trained under registry {run['registry_sha256'][:12]}..., "
            f"not {sha256[:12]}...; not scored"
        )
