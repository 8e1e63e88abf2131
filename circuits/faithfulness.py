"""Faithfulness: how much of a model's behaviour is left when only a circuit is kept, and when only it is dropped.

A circuit is a set of nodes. Everything else is ablated for its faithfulness (right answers that stay right), the
circuit itself for what the rest can do without it; a circuit is complete if taking any part out of it does to it what
that does to the model, and minimal if every node of it is missed. Random circuits with as many nodes of each layer and
kind are the control. Source of the three criteria: Wang et al. 2211.00593, here as shares of right answers.

>>> from carryproof.circuits.nodes import parse
>>> from carryproof.models.config import DecoderConfig
>>> config = DecoderConfig(d_vocab=15, n_ctx=10, d_model=8, n_heads=1, n_layers=1, d_mlp=3, encoding="absolute")
>>> rest = complement(config, [parse(name) for name in ("P8L0H0", "P7L0M", "P6L0N2")])
>>> [str(node) for node in rest if node.position > 5]
['P6L0H0', 'P6L0N0', 'P6L0N1', 'P7L0H0', 'P8L0M']
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from carryproof.circuits.ablation import Impact, broken_shares, impacts
from carryproof.circuits.bootstrap import Estimate
from carryproof.circuits.nodes import MLP, NEURON, RESIDUAL, Node, every_node, mlp_of, neurons_of, require_nodes
from carryproof.circuits.recording import Recording
from carryproof.circuits.replacing import Alternative
from carryproof.circuits.shrinking import shrunk
from carryproof.models.config import DecoderConfig
from carryproof.theory.errors import bad

CONTROLS = 10
PARTS = 10  # random parts of the circuit that completeness takes out


@dataclass(frozen=True, kw_only=True, slots=True)
class Left:
    """The share of right answers that stay right: of all, by token of the answer, by behaviour and by class."""

    whole: Estimate
    tokens: Mapping[str, Estimate]
    behaviours: Mapping[str, Estimate]
    classes: Mapping[str, Estimate]


@dataclass(frozen=True, kw_only=True, slots=True)
class Faithfulness:
    """``kept``: with everything else ablated; ``dropped``: with only the circuit ablated. ``gaps``: for random parts of
    the circuit, by how much more or less is left of the model than of the circuit without the part, from -1 to 1.
    ``missed``: by how much less is left of the circuit without each of its nodes. ``controls``: ``kept`` of random
    circuits of equal size.
    """

    nodes: tuple[Node, ...]
    kept: Left
    dropped: Left
    gaps: tuple[float, ...]
    missed: Mapping[Node, float]
    controls: tuple[Estimate, ...]

    @property
    def minimal(self) -> bool:
        """Whether every node of the circuit is missed."""
        return all(share > 0 for share in self.missed.values())

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "nodes": [str(node) for node in self.nodes],
            "kept": _to_dict(self.kept),
            "dropped": _to_dict(self.dropped),
            "gaps": [round(gap, 4) for gap in self.gaps],
            "missed": {str(node): round(share, 4) for node, share in self.missed.items()},
            "minimal": self.minimal,
            "controls": [each.to_dict() for each in self.controls],
        }


def faithfulness(
    recording: Recording,
    circuit: Collection[Node],
    alternative: Alternative,
    generator: torch.Generator,
) -> Faithfulness:
    """The criteria for a circuit, where what is ablated writes what ``alternative`` gives.

    Raises ``ValueError`` for an empty circuit, for nodes that the model lacks, and for residual streams.
    """
    config, nodes = recording.model.config, tuple(sorted(set(circuit)))
    if not nodes:
        raise bad("circuit", "no nodes", "one or more")
    rest = complement(config, nodes)
    parts = [_part(nodes, generator) for _ in range(PARTS)]
    drawn = [complement(config, random_circuit(config, nodes, generator)) for _ in range(CONTROLS)]
    sets: list[Sequence[Node]] = [
        *(rest, nodes, *drawn),
        *(part for part in parts),
        *((*rest, *part) for part in parts),
        *((*rest, node) for node in nodes),
    ]
    left = iter([_left(impact) for impact in impacts(recording, sets, alternative, generator)])
    kept, dropped = next(left), next(left)
    controls = tuple(next(left).whole for _ in drawn)
    of_model = [next(left).whole.value for _ in parts]
    of_circuit = [next(left).whole.value for _ in parts]
    return Faithfulness(
        nodes=nodes,
        kept=kept,
        dropped=dropped,
        gaps=tuple(model - circuit for model, circuit in zip(of_model, of_circuit, strict=True)),
        missed={node: kept.whole.value - next(left).whole.value for node in nodes},
        controls=controls,
    )


def kept_alone(
    recording: Recording, circuit: Collection[Node], alternative: Alternative, generator: torch.Generator
) -> Estimate:
    """The share of right answers that stay right with everything but a circuit ablated."""
    (broken,) = impacts(recording, [complement(recording.model.config, circuit)], alternative, generator)
    return _rest(broken.whole)


def pruned(
    recording: Recording, nodes: Iterable[Node], alternative: Alternative, *, at_least: float = 0.95
) -> tuple[Node, ...]:
    """A circuit among some nodes that keeps that share of the right answers, and less without any of its nodes.

    Nodes of small impact are left out first. It is fitted to these problems and to what ``alternative`` gives them, so
    ``faithfulness`` is to be asked of others. Raises ``ValueError`` if all of the nodes together keep less.
    """
    config, candidates = recording.model.config, sorted(set(nodes))
    alone = broken_shares(recording, [(node,) for node in candidates], alternative)
    asked = [node for _, node in sorted(zip(alone, candidates, strict=True))]

    def holds(kept: Sequence[Node]) -> bool:
        return bool(kept) and 1 - broken_shares(recording, [complement(config, kept)], alternative)[0] >= at_least

    if not holds(asked):
        raise bad("nodes", f"{len(asked)} nodes", f"nodes that together keep {at_least} of the right answers")
    return tuple(sorted(shrunk(asked, holds)))


def complement(config: DecoderConfig, circuit: Collection[Node]) -> tuple[Node, ...]:
    """All that is not in a circuit: heads, MLPs, and what is left of MLPs that are in it by some neurons."""
    require_nodes(config, circuit)
    if any(node.kind == RESIDUAL for node in circuit):
        raise bad("circuit", ", ".join(str(node) for node in circuit), "heads, MLPs and neurons")
    inside = set(circuit)
    divided = {mlp_of(node) for node in inside if node.kind == NEURON} - inside
    rest = [node for node in every_node(config) if node not in inside | divided]
    rest += [neuron for mlp in divided for neuron in neurons_of(config, mlp) if neuron not in inside]
    return tuple(sorted(rest))


def random_circuit(config: DecoderConfig, circuit: Collection[Node], generator: torch.Generator) -> tuple[Node, ...]:
    """As many nodes of each layer and kind, drawn from all positions; neurons from all MLPs of their layer."""
    drawn: list[Node] = []
    for layer, kind in sorted({(node.layer, node.kind) for node in circuit}):
        count = sum((node.layer, node.kind) == (layer, kind) for node in circuit)
        if kind == NEURON:
            mlps = [node for node in every_node(config) if (node.layer, node.kind) == (layer, MLP)]
            pool = [neuron for mlp in mlps for neuron in neurons_of(config, mlp)]
        else:
            pool = [node for node in every_node(config) if (node.layer, node.kind) == (layer, kind)]
        drawn += [pool[index] for index in torch.randperm(len(pool), generator=generator)[:count].tolist()]
    return tuple(sorted(drawn))


def _part(nodes: Sequence[Node], generator: torch.Generator) -> tuple[Node, ...]:
    """Each of the nodes with chance one half."""
    chosen = torch.rand(len(nodes), generator=generator) < 0.5
    return tuple(node for node, taken in zip(nodes, chosen.tolist(), strict=True) if taken)


def _left(impact: Impact) -> Left:
    """What an ablation leaves, from what it breaks."""
    return Left(
        whole=_rest(impact.whole),
        tokens={name: _rest(each) for name, each in impact.tokens.items()},
        behaviours={name: _rest(each) for name, each in impact.behaviours.items()},
        classes={name: _rest(each) for name, each in impact.classes.items()},
    )


def _rest(lost: Estimate) -> Estimate:
    return Estimate(value=1 - lost.value, low=1 - lost.high, high=1 - lost.low)


def _to_dict(left: Left) -> dict[str, Any]:
    named = {"tokens": left.tokens, "behaviours": left.behaviours, "classes": left.classes}
    parts = {part: {name: each.to_dict() for name, each in of.items()} for part, of in named.items()}
    return {"whole": left.whole.to_dict(), **parts}
