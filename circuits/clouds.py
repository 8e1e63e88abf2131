"""Tri-state clouds: where a node puts problems whose column carries, does not, or passes on what comes from below.

The outputs of a node are laid out on their first two principal axes and marked by a variable, one mark a value. If the
node tells the values apart they lie apart; that shows what can be read, not what is. Source of the clouds: Quirke et
al. 2402.02619; here each stands with the share of problems that lie nearest to the mean of their own value.

>>> from carryproof.circuits.handmade import addition_by_hand
>>> from carryproof.circuits.mixture import Mixture, draw
>>> from carryproof.circuits.nodes import parse
>>> made = addition_by_hand(2)
>>> problems = draw(Mixture(), digits=2, seed=0, first=0, count=200)
>>> nodes = [parse(name) for name in made.carries]
>>> (found,) = tri_states(made.model, made.algorithm, problems, nodes)           # the units have two states only
>>> found.variable, str(found.node), sorted(set(found.values)), found.apart > 0.99
('A1.ST', 'P3L0M', ['0', '1', 'U'], True)
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from carryproof.circuits.algorithms import DOMAIN, Algorithm, position
from carryproof.circuits.nodes import Node
from carryproof.circuits.probes import Cloud, principal
from carryproof.circuits.recording import Recording, record
from carryproof.circuits.texts import Problems
from carryproof.models.decoder import Decoder
from carryproof.theory.errors import unknown


@dataclass(frozen=True, kw_only=True, slots=True)
class MarkedCloud:
    """The outputs of a node in their principal plane, and the value of a variable for each problem, by name.

    ``apart``: the share of the problems of a value that lie nearest to the mean of all of them, the mean over values.
    """

    node: Node
    variable: str
    values: tuple[str, ...]
    cloud: Cloud
    apart: float


def marked_cloud(recording: Recording, algorithm: Algorithm, node: Node, variable: str) -> MarkedCloud:
    """The cloud of a node, marked by a variable of the algorithm.

    Raises ``ValueError`` for a node or variable that there is not, and for a node whose output does not vary.
    """
    named = {each.name: each for each in algorithm.graph.variables}
    if variable not in named:
        raise unknown("variable", variable, named)
    values = algorithm.graph.run(algorithm.inputs(recording.problems))[variable]
    cloud = principal(recording.output(node), torch.tensor(values))
    return MarkedCloud(
        node=node,
        variable=variable,
        values=tuple(named[variable].values[value] for value in values.tolist()),
        cloud=cloud,
        apart=_apart(cloud.points, torch.tensor(values)),
    )


def tri_states(
    model: Decoder, algorithm: Algorithm, problems: Problems, nodes: Iterable[Node]
) -> tuple[MarkedCloud, ...]:
    """For every variable with three states the one of some nodes, such as the useful ones of a search, that tells them
    apart best at its second operand's token; none where no such node is.

    States of sums and of differences of one sign are marked on those problems alone.
    """
    negative, asked = problems.answer().negative, sorted(set(nodes))
    masks = {
        "ST": ~problems.subtract,
        "MT": problems.subtract & ~negative,
        "NT": problems.subtract & negative,
        "CT": np.ones(len(problems), dtype=bool),
    }
    found = []
    for kind, mask in masks.items():
        if mask.sum() < 2:
            continue
        recording = record(model, problems.at(np.flatnonzero(mask)))
        for variable in algorithm.graph.variables:
            column, _, own = variable.name.partition(".")
            if own == kind and len(variable.values) == len(DOMAIN):
                here = position(f"D'{column[1:]}", algorithm.digits)
                varying = [node for node in asked if node.position == here and _varies(recording, node)]
                clouds = [marked_cloud(recording, algorithm, node, variable.name) for node in varying]
                found += sorted(clouds, key=lambda each: each.apart)[-1:]
    return tuple(found)


def _varies(recording: Recording, node: Node) -> bool:
    return bool((recording.output(node).std(dim=0) > 0).any())


def _apart(points: Float[Tensor, "problem 2"], values: Int[Tensor, " problem"]) -> float:
    """The share nearest to their own mean, each value counting alike."""
    found, own = values.unique(return_inverse=True)
    means = torch.stack([points[own == index].mean(dim=0) for index in range(len(found))])
    nearest = torch.cdist(points, means).argmin(dim=1) == own
    return float(torch.stack([nearest[own == index].float().mean() for index in range(len(found))]).mean())
