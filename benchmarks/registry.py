"""The registry of a study's predictions: written before the first training, checked before anything is scored.

Its SHA-256 is taken over the canonical JSON of all predictions, of the forecasts of rival theories, of what is
predicted of script runs at every length, and of the plan. Every run stores it when it starts. A study whose predictions
differ from the registered ones, whether the file was edited, its hash with it, or the theory changed, is refused.
Registries without forecasts or scripts are older and stay valid.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from carryproof.benchmarks.store import read_json, require_fields, write_json
from carryproof.theory import Prediction, content_hash
from carryproof.theory.rivals import Forecast

FILE_NAME = "predictions.json"
_COVERED = ("predictions", "plan", "forecasts", "scripts")  # what the SHA-256 is taken over, where it is there


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What a study will be scored by: its runs, the margin, and the in-range accuracy that makes a seed eligible."""

    runs: tuple[str, ...]
    margin: float
    in_range_threshold: float

    def to_dict(self) -> dict[str, Any]:
        """The plan as plain data."""
        return {"runs": list(self.runs), "margin": self.margin, "in_range_threshold": self.in_range_threshold}


def registry_hash(content: Mapping[str, Any]) -> str:
    """The SHA-256 of a registry's predictions, plan and, if it has any, forecasts and scripts, as plain data."""
    return content_hash({key: content[key] for key in _COVERED if key in content})


def register(
    out: Path,
    predictions: Iterable[Prediction],
    plan: Plan,
    forecasts: Mapping[str, Sequence[Forecast]] | None = None,
    scripts: Sequence[Mapping[str, Any]] = (),
) -> str:
    """Write the registry of a new study, or check that an old one says the same; return its SHA-256.

    ``forecasts`` are those of every theory, by the id of the prediction whose cells they are about, and ``scripts`` are
    the predictions of script runs with the runs that are planned, as plain data. An older registry without any of
    either is compared without them, and its study is never scored on them.
    """
    content: dict[str, Any] = {
        "plan": plan.to_dict(),
        "predictions": [dict(prediction.to_dict()) for prediction in predictions],
    }
    if forecasts is not None:
        content["forecasts"] = [
            {"prediction_id": identity, "forecasts": [each.to_dict() for each in own]}
            for identity, own in forecasts.items()
        ]
    if scripts:
        content["scripts"] = [dict(each) for each in scripts]
    path = out / FILE_NAME
    if path.exists():
        old, registered = read_registry(out)
        if registered != registry_hash({key: content[key] for key in content if key in old}):
            raise ValueError(
                f"{path}: the predictions, forecasts, scripts or the plan (runs, margin) registered here differ from "
                "today's; a study is scored only as it was registered: choose another --out"
            )
        return registered
    sha256, now = registry_hash(content), datetime.now(UTC).isoformat(timespec="seconds")
    write_json(path, {"sha256": sha256, "registered_at": now, **content})
    return sha256


def read_registry(out: Path) -> tuple[dict[str, Any], str]:
    """The registry file and its SHA-256, after checking that it covers what the file registers."""
    path = out / FILE_NAME
    registry = read_json(path)
    require_fields(path, registry, {"predictions": list, "plan": dict, "sha256": str, "registered_at": str})
    for name in ("forecasts", "scripts"):
        if name in registry:
            require_fields(path, registry, {name: list})
    sha256 = registry_hash(registry)
    if sha256 != registry["sha256"]:
        raise ValueError(
            f"{path}: predictions, forecasts, scripts or plan were changed after they were registered (SHA-256 "
            "differs); not scored"
        )
    return registry, sha256


def require_registered(run: dict[str, Any], sha256: str, path: Path) -> None:
    """Refuse a run that was trained under another registry than this one."""
    if run["registry_sha256"] != sha256:
        raise ValueError(
            f"{path}: run {run['run_id']} was trained under registry {run['registry_sha256'][:12]}..., "
            f"not {sha256[:12]}...; not scored"
        )
