"""Interchange: whether a model, given what nodes wrote for another problem, answers as a causal graph says it must.

The text after which each token is predicted holds the *expected* answer, so that a pair counts exactly if greedy
decoding under the intervention writes it. Accuracy is over pairs whose answer must change; what must not change is
counted apart, because anything passes where nothing is expected. Two controls belong to every result: the same swap at
random nodes, and in an untrained model. Source: Geiger et al. 2106.02997.

>>> from carryproof.circuits.algorithms import addition
>>> from carryproof.circuits.mixture import Mixture, draw
>>> from carryproof.circuits.nodes import parse
>>> from carryproof.circuits.swaps import contrasting
>>> from carryproof.models.config import DecoderConfig
>>> config = DecoderConfig(d_vocab=15, n_ctx=10, d_model=8, n_heads=2, n_layers=1, encoding="absolute")
>>> model, generator = Decoder.init(config, torch.Generator().manual_seed(0)), torch.Generator().manual_seed(0)
>>> problems = draw(Mixture(), digits=2, seed=0, first=0, count=200)
>>> swap = contrasting(addition(2), ("A1.SA",), problems, generator, count=50)
>>> interchange(model, swap, [(parse("P6L0M"),)], generator)[0].accuracy.value
0.0
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Shaped
from torch import Tensor

from carryproof.circuits.algorithms import Algorithm
from carryproof.circuits.bootstrap import Estimate, estimates
from carryproof.circuits.graphs import Values
from carryproof.circuits.nodes import NEURON, Node, every_node, every_stream
from carryproof.circuits.patching import patched_right
from carryproof.circuits.recording import record
from carryproof.circuits.swaps import Swap
from carryproof.circuits.texts import Problems
from carryproof.models.decoder import Decoder
from carryproof.theory.errors import bad, require_integer

Alignment = Mapping[str, Collection[Node]]  # for each variable of a graph, the nodes that carry it
Round = tuple[Bool[Tensor, "pair row"], Bool[Tensor, "pair row"]]  # tokens as expected, and those that must change


@dataclass(frozen=True, kw_only=True, slots=True)
class Interchange:
    """Shares of pairs. ``accuracy``: where the answer must change, all of it is as expected; ``moved``: at least all
    tokens that must change are; ``kept``: at least all that must not are not. ``unmoved``: where nothing must change,
    nothing does. ``pairs`` counts those where something must.
    """

    pairs: int
    accuracy: Estimate
    moved: Estimate
    kept: Estimate
    unmoved: Estimate

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        parts = {"accuracy": self.accuracy, "moved": self.moved, "kept": self.kept, "unmoved": self.unmoved}
        return {"pairs": self.pairs} | {name: each.to_dict() for name, each in parts.items()}


def interchange(
    model: Decoder, swap: Swap, sets: Sequence[Collection[Node]], generator: torch.Generator
) -> list[Interchange]:
    """The result of a swap at each set of nodes."""
    hits = as_expected(model, swap, sets)
    changes = torch.from_numpy(swap.changes).to(hits.device)
    return [_result([(hit, changes)], generator) for hit in hits]


def as_expected(model: Decoder, swap: Swap, sets: Sequence[Collection[Node]]) -> Bool[Tensor, "set pair row"]:
    """Which tokens of the answers are as expected when all nodes of a set write what they wrote for the source."""
    base, source = record(model, swap.base, swap.expected), record(model, swap.source)
    return patched_right(base, [{node: source.output(node) for node in nodes} for nodes in sets])


def whole_interchange(
    model: Decoder,
    algorithm: Algorithm,
    alignment: Alignment,
    problems: Problems,
    generator: torch.Generator,
    *,
    rounds: int = 16,
) -> Interchange:
    """Interchange of the causal model as a whole: random sets of variables at once, each with a source of its own.

    Every round draws a set, and for each of its variables a source for every problem. Variables that share a node move
    together, from one source. Intervals are over the problems, each of which is the base once a round. Raises
    ``ValueError`` if the alignment is empty, names no node for a variable, or no round expects a change.
    """
    return _result(_rounds(model, algorithm, alignment, problems, generator, rounds), generator)


def whole_interchange_by(
    model: Decoder,
    algorithm: Algorithm,
    alignment: Alignment,
    problems: Problems,
    labels: Shaped[np.ndarray, " problem"],
    generator: torch.Generator,
    *,
    rounds: int = 16,
) -> dict[str, Interchange]:
    """As ``whole_interchange``, apart for the bases of each label, while the sources are of all.

    With problems of both operations, labelled by what they are, values move between additions and subtractions.
    Raises ``ValueError`` for labels that are not one for each problem, and as ``whole_interchange`` does.
    """
    if labels.shape != (len(problems),):
        raise bad("shape of labels", list(labels.shape), str([len(problems)]))
    found = _rounds(model, algorithm, alignment, problems, generator, rounds)
    members = {label: torch.from_numpy(labels == label) for label in np.unique(labels).tolist()}
    return {
        label: _result([(hit[member], changes[member]) for hit, changes in found], generator)
        for label, member in members.items()
    }


def random_sets(
    model: Decoder, nodes: Collection[Node], generator: torch.Generator, count: int
) -> list[tuple[Node, ...]]:
    """Control: as many other heads, MLPs and residual streams of the model as there are nodes, drawn ``count`` times.

    Each node is replaced by one of its layer and kind where such a one is left, else by any head or MLP. Raises
    ``ValueError`` for neurons, and if the model has too few others.
    """
    config = model.config
    if any(node.kind == NEURON for node in nodes):
        raise bad("nodes", ", ".join(map(str, nodes)), "heads and MLPs")
    others = [node for node in every_node(config) if node not in set(nodes)]
    streams = [node for node in every_stream(config) if node not in set(nodes)]
    if len(others) < len(nodes):
        raise bad("nodes", f"{len(nodes)} nodes", f"at most {len(every_node(config)) // 2}, to draw as many others")
    drawn = []
    for _ in range(count):
        left = [others[index] for index in torch.randperm(len(others), generator=generator).tolist()]
        left += [streams[index] for index in torch.randperm(len(streams), generator=generator).tolist()]
        taken = []
        for node in sorted(nodes):
            alike = [each for each in left if (each.layer, each.kind) == (node.layer, node.kind)]
            taken.append((alike or left)[0])
            left.remove(taken[-1])
        drawn.append(tuple(sorted(taken)))
    return drawn


def untrained(model: Decoder, generator: torch.Generator) -> Decoder:
    """Control: a model of the same configuration with freshly drawn weights."""
    return Decoder.init(model.config, generator).to(model.embed.W_E.device)


def _rounds(
    model: Decoder,
    algorithm: Algorithm,
    alignment: Alignment,
    problems: Problems,
    generator: torch.Generator,
    rounds: int,
) -> list[Round]:
    """Of every round, which tokens are as expected and which must change."""
    require_integer("rounds", rounds, 1)
    groups = _sharing(alignment)
    everywhere = record(model, problems)
    given = algorithm.inputs(problems)
    values = algorithm.graph.run(given)
    found = []
    for _ in range(rounds):
        chosen = torch.rand(len(groups), generator=generator) < torch.rand(1, generator=generator)
        chosen[torch.randint(len(groups), (1,), generator=generator)] = True  # at least one
        moved: dict[str, Values] = {}
        patch: dict[Node, Tensor] = {}
        for index in chosen.nonzero()[:, 0].tolist():
            order = torch.randint(len(problems), (len(problems),), generator=generator)
            for variable in groups[index]:
                moved[variable] = values[variable][order.numpy()]
                patch |= {node: everywhere.output(node)[order] for node in alignment[variable]}
        expected = algorithm.tokens(algorithm.graph.run(given, moved))
        base = record(model, problems, expected)
        found.append((patched_right(base, [patch])[0], base.answers != everywhere.answers))
    if not any(bool(changes.any()) for _, changes in found):
        raise bad("alignment", ", ".join(alignment), "variables of which some change an answer")
    return found


def _result(rounds: Sequence[Round], generator: torch.Generator) -> Interchange:
    """From which tokens are as expected and which must change, for the same problems once a round."""
    amounts, weights = [], []
    for hit, changes in rounds:
        some = changes.any(dim=1)
        outcomes = (hit.all(dim=1), (hit | ~changes).all(dim=1), (hit | changes).all(dim=1))
        amounts.append(torch.stack([*(some & each for each in outcomes), ~some & outcomes[0]], dim=1))
        weights.append(torch.stack([some, some, some, ~some], dim=1))
    amount, weight = (torch.stack(each).sum(dim=0).cpu().float() for each in (amounts, weights))
    accuracy, moved, kept, unmoved = estimates(amount / weight.clamp(min=1), weight, generator)
    pairs = int(weight[:, 0].sum())
    return Interchange(pairs=pairs, accuracy=accuracy, moved=moved, kept=kept, unmoved=unmoved)


def _sharing(alignment: Alignment) -> list[tuple[str, ...]]:
    """The variables in groups of those that share nodes, directly or by others."""
    if not alignment or not all(alignment.values()):
        empty = [name for name, nodes in alignment.items() if not nodes]
        raise bad("alignment", ", ".join(empty) or "nothing", "one or more variables, each with its nodes")
    groups: list[tuple[set[str], set[Node]]] = []
    for variable, nodes in alignment.items():
        joined, reached = {variable}, set(nodes)
        apart = []
        for names, places in groups:
            if places & reached:
                joined, reached = joined | names, reached | places
            else:
                apart.append((names, places))
        groups = [*apart, (joined, reached)]
    return [tuple(sorted(names)) for names, _ in groups]
