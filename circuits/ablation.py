"""Ablation: which positions and nodes a model cannot do without, for which tokens of the answer and which problems.

The impact of a set of nodes is the share of the problems that the model answers right and that it no longer does when
the set writes something else; so a model that answers nothing right has no useful node. A node can be useful only where
its position is, and of several that say the same no single one is: ``redundant_sets`` ablates all of those together and
gives back whatever is not needed for the damage.

>>> import numpy as np
>>> from carryproof.circuits.recording import record
>>> from carryproof.circuits.replacing import zeros
>>> from carryproof.circuits.texts import Problems
>>> from carryproof.models import Decoder, DecoderConfig
>>> config = DecoderConfig(d_vocab=15, n_ctx=10, d_model=8, n_heads=2, n_layers=1, encoding="absolute")
>>> model = Decoder.init(config, torch.Generator().manual_seed(0))
>>> problems = Problems(operands=np.array([[[1, 2], [3, 4]]] * 5, dtype=np.uint8), subtract=np.zeros(5, dtype=bool))
>>> recording = record(model, problems)
>>> search(recording, zeros(recording), torch.Generator().manual_seed(0)).nodes      # untrained: nothing here
{}
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from carryproof.circuits.bootstrap import Estimate, estimates, unseen
from carryproof.circuits.classes import BEHAVIOURS, classify
from carryproof.circuits.nodes import MLP, Node, at_position, every_node, neurons_of
from carryproof.circuits.patching import Patch, patched_right
from carryproof.circuits.recording import Recording
from carryproof.circuits.replacing import Alternative, patch
from carryproof.circuits.shrinking import shrunk

SETS_AT_ONCE = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class Impact:
    """The share of right answers that become wrong: whole ones, by token of the answer, by behaviour (``add``,
    ``sub_positive``, ``sub_negative``) and by complexity class.
    """

    whole: Estimate
    tokens: Mapping[str, Estimate]
    behaviours: Mapping[str, Estimate]
    classes: Mapping[str, Estimate]

    def to_dict(self) -> dict[str, Any]:
        """As plain data; tokens, behaviours and classes without impact are left out."""
        parts = {"tokens": self.tokens, "behaviours": self.behaviours, "classes": self.classes}
        named = {part: {name: each.to_dict() for name, each in of.items() if each.value} for part, of in parts.items()}
        return {"whole": self.whole.to_dict(), **named}


@dataclass(frozen=True, kw_only=True, slots=True)
class Search:
    """The useful positions, the useful nodes there, their impacts, and how many of the problems were answered right."""

    problems: int
    right: int
    positions: Mapping[int, Impact]
    nodes: Mapping[Node, Impact]


def token_names(digits: int) -> tuple[str, ...]:
    """The tokens of an answer as they are written: SGN, then the digits, highest first.

    >>> token_names(2)
    ('SGN', 'A2', 'A1', 'A0')
    """
    return ("SGN", *(f"A{place}" for place in reversed(range(digits + 1))))


def impacts(
    recording: Recording, sets: Sequence[Collection[Node]], alternative: Alternative, generator: torch.Generator
) -> list[Impact]:
    """The impact of each set of nodes when it writes what ``alternative`` gives."""
    found = []
    for low in range(0, len(sets), SETS_AT_ONCE):
        patches = [patch(nodes, alternative) for nodes in sets[low : low + SETS_AT_ONCE]]
        found += patch_impacts(recording, patches, generator)
    return found


def patch_impacts(recording: Recording, patches: Sequence[Patch], generator: torch.Generator) -> list[Impact]:
    """The impact of each patch, that is of nodes together with what they write instead."""
    names, labels = token_names(recording.problems.digits), classify(recording.problems)
    classes = sorted(set(labels.tolist()), key=lambda name: (name[0], int(name[1:])))
    letters = sorted({name[0] for name in classes}, key=[*BEHAVIOURS].index)
    groups = [labels == name for name in classes] + [np.char.startswith(labels, letter) for letter in letters]
    member = torch.stack([torch.from_numpy(group) for group in groups], dim=1).float()  # [problem group]
    right = recording.right.cpu()
    whole = right.all(dim=1, keepdim=True).float()
    weights = torch.cat([whole, right.float(), whole * member], dim=1)  # [problem case]
    still = patched_right(recording, patches).cpu()
    lost = 1 - still.all(dim=2, keepdim=True).float()
    amounts = torch.cat([lost, 1 - still.float(), lost.expand(-1, -1, len(groups))], dim=2)  # [patch problem case]
    return [
        Impact(
            whole=case[0],
            tokens=dict(zip(names, case[1 : 1 + len(names)], strict=True)),
            classes=dict(zip(classes, case[1 + len(names) :], strict=False)),
            behaviours={BEHAVIOURS[letter]: each for letter, each in zip(letters, case[-len(letters) :], strict=True)},
        )
        for case in _estimated(amounts, weights, generator)
    ]


def _estimated(
    amounts: Float[Tensor, "set problem case"], weights: Float[Tensor, "problem case"], generator: torch.Generator
) -> Iterator[list[Estimate]]:
    """The cases of every set; sets that break nothing, most of them, need no drawing."""
    counted = (weights > 0).sum(dim=0).tolist()
    nothing = [unseen(problems) if problems else Estimate(value=0.0, low=0.0, high=1.0) for problems in counted]
    breaks = ((amounts * weights).sum(dim=1) > 0).any(dim=1)  # [set]
    some = amounts[breaks].transpose(0, 1).flatten(1)  # [problem set * case]
    drawn = iter(estimates(some, weights.repeat(1, int(breaks.sum())), generator)) if breaks.any() else iter(())
    for broken in breaks.tolist():
        yield [next(drawn) for _ in nothing] if broken else nothing


def search(recording: Recording, alternative: Alternative, generator: torch.Generator, *, floor: float = 0.0) -> Search:
    """The positions whose heads and MLPs are useful together, and the useful ones among those.

    Useful is what has an interval of the impact above ``floor``.
    """
    config = recording.model.config
    positions = range(config.n_ctx - 1)
    together = impacts(recording, [at_position(config, each) for each in positions], alternative, generator)
    useful = {each: impact for each, impact in zip(positions, together, strict=True) if impact.whole.low > floor}
    nodes = search_nodes(recording, every_node(config, useful), alternative, generator, floor=floor)
    right = int(recording.right.all(dim=1).sum())
    return Search(problems=len(recording), right=right, positions=useful, nodes=nodes)


def search_nodes(
    recording: Recording,
    nodes: Iterable[Node],
    alternative: Alternative,
    generator: torch.Generator,
    *,
    floor: float = 0.0,
) -> dict[Node, Impact]:
    """Those of some nodes that are useful alone, in order, with their impacts; ``floor`` as in ``search``."""
    asked = sorted(set(nodes))
    alone = impacts(recording, [(node,) for node in asked], alternative, generator)
    return {node: impact for node, impact in zip(asked, alone, strict=True) if impact.whole.low > floor}


def search_neurons(
    recording: Recording,
    mlps: Iterable[Node],
    alternative: Alternative,
    generator: torch.Generator,
    *,
    floor: float = 0.0,
) -> dict[Node, Impact]:
    """The useful neurons of the MLPs among some nodes, such as the useful ones; ``floor`` as in ``search``."""
    config = recording.model.config
    neurons = [neuron for node in mlps if node.kind == MLP for neuron in neurons_of(config, node)]
    return search_nodes(recording, neurons, alternative, generator, floor=floor)


def redundant_sets(
    recording: Recording,
    candidates: Iterable[Node],
    alternative: Alternative,
    *,
    single_at_most: float = 0.02,
    joint_at_least: float = 0.2,
    sets_at_most: int = 20,
) -> list[tuple[tuple[Node, ...], float]]:
    """Sets of candidates of which none matters alone and all matter together, with their joint impacts.

    Each set is minimal: without any one of its nodes its impact is below ``joint_at_least``. After each, its last node
    stays out of the search, which ends when what is left does no such damage together. Shares are of right answers.
    """
    asked = sorted(set(candidates))
    alone = broken_shares(recording, [(node,) for node in asked], alternative)
    pool = [node for node, share in zip(asked, alone, strict=True) if share <= single_at_most]
    found: list[tuple[tuple[Node, ...], float]] = []

    def breaks(nodes: Sequence[Node]) -> bool:
        return broken_shares(recording, [nodes], alternative)[0] >= joint_at_least

    while len(found) < sets_at_most and len(pool) > 1:
        if not breaks(pool):
            break
        kept = shrunk(pool, breaks)
        found.append((tuple(kept), broken_shares(recording, [kept], alternative)[0]))
        pool.remove(kept[-1])
    return found


def broken_shares(recording: Recording, sets: Sequence[Collection[Node]], alternative: Alternative) -> list[float]:
    """The share of right answers that each set of nodes breaks, without an interval; 0 where no answer is right."""
    right = recording.right.all(dim=1)
    still = patched_right(recording, [patch(nodes, alternative) for nodes in sets]).all(dim=2)
    return [float(share) for share in (right & ~still).sum(dim=1) / right.sum().clamp(min=1)]
