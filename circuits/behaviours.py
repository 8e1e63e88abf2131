"""Behaviours: which nodes serve addition, subtraction with a positive answer, and subtraction with a negative one.

A node serves a behaviour if at least a given share of its right answers are wrong without the node; one that serves
several is polysemantic. All behaviours have equally many problems, and each equally many of its classes. A node that is
resampled from any of the problems loses what says which behaviour is asked for too; ``resampled_within`` keeps that, so
that what it breaks is about the digits. Shares of nodes depend on the bound, so they are given for several, with
intervals from problems drawn again within each behaviour. Source of the question and of ``PUBLISHED``: Quirke et al.
2402.02619, where nodes are set to their means and any failure counts.

>>> from carryproof.circuits.classes import balanced
>>> from carryproof.circuits.handmade import addition_by_hand
>>> from carryproof.circuits.recording import record
>>> from carryproof.circuits.replacing import resampled
>>> generator = torch.Generator().manual_seed(0)
>>> recording = record(addition_by_hand(2).model, balanced(("add",), digits=2, seed=0, count=60))
>>> found = behaviour_table(recording, resampled(recording, generator), generator)
>>> found.shares.useful, found.shares.parts["add"].nodes, found.shares.parts["add"].share.value
(11, 11, 1.0)
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from carryproof.circuits.bootstrap import DRAWS, TAIL, Estimate, unseen
from carryproof.circuits.classes import BEHAVIOURS, LETTERS, classify
from carryproof.circuits.nodes import Node, at_position, every_node
from carryproof.circuits.patching import patched_right
from carryproof.circuits.recording import Recording
from carryproof.circuits.replacing import Alternative, other_problems, patch
from carryproof.theory.errors import bad

AT_LEAST = 0.01
THRESHOLDS = (0.01, 0.02, 0.05, 0.1)
SETS_AT_ONCE = 256
PUBLISHED = {"useful": 96, "add": 61, "sub_positive": 70, "sub_negative": 53, "both_operations": 0.48}
_SUBTRACTIONS = tuple(BEHAVIOURS[letter] for letter in LETTERS["sub"])


@dataclass(frozen=True, kw_only=True, slots=True)
class Losses:
    """Which answers are lost without each node. ``member`` says which problems are of which behaviour, ``right`` which
    the model answers right, and ``lost`` which of those it then does not.
    """

    nodes: tuple[Node, ...]
    behaviours: tuple[str, ...]
    member: Bool[Tensor, "behaviour problem"]
    right: Bool[Tensor, " problem"]
    lost: Bool[Tensor, "node problem"]

    def right_shares(self) -> dict[str, float]:
        """The share of each behaviour's problems that is answered right."""
        pairs = zip(self.behaviours, self.member, strict=True)
        return {name: float(self.right[member].float().mean()) for name, member in pairs}

    def shares(self, times: Float[Tensor, "draw problem"]) -> Float[Tensor, "draw node behaviour"]:
        """The share of a behaviour's right answers that are lost, each problem counted so many times; 0 where nothing
        is right.
        """
        found = []
        for member in self.member:
            some, lost = times[:, member], self.lost[:, member].float()
            right = (some @ self.right[member].float()).double()[:, None]
            found.append((some @ lost.T).double() / torch.where(right > 0, right, torch.inf))
        return torch.stack(found, dim=2)

    def estimates(self, shares: Float[Tensor, "draw behaviour"]) -> dict[str, Estimate]:
        """For one node the share of each behaviour's right answers that are lost; where none or all are, the interval
        is that of Clopper and Pearson.
        """
        found = {}
        for name, member, estimate in zip(self.behaviours, self.member, estimated(shares), strict=True):
            right = int(self.right[member].sum())
            none = unseen(right) if right else Estimate(value=0.0, low=0.0, high=1.0)
            all_of_them = Estimate(value=1.0, low=1 - none.high, high=1.0)
            found[name] = {0.0: none, 1.0: all_of_them}.get(estimate.value, estimate)
        return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """How many nodes do something, and their share of the useful ones."""

    nodes: int
    share: Estimate

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {"nodes": self.nodes, "share": self.share.to_dict()}


