"""What transfer did to a model: which nodes serve which behaviour, and what became of those that were inserted.

The contents of ``transfer.json``. What nodes serve is told twice: with donors from all problems, where a node that says
which behaviour is asked for serves them all, and with donors of the same behaviour, which keep that. Roles are followed
through the weights that training kept on the way; a model of the same shape that never saw the source is asked the
same, because some nodes agree by chance or because a place suggests its use.

>>> from carryproof.circuits.handmade import addition_by_hand
>>> subject = Subject(name="by hand", model=addition_by_hand(2).model, operations=("add",))
>>> found = transfer(subject, None, None, Settings(problems=60), Stages(None, {}))
>>> found["polysemanticity"]["shares"]["useful"], "changes" in found
(11, False)
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from carryproof.circuits.analysis import ALTERNATIVES, TESTED, Settings
from carryproof.circuits.behaviours import behaviour_table, resampled_within
from carryproof.circuits.classes import balanced
from carryproof.circuits.recording import record
from carryproof.circuits.roles import load_steps, roles, same_donors
from carryproof.circuits.stages import Stages
from carryproof.circuits.subjects import Subject
from carryproof.theory.errors import bad


def transfer(
    subject: Subject,
    source: tuple[Subject, Path] | None,
    control: tuple[Subject, Path] | None,
    settings: Settings,
    stages: Stages,
) -> dict[str, Any]:
    """Which nodes serve what; with a source, what became of its nodes, and with a control, what would have anyway.

    ``source`` is the addition model with the folder of the subject's training, ``control`` a model of the subject's
    shape trained from scratch, with the folder of its own. Raises ``ValueError`` for models that do not fit each other.
    """
    count = max(1, settings.problems // len(subject.behaviours))
    seed = TESTED + 2 * settings.seed
    problems = balanced(subject.operations, digits=subject.digits, seed=seed, count=count)
    recording = record(subject.model, problems)

    def served(generator: torch.Generator) -> dict[str, Any]:
        return behaviour_table(recording, ALTERNATIVES[settings.alternative](recording, generator), generator).to_dict()

    def served_within(generator: torch.Generator) -> dict[str, Any]:
        return behaviour_table(recording, resampled_within(recording, generator), generator).to_dict()

    found = {
        "kind": "transfer",
        "model": subject.to_dict(),
        "settings": asdict(settings),
        "polysemanticity": stages.run("behaviours", served),
        "polysemanticity_within": stages.run("behaviours, resampled within each", served_within),
    }
    if source is None:
        return found | {"seconds": stages.seconds}
    origin, folder = source

    def changed(folder: Path) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(settings.seed)
        steps, donors = load_steps(folder), same_donors(settings.seed)
        changes = roles(origin.model, steps, problems, generator, alternative=donors)
        return changes.to_dict(origin.to_dict())

    found["changes"] = stages.run("roles", lambda generator: changed(folder))
    if control is not None:
        other, there = control
        if other.model.config != subject.model.config:
            raise bad("control", other.name, f"a model of the shape of {subject.name}")
        changes = stages.run("roles of the control", lambda generator: changed(there))
        found["control"] = {"model": other.to_dict(), "changes": changes}
    return found | {"seconds": stages.seconds}
