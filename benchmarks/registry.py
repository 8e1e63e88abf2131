"""The registry of a study's predictions: written before the first training, checked before anything is scored.

Its SHA-256 is taken over the canonical JSON of all predictions, and every run stores it when it starts. A study whose
predictions differ from the registered ones, whether the file was edited, its hash with it, or the theory changed, is
refused.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from carryproof.benchmarks.store import read_json, require_fields, write_json
from carryproof.theory import Prediction, content_hash

FILE_NAME = "predictions.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What a study will be scored by: its runs, the margin, and the in-range accuracy that makes a seed eligible."""

    runs: tuple[str, ...]
    margin: float
    in_range_threshold: float

    def to_dict(self) -> dict[str, Any]:
        """The plan as plain data."""
        return {"runs": list(self.runs), "margin": self.margin, "in_range_threshold": self.in_range_threshold}


def registry_hash(predictions: list[Any], plan: dict[str, Any]) -> str:
    """The SHA-256 of predictions and plan as plain data."""
    return content_hash({"predictions": predictions, "plan": plan})


def register(out: Path, predictions: Iterable[Prediction], plan: Plan) -> str:
    """Write the registry of a new study, or check that an old one says the same; return its SHA-256."""
    plain = [dict(prediction.to_dict()) for prediction in predictions]
    sha256 = registry_hash(plain, plan.to_dict())
    path = out / FILE_NAME
    if path.exists():
        _, registered = read_registry(out)
        if registered != sha256:
            raise ValueError(
                f"{path}: the predictions or the plan (runs, margin) registered here differ from today's; a study is "
                "scored only as it was registered: choose another --out"
            )
        return registered
    now = datetime.now(UTC).isoformat(timespec="seconds")
    write_json(path, {"sha256": sha256, "registered_at": now, "plan": plan.to_dict(), "predictions": plain})
    return sha256


def read_registry(out: Path) -> tuple[dict[str, Any], str]:
    """The registry file and its SHA-256, after checking that it covers the predictions in the file."""
    path = out / FILE_NAME
    registry = read_json(path)
    require_fields(path, registry, {"predictions": list, "plan": dict, "sha256": str, "registered_at": str})
    sha256 = registry_hash(registry["predictions"], registry["plan"])
    if sha256 != registry["sha256"]:
        raise ValueError(
            f"{path}: predictions or plan were changed after they were registered (SHA-256 differs); not scored"
        )
    return registry, sha256


def require_registered(run: dict[str, Any], sha256: str, path: Path) -> None:
    """Refuse a run that was trained under another registry than this one."""
    if run["registry_sha256"] != sha256:
        raise ValueError(
            f"{path}: run {run['run_id']} was trained under registry {run['registry_sha256'][:12]}..., "
            f"not {sha256[:12]}...; not scored"
        )