@dataclass(frozen=True, kw_only=True, slots=True)
class Shares:
    """How many nodes serve anything, and of those how many serve what, where at least ``at_least`` of the answers must
    be lost: each behaviour, ``both_operations`` and ``all_three``, as far as the model does them.
    """

    at_least: float
    useful: int
    parts: Mapping[str, Part]

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {"useful": self.useful, **{name: part.to_dict() for name, part in self.parts.items()}}


@dataclass(frozen=True, kw_only=True, slots=True)
class BehaviourTable:
    """The nodes that serve a behaviour, with the share of each behaviour's right answers that is lost without them.

    ``problems`` is how many there are of each behaviour, ``right`` the share of them that is answered right, and
    ``thresholds`` says what other bounds would have given.
    """

    problems: int
    right: Mapping[str, float]
    nodes: Mapping[Node, Mapping[str, Estimate]]
    shares: Shares
    thresholds: tuple[Shares, ...]

    def to_dict(self) -> dict[str, Any]:
        """As plain data, as ``polysemanticity`` of a ``transfer.json``."""
        return {
            "at_least": self.shares.at_least,
            "problems": self.problems,
            "right": {name: round(share, 4) for name, share in self.right.items()},
            "nodes": {
                str(node): {name: each.to_dict() for name, each in of.items()} for node, of in self.nodes.items()
            },
            "shares": self.shares.to_dict(),
            "thresholds": [{"at_least": each.at_least, "shares": each.to_dict()} for each in self.thresholds],
        }


def losses(recording: Recording, alternative: Alternative, nodes: Iterable[Node] | None = None) -> Losses:
    """Which answers are lost without each of some nodes, which then write what ``alternative`` gives.

    By default these are all heads and MLPs; where a position is not missed with all of them gone, none of them is.
    """
    asked = every_node(recording.model.config) if nodes is None else tuple(sorted(set(nodes)))
    run = set(nodes_in_use(recording, alternative) if nodes is None else asked)
    ablated = torch.tensor([node in run for node in asked], dtype=torch.bool)
    right = recording.right.all(dim=1).cpu()
    lost = torch.zeros(len(asked), len(right), dtype=torch.bool)
    lost[ablated] = _lost(recording, [(node,) for node in asked if node in run], alternative)
    labels = classify(recording.problems)
    letters = [letter for letter in BEHAVIOURS if np.char.startswith(labels, letter).any()]
    return Losses(
        nodes=asked,
        behaviours=tuple(BEHAVIOURS[letter] for letter in letters),
        member=torch.stack([torch.from_numpy(np.char.startswith(labels, letter)) for letter in letters]),
        right=right,
        lost=lost,
    )


def resampled_within(recording: Recording, generator: torch.Generator) -> Alternative:
    """What the same node wrote for another problem of the same behaviour: what says which one is asked for is kept.

    Raises ``ValueError`` for a behaviour of one problem.
    """
    labels = classify(recording.problems)
    order = torch.arange(len(recording))
    for letter in BEHAVIOURS:
        places = torch.from_numpy(np.char.startswith(labels, letter)).nonzero()[:, 0]
        if len(places):
            order[places] = places[other_problems(len(places), generator)]
    order = order.to(recording.answers.device)
    return lambda node: recording.output(node)[order]


def nodes_in_use(recording: Recording, alternative: Alternative) -> tuple[Node, ...]:
    """The heads and MLPs at those positions where all of them together are missed, if only by one answer."""
    config = recording.model.config
    positions = range(config.n_ctx - 1)
    lost = _lost(recording, [at_position(config, position) for position in positions], alternative).any(dim=1)
    return every_node(config, [position for position in positions if lost[position]])


def times_drawn(
    member: Bool[Tensor, "behaviour problem"], generator: torch.Generator, draws: int = DRAWS
) -> Float[Tensor, "draw problem"]:
    """How often each problem is there: once in the first row, and in the others as drawn again with replacement from
    the problems of its behaviour.
    """
    times = torch.zeros(1 + draws, member.shape[1])
    times[0] = 1
    for each in member:
        places = each.nonzero()[:, 0]
        drawn = places[torch.randint(len(places), (draws, len(places)), generator=generator)]
        times[1:].scatter_add_(1, drawn, torch.ones(drawn.shape))
    return times


