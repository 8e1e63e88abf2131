"""Roles: what becomes of the nodes that a mixed model started with, by what they serve in the source and at the end.

A model that starts from an addition model holds it as a part, at the same positions because both have the same digits.
A node of that part that serves addition in the source is ``re-used`` if it serves addition and nothing more at the end,
``generalised`` if it serves a subtraction too, ``re-purposed`` if instead, and ``lost`` if it serves nothing; one that
did not serve addition and does serve now is ``recruited``, and one that is no part of the source is ``new``. To serve
is to lose at least a given share of a behaviour's right answers when ablated, as in ``behaviours``. That is not yet to
say the same: models that never saw the source serve addition at the same positions, so ``roles`` of such a model is the
control, and ``likeness`` is how what a node writes for sums correlates with what it wrote in the source. Source of the
question: Quirke et al. 2402.02619.

>>> role_of(inserted=True, served_source=True, serves_add=True, serves_sub=True)
'generalised'
>>> role_of(inserted=True, served_source=False, serves_add=False, serves_sub=False) is None
True
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from carryproof.circuits.behaviours import (
    AT_LEAST,
    estimated,
    losses,
    require_share,
    resampled_within,
    times_drawn,
)
from carryproof.circuits.bootstrap import Estimate
from carryproof.circuits.insertion import place_of, require_fit
from carryproof.circuits.nodes import HEAD, Node, every_node
from carryproof.circuits.recording import Recording, record
from carryproof.circuits.replacing import Alternative
from carryproof.circuits.texts import Problems
from carryproof.circuits.training import MILESTONES, MODEL, milestone
from carryproof.models import checkpoints
from carryproof.models.config import DecoderConfig
from carryproof.models.decoder import Decoder
from carryproof.theory.errors import bad

ADDS = "add"


@dataclass(frozen=True, kw_only=True, slots=True)
class Criterion:
    """Which nodes have a role: whether they were inserted, whether they served addition in the source, and what they
    serve at the end; None for either.
    """

    role: str
    inserted: bool
    served_source: bool | None
    serves_add: bool | None
    serves_sub: bool | None


# Of what serves anything, in the source or at the end, exactly one holds.
CRITERIA = (
    Criterion(role="re-used", inserted=True, served_source=True, serves_add=True, serves_sub=False),
    Criterion(role="generalised", inserted=True, served_source=True, serves_add=True, serves_sub=True),
    Criterion(role="re-purposed", inserted=True, served_source=True, serves_add=False, serves_sub=True),
    Criterion(role="lost", inserted=True, served_source=True, serves_add=False, serves_sub=False),
    Criterion(role="recruited", inserted=True, served_source=False, serves_add=True, serves_sub=None),
    Criterion(role="recruited", inserted=True, served_source=False, serves_add=False, serves_sub=True),
    Criterion(role="new", inserted=False, served_source=None, serves_add=True, serves_sub=None),
    Criterion(role="new", inserted=False, served_source=None, serves_add=False, serves_sub=True),
)
ROLES = tuple(dict.fromkeys(criterion.role for criterion in CRITERIA))


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """What became of a node. ``support`` is the share of draws of problems in which it has its role; ``source`` is the
    share of sums lost without it in the source, None where it is new; ``end`` the shares lost at the end, and
    ``milestones`` those at every step. ``serves_since`` has the first step from which on it always serves a behaviour,
    and ``likeness`` the correlation, at every step, of what it writes for sums with the source, None where it is new.
    """

    role: str
    support: float
    source: Estimate | None
    end: Mapping[str, Estimate]
    milestones: tuple[Mapping[str, float], ...]
    serves_since: Mapping[str, int]
    likeness: tuple[float, ...] | None

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "role": self.role,
            "support": round(self.support, 4),
            "source": None if self.source is None else self.source.to_dict(),
            "end": {name: each.to_dict() for name, each in self.end.items()},
            "milestones": [_rounded(each) for each in self.milestones],
            "serves_since": dict(self.serves_since),
            "likeness": None if self.likeness is None else [round(each, 4) for each in self.likeness],
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Count:
    """How many nodes have a role, and the middle 95 % of how many had problems been drawn again."""

    nodes: int
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Changes:
    """The nodes that serve something in the source or at the end, at ``steps`` of training, the last being the end.

    ``right`` has the shares of the problems that are answered right at every step, ``right_source`` that of the sums.
    """

    placement: str
    at_least: float
    steps: tuple[int, ...]
    right: tuple[Mapping[str, float], ...]
    right_source: float
    counts: Mapping[str, Count]
    nodes: Mapping[Node, Change]

    @property
    def likeness(self) -> dict[str, dict[str, float]]:
        """The median, least and most likeness at the end, of the inserted nodes of each role that has some."""
        ends: dict[str, list[float]] = {}
        for change in self.nodes.values():
            if change.likeness is not None:
                ends.setdefault(change.role, []).append(change.likeness[-1])
        return {
            role: {"median": median(ends[role]), "least": min(ends[role]), "most": max(ends[role])}
            for role in ROLES
            if role in ends
        }

    def to_dict(self, source: Mapping[str, Any]) -> dict[str, Any]:
        """As plain data, as ``changes`` of a ``transfer.json``; ``source`` is what identifies the source."""
        return {
            "source": dict(source),
            "placement": self.placement,
            "at_least": self.at_least,
            "criteria": [asdict(criterion) for criterion in CRITERIA],
            "steps": list(self.steps),
            "right": [_rounded(each) for each in self.right],
            "right_source": round(self.right_source, 4),
            "counts": {role: asdict(each) for role, each in self.counts.items()},
            "likeness": {role: _rounded(each) for role, each in self.likeness.items()},
            "nodes": {str(node): change.to_dict() for node, change in self.nodes.items()},
        }


def role_of(*, inserted: bool, served_source: bool, serves_add: bool, serves_sub: bool) -> str | None:
    """The role by ``CRITERIA``; None for what serves nothing, and did not before."""
    facts = {"served_source": served_source, "serves_add": serves_add, "serves_sub": serves_sub}
    for criterion in CRITERIA:
        if criterion.inserted == inserted and all(
            getattr(criterion, name) in (fact, None) for name, fact in facts.items()
        ):
            return criterion.role
    return None


def origin(source: DecoderConfig, target: DecoderConfig, placement: str, node: Node) -> Node | None:
    """The source's node that a head or MLP of the target was made of, None for one that is new.

    The neurons of an inserted MLP may be a part of the target's MLP only; that counts as inserted.
    """
    place = place_of(source, target, placement)
    layer = node.layer - place.layer
    index = node.index - place.head if node.kind == HEAD else node.index
    inside = 0 <= layer < source.n_layers and (node.kind != HEAD or 0 <= index < source.n_heads)
    return Node(position=node.position, layer=layer, kind=node.kind, index=index) if inside else None


def same_donors(seed: int) -> Callable[[Recording], Alternative]:
    """Resampling within behaviours, from the same problems in every model.

    The source can take from additions only; so do additions here, and what was just inserted serves what it served.
    """
    return lambda recording: resampled_within(recording, torch.Generator().manual_seed(seed))


def load_steps(folder: Path) -> dict[int, Decoder]:
    """The models of a training in ``folder`` by their steps: those kept on the way, and the last.

    Raises a one-line ``ValueError`` where the last is missing, damaged, or does not say how many steps it took.
    """
    last = checkpoints.load(folder / MODEL)
    try:
        steps = int(last.about["config"]["recipe"]["steps"])
    except (KeyError, TypeError):
        raise ValueError(f"{folder / MODEL}: it does not say how many steps it was trained for") from None
    paths = {step: milestone(folder, step) for step in MILESTONES if step < steps}
    return {step: checkpoints.load(path) for step, path in paths.items() if path.is_file()} | {steps: last}


def roles(
    source: Decoder,
    steps: Mapping[int, Decoder],
    problems: Problems,
    generator: torch.Generator,
    *,
    alternative: Callable[[Recording], Alternative],
    placement: str = "left",
    at_least: float = AT_LEAST,
) -> Changes:
    """What became of the nodes of ``source``, an addition model, in the models of a training by their steps.

    ``problems`` are ``problem_sets`` of both operations; the source is asked their additions only. ``alternative`` says
    what ablated nodes write, such as ``same_donors(0)`` or ``means``; ``generator`` draws problems for intervals.
    ``placement`` is where the source was inserted. Raises ``ValueError`` for a source that does not fit, for a bound
    outside 0 to 1, and without steps, additions or subtractions.
    """
    require_share(at_least)
    if not steps:
        raise bad("steps", "none", "one or more models")
    if problems.subtract.all() or not problems.subtract.any():
        raise bad("problems", "one operation", "problem_sets of both operations")
    order, sums = sorted(steps), torch.from_numpy(~problems.subtract)
    target = steps[order[-1]].config
    require_fit(source.config, target)
    made_of = {node: origin(source.config, target, placement, node) for node in every_node(target)}
    recording_before = record(source, problems.at(~problems.subtract))
    before = losses(recording_before, alternative(recording_before))
    recording = record(steps[order[-1]], problems)
    at_end = losses(recording, alternative(recording))
    times = times_drawn(at_end.member, generator)
    shares = at_end.shares(times)  # [draw node behaviour]
    shares_before = _moved(before.shares(times[:, sums])[:, :, 0], before.nodes, made_of.values())
    held = _held(shares_before, shares, at_end.behaviours, at_least)
    role = {index: name for name in ROLES for index in held[name][0].nonzero()[:, 0].tolist()}
    some = {at_end.nodes[index]: made_of[at_end.nodes[index]] for index in sorted(role)}
    written = {node: recording_before.output(of) for node, of in some.items() if of is not None}
    on_the_way = [_seen(record(steps[step], problems), alternative, some, sums, written) for step in order]
    nodes = {}
    for place, (index, node) in enumerate(zip(sorted(role), some, strict=True)):
        seen = torch.stack([each.shares[place] for each in on_the_way])  # [step behaviour]
        nodes[node] = Change(
            role=role[index],
            support=float(held[role[index]][1:, index].float().mean()),
            source=before.estimates(shares_before[:, index, None])[ADDS] if node in written else None,
            end=at_end.estimates(shares[:, index]),
            milestones=tuple(dict(zip(at_end.behaviours, each, strict=True)) for each in seen.tolist()),
            serves_since=_since(order, seen >= at_least, at_end.behaviours),
            likeness=tuple(each.likeness[node] for each in on_the_way) if node in written else None,
        )
    return Changes(
        placement=placement,
        at_least=at_least,
        steps=tuple(order),
        right=tuple(each.right for each in on_the_way),
        right_source=before.right_shares()[ADDS],
        counts={name: _count(of) for name, of in held.items()},
        nodes=nodes,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Seen:
    """What is seen of some nodes in one model of a training."""

    shares: Float[Tensor, "node behaviour"]
    right: Mapping[str, float]
    likeness: Mapping[Node, float]


def _seen(
    recording: Recording,
    alternative: Callable[[Recording], Alternative],
    nodes: Iterable[Node],
    sums: Bool[Tensor, " problem"],
    written: Mapping[Node, Float[Tensor, "addition _"]],
) -> _Seen:
    found = losses(recording, alternative(recording), nodes)
    return _Seen(
        shares=found.shares(torch.ones(1, len(recording)))[0],
        right=found.right_shares(),
        likeness={node: _correlation(recording.output(node)[sums], before) for node, before in written.items()},
    )


def _correlation(ours: Float[Tensor, "problem width"], theirs: Float[Tensor, "problem width"]) -> float:
    """Of all channels together; 0 where one of the two does not vary, and where they differ in width."""
    if ours.shape != theirs.shape:
        return 0.0
    one, other = (each.double() - each.double().mean(dim=0) for each in (ours, theirs))
    scale = float(one.norm() * other.norm())
    return float((one * other).sum()) / scale if scale else 0.0


def _moved(
    shares: Float[Tensor, "draw origin"], of: Sequence[Node], origins: Collection[Node | None]
) -> Float[Tensor, "draw node"]:
    """The shares of the source's nodes at those of the target that were made of them; not a number at new ones."""
    places = {node: index for index, node in enumerate(of)}
    found = torch.full((len(shares), len(origins)), torch.nan, dtype=shares.dtype)
    for index, node in enumerate(origins):
        if node is not None:
            found[:, index] = shares[:, places[node]]
    return found


