"""Script runs judged: certified, refuted, or outside the claim because a window is wrong.

The registered claim is conditional: a model that is right on all windows, beyond rounding, is right at every length.
So a run whose windows are not all right is outside the claim, shown and counted; it can neither confirm nor refute. A
certified run that answers one measured problem wrong refutes the claim, whatever the length.

>>> right = {"verdict": "certified", "windows": 46, "wrong": 0}
>>> run = {"status": "finished", "certificate": right, "records": [{"test_digits": 9, "problems": 5, "correct": 5}]}
>>> judge(run)
('certified', 'right on all 46 windows, beyond rounding, and on all 5 problems that were measured')
>>> judge(run | {"certificate": {"verdict": "refuted", "windows": 46, "wrong": 2}})
('outside the claim', 'windows wrong: 2 of 46')
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from carryproof.benchmarks.registry import require_registered
from carryproof.benchmarks.store import is_finished, read_script_run, require_fields, runs_folder

ScriptOutcome = Literal["certified", "refuted", "outside the claim", "not finished"]
_PREDICTION_FIELDS = {
    "prediction_id": str,
    "subject": dict,
    "process": str,
    "order": str,
    "encoding": str | None,
    "told": str | None,
    "train_digits": str,
    "verdict": str,
    "premise": str,
    "windows": int,
    "shown": int,
    "reasons": list,
    "runs": list,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgedRun:
    """One planned script run: its record with the certificate, or None if it is not finished, and what became of it."""

    run_id: str
    record: Mapping[str, Any] | None
    outcome: ScriptOutcome
    reason: str

    @property
    def seed(self) -> int | None:
        """The seed; None where there is no record."""
        return None if self.record is None else int(self.record["config"]["script"]["seed"])

    @property
    def certificate(self) -> Mapping[str, Any]:
        """The certificate as plain data; empty where there is none."""
        return (None if self.record is None else self.record["certificate"]) or {}

    @property
    def shares(self) -> dict[int, float]:
        """The measured accuracy by length."""
        return {each["test_digits"]: each["correct"] / each["problems"] for each in self._records}

    @property
    def _records(self) -> Sequence[Mapping[str, int]]:
        return () if self.record is None else self.record["records"]

    def at(self, length: int) -> Mapping[str, int] | None:
        """What was measured at a length: problems, and how many were answered right."""
        return next((each for each in self._records if each["test_digits"] == length), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgedScript:
    """What was registered of a subject at every length, and its planned runs in their order."""

    prediction: Mapping[str, Any]
    runs: tuple[JudgedRun, ...]

    @property
    def title(self) -> str:
        """The process in words."""
        name = str(self.prediction["process"])
        return name[:1].upper() + name[1:]

    @property
    def task(self) -> Mapping[str, Any]:
        """The subject as a task is written, so that the two can be compared; not every subject is a task."""
        subject = {key: each for key, each in self.prediction["subject"].items() if each is not None}
        return {"operands": 2, "base": 10, "modulus": None} | subject

    @property
    def train_words(self) -> str:
        """The trained lengths in words."""
        return str(self.prediction["train_digits"]).replace("-", "–")

    @property
    def outcome(self) -> Literal["confirmed", "refuted", "not testable"]:
        """What became of the claim: refuted by any run; confirmed by those that meet its premise, if there are any."""
        if self.count("refuted"):
            return "refuted"
        return "confirmed" if self.count("certified") else "not testable"

    @property
    def lengths(self) -> list[int]:
        """The measured lengths."""
        return sorted({length for run in self.runs for length in run.shares})

    def count(self, outcome: ScriptOutcome) -> int:
        """How many runs have an outcome."""
        return sum(run.outcome == outcome for run in self.runs)

    @property
    def summary(self) -> str:
        """What became of the runs, in words."""
        counts = {outcome: self.count(outcome) for outcome in get_args(ScriptOutcome) if self.count(outcome)}
        if len(counts) == 1:
            return f"{'its run' if len(self.runs) == 1 else f'all {len(self.runs)} runs'} {next(iter(counts))}"
        return f"of {len(self.runs)} runs " + ", ".join(f"{count} {outcome}" for outcome, count in counts.items())


def score_scripts(out: Path, registry: Mapping[str, Any], sha256: str) -> tuple[JudgedScript, ...]:
    """Every registered script with its runs; none for a registry without scripts. Damage is a ``ValueError``."""
    found = []
    for prediction in registry.get("scripts", ()):
        require_fields(out / "predictions.json", prediction, _PREDICTION_FIELDS)
        runs = tuple(_judged(out, run_id, prediction, sha256) for run_id in prediction["runs"])
        found.append(JudgedScript(prediction=prediction, runs=runs))
    return tuple(found)


def _judged(out: Path, run_id: str, prediction: Mapping[str, Any], sha256: str) -> JudgedRun:
    if not is_finished(out, run_id):
        return JudgedRun(run_id=run_id, record=None, outcome="not finished", reason="planned, without a result")
    run, path = read_script_run(out, run_id), runs_folder(out) / run_id / "run.json"
    require_registered(run, sha256, path)
    certificate = run["certificate"]
    if run["prediction_id"] != prediction["prediction_id"]:
        raise ValueError(f"{path}: corrupt results file; prediction_id is not the registered one of this run")
    if certificate is not None:
        _require_consistent(path, run, certificate, prediction)
    outcome, reason = judge(run)
    return JudgedRun(run_id=run_id, record=run, outcome=outcome, reason=reason)


def _require_consistent(
    path: Path, run: Mapping[str, Any], certificate: Mapping[str, Any], prediction: Mapping[str, Any]
) -> None:
    """Refuse a run whose parts do not fit each other or the registry; whether they are true ``certify`` decides."""
    if certificate["windows"] != prediction["windows"]:
        raise ValueError(f"{path}: corrupt results file; its certificate is not about the registered windows")
    about = (certificate["subject"], certificate["encoding"], certificate["trained"].get("lengths"))
    lengths = run["config"]["script"]["lengths"]
    if about != (prediction["subject"], prediction["encoding"], lengths):
        raise ValueError(f"{path}: corrupt results file; its certificate is not about what was registered")
    if [[each["test_digits"], each["problems"]] for each in run["records"]] != run["config"]["tests"]:
        raise ValueError(f"{path}: corrupt results file; its records are not those of the planned tests")
    slack, certified = certificate["slack"], certificate["verdict"] == "certified"
    if certified != (certificate["wrong"] == 0 and slack is not None and slack > 0):
        raise ValueError(f"{path}: corrupt results file; its certificate does not say what its numbers do")


def judge(run: Mapping[str, Any]) -> tuple[ScriptOutcome, str]:
    """What a finished run says of the claim, and why."""
    certificate = run["certificate"]
    if certificate is None:
        return "outside the claim", "diverged: its weights are not finite"
    if certificate["wrong"]:
        return "outside the claim", f"windows wrong: {certificate['wrong']:,} of {certificate['windows']:,}"
    if certificate["verdict"] != "certified":
        return "outside the claim", "no window wrong, but some margin is within what rounding can change"
    missed = [record for record in run["records"] if record["correct"] < record["problems"]]
    if missed:
        where = ", ".join(
            f"{each['problems'] - each['correct']:,} of {each['problems']:,} at {each['test_digits']:,} digits"
            for each in missed
        )
        return "refuted", f"certified, and yet wrong on {where}"
    problems = sum(record["problems"] for record in run["records"])
    every = f"right on all {certificate['windows']:,} windows, beyond rounding, and on all {problems:,} problems"
    return "certified", f"{every} that were measured"
