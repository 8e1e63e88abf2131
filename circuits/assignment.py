"""Assignment: which nodes carry a variable, found by search and stated with a verdict and its reasons.

A set of nodes is scored by a swap, whose expectations are data: which pairs of problems, what must change, what must
not. The set grows by the node that helps most until the answers are as expected, then loses what it can spare. Half of
the pairs are searched with; the other half, which the search never saw, decides, beside random sets of the same size
and an untrained model.

>>> from carryproof.circuits.handmade import addition_by_hand
>>> from carryproof.circuits.mixture import Mixture, draw
>>> from carryproof.circuits.nodes import every_node
>>> from carryproof.circuits.swaps import contrasting
>>> made, generator = addition_by_hand(2), torch.Generator().manual_seed(0)
>>> problems = draw(Mixture(), digits=2, seed=0, first=0, count=200)
>>> swap = contrasting(made.algorithm, ("A0.SV",), problems, generator, count=80)
>>> found = assign(made.model, swap, every_node(made.model.config), generator)
>>> print(found)
A0.SV: carried by P7L1H1
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from carryproof.circuits.interchange import Interchange, as_expected, interchange, random_sets, untrained
from carryproof.circuits.nodes import NEURON, RESIDUAL, Node
from carryproof.circuits.swaps import Swap
from carryproof.models.decoder import Decoder
from carryproof.theory.errors import bad, require_integer

CARRIED, PARTLY, NOTHING = "carried", "partly", "nothing"
CONTROLS = 5
GAIN = 0.02  # what a further node must add to the score


@dataclass(frozen=True, kw_only=True, slots=True)
class Assignment:
    """Where a variable is, and how well: on pairs that the search did not see, and in the controls at the same time.

    ``verdict``: ``carried`` if the interval of the accuracy is at or above what was asked and above every control,
    ``partly`` if it is at least above every control, else ``nothing``, and then there are no nodes.
    """

    variable: str
    verdict: str
    reason: str
    nodes: tuple[Node, ...]
    result: Interchange
    random: tuple[Interchange, ...]
    untrained: Interchange

    def __str__(self) -> str:
        where = f" by {', '.join(str(node) for node in self.nodes)}" if self.nodes else ""
        return f"{self.variable}: {self.verdict}{where}"

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "variable": self.variable,
            "verdict": self.verdict,
            "reason": self.reason,
            "nodes": [str(node) for node in self.nodes],
            "result": self.result.to_dict(),
            "random": [each.to_dict() for each in self.random],
            "untrained": self.untrained.to_dict(),
        }


def assign(
    model: Decoder,
    swap: Swap,
    candidates: Iterable[Node],
    generator: torch.Generator,
    *,
    at_least: float = 0.9,
    nodes_at_most: int = 3,
) -> Assignment:
    """The fewest of some heads and MLPs, as far as greedy search finds them, at which a swap does what it must.

    Raises ``ValueError`` for no candidates, and for a swap whose halves do not both expect a change.
    """
    require_integer("nodes_at_most", nodes_at_most, 1)
    asked = sorted(set(candidates))
    if not asked or any(node.kind in (NEURON, RESIDUAL) for node in asked):
        raise bad("candidates", ", ".join(map(str, asked)) or "none", "one or more heads and MLPs")
    seen, unseen = halves(swap)
    return decide(model, unseen, grown(model, seen, asked, at_least, nodes_at_most), generator, at_least=at_least)


def halves(swap: Swap) -> tuple[Swap, Swap]:
    """The pairs to search with, and those to decide by."""
    return swap.at(slice(0, None, 2)), swap.at(slice(1, None, 2))


def decide(
    model: Decoder, unseen: Swap, nodes: tuple[Node, ...], generator: torch.Generator, *, at_least: float = 0.9
) -> Assignment:
    """Whether some nodes carry a variable, by pairs that they were not chosen with."""
    controls = random_sets(model, nodes, generator, CONTROLS)
    result, *random = interchange(model, unseen, [nodes, *controls], generator)
    (blank,) = interchange(untrained(model, generator), unseen, [nodes], generator)
    best = max(each.accuracy.high for each in (*random, blank))
    low = result.accuracy.low
    if low <= best:
        verdict, reason = NOTHING, f"at {low:.3f} the interval begins no higher than a control's ends, {best:.3f}"
    elif low < at_least:
        verdict, reason = PARTLY, f"the interval begins at {low:.3f}, below the {at_least} asked"
    else:
        verdict, reason = CARRIED, f"the interval begins at {low:.3f}; a control's ends at most at {best:.3f}"
    return Assignment(
        variable=unseen.name,
        verdict=verdict,
        reason=reason,
        nodes=() if verdict == NOTHING else nodes,
        result=result,
        random=tuple(random),
        untrained=blank,
    )


def scores(model: Decoder, swap: Swap, sets: Sequence[Sequence[Node]]) -> list[float]:
    """The share of pairs, of those whose answer must change, where all of it is as expected, at each set of nodes."""
    some = torch.from_numpy(swap.changes.any(axis=1))
    return [float(share) for share in as_expected(model, swap, sets).cpu().all(dim=2)[:, some].float().mean(dim=1)]


def grown(model: Decoder, swap: Swap, asked: Sequence[Node], at_least: float, nodes_at_most: int) -> tuple[Node, ...]:
    """Some of the nodes asked for: node by node what helps most, then without what is not missed."""
    chosen: tuple[Node, ...] = ()
    score = -1.0
    while len(chosen) < min(nodes_at_most, len(asked)) and score < at_least:
        sets = [(*chosen, node) for node in asked if node not in chosen]
        found = scores(model, swap, sets)
        best = max(range(len(sets)), key=lambda index: found[index])
        if found[best] < score + GAIN:
            break
        chosen, score = sets[best], found[best]
    for node in chosen[:-1]:
        fewer = tuple(each for each in chosen if each != node)
        if scores(model, swap, [fewer])[0] >= score:
            chosen = fewer
    return tuple(sorted(chosen))
