"""Models made by hand to subtract, and to add and subtract: right, and the tools find exactly what their keys say."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from carryproof.circuits.ablation import search
from carryproof.circuits.accuracy import right
from carryproof.circuits.algorithms import complement_places, mixed
from carryproof.circuits.assignment import CARRIED, NOTHING, assign
from carryproof.circuits.classes import names, sample
from carryproof.circuits.exhaustive import prove
from carryproof.circuits.handmade import HandMade
from carryproof.circuits.handmade_signed import mixed_by_hand, subtraction_by_hand
from carryproof.circuits.interchange import (
    as_expected,
    interchange,
    random_sets,
    untrained,
    whole_interchange,
    whole_interchange_by,
)
from carryproof.circuits.mixture import Mixture, draw
from carryproof.circuits.nodes import Node, parse
from carryproof.circuits.recording import record
from carryproof.circuits.replacing import means, resampled, zeros
from carryproof.circuits.swaps import by_graph, contrasting
from carryproof.circuits.texts import OPERATIONS, Problems

MAKERS = {"subtraction": subtraction_by_hand, "mixed": mixed_by_hand}
every_maker = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def problems(made: HandMade, count: int, seed: int = 0) -> Problems:
    share = 0.6 if len(made.algorithm.operations) == len(OPERATIONS) else 1.0
    return draw(Mixture(subtract=share), digits=made.algorithm.digits, seed=seed, first=0, count=count)


def stratified(made: HandMade, count: int, seed: int = 0) -> Problems:
    """``count`` problems of every class, in an order of their own."""
    digits, operands, subtract = made.algorithm.digits, [], []
    for operation in made.algorithm.operations:
        parts = [sample(name, digits=digits, seed=seed, first=0, count=count) for name in names(operation, digits)]
        operands += [part.operands for part in parts]
        subtract += [np.full(count, operation == "sub")] * len(parts)
    whole = Problems(operands=np.concatenate(operands), subtract=np.concatenate(subtract))
    return whole.at(np.random.default_rng(seed).permutation(len(whole)))


def alignment(made: HandMade, *variables: str) -> dict[str, list[Node]]:
    return {
        variable: [parse(node) for node, names in made.carries.items() if variable in names] for variable in variables
    }


@pytest.mark.parametrize("digits", [1, 2, pytest.param(3, marks=pytest.mark.slow)])
@every_maker
def test_right_on_all_pairs(make: Callable[[int], HandMade], digits: int) -> None:
    made = make(digits)
    for operation in made.algorithm.operations:
        proof = prove(made.model, operation)
        assert proof.problems == 100**digits and proof.holds and proof.smallest_margin > 7.4


@every_maker
def test_right_on_many_pairs_of_three_digits(make: Callable[[int], HandMade]) -> None:
    made, drawn = make(3), np.random.default_rng(0)
    operands = drawn.integers(10, size=(20_000, 2, 3), dtype=np.uint8)
    subtract = drawn.integers(2, size=20_000) == 1 if "add" in made.algorithm.operations else np.full(20_000, True)
    assert right(made.model, Problems(operands=operands, subtract=subtract)).all()


@pytest.mark.parametrize("digits", [1, 3, 7])
@every_maker
def test_right_by_a_margin_on_every_class(make: Callable[[int], HandMade], digits: int) -> None:
    recording = record((made := make(digits)).model, stratified(made, 10))
    answers = recording.answers[..., None]
    others = recording.logits.scatter(2, answers, -torch.inf).amax(-1)
    assert (recording.logits.gather(2, answers)[..., 0] - others).min() > 7.4


@pytest.mark.parametrize("how", [zeros, means, "resampled"])
@every_maker
def test_search_finds_the_key_and_nothing_else(make: Callable[[int], HandMade], how: object) -> None:
    made = make(2)
    recording = record(made.model, stratified(made, 40))
    alternative = resampled(recording, generator()) if how == "resampled" else how(recording)
    found = search(recording, alternative, generator())
    assert found.right == len(recording)
    assert {str(node) for node in found.nodes} == set(made.carries)


@every_maker
def test_nothing_is_found_in_an_untrained_model(make: Callable[[int], HandMade]) -> None:
    made = make(2)
    model = untrained(made.model, generator())
    recording = record(model, problems(made, 60))
    assert search(recording, means(recording), generator()).nodes == {}
    swap = contrasting(made.algorithm, ("SGN",), problems(made, 60), generator(), count=40)
    assert assign(model, swap, map(parse, made.carries), generator()).verdict == NOTHING


@every_maker
def test_every_node_carries_its_variables(make: Callable[[int], HandMade]) -> None:
    """What a node gives in other problems, of either operation, changes the answer as its variables do in the graph."""
    made = make(3)
    base, source = stratified(made, 8), stratified(made, 8, seed=9)
    for node, variables in made.carries.items():
        swap = by_graph(made.algorithm, variables, base=base, source=source)
        assert as_expected(made.model, swap, [[parse(node)]]).all(), node
        assert swap.changes.any(axis=1).mean() > 0.04, node


@every_maker
def test_a_variable_is_assigned_to_its_node(make: Callable[[int], HandMade]) -> None:
    made = make(2)
    wanted = {"subtraction": ("A0.MD", "A0.MV", "A0.NV", "NEG1"), "complement": ("A1.CA", "A0.CV", "IN", "SGN.OPR")}
    for variable in wanted[made.algorithm.graph.name]:
        nodes = tuple(alignment(made, variable)[variable])
        swap = contrasting(made.algorithm, (variable,), problems(made, 300), generator(), count=90)
        found = assign(made.model, swap, map(parse, made.carries), generator())
        last = max(nodes)  # a column's digit is with its state where it is summed up, and alone where it is read
        assert (found.verdict, found.nodes) == (CARRIED, (last,)), variable
        (wrong,) = random_sets(made.model, nodes, generator(), 1)
        assert interchange(made.model, swap, [wrong], generator())[0].accuracy.value < 0.5


@every_maker
def test_the_whole_graph_holds(make: Callable[[int], HandMade]) -> None:
    made = make(3)
    inner = {name for names in made.carries.values() for name in names} - {*made.algorithm.graph.inputs}
    apart = {"A0.MD", "A1.MD", "A2.MD", "A0.ND", "A1.ND", "A2.ND", "A0.CA", "A1.CA", "A2.CA"}  # are at two places
    where = alignment(made, *sorted(inner - apart - {*made.algorithm.graph.outputs}))
    where |= {name: [min(alignment(made, name)[name])] for name in sorted(inner & apart)}
    found = whole_interchange(made.model, made.algorithm, where, problems(made, 150), generator(), rounds=6)
    assert found.accuracy.value == 1 and found.unmoved.value == 1 and found.pairs > 300
    blank = untrained(made.model, generator())
    assert (
        whole_interchange(blank, made.algorithm, where, problems(made, 60), generator(), rounds=2).accuracy.value == 0
    )


def test_columns_that_cross_operations_tell_one_addition_from_three_branches() -> None:
    """Within an operation both graphs hold of a model that adds the complement; across, only that it was made by."""
    made = mixed_by_hand(3)
    streams = {name: [parse(f"P{each}L0R") for each in places] for name, places in complement_places(3).items()}
    columns = {f"A{place}": streams[f"A{place}.CA"] for place in range(3)}
    asked = problems(made, 250)
    labels = np.where(asked.subtract, np.where(asked.answer().negative, "negative", "positive"), "add")
    graphs = {"complement": made.algorithm, "mixed": mixed(3)}
    parts = {"complement": ("OPR", "CA", "CT"), "mixed": ("SA", "SC", "ST", "MD", "MB", "MT", "ND", "NB", "NT")}
    found = {}
    for name, algorithm in graphs.items():
        known = {variable.name for variable in algorithm.graph.variables}
        where = {f"{at}.{part}": nodes for at, nodes in columns.items() for part in parts[name]}
        where = {variable: nodes for variable, nodes in where.items() if variable in known}
        found[name] = whole_interchange_by(made.model, algorithm, where, asked, labels, generator(), rounds=4)
        within = asked.at(asked.subtract)
        assert whole_interchange(made.model, algorithm, where, within, generator(), rounds=4).accuracy.value == 1
    everywhere = whole_interchange(made.model, made.algorithm, streams, asked, generator(), rounds=4)
    assert everywhere.accuracy.value == 1 and everywhere.unmoved.value == 1
    assert set(found["mixed"]) == {"add", "positive", "negative"}
    assert all(each.accuracy.value == 1 for each in found["complement"].values())
    assert all(each.accuracy.high < 0.5 for each in found["mixed"].values())
    with pytest.raises(ValueError, match=r"shape of labels: got \[3\]; allowed: \[250\]"):
        whole_interchange_by(made.model, made.algorithm, columns, asked, labels[:3], generator())


@every_maker
def test_bad_sizes_are_refused(make: Callable[[int], HandMade]) -> None:
    for digits in (0, 41):
        with pytest.raises(ValueError, match=f"digits: got {digits}; allowed"):
            make(digits)
