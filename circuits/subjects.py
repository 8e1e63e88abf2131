"""Subjects: a trained model under its name, what it was trained to do, and the algorithm that it is said to compute.

A model is named by its row of the family, as ``mix_d6_l3_h4``, or by a file. What a checkpoint of the family says of
itself is enough to know its operations; for any other file they have to be given, and digits follow from the context.

>>> from carryproof.circuits.handmade import addition_by_hand
>>> made = Subject(name="by hand", model=addition_by_hand(2).model, operations=("add",))
>>> made.digits, made.algorithm().graph.name, made.to_dict()["layers"], made.behaviours
(2, 'addition', 2, ('add',))
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from carryproof.circuits.algorithms import ALGORITHMS, Algorithm
from carryproof.circuits.classes import behaviours_of
from carryproof.circuits.family import Row, row
from carryproof.circuits.texts import OPERATIONS, digits_of
from carryproof.circuits.training import MODEL
from carryproof.models import checkpoints
from carryproof.models.decoder import Decoder
from carryproof.theory.errors import bad, unknown

GRAPHS = {("add",): "addition", ("sub",): "subtraction", OPERATIONS: "complement"}  # what models of these compute


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """A model that adds, subtracts, or both, of ``digits`` digits."""

    name: str
    model: Decoder
    operations: tuple[str, ...]

    @property
    def digits(self) -> int:
        """The digits of the operands that it reads."""
        return digits_of(self.model.config)

    @property
    def behaviours(self) -> tuple[str, ...]:
        """``add``, ``sub_positive`` and ``sub_negative``, as far as it does them."""
        return behaviours_of(self.operations)

    def algorithm(self, graph: str | None = None) -> Algorithm:
        """The one of a name, or else the first for its operations, for its digits.

        Raises ``ValueError`` for a name that there is not, and for an algorithm of other operations.
        """
        name = GRAPHS[self.operations] if graph is None else graph
        if name not in ALGORITHMS:
            raise unknown("graph", name, ALGORITHMS)
        found = ALGORITHMS[name](self.digits)
        if self.operations != found.operations:
            raise bad("graph", name, f"one for {' and '.join(self.operations)}, as {self.name}")
        return found

    def to_dict(self) -> dict[str, Any]:
        """What identifies it, as plain data."""
        config = self.model.config
        return {
            "name": self.name,
            "sha256": checkpoints.digest(self.model.state_dict()),
            "digits": self.digits,
            "operations": list(self.operations),
            "layers": config.n_layers,
            "heads": config.n_heads,
            "parameters": sum(parameter.numel() for parameter in self.model.parameters()),
        }


def find(name: str, folder: Path, operations: Sequence[str] | None = None) -> Subject:
    """The model of a checkpoint, or of a row that was trained in ``folder``.

    Raises a one-line ``ValueError`` for a name that is neither, a model of other texts, and operations that are unknown
    or, for a file that does not say them, missing.
    """
    path = Path(name)
    if path.suffix != ".safetensors" and not path.is_file():
        path = folder / row(name).name / MODEL
        if not path.is_file():
            raise bad("model", name, f"a row that is trained ({path} is missing: carryproof circuits train {name})")
    model = checkpoints.load(path)
    digits_of(model.config)
    trained = _row_of(model)
    if operations is None:
        if trained is None:
            raise bad("operations", None, "add, sub or add,sub, for a checkpoint that does not name its row")
        operations = trained.operations
    known = tuple(each for each in OPERATIONS if each in operations)
    if sorted(known) != sorted(operations):
        raise unknown("operations", ",".join(operations), OPERATIONS)
    return Subject(name=path.stem if trained is None else trained.name, model=model, operations=known)


def _row_of(model: Decoder) -> Row | None:
    """The row that a checkpoint says it is of, if it does."""
    try:
        return row(model.about.get("row", ""))
    except ValueError:
        return None
