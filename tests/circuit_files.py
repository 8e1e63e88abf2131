"""What the tools of circuits find in a small model, in the form of the files that the commands exchange."""

from functools import cache
from typing import Any

from carryproof.circuits.analysis import Settings, examine, search
from carryproof.circuits.files import require_valid
from carryproof.circuits.handmade import addition_by_hand
from carryproof.circuits.stages import Stages
from carryproof.circuits.subjects import Subject
from carryproof.models.decoder import Decoder

Findings = tuple[dict[str, Any], dict[str, Any]]


def files(model: Decoder, operations: tuple[str, ...], name: str, *, problems: int = 60) -> Findings:
    """The contents of ``search.json`` and ``test.json`` of a model."""
    subject, about = Subject(name=name, model=model, operations=operations), {"schema_version": 1}
    found = about | search(subject, Settings(problems=problems), Stages(None, {}))
    tested = about | examine(subject, found, Stages(None, {}))
    require_valid("search", found, "search.json")
    require_valid("test", tested, "test.json")
    return found, tested


@cache
def by_hand() -> Findings:
    """Those of the hand-made model of two digits; not to be changed."""
    return files(addition_by_hand(2).model, ("add",), "by_hand_d2")


def curve(digits: int, *, points: int = 30) -> dict[str, Any]:
    """A training record, made up, whose tokens are learned one after another."""
    tokens = digits + 2
    loss = []
    for index in range(1, points + 1):
        of_tokens = [2.3 / (1 + (index / (1 + token)) ** 4) + 1e-4 for token in range(tokens)]
        share = index / points
        loss.append({"step": 100 * index, "loss": sum(of_tokens) / tokens, "in_range": share, "tokens": of_tokens})
    return {"schema_version": 1, "loss": loss}
