"""The analysis of one model: what it needs where (``search``), whether it computes the algorithm there (``examine``).

``search`` finds useful positions and nodes, what heads look at, sets at a position of which one suffices, edges, where
the variables of the algorithm are, and the fewest nodes that do the work when all others are resampled. ``examine``
takes new problems to decide what of that stands, and states it as claims. Both give plain data, the contents of
``search.json`` and ``test.json``. Where a model answers nothing right there is nothing to find.

>>> from carryproof.circuits.handmade import addition_by_hand
>>> subject = Subject(name="by hand", model=addition_by_hand(2).model, operations=("add",))
>>> found = search(subject, Settings(problems=100), stages=Stages(None, {}))
>>> found["variables"]["A0.SV"]["nodes"], found["circuit"]["kept"]["value"]
(['P7L1H1'], 1.0)
>>> for claim in examine(subject, found, stages=Stages(None, {}))["claims"]:
...     print(f"{claim['statement']}: {claim['verdict']}")
every variable of the addition graph has a place: holds
computes the addition graph: holds
11 nodes do add, all else resampled: holds
11 nodes do add, all else at its mean: holds
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Shaped

from carryproof.benchmarks.configuration import FIRST_TEST_SEED
from carryproof.circuits.ablation import impacts, redundant_sets, search_neurons
from carryproof.circuits.ablation import search as search_nodes
from carryproof.circuits.algorithms import Algorithm
from carryproof.circuits.alignment import PAIRS, align, examine_whole, groups, place
from carryproof.circuits.assignment import CARRIED, Assignment, assign
from carryproof.circuits.attribution import attribution
from carryproof.circuits.bootstrap import Estimate, estimates
from carryproof.circuits.claims import claims
from carryproof.circuits.classes import BEHAVIOURS, balanced, classify
from carryproof.circuits.edges import edges_among, search_edges
from carryproof.circuits.faithfulness import faithfulness, kept_alone, pruned
from carryproof.circuits.nodes import HEAD, NEURON, Node, at_position, every_node, parse
from carryproof.circuits.probes import attention
from carryproof.circuits.recording import Recording, record
from carryproof.circuits.replacing import Alternative, means, resampled, resampled_from, zeros
from carryproof.circuits.stages import Stages
from carryproof.circuits.subjects import Subject
from carryproof.circuits.swaps import contrasting
from carryproof.circuits.texts import Problems
from carryproof.theory.errors import bad, require_integer, unknown

KEEPS = 0.97  # of the right answers, that a circuit is to keep on the problems that it is found with
REPORTED = 0.02  # the least impact of an edge that is reported
SEARCHED, TESTED = range(FIRST_TEST_SEED + 10_000, FIRST_TEST_SEED + 10_002)  # streams, plus twice the seed
NO_CIRCUIT: dict[str, Any] = {"nodes": {}, "kept": Estimate(value=0.0, low=0.0, high=0.0).to_dict(), "redundant": []}


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """How to search: the number of problems, equally many of every class; the seed of their stream and of all draws;
    what ablated nodes write; the impact that a useful node has at least; whether neurons are searched too; and the
    causal graph by its name in ``ALGORITHMS``, or None for the first that there is for the model's operations.
    """

    problems: int = 600
    seed: int = 0
    alternative: str = "resample"
    floor: float = 0.0
    neurons: bool = False
    graph: str | None = None

    def __post_init__(self) -> None:
        require_integer("problems", self.problems, 20)
        require_integer("seed", self.seed, 0)
        if self.alternative not in ALTERNATIVES:
            raise unknown("ablation", self.alternative, ALTERNATIVES)
        if not 0 <= self.floor < 1:
            raise bad("floor", self.floor, "a share from 0, below 1")


ALTERNATIVES: dict[str, Callable[[Recording, torch.Generator], Alternative]] = {
    "resample": resampled,
    "mean": lambda recording, generator: means(recording),
    "zero": lambda recording, generator: zeros(recording),
}


def search(subject: Subject, settings: Settings, stages: Stages) -> dict[str, Any]:
    """Locate: the contents of ``search.json``."""
    config, alternatives = subject.model.config, ALTERNATIVES[settings.alternative]
    problems = searched_problems(subject, settings)
    recording, algorithm = record(subject.model, problems), subject.algorithm(settings.graph)

    def useful(generator: torch.Generator) -> dict[str, Any]:
        alternative = alternatives(recording, generator)
        found = search_nodes(recording, alternative, generator, floor=settings.floor)
        neurons = {}
        if settings.neurons:
            neurons = search_neurons(recording, found.nodes, alternative, generator, floor=settings.floor)
        return {
            "right": _right(recording, generator),
            "positions": {str(position): impact.to_dict() for position, impact in found.positions.items()},
            "nodes": {str(node): impact.to_dict() for node, impact in {**found.nodes, **neurons}.items()},
        }

    located = stages.run("nodes", useful)
    candidates = [node for position in located["positions"] for node in at_position(config, int(position))]

    def variables(generator: torch.Generator) -> dict[str, Any]:
        return {
            each.variable: each.to_dict() for each in _assigned(subject, algorithm, problems, candidates, generator)
        }

    def circuit(generator: torch.Generator) -> dict[str, Any]:
        alternative = alternatives(recording, generator)
        nodes = pruned(recording, every_node(config), alternative, at_least=KEEPS)
        alone = impacts(recording, [(node,) for node in nodes], alternative, generator)
        sets = [
            found
            for position in located["positions"]
            for found in redundant_sets(recording, at_position(config, int(position)), means(recording))
        ]
        return {
            "nodes": {str(node): impact.to_dict() for node, impact in zip(nodes, alone, strict=True)},
            "kept": kept_alone(recording, nodes, alternative, generator).to_dict(),
            "redundant": [{"nodes": [str(node) for node in each], "impact": round(impact, 4)} for each, impact in sets],
        }

    assigned = stages.run("variables", variables) if candidates else {}
    kept = stages.run("circuit", circuit) if candidates else NO_CIRCUIT
    inside = sorted(map(parse, {**located["nodes"], **kept["nodes"]}))

    def edges(generator: torch.Generator) -> dict[str, Any]:
        some = record(subject.model, problems.at(slice(0, None, 2)))
        chosen = edges_among(node for node in inside if node.kind != NEURON)
        found = search_edges(some, chosen, alternatives(some, generator), generator)
        listed = [(edge, impact.whole.value) for edge, impact in found.items() if impact.whole.value >= REPORTED]
        return {
            "tried": len(chosen),
            "edges": [{"edge": str(edge), "impact": round(value, 4)} for edge, value in listed],
        }

    def gradients(generator: torch.Generator) -> dict[str, Any]:
        found = attribution(recording, every_node(config), alternatives(recording, generator)).to_dict()
        return {name: round(found[name], 4) for name in ("correlation", "mean_error", "worst_error")}

    carried: dict[str, list[str]] = {}
    for each in assigned.values():
        for name in each["nodes"] if each["verdict"] == CARRIED else ():
            carried.setdefault(name, []).append(each["variable"])
    return {
        "kind": "search",
        "model": subject.to_dict(),
        "settings": asdict(settings),
        "right": located["right"],
        "positions": located["positions"],
        "nodes": {
            name: _node(recording, name, {**kept["nodes"], **located["nodes"]}[name], carried.get(name, []))
            for name in map(str, inside)
        },
        "redundant": kept["redundant"],
        "edges": stages.run("edges", edges)["edges"],
        "variables": assigned,
        "circuit": {"nodes": list(kept["nodes"]), "kept": kept["kept"]},
        "attribution": stages.run("gradients", gradients),
        "seconds": stages.seconds,
    }


def ablate(subject: Subject, sets: Sequence[Sequence[Node]], settings: Settings) -> dict[str, Any]:
    """What breaks when the nodes of each set write something else together, for each of the ``ALTERNATIVES``.

    Raises ``ValueError`` for a node that the model does not have.
    """
    recording = record(subject.model, searched_problems(subject, settings))
    generator = torch.Generator().manual_seed(settings.seed)
    broken = {
        name: impacts(recording, sets, make(recording, generator), generator) for name, make in ALTERNATIVES.items()
    }
    found = [
        {"nodes": [str(node) for node in nodes], "alternative": name, "impact": broken[name][index].to_dict()}
        for index, nodes in enumerate(sets)
        for name in ALTERNATIVES
    ]
    return {"model": subject.to_dict(), "settings": asdict(settings), "ablations": found}


def examine(subject: Subject, found: Mapping[str, Any], stages: Stages) -> dict[str, Any]:
    """Test what ``search`` found with new problems: the contents of ``test.json``.

    Raises ``ValueError`` for what was found in another model.
    """
    about = subject.to_dict()
    if found["model"] != about:
        raise bad("search", f"of {found['model']['name']}", f"one of {about['name']} with the same weights")
    settings = Settings(**found["settings"])
    algorithm = subject.algorithm(settings.graph)
    alignment = align(found["variables"], groups(algorithm))
    kept = [parse(name) for name in found["circuit"]["nodes"]]
    every = _problems(subject, settings, TESTED)
    behaviours = _behaviours(every)

    def graph(generator: torch.Generator) -> dict[str, Any]:
        whole = examine_whole(subject.model, algorithm, alignment, every, behaviours, generator)
        return {name: each.to_dict() for name, each in whole.items()}

    whole = stages.run("interchange", graph) if alignment else {}
    reference, circuits = record(subject.model, searched_problems(subject, settings)), list[dict[str, Any]]()
    for name in subject.behaviours if kept else ():
        recording = record(subject.model, every.at(behaviours == name))
        for how in ("resample", "mean"):

            def left(generator: torch.Generator, recording: Recording = recording, how: str = how) -> dict[str, Any]:
                drawn = resampled_from(reference, len(recording), generator)
                alternative = means(reference) if how == "mean" else drawn
                return faithfulness(recording, kept, alternative, generator).to_dict()

            result = stages.run(f"circuit, {name}, {how}", left)
            circuits.append({"behaviour": name, "alternative": how, "result": result})
    tested = {
        "kind": "test",
        "model": about,
        "settings": asdict(settings),
        "graph": algorithm.graph.name,
        "groups": [list(group) for group in groups(algorithm)],
        "alignment": {name: [str(node) for node in nodes] for name, nodes in alignment.items()},
        "whole": whole,
        "circuits": circuits,
    }
    return tested | {"claims": [claim.to_dict() for claim in claims(found, tested)], "seconds": stages.seconds}


def searched_problems(subject: Subject, settings: Settings) -> Problems:
    """The problems that a search of a model looks at."""
    return _problems(subject, settings, SEARCHED)


def _problems(subject: Subject, settings: Settings, stream: int) -> Problems:
    each, seed = max(1, settings.problems // len(subject.behaviours)), stream + 2 * settings.seed
    return balanced(subject.operations, digits=subject.digits, seed=seed, count=each)


def _behaviours(problems: Problems) -> Shaped[np.ndarray, " problem"]:
    return np.array([BEHAVIOURS[label[0]] for label in classify(problems)])


def _right(recording: Recording, generator: torch.Generator) -> dict[str, Any]:
    """The share of right answers, for each behaviour that there is."""
    behaviours = _behaviours(recording.problems)
    names = [name for name in BEHAVIOURS.values() if (behaviours == name).any()]
    member = torch.stack([torch.from_numpy(behaviours == name) for name in names], dim=1).float()  # [problem case]
    right = recording.right.all(dim=1, keepdim=True).cpu().float().expand(-1, len(names))
    return {name: each.to_dict() for name, each in zip(names, estimates(right, member, generator), strict=True)}


def _assigned(
    subject: Subject, algorithm: Algorithm, problems: Problems, candidates: list[Node], generator: torch.Generator
) -> Iterator[Assignment]:
    """Where variables are: those that move together, then each of them for itself among heads and MLPs."""
    model = subject.model
    for group in groups(algorithm):
        yield place(model, algorithm, group, problems, candidates, generator)
        for name in group if len(group) > 1 else ():
            try:
                swap = contrasting(algorithm, (name,), problems, generator, count=PAIRS)
            except ValueError:
                continue  # alone it changes no answer: what it says is said by the others too
            yield assign(model, swap, candidates, generator, nodes_at_most=model.config.n_heads)


def _node(recording: Recording, name: str, impact: Mapping[str, Any], variables: list[str]) -> dict[str, Any]:
    """What is known of one node."""
    node = parse(name)
    facts = attention(recording, node) if node.kind == HEAD else ()
    return {
        "impact": {key: value for key, value in impact.items() if key != "behaviours"},
        "behaviours": impact["behaviours"],
        "attention": [
            {"key": fact.key} | {part: round(getattr(fact, part), 4) for part in ("mean", "low", "high")}
            for fact in facts
        ],
        "variables": variables,
    }
