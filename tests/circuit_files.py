"""Small search and test files for pages and figures, made by the tools of circuits from a model at hand.

They have the form of the files that the commands exchange; nothing in them is made up but the learning curve.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import sha256
from typing import Any

import numpy as np
import torch

from carryproof.circuits import ablation, attribution, edges
from carryproof.circuits.algorithms import Algorithm
from carryproof.circuits.assignment import Assignment, assign
from carryproof.circuits.bootstrap import estimates
from carryproof.circuits.claims import judge
from carryproof.circuits.faithfulness import faithfulness
from carryproof.circuits.handmade import addition_by_hand
from carryproof.circuits.interchange import random_sets, untrained, whole_interchange
from carryproof.circuits.mixture import Mixture, draw
from carryproof.circuits.nodes import HEAD, Node, at_position, every_node
from carryproof.circuits.probes import attention
from carryproof.circuits.recording import Recording, record
from carryproof.circuits.replacing import resampled
from carryproof.circuits.swaps import contrasting
from carryproof.circuits.texts import Problems
from carryproof.models.decoder import Decoder

FLOOR = 0.01
Findings = tuple[dict[str, Any], dict[str, Any]]
BEHAVIOURS = {"add": "S", "sub_positive": "M", "sub_negative": "N"}


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def problem_sets(algorithm: Algorithm, count: int) -> dict[str, Problems]:
    """Problems of each behaviour that the algorithm has."""
    share = {("add",): 0.0, ("sub",): 1.0}.get(algorithm.operations, 0.7)
    drawn = draw(Mixture(subtract=share, short=0.0), digits=algorithm.digits, seed=1, first=0, count=6 * count)
    negative = drawn.answer().negative
    masks = {"add": ~drawn.subtract, "sub_positive": drawn.subtract & ~negative, "sub_negative": negative}
    return {name: drawn.at(np.flatnonzero(mask)[:count]) for name, mask in masks.items() if mask.any()}


def joined(sets: Mapping[str, Problems]) -> Problems:
    return Problems(
        operands=np.concatenate([each.operands for each in sets.values()]),
        subtract=np.concatenate([each.subtract for each in sets.values()]),
    )


def files(
    model: Decoder, algorithm: Algorithm, name: str, variables: Sequence[str], *, count: int = 60, pairs: int = 40
) -> Findings:
    """What a search and a test of a model say."""
    sets = problem_sets(algorithm, count)
    problems, draws = joined(sets), generator()
    about = {
        "name": name,
        "sha256": sha256(name.encode()).hexdigest(),
        "digits": algorithm.digits,
        "operations": list(algorithm.operations),
        "layers": model.config.n_layers,
        "heads": model.config.n_heads,
        "parameters": sum(weights.numel() for weights in model.parameters()),
    }
    settings = {"alternative": "resample", "problems": len(problems), "seed": 0, "floor": FLOOR}
    recording = record(model, problems)
    other = resampled(recording, draws)
    positions = _useful(recording, {each: at_position(model.config, each) for each in range(model.config.n_ctx - 1)})
    found = _useful(recording, {each: (each,) for each in every_node(model.config, positions)})
    assigned = {each: _assigned(model, algorithm, each, sets, pairs) for each in variables}
    nodes = list(found)
    of = {each: record(model, some) for each, some in sets.items()}
    served = {
        each: ablation.impacts(of[each], [(node,) for node in nodes], resampled(of[each], draws), draws) for each in of
    }
    listed = {}
    for index, (node, impact) in enumerate(found.items()):
        listed[str(node)] = {
            "impact": impact.to_dict(),
            "behaviours": {each: served[each][index].whole.to_dict() for each in of},
            "variables": [name for name, each in assigned.items() if node in each.nodes],
        }
        if node.kind == HEAD:
            looks = attention(recording, node)
            listed[str(node)]["attention"] = [
                {"key": each.key, "mean": each.mean, "low": each.low, "high": each.high} for each in looks
            ]
    asked = edges.edges_among(nodes)
    traced = edges.search_edges(recording, asked, other, draws, floor=FLOOR) if len(asked) <= 1200 else {}
    faithful = faithfulness(recording, nodes, other, draws) if nodes else None
    estimated = attribution.attribution(recording, nodes or every_node(model.config)[:2], other)
    search: dict[str, Any] = {
        "schema_version": 1,
        "kind": "search",
        "model": about,
        "settings": settings,
        "right": {each: right.to_dict() for each, right in _right(model, algorithm, sets).items()},
        "positions": {str(position): impact.to_dict() for position, impact in positions.items()},
        "nodes": listed,
        "redundant": [
            {"nodes": [str(node) for node in some], "impact": impact}
            for some, impact in ablation.redundant_sets(recording, every_node(model.config, positions), other)
        ],
        "edges": [{"edge": str(edge), "impact": impact.whole.value} for edge, impact in traced.items()],
        "variables": {each: assignment.to_dict() for each, assignment in assigned.items()},
        "circuit": {
            "nodes": [str(node) for node in nodes],
            "kept": faithful.kept.whole.to_dict() if faithful else {"value": 0.0, "low": 0.0, "high": 0.0},
        },
        "attribution": {each: getattr(estimated, each) for each in ("correlation", "mean_error", "worst_error")},
        "seconds": {"positions": 1.5, "nodes": 12.25},
    }
    return search, _test(model, algorithm, search, assigned, recording, faithful)


def _useful(recording: Recording, sets: Mapping[Any, Sequence[Node]]) -> dict[Any, ablation.Impact]:
    """The sets of nodes whose impact together lies above the floor."""
    draws = generator()
    found = ablation.impacts(recording, list(sets.values()), resampled(recording, draws), draws)
    return {name: impact for name, impact in zip(sets, found, strict=True) if impact.whole.low > FLOOR}


def _assigned(
    model: Decoder, algorithm: Algorithm, variable: str, sets: Mapping[str, Problems], pairs: int
) -> Assignment:
    letter = variable.partition(".")[2][:1]
    behaviour = next((each for each, own in BEHAVIOURS.items() if own == letter and each in sets), None)
    problems = sets[behaviour] if behaviour else joined(sets)
    swap = contrasting(algorithm, (variable,), problems, generator(), count=pairs)
    return assign(model, swap, every_node(model.config), generator())


def _right(model: Decoder, algorithm: Algorithm, sets: Mapping[str, Problems]) -> dict[str, Any]:
    shares = {}
    for operation, subtract in (("add", False), ("sub", True)):
        if operation in algorithm.operations:
            problems = joined({each: some for each, some in sets.items() if bool(some.subtract.any()) == subtract})
            right = record(model, problems).right.all(dim=1, keepdim=True).float()
            (shares[operation],) = estimates(right, torch.ones_like(right), generator())
    return shares


def _test(
    model: Decoder,
    algorithm: Algorithm,
    search: Mapping[str, Any],
    assigned: Mapping[str, Assignment],
    recording: Any,
    faithful: Any,
) -> dict[str, Any]:
    """The alignment that the search found, tested as a whole on the same problems."""
    operation = algorithm.operations[0]
    alignment = {name: each.nodes for name, each in assigned.items() if each.nodes}
    claims, whole, circuits = [], {}, []
    if alignment:
        problems, nodes = recording.problems, sorted({node for each in alignment.values() for node in each})
        measured = whole_interchange(model, algorithm, alignment, problems, generator(), rounds=4)
        random = []
        for drawn in random_sets(model, nodes, generator(), 2):
            other = dict(zip(nodes, drawn, strict=True))
            moved = {name: [other[node] for node in each] for name, each in alignment.items()}
            random.append(whole_interchange(model, algorithm, moved, problems, generator(), rounds=4))
        blank = whole_interchange(untrained(model, generator()), algorithm, alignment, problems, generator(), rounds=4)
        whole[operation] = {
            "result": measured.to_dict(),
            "random": [each.to_dict() for each in random],
            "untrained": blank.to_dict(),
        }
        controls = [each.accuracy for each in (*random, blank)]
        name = f"computes the {algorithm.graph.name} graph"
        claims.append(judge(name, measured.accuracy, at_least=0.9, controls=controls).to_dict())
    if faithful:
        circuits.append({"behaviour": "add", "alternative": "resample", "result": faithful.to_dict()})
        name = f"{len(faithful.nodes)} nodes do add, all else resampled"
        claims.append(judge(name, faithful.kept.whole, at_least=0.9, controls=faithful.controls).to_dict())
    return {
        "schema_version": 1,
        "kind": "test",
        "model": search["model"],
        "settings": search["settings"],
        "graph": algorithm.graph.name,
        "alignment": {name: [str(node) for node in nodes] for name, nodes in alignment.items()},
        "whole": whole,
        "variables": {name: each.to_dict() for name, each in assigned.items()},
        "circuits": circuits,
        "claims": claims,
        "seconds": {"whole": 3.0},
    }


@cache
def by_hand() -> Findings:
    """The search and the test of the hand-made model of two digits; not to be changed."""
    made = addition_by_hand(2)
    return files(made.model, made.algorithm, "by_hand_d2", ("A0.SA", "A1.SA", "A1.SC", "A0.SV", "A1.SV"))


def curve(digits: int, *, points: int = 30) -> dict[str, Any]:
    """A training record whose tokens are learned one after another."""
    tokens = digits + 2
    loss = []
    for index in range(1, points + 1):
        of_tokens = [2.3 / (1 + (index / (1 + token)) ** 4) + 1e-4 for token in range(tokens)]
        share = index / points
        loss.append({"step": 100 * index, "loss": sum(of_tokens) / tokens, "in_range": share, "tokens": of_tokens})
    return {"schema_version": 1, "loss": loss}