def _held(
    before: Float[Tensor, "draw node"],
    shares: Float[Tensor, "draw node behaviour"],
    behaviours: Sequence[str],
    at_least: float,
) -> dict[str, Bool[Tensor, "draw node"]]:
    """Which nodes have each role, by ``CRITERIA``."""
    adding = torch.tensor([name == ADDS for name in behaviours])
    facts = {
        "inserted": ~before.isnan(),
        "served_source": before >= at_least,
        "serves_add": (shares[:, :, adding] >= at_least).any(dim=2),
        "serves_sub": (shares[:, :, ~adding] >= at_least).any(dim=2),
    }
    held = {role: torch.zeros_like(facts["inserted"]) for role in ROLES}
    for criterion in CRITERIA:
        asked = {name: getattr(criterion, name) for name in facts}
        met = [facts[name] == wanted for name, wanted in asked.items() if wanted is not None]
        held[criterion.role] |= torch.stack(met).all(dim=0)
    return held


def _count(held: Bool[Tensor, "draw node"]) -> Count:
    (counted,) = estimated(held.sum(dim=1).double()[:, None])
    return Count(nodes=int(counted.value), low=counted.low, high=counted.high)


def _since(steps: Sequence[int], serves: Bool[Tensor, "step behaviour"], behaviours: Sequence[str]) -> dict[str, int]:
    """The first step from which on each behaviour is always served, for those that are served at the end."""
    since = {}
    for name, served in zip(behaviours, serves.T.tolist(), strict=True):
        if served[-1]:
            since[name] = steps[len(served) - served[::-1].index(False)] if False in served else steps[0]
    return since


def _rounded(numbers: Mapping[str, float]) -> dict[str, float]:
    return {name: round(number, 4) for name, number in numbers.items()}
