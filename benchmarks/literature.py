"""Published numbers: accuracies above the trained length, and how far methods that are told more get in addition.

Accuracies are those of arXiv 2407.17963 for learned absolute positions. Their models have 6 layers, 6 heads, width 384
(10.7M parameters) and one seed; operands are written most-significant-first and padded to 20. In the evaluation that
its authors publish, both operands of a modular task have exactly m digits and a cell is 10,000 different problems, so a
percentage with two decimals is a count. Operands of the plain tasks follow the law ``longest``.

>>> max(REACHES, key=lambda each: each.reached).words
'3 → 2,450, no error seen'
>>> PUBLISHED["modular-addition", 101].beyond, PUBLISHED["modular-multiplication", 51].uncertain
((0.0, 1.2, 0.9, 1.1, 1.0), 0)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from carryproof.theory import Task, tasks

SOURCE = "arXiv 2407.17963, 10.7M parameters, one seed"
PROBLEMS = 10_000  # in every cell of three digits or more


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """Percent exact match at 1, 2, ... digits beyond ``trained``, and ``in_range``: at ``trained`` digits.

    ``agreement`` is the percentage of the same lengths at which the answer was the surrogate's, where it was published.
    """

    trained: int
    in_range: float
    beyond: tuple[float, ...]
    decimals: int = 1
    agreement: tuple[float, ...] = ()

    @property
    def uncertain(self) -> int:
        """By how many problems the count of right answers may differ from the printed percentage."""
        return PROBLEMS // 200 // 10**self.decimals  # half a unit of the last decimal


def _addition(*beyond: float, agreement: tuple[float, ...] = ()) -> Published:
    """In range the source prints 100 %; the model of 150 was trained on 1 to 4 digits, the others on 4."""
    return Published(trained=4, in_range=100.0, beyond=beyond, agreement=agreement)


def _product(in_range: float, beyond: tuple[float, ...], agreement: tuple[float, ...]) -> Published:
    """The evaluation prints these cells, unlike the paper, with two decimals."""
    return Published(trained=3, in_range=in_range, beyond=beyond, decimals=2, agreement=agreement)


ALWAYS = (100.0,) * 6

PUBLISHED: dict[tuple[str, int | None], Published] = {
    ("addition", None): _addition(0.0, 0.0, 0.0, 0.0, 0.0, agreement=(100.0,) * 5),
    ("multiplication", None): _product(
        98.96, (0.04, 0.0, 0.0, 0.0, 0.0, 0.0), (98.87, 98.95, 97.92, 97.94, 97.24, 97.09)
    ),
    ("modular-addition", 50): _addition(99.3, 92.0, 93.1, 95.2, 91.4),
    ("modular-addition", 51): _addition(0.3, 1.8, 1.9, 1.9, 1.6),
    ("modular-addition", 100): _addition(100.0, 100.0, 100.0, 100.0, 100.0),
    ("modular-addition", 101): _addition(0.0, 1.2, 0.9, 1.1, 1.0),
    ("modular-addition", 150): _addition(33.2, 33.6, 32.3, 33.0, 33.7, agreement=(100.0, 100.0, 100.0, 99.8, 99.7)),
    ("modular-addition", 151): _addition(0.0, 0.6, 0.7, 0.7, 0.6),
    ("modular-addition", 200): _addition(99.8, 98.9, 93.7, 94.1, 93.5),
    ("modular-addition", 201): _addition(0.0, 0.0, 0.5, 0.4, 0.5),
    ("modular-multiplication", 50): _product(100.0, ALWAYS, ALWAYS),
    ("modular-multiplication", 51): _product(
        99.73, (2.59, 2.45, 2.80, 2.37, 2.51, 3.19), (99.77, 98.40, 84.42, 81.88, 68.64, 57.19)
    ),
    ("modular-multiplication", 100): _product(100.0, ALWAYS, ALWAYS),
    ("modular-multiplication", 150): _product(
        52.42, (52.59, 53.10, 52.73, 53.77, 52.99, 53.31), (51.99, 53.52, 52.76, 52.51, 53.26, 52.47)
    ),
    ("modular-multiplication", 200): _product(
        63.05, (62.88, 62.15, 61.56, 61.79, 62.53, 62.93), (61.81, 62.80, 61.63, 62.85, 62.04, 62.77)
    ),
    ("modular-multiplication", 201): _product(
        92.17, (0.67, 0.58, 0.53, 0.64, 0.63, 0.60), (90.91, 90.74, 90.48, 88.66, 87.87, 85.01)
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Reach:
    """Decimal addition by a published method: trained up to so many digits, reported right up to so many.

    ``remark`` qualifies the report, and ``told`` is what the method knows of the task beside examples.
    """

    method: str
    source: str
    trained: int
    reached: int
    told: str
    remark: str = ""

    @property
    def words(self) -> str:
        """The range in a few characters."""
        return f"{self.trained} → {self.reached:,}{self.remark}"


REACHES: tuple[Reach, ...] = (
    Reach(
        method="position coupling",
        source="arXiv 2405.20671",
        trained=30,
        reached=200,
        told="digits of equal significance share an id",
    ),
    Reach(
        method="Abacus",
        source="arXiv 2405.17399",
        trained=20,
        reached=100,
        told="each digit's place in its number",
        remark=" and more",
    ),
    Reach(
        method="FIRE, random ids and hints",
        source="arXiv 2402.09371",
        trained=40,
        reached=100,
        told="hints that index the digits",
    ),
    Reach(
        method="self-improvement",
        source="arXiv 2502.01612",
        trained=10,
        reached=100,
        told="nothing; trained on its own answers to ever longer problems",
    ),
    Reach(
        method="finite-state transducers",
        source="arXiv 2511.22751",
        trained=3,
        reached=2_450,
        told="expert trajectories; not a transformer",
        remark=", no error seen",
    ),
)


def published(task: Mapping[str, Any]) -> Published | None:
    """The published row of a task given as plain data: two operands in base 10, or there is none."""
    if task["operands"] != 2 or task["base"] != 10:
        return None
    return PUBLISHED.get((task["name"], task["modulus"]))


def modular_rows() -> list[tuple[Task, Published]]:
    """The published modular tasks with their rows, in the order of the table."""
    return [(tasks.build(name, modulus=modulus), row) for (name, modulus), row in PUBLISHED.items() if modulus]
