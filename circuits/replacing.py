"""What a node writes when it is ablated: nothing, its mean, or what it wrote for another problem.

Zeros take a node far from anything that the rest has seen; the mean of the *same* node over a reference set keeps what
is common to all problems; resampling keeps its whole distribution and breaks only the link with the problem. All nodes
that are resampled together take from one other problem, so that what they say is consistent, and wrong.

>>> order = other_problems(5, torch.Generator().manual_seed(0))
>>> sorted(order.tolist()), bool((order == torch.arange(5)).any())
([0, 1, 2, 3, 4], False)
"""

from collections.abc import Callable, Iterable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from carryproof.circuits.nodes import Node
from carryproof.circuits.patching import Patch
from carryproof.circuits.recording import Recording
from carryproof.theory.errors import bad

Alternative = Callable[[Node], Float[Tensor, "#problem width"]]  # what a node writes instead


def zeros(recording: Recording) -> Alternative:
    """Nothing at all."""
    return lambda node: torch.zeros_like(recording.output(node)[:1])


def means(reference: Recording) -> Alternative:
    """The mean of the same node over the problems of a reference recording."""
    return lambda node: reference.output(node).mean(0, keepdim=True)


def resampled(recording: Recording, generator: torch.Generator) -> Alternative:
    """What the same node wrote for another problem of the recording: the same one for all nodes, drawn once.

    Raises ``ValueError`` for a recording of one problem.
    """
    order = other_problems(len(recording), generator).to(recording.answers.device)
    return lambda node: recording.output(node)[order]


def resampled_from(reference: Recording, problems: int, generator: torch.Generator) -> Alternative:
    """What the same node wrote for a problem of a reference recording: for each of ``problems`` one, drawn once for all
    nodes. A reference with every operation makes a circuit tell which one is asked for, too.
    """
    drawn = torch.randint(len(reference), (problems,), generator=generator).to(reference.answers.device)
    return lambda node: reference.output(node)[drawn]


def other_problems(count: int, generator: torch.Generator) -> Int[Tensor, " problem"]:
    """A permutation that leaves nothing in its place: each problem gives to the next one of a random circle."""
    if count < 2:
        raise bad("problems", count, "two or more, to take from another")
    circle = torch.randperm(count, generator=generator)
    order = torch.empty_like(circle)
    order[circle] = circle.roll(1)
    return order


def patch(nodes: Iterable[Node], alternative: Alternative) -> Patch:
    """The nodes with what they write instead."""
    return {node: alternative(node) for node in nodes}
