"""The family beside the published one: failures per million of every row and operation, and who fails more often.

Ours are failures on uniform problems and on problems stratified by class, with Clopper-Pearson bounds; the published
ones are failures of 1,000,000 random problems. A row is *worse* where Fisher's one-sided test says with p <= .05 that
it fails more often on random problems than the published model, and else *no worse*; rows that are not trained yet say
so. Source of the published numbers: Quirke et al. 2402.02619, as ``family`` reads them.

>>> lines = compare({})
>>> len(lines), lines[0].verdict, markdown(lines).splitlines()[0]
(69, 'not trained yet', '0 of 46 rows trained and tested.')
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from carryproof.benchmarks.statistics import excess
from carryproof.benchmarks.store import write_json
from carryproof.circuits.family import FAMILY, Row
from carryproof.models.checkpoints import write_atomically
from carryproof.theory.errors import unknown

PUBLISHED_PROBLEMS = 1_000_000
LEVEL = 0.05
FEW = 1  # failures on random problems, of a million, that count as solved
MARKDOWN = "table.md"
TABLE = "table.json"
COLUMNS = ("model", "operation", "random", "stratified", "published", "p", "verdict", "seconds", "parameters")
PROOF_COLUMNS = ("model", "operation", "pairs", "wrong", "lead", "seconds of a core")


@dataclass(frozen=True, kw_only=True, slots=True)
class Count:
    """Failures of problems of one test set, and the bounds of their rate per million."""

    failures: int
    problems: int
    low: float
    high: float

    @property
    def per_million(self) -> float:
        """The rate."""
        return 1e6 * self.failures / self.problems


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One operation of a row; without counts where the row has no record.

    ``p`` is that of Fisher's test on random problems against the published failures of a million.
    """

    row: Row
    operation: str
    published: int
    random: Count | None = None
    stratified: Count | None = None
    p: float | None = None
    train_seconds: float | None = None
    test_seconds: float | None = None
    parameters: int | None = None
    diverged: bool = False

    @property
    def verdict(self) -> str:
        """``no worse``, ``worse``, ``diverged`` or ``not trained yet``."""
        if self.p is None:
            return "not trained yet"
        if self.diverged:
            return "diverged"
        return "no worse" if self.p > LEVEL else "worse"

    @property
    def solved(self) -> bool:
        """Whether at least a million random problems were tested, with at most one failure in a million."""
        enough = self.random is not None and self.random.problems >= PUBLISHED_PROBLEMS
        return enough and self.random is not None and self.random.per_million <= FEW

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        shape = {"digits": self.row.digits, "layers": self.row.layers, "heads": self.row.heads}
        found = {name: value for name, value in asdict(self).items() if name not in ("row", "diverged")}
        return {"row": self.row.name, **shape, **found, "verdict": self.verdict, "solved": self.solved}


def compare(records: Mapping[str, Mapping[str, Any]]) -> list[Line]:
    """Every operation of every row of the family, from the records of those that are trained and tested.

    Raises ``ValueError`` for a record of no row, and for one that lacks a test of an operation.
    """
    for name in records:
        if name not in FAMILY:
            raise unknown("records", name, FAMILY)
    return [line for row in FAMILY.values() for line in _lines(row, records.get(row.name))]


def _lines(row: Row, record: Mapping[str, Any] | None) -> list[Line]:
    pairs = list(zip(row.operations, row.published, strict=True))
    if record is None:
        return [Line(row=row, operation=operation, published=published) for operation, published in pairs]
    found = []
    for operation, published in pairs:
        random, stratified = (_count(row, record, operation, name) for name in ("random", "stratified"))
        found.append(
            Line(
                row=row,
                operation=operation,
                published=published,
                random=random,
                stratified=stratified,
                p=excess(random.failures, random.problems, published, PUBLISHED_PROBLEMS),
                train_seconds=record["train_seconds"],
                test_seconds=record["test_seconds"],
                parameters=record["parameters"],
                diverged=record["status"] != "finished",
            )
        )
    return found


def _count(row: Row, record: Mapping[str, Any], operation: str, name: str) -> Count:
    for test in record["tests"]:
        if (test["operation"], test["set"]) == (operation, name):
            low, high = test["interval"]
            return Count(failures=test["failures"], problems=test["problems"], low=low, high=high)
    raise ValueError(f"record of {row.name}: no test of {operation!r} on {name} problems")