def behaviour_table(
    recording: Recording,
    alternative: Alternative,
    generator: torch.Generator,
    *,
    at_least: float = AT_LEAST,
) -> BehaviourTable:
    """Which nodes serve which of a recording's behaviours.

    The recording is of ``classes.balanced``; ``generator`` draws the problems for the intervals. Raises
    ``ValueError`` for a bound outside 0 to 1 and where behaviours have unequal numbers of problems.
    """
    require_share(at_least)
    found = losses(recording, alternative)
    sizes = found.member.sum(dim=1).tolist()
    if len(set(sizes)) > 1:
        raise bad("problems", dict(zip(found.behaviours, sizes, strict=True)), "equally many of each behaviour")
    shares = found.shares(times_drawn(found.member, generator))
    useful = (shares[0] >= at_least).any(dim=1)
    return BehaviourTable(
        problems=sizes[0],
        right=found.right_shares(),
        nodes={node: found.estimates(shares[:, index]) for index, node in enumerate(found.nodes) if useful[index]},
        shares=shares_of_nodes(shares, found.behaviours, at_least),
        thresholds=tuple(shares_of_nodes(shares, found.behaviours, bound) for bound in THRESHOLDS),
    )


def shares_of_nodes(shares: Float[Tensor, "draw node behaviour"], behaviours: Sequence[str], at_least: float) -> Shares:
    """How many nodes serve what, from the shares that are lost, of which the first draw is what was seen."""
    serves = shares >= at_least
    useful = serves.any(dim=2)
    parts = dict(_parts(serves, behaviours))
    counts = useful.sum(dim=1)
    return Shares(
        at_least=at_least,
        useful=int(counts[0]),
        parts={name: Part(nodes=int(of[0].sum()), share=_ratio(of.sum(dim=1), counts)) for name, of in parts.items()},
    )


def estimated(draws: Float[Tensor, "draw case"]) -> list[Estimate]:
    """For each case the value of the first draw, and the middle 95 % of the others."""
    ends = draws[1:].quantile(torch.tensor([TAIL, 1 - TAIL], dtype=draws.dtype), dim=0).T.tolist()
    return [
        Estimate(value=value, low=low, high=high) for value, (low, high) in zip(draws[0].tolist(), ends, strict=True)
    ]


def require_share(at_least: float) -> None:
    """A one-line ``ValueError`` for a bound that every node or none would reach."""
    if not 0 < at_least <= 1:
        raise bad("at_least", at_least, "a share above 0, at most 1")


def _parts(
    serves: Bool[Tensor, "draw node behaviour"], behaviours: Sequence[str]
) -> Iterator[tuple[str, Bool[Tensor, "draw node"]]]:
    of = {name: serves[:, :, index] for index, name in enumerate(behaviours)}
    yield from of.items()
    if set(of) == set(BEHAVIOURS.values()):
        either = torch.stack([of[name] for name in _SUBTRACTIONS]).any(dim=0)
        yield "both_operations", of["add"] & either
        yield "all_three", serves.all(dim=2)


def _ratio(some: Tensor, of: Tensor) -> Estimate:
    """The share that some nodes are of the useful ones; of none, the interval is that of a share."""
    if not of[0]:
        return Estimate(value=0.0, low=0.0, high=1.0)
    (share,) = estimated((some.double() / of.clamp(min=1))[:, None])
    return share


def _lost(
    recording: Recording, sets: Sequence[Sequence[Node]], alternative: Alternative
) -> Bool[Tensor, "set problem"]:
    """Which right answers each set of nodes breaks."""
    right = recording.right.all(dim=1).cpu()
    found = torch.zeros(len(sets), len(right), dtype=torch.bool)
    for low in range(0, len(sets), SETS_AT_ONCE):
        patches = [patch(nodes, alternative) for nodes in sets[low : low + SETS_AT_ONCE]]
        found[low : low + SETS_AT_ONCE] = right & ~patched_right(recording, patches).all(dim=2).cpu()
    return found
