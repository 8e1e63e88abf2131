"""What a bench found: rows of measured numbers with their goals and floors, and the file they are written to.

A row's numbers are one a round. Its *goal* is what the project set itself; its *floor* is what it promises on machines
like the ones it was measured on, below what was found there by more than the noise. A median below its floor ends
`carryproof bench` with exit status 1. Where a machine lacks what a floor assumes, the floor is waived, with the reason.

>>> row = Row(key="training/a/bfloat16/nanoGPT-style", name="shape a", against="nanoGPT-style",
...     unit="times", values=(3.0, 5.0, 4.0), raw={}, target=Target(goal=4.0, floor=2.5))
>>> row.median, row.low, row.high, row.verdict
(4.0, 3.0, 5.0, 'goal met')
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

HALF = "bfloat16"
HALF_PAYS = 1.5  # floors of half precision assume that its products are this much faster


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """The goal of a row and the floor under it, in the row's unit; larger is better."""

    goal: float
    floor: float


# By the keys of rows. Floors are what two cores with 16-bit products (Zen 4) hold even while others use them.
TARGETS = {
    "training/a/float32/nanoGPT-style": Target(goal=2.2, floor=1.3),
    "training/b/float32/nanoGPT-style": Target(goal=2.2, floor=1.1),
    "training/c/float32/nanoGPT-style": Target(goal=2.2, floor=1.3),
    "training/a/bfloat16/nanoGPT-style": Target(goal=4.0, floor=2.0),
    "training/b/bfloat16/nanoGPT-style": Target(goal=4.0, floor=1.8),
    "training/c/bfloat16/nanoGPT-style": Target(goal=4.0, floor=2.0),
    "evaluation/float32": Target(goal=40.0, floor=20.0),
    "evaluation/bfloat16": Target(goal=80.0, floor=30.0),
    "seeds/processes/bfloat16/nanoGPT-style": Target(goal=4.0, floor=2.0),
    "data/drawn": Target(goal=3e6, floor=1.5e6),
    "data/a": Target(goal=200.0, floor=200.0),
    "data/b": Target(goal=200.0, floor=200.0),
    "data/c": Target(goal=200.0, floor=200.0),
    "accuracy": Target(goal=6.0, floor=2.0),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One line of a bench: a number for each round, with what it was computed from (seconds, by contestant).

    ``unit`` is ``times`` (as fast as ``against``), ``examples/s``, ``seconds``, ``share`` or ``GFLOP/s``. ``waived``
    says why the floor does not apply, if it does not.
    """

    key: str
    name: str
    against: str
    unit: str
    values: tuple[float, ...]
    raw: Mapping[str, Sequence[float]]
    target: Target | None = None
    waived: str = ""

    @property
    def section(self) -> str:
        """The first part of the key."""
        return self.key.partition("/")[0]

    @property
    def median(self) -> float:
        """The number of the row."""
        return median(self.values)

    @property
    def low(self) -> float:
        """The smallest of the rounds."""
        return min(self.values)

    @property
    def high(self) -> float:
        """The largest of the rounds."""
        return max(self.values)

    @property
    def missed(self) -> bool:
        """Whether the median is below a floor that applies."""
        return self.target is not None and not self.waived and self.median < self.target.floor

    @property
    def verdict(self) -> str:
        """How the median stands to goal and floor."""
        if self.target is None:
            return ""
        if self.median >= self.target.goal:
            return "goal met"
        if self.waived:
            return "floor waived"
        return "below the floor" if self.missed else "above the floor"

    def to_dict(self) -> dict[str, Any]:
        """The row as plain data."""
        return {
            "key": self.key,
            "section": self.section,
            "name": self.name,
            "against": self.against,
            "unit": self.unit,
            "median": self.median,
            "low": self.low,
            "high": self.high,
            "values": list(self.values),
            "target": None if self.target is None else asdict(self.target),
            "verdict": self.verdict,
            "waived": self.waived,
            "raw_seconds": {name: list(seconds) for name, seconds in self.raw.items()},
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """A whole bench: the machine and its peaks, versions, peers that are not installed, rows and remarks."""

    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    plan: Mapping[str, Any]
    absent: tuple[str, ...]
    rows: tuple[Row, ...]
    remarks: tuple[str, ...]

    @property
    def missed(self) -> tuple[Row, ...]:
        """The rows below their floors."""
        return tuple(row for row in self.rows if row.missed)

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data; ``store.write_json`` adds the schema version."""
        return {
            "machine": dict(self.machine),
            "versions": dict(self.versions),
            "plan": dict(self.plan),
            "absent": list(self.absent),
            "rows": [row.to_dict() for row in self.rows],
            "remarks": list(self.remarks),
        }
