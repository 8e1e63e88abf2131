"""Alignment: where a model holds the variables of an algorithm, and whether it computes the whole graph there.

The variables of a column (its digit, its flags, its state) are functions of the same two digits, so a residual stream
that has read both holds them together, and they move together. What is read from several columns, a cascade or a
choice, is sought at heads and MLPs. Places are found with one half of the pairs and decided by the other; the graph as
a whole is tested at all of them at once, beside other places and an untrained model.
Source of alignments: Geiger et al. 2106.02997.

>>> from carryproof.circuits.algorithms import addition
>>> groups(addition(2))
(('A0.SA', 'A0.SC', 'A0.ST'), ('A1.SA', 'A1.SC', 'A1.SS', 'A1.ST'), ('A0.SV',), ('A1.SV',))
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Shaped

from carryproof.circuits.algorithms import Algorithm
from carryproof.circuits.assignment import CARRIED, Assignment, decide, grown, halves, scores
from carryproof.circuits.interchange import Alignment, Interchange, random_sets, untrained, whole_interchange_by
from carryproof.circuits.nodes import Node, every_node, every_stream, parse
from carryproof.circuits.swaps import contrasting
from carryproof.circuits.texts import Problems
from carryproof.models.decoder import Decoder

PAIRS = 200  # of each swap: half to search with, half to decide by
AT_LEAST = 0.9
CONTROLS = 3  # alignments to other places
STREAMS_AT_MOST = 2  # of a column: a model may read its two digits only where it needs them
ROUNDS = 16
_COLUMN = re.compile(r"(A\d+)\.\w*[^V]")  # of a variable that is one column's; those that end in V are cascades


@dataclass(frozen=True, kw_only=True, slots=True)
class Whole:
    """Interchange of a whole graph, with its controls: other places, and the same ones in an untrained model."""

    result: Interchange
    random: tuple[Interchange, ...]
    untrained: Interchange

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "result": self.result.to_dict(),
            "random": [each.to_dict() for each in self.random],
            "untrained": self.untrained.to_dict(),
        }


def groups(algorithm: Algorithm) -> tuple[tuple[str, ...], ...]:
    """The variables between inputs and outputs that can change the answer: columns, units first, then the others."""
    graph = algorithm.graph
    outer = {*graph.inputs, *graph.outputs}
    columns: dict[str, list[str]] = {}
    others = []
    for variable in graph.variables:
        name = variable.name
        if name in outer or not variable.parents or not set(graph.outputs).intersection(graph.below(name)):
            continue
        column = _COLUMN.fullmatch(name)
        if column is not None:
            columns.setdefault(column[1], []).append(name)
        else:
            others.append((name,))
    return (*(tuple(names) for names in columns.values()), *others)


def place(
    model: Decoder,
    algorithm: Algorithm,
    variables: tuple[str, ...],
    problems: Problems,
    candidates: Iterable[Node],
    generator: torch.Generator,
    *,
    pairs: int = PAIRS,
    at_least: float = AT_LEAST,
) -> Assignment:
    """Where some variables are that move together: at the fewest of the candidates, which are heads and MLPs, as far as
    greedy search finds them, or at one or two residual streams if that does better.

    Of streams that do equally well the first layer's first is taken. Raises ``ValueError`` where no pair of the
    problems expects a change.
    """
    asked = sorted(set(candidates))
    seen, unseen = halves(contrasting(algorithm, variables, problems, generator, count=pairs))
    nodes_at_most = model.config.n_heads + 1
    options = [grown(model, seen, asked, at_least, nodes_at_most)] if asked else []
    streams = sorted(every_stream(model.config), key=lambda node: (node.layer, node.position))
    if asked and streams:
        options.append(grown(model, seen, streams, at_least, STREAMS_AT_MOST))
    options = options or [every_node(model.config)[:1]]  # nothing was asked for: nothing will be found
    shares = scores(model, seen, options)
    best = max(range(len(options)), key=lambda index: shares[index])
    return decide(model, unseen, options[best], generator, at_least=at_least)


def align(found: Mapping[str, Mapping[str, Any]], groups: Iterable[Sequence[str]]) -> dict[str, tuple[Node, ...]]:
    """For each variable of the groups that nodes carry, these nodes; ``found`` has assignments as plain data, by the
    variables that move together. What is carried only partly has no place in a test of the whole.
    """
    aligned: dict[str, tuple[Node, ...]] = {}
    for group in groups:
        each = found.get(", ".join(group))
        if each is not None and each["verdict"] == CARRIED:
            aligned |= dict.fromkeys(group, tuple(parse(node) for node in each["nodes"]))
    return aligned


def examine_whole(
    model: Decoder,
    algorithm: Algorithm,
    alignment: Alignment,
    problems: Problems,
    labels: Shaped[np.ndarray, " problem"],
    generator: torch.Generator,
    *,
    rounds: int = ROUNDS,
) -> dict[str, Whole]:
    """Interchange at an alignment, at ``CONTROLS`` others of equal size, and in an untrained model: for the problems of
    each label, with sources of all, so that values move between operations too.

    Raises ``ValueError`` as ``whole_interchange_by`` does.
    """

    def measured(model: Decoder, alignment: Alignment) -> dict[str, Interchange]:
        return whole_interchange_by(model, algorithm, alignment, problems, labels, generator, rounds=rounds)

    result = measured(model, alignment)
    random = [measured(model, _elsewhere(model, alignment, generator)) for _ in range(CONTROLS)]
    blank = measured(untrained(model, generator), alignment)
    return {
        label: Whole(result=result[label], random=tuple(each[label] for each in random), untrained=blank[label])
        for label in result
    }


def _elsewhere(model: Decoder, alignment: Alignment, generator: torch.Generator) -> Mapping[str, tuple[Node, ...]]:
    """The same variables at other nodes, as many; those that share nodes go on sharing them."""
    moved: dict[tuple[Node, ...], tuple[Node, ...]] = {}
    for nodes in alignment.values():
        key = tuple(nodes)
        if key not in moved:
            (moved[key],) = random_sets(model, key, generator, 1)
    return {name: moved[tuple(nodes)] for name, nodes in alignment.items()}