def summary(lines: Sequence[Line]) -> dict[str, Any]:
    """How many rows are trained, no worse than the published ones, and solved; the names of the others; and hours of a
    core, all rows together.
    """
    verdicts: dict[str, set[str]] = {}
    unsolved = set()
    for line in lines:
        verdicts.setdefault(line.row.name, set()).add(line.verdict)
        if not line.solved:
            unsolved.add(line.row.name)
    untrained = [name for name, said in verdicts.items() if "not trained yet" in said]
    short = [name for name, said in verdicts.items() if said & {"worse", "diverged"}]
    trained = [name for name in verdicts if name not in untrained]
    once = {line.row.name: line for line in lines}.values()
    return {
        "rows": len(verdicts),
        "trained": len(trained),
        "no_worse": len(trained) - len(short),
        "solved": sum(name not in unsolved for name in trained),
        "worse": short,
        "unsolved": [name for name in trained if name in unsolved],
        "not_trained": untrained,
        "train_hours": sum(line.train_seconds or 0.0 for line in once) / 3600,
        "test_hours": sum(line.test_seconds or 0.0 for line in once) / 3600,
    }


def markdown(lines: Sequence[Line], proofs: Sequence[tuple[str, Mapping[str, Any]]] = ()) -> str:
    """The table, what falls short of it, and what was decided of every pair of operands, as Markdown."""
    counts = summary(lines)
    said = [f"{counts['trained']} of {counts['rows']} rows trained and tested."]
    if counts["trained"]:
        said += [
            "",
            f"No worse than the published model (Fisher's one-sided test on random problems, p > {LEVEL}): "
            f"{counts['no_worse']}. At most {FEW} failure in 1,000,000 random problems of each operation: "
            f"{counts['solved']}.",
            "",
            f"{counts['train_hours']:.2g} hours of a core to train them, {counts['test_hours']:.2g} to test them.",
        ]
    for title, names in (
        ("Worse", counts["worse"]),
        ("More failures than that", counts["unsolved"]),
        ("Not trained yet", counts["not_trained"]),
    ):
        if names and counts["trained"]:
            said += ["", f"{title}: {', '.join(names)}."]
    said += [
        "",
        "Failures per million with Clopper-Pearson bounds of 95 %; published: failures of 1,000,000 random problems.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        f"|{'---|' * len(COLUMNS)}",
        *(f"| {' | '.join(_cells(line))} |" for line in lines),
    ]
    if proofs:
        said += [
            "",
            "Every pair of operands, decided; lead: by how much the true token's logit exceeds all others, at least.",
            "",
            f"| {' | '.join(PROOF_COLUMNS)} |",
            f"|{'---|' * len(PROOF_COLUMNS)}",
            *(
                f"| {name} | {proof['operation']} | {proof['problems']:,} | {proof['failures']:,} | "
                f"{proof['smallest_margin']:.1f} | {proof['seconds']:,.0f} |"
                for name, proof in proofs
            ),
        ]
    return "\n".join(said) + "\n"


def _cells(line: Line) -> list[str]:
    counts = [
        "-" if each is None else f"{each.per_million:,.1f} ({each.low:,.1f} to {each.high:,.1f})"
        for each in (line.random, line.stratified)
    ]
    p = "-" if line.p is None else f"{line.p:.2g}"
    seconds = "-" if line.train_seconds is None else f"{line.train_seconds:,.0f}"
    parameters = "-" if line.parameters is None else f"{line.parameters:,}"
    return [line.row.name, line.operation, *counts, f"{line.published:,}", p, line.verdict, seconds, parameters]


def write_table(lines: Sequence[Line], out: Path, proofs: Sequence[tuple[str, Mapping[str, Any]]] = ()) -> None:
    """Write ``table.md`` and ``table.json`` in a folder."""
    write_atomically(out / MARKDOWN, markdown(lines, proofs).encode())
    decided = [{"model": name, **proof} for name, proof in proofs]
    found = {"summary": summary(lines), "lines": [line.to_dict() for line in lines], "proofs": decided}
    write_json(out / TABLE, found)
