"""The tools find in hand-made models exactly what was put in, and nothing in an untrained one."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from carryproof.circuits import ablation, assignment, attribution, edges, probes
from carryproof.circuits.algorithms import addition, position, subtraction
from carryproof.circuits.bootstrap import Estimate, estimates
from carryproof.circuits.claims import judge
from carryproof.circuits.faithfulness import complement, faithfulness, pruned
from carryproof.circuits.handmade import (
    HandMade,
    addition_by_hand,
    decoy_addition_by_hand,
    redundant_addition_by_hand,
)
from carryproof.circuits.interchange import interchange, random_sets, untrained, whole_interchange
from carryproof.circuits.mixture import Mixture, draw
from carryproof.circuits.nodes import Node, every_node, neurons_of, parse
from carryproof.circuits.patching import patched_logits
from carryproof.circuits.recording import Recording, record
from carryproof.circuits.replacing import Alternative, means, other_problems, resampled, zeros
from carryproof.circuits.shrinking import shrunk
from carryproof.circuits.swaps import Swap, by_graph, by_hand, contrasting
from carryproof.circuits.texts import Problems, context
from carryproof.models.config import DecoderConfig
from carryproof.models.decoder import Decoder

DIGITS = 2
PROBLEMS = draw(Mixture(), digits=DIGITS, seed=1, first=0, count=150)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def small(layers: int = 2) -> Decoder:
    config = DecoderConfig(
        d_vocab=15, n_ctx=context(DIGITS), d_model=8, n_heads=2, n_layers=layers, encoding="absolute"
    )
    return Decoder.init(config, generator())


def key(made: HandMade) -> set[Node]:
    return {parse(name) for name in made.carries}


def nodes(*names: str) -> tuple[Node, ...]:
    return tuple(parse(name) for name in names)


@pytest.fixture(scope="module")
def made() -> HandMade:
    return addition_by_hand(DIGITS)


@pytest.fixture(scope="module")
def recording(made: HandMade) -> Recording:
    return record(made.model, PROBLEMS)


def alternatives(recording: Recording) -> dict[str, Alternative]:
    return {"zeros": zeros(recording), "means": means(recording), "resampled": resampled(recording, generator())}


# Locate.


@pytest.mark.parametrize("how", ["zeros", "means", "resampled"])
@pytest.mark.parametrize("make", [addition_by_hand, decoy_addition_by_hand])
def test_search_finds_the_key_and_nothing_else(make: object, how: str) -> None:
    made = make(DIGITS)
    recording = record(made.model, PROBLEMS)
    found = ablation.search(recording, alternatives(recording)[how], generator())
    assert found.right == len(PROBLEMS)
    assert set(found.nodes) == key(made)
    assert set(found.positions) == {node.position for node in key(made)}


def test_an_impact_names_the_tokens_and_classes_that_suffer(recording: Recording) -> None:
    other = resampled(recording, generator())
    (impact,) = ablation.impacts(recording, [nodes("P7L1H1")], other, generator())  # the carry into A1
    assert impact.whole.low > 0 and impact.tokens["A1"] == impact.whole
    assert not any(impact.tokens[name].value for name in ("SGN", "A2", "A0"))
    assert impact.classes["S0"].value != impact.classes["S1"].value
    plain = impact.to_dict()
    assert list(plain["tokens"]) == ["A1"] and plain["whole"]["value"] == round(impact.whole.value, 4)


def test_a_redundant_set_is_found_together_and_not_alone() -> None:
    made = redundant_addition_by_hand(DIGITS)
    recording = record(made.model, PROBLEMS)
    doubled = {parse(name) for pair in made.redundant for name in pair}
    assert set(ablation.search(recording, means(recording), generator()).nodes) == key(made) - doubled
    found = ablation.redundant_sets(recording, every_node(made.model.config), means(recording))
    assert {names for names, _ in found} == {nodes(*pair) for pair in made.redundant}
    assert all(joint > 0.8 for _, joint in found)


def test_no_redundant_set_is_found_where_there_is_none(recording: Recording) -> None:
    assert ablation.redundant_sets(recording, every_node(recording.model.config), means(recording)) == []


def test_neurons_are_searched_in_the_mlps_among_the_nodes(recording: Recording) -> None:
    mlp = parse("P8L1M")
    found = ablation.search_neurons(recording, nodes("P8L1M", "P8L1H0"), zeros(recording), generator())
    assert 10 <= len(found) <= 20 and set(found) <= set(neurons_of(recording.model.config, mlp))  # digits, no carry
    assert all(set(impact.to_dict()["tokens"]) == {"A0"} for impact in found.values())


def test_nothing_is_found_in_an_untrained_model(made: HandMade) -> None:
    model = untrained(made.model, generator())
    recording = record(model, PROBLEMS)
    for alternative in alternatives(recording).values():
        found = ablation.search(recording, alternative, generator())
        assert (found.right, found.positions, found.nodes) == (0, {}, {})
    assert ablation.redundant_sets(recording, every_node(model.config), means(recording)) == []


def test_edges_are_those_of_the_construction(recording: Recording) -> None:
    """At D'_k: head to MLP; from there by v, and to the carries by k or v, to where the answers are decided."""
    chosen = [*key(addition_by_hand(DIGITS)), *nodes("P6L1R", "P7L1R", "P8L1R")]
    found = {
        str(edge) for edge in edges.search_edges(recording, edges.edges_among(chosen), means(recording), generator())
    }
    must = {f"P{column}L0H0 -> P{column}L0M.in" for column in (3, 4)}
    must |= {"P3L0M -> P7L1H0.v", "P4L0M -> P8L1H0.v", "P4L0M -> P7L1H1.v", "P3L0M -> P6L1H1.v"}
    must |= {"P3L0M -> P6L1H1.k"}  # a column that passes on is not looked at
    must |= {f"P{p}L1M -> P{p}L1R.in" for p in (6, 7, 8)}
    must |= {f"P{p}L1H{h} -> P{p}L1M.in" for p, h in ((6, 1), (7, 0), (7, 1), (8, 0))}
    may = {"P4L0M -> P6L1H1.v", "P4L0M -> P7L1H1.k", "P4L0M -> P6L1H1.k"}
    assert must <= found <= must | may


@pytest.mark.parametrize("layers", [2, 3])
def test_an_edge_on_which_the_sender_says_the_same_changes_nothing(layers: int) -> None:
    recording = record(small(layers), PROBLEMS.at(slice(0, 8)))
    every = [*every_node(recording.model.config, (2, 6)), *nodes("P6L0N3", "P6L1R")]
    for edge in edges.edges_among(every):
        same = edges.received(recording, edge, recording.output(edge.sender))
        assert torch.allclose(same, recording.output(edge.receiver), atol=1e-5), edge


def test_all_edges_of_a_node_together_are_the_node() -> None:
    """In the last layer an MLP is read by nothing but the residual stream, and a head by that and the MLP."""
    recording = record(small(), PROBLEMS.at(slice(0, 8)))
    value = torch.randn(8, 8, generator=generator())
    (edge,) = edges.edges_among(nodes("P6L1M", "P6L1R"))
    patches = [{parse("P6L1M"): value}, {parse("P6L1R"): edges.received(recording, edge, value)}]
    whole, along = patched_logits(recording, patches)
    assert torch.allclose(whole, along, atol=1e-5)


@pytest.mark.parametrize("name", ["P2L0M -> P6L1H0.q", "P2L1H0 -> P6L1H0.k", "P6L0M -> P6L0H0.q", "P6L0M -> P6L1M.q"])
def test_what_is_no_edge_is_refused(name: str) -> None:
    sender, receiver, port = re.split(r" -> |\.", name)
    with pytest.raises(ValueError, match="allowed: "):
        edges.Edge(sender=parse(sender), receiver=parse(receiver), input=port)


def test_attribution_is_exact_for_small_changes_and_says_how_far_it_is_off_for_large_ones(recording: Recording) -> None:
    small_recording = record(small(), PROBLEMS)
    asked = [*every_node(small_recording.model.config, (2, 6, 7)), *nodes("P6L0N3", "P7L1N5")]
    mean, output = means(small_recording), small_recording.output
    nudged = attribution.attribution(small_recording, asked, lambda node: output(node).lerp(mean(node), 1e-2))
    assert nudged.correlation > 0.99 and nudged.mean_error < 0.1 * max(map(abs, nudged.exact.values()))
    far = attribution.attribution(recording, sorted(key(addition_by_hand(DIGITS))), means(recording))
    assert far.worst_error > 1 and set(far.to_dict()["nodes"]) == set(addition_by_hand(DIGITS).carries)
    with pytest.raises(ValueError, match="nodes: got 'P6L1R'; allowed: one or more heads, MLPs and neurons"):
        attribution.estimate(recording, nodes("P6L1R"), means(recording))


# Test.


@pytest.mark.parametrize("variable", ["A0.SA", "A1.SA", "A0.SV", "A1.SV"])
def test_a_variable_is_assigned_to_its_node(made: HandMade, variable: str) -> None:
    swap = contrasting(made.algorithm, (variable,), PROBLEMS, generator(), count=120)
    found = assignment.assign(made.model, swap, key(made), generator())
    (node,) = (parse(name) for name, carried in made.carries.items() if carried == (variable,))
    if variable == "A1.SV":  # it is the highest digit, which the head and the MLP after it carry alike
        assert found.nodes in ((node,), nodes("P6L1M"))
    else:
        assert found.nodes == (node,)
    assert found.verdict == assignment.CARRIED and found.result.accuracy.value == 1
    assert max(each.accuracy.value for each in found.random) < 0.5 and found.untrained.accuracy.value == 0
    assert found.to_dict()["nodes"] == [str(each) for each in found.nodes]


def test_nothing_is_assigned_in_an_untrained_model(made: HandMade) -> None:
    swap = contrasting(made.algorithm, ("A0.SV",), PROBLEMS, generator(), count=120)
    found = assignment.assign(untrained(made.model, generator()), swap, key(made), generator())
    assert (found.verdict, found.nodes, str(found)) == (assignment.NOTHING, (), "A0.SV: nothing")


def test_a_digit_that_is_fetched_is_told_from_the_column_it_goes_into(made: HandMade) -> None:
    column = position("D'0", DIGITS)
    swap = contrasting(made.algorithm, ("A0.SA", "A0.ST"), PROBLEMS, generator(), count=40, alike=("D'0",))
    sets = [nodes(f"P{column}L0H0"), nodes(f"P{column}L0M"), nodes(f"P{column}L0R"), nodes(f"P{column}L0H1")]
    assert [each.accuracy.value for each in interchange(made.model, swap, sets, generator())] == [1, 1, 1, 0]


def test_the_whole_graph_holds_in_the_model_made_after_it_and_in_no_other(made: HandMade) -> None:
    alignment = {
        variable: [node for node in key(made) if variable in made.carries[str(node)]]
        for variable in ("A0.SA", "A0.ST", "A1.SA", "A1.ST", "A0.SV", "A1.SV")
    }
    found = whole_interchange(made.model, made.algorithm, alignment, PROBLEMS, generator(), rounds=6)
    assert found.accuracy.value == 1 and found.unmoved.value == 1 and found.pairs > 100
    wrong = {"A0.SV": alignment["A1.SA"], "A1.SA": alignment["A0.SV"]}
    assert whole_interchange(made.model, made.algorithm, wrong, PROBLEMS, generator(), rounds=6).accuracy.high < 0.3
    blank = untrained(made.model, generator())
    assert whole_interchange(blank, made.algorithm, alignment, PROBLEMS, generator(), rounds=2).accuracy.value == 0


@pytest.mark.parametrize("how", ["means", "resampled"])
def test_the_key_is_faithful_complete_and_minimal(made: HandMade, recording: Recording, how: str) -> None:
    found = faithfulness(recording, key(made), alternatives(recording)[how], generator())
    assert found.kept.whole.value == 1 and found.dropped.whole.value < 0.2
    assert found.minimal and max(map(abs, found.gaps)) < 1e-6
    assert max(each.value for each in found.controls) < 0.5
    assert found.to_dict()["minimal"] and len(found.to_dict()["nodes"]) == len(made.carries)


def test_a_circuit_with_a_node_too_many_is_not_minimal_and_with_one_too_few_is_not_faithful(
    made: HandMade, recording: Recording
) -> None:
    more = faithfulness(recording, [*key(made), parse("P0L0H1")], means(recording), generator())
    assert more.kept.whole.value == 1 and not more.minimal and more.missed[parse("P0L0H1")] == 0
    fewer = faithfulness(recording, key(made) - {parse("P7L1M")}, means(recording), generator())
    assert fewer.kept.whole.high < 1 and fewer.kept.tokens["A0"].value == 1


def test_pruning_finds_the_key_and_refuses_what_cannot_do_it(made: HandMade, recording: Recording) -> None:
    other = resampled(recording, generator())
    assert set(pruned(recording, every_node(made.model.config), other, at_least=1.0)) == key(made)
    with pytest.raises(ValueError, match=r"nodes: got '2 nodes'; allowed: nodes that together keep 0\.95"):
        pruned(recording, nodes("P3L0M", "P7L1M"), other)


def test_a_complement_divides_an_mlp_that_is_in_the_circuit_by_some_neurons() -> None:
    config = small().config
    rest = complement(config, nodes("P6L0N3", "P7L0M", "P7L0N3"))
    assert parse("P6L0M") not in rest and parse("P6L0N3") not in rest and parse("P6L0N4") in rest
    assert not any(node.position == 7 and node.layer == 0 and node.kind != "H" for node in rest)


# What goes in, and what is refused.


def test_swaps_by_graph_change_what_is_below_the_variable() -> None:
    swap = contrasting(addition(DIGITS), ("A0.SV",), PROBLEMS, generator(), count=500)
    assert swap.changes.any(axis=1).all() and not swap.changes[:, -1].any(), "the units do not change"
    told_apart = swap.expected != by_graph(addition(DIGITS), ("A1", "A2"), base=swap.base, source=swap.source).expected
    assert told_apart.any(axis=1)[0], "and pairs that tell the carry from the finished digits come first"


def test_swaps_that_cannot_fail_and_other_bad_input_are_refused(made: HandMade) -> None:
    with pytest.raises(ValueError, match=r"swap of A0.SV: got no pair whose answer changes; allowed: at least one"):
        by_graph(made.algorithm, ("A0.SV",), base=PROBLEMS, source=PROBLEMS)
    with pytest.raises(ValueError, match="got no pair whose answer changes"):
        contrasting(made.algorithm, ("SGN",), PROBLEMS, generator(), count=5)
    with pytest.raises(ValueError, match=r"variable: unknown value 'A7\.SA'"):
        by_graph(made.algorithm, ("A7.SA",), base=PROBLEMS, source=PROBLEMS)
    with pytest.raises(ValueError, match="problems: got '2 digits'; allowed: 3 digits"):
        contrasting(addition(3), ("A0.SV",), PROBLEMS, generator(), count=5)
    with pytest.raises(ValueError, match="operation of problems: unknown value 'add'"):
        contrasting(subtraction(DIGITS), ("A0.MV",), PROBLEMS, generator(), count=5)
    nobody = np.array([], dtype=np.int64)
    with pytest.raises(ValueError, match="swap of x: got 'no pairs'; allowed: one or more"):
        Swap(name="x", base=PROBLEMS.at(nobody), source=PROBLEMS.at(nobody), expected=np.empty((0, 4), dtype=np.int64))
    for lines, told in (
        ([("45+1", "45+12", "+057")], "'45\\+1'"),
        ([("45*12", "45+12", "+057")], "'45\\*12'"),
        ([("45+12", "45+12", "57")], "'57'"),
        ([("45+12", "45+12", "+057")], "no pair whose answer changes"),
    ):
        with pytest.raises(ValueError, match=told):
            by_hand("x", lines)
    with pytest.raises(ValueError, match=r"alignment: got 'A0\.SA'; allowed"):
        whole_interchange(made.model, made.algorithm, {"A0.SA": ()}, PROBLEMS, generator())
    with pytest.raises(ValueError, match="variables of which some change an answer"):
        whole_interchange(made.model, made.algorithm, {"SGN": nodes("P5L1M")}, PROBLEMS, generator(), rounds=1)
    with pytest.raises(ValueError, match="candidates: got 'none'; allowed: one or more heads and MLPs"):
        assignment.assign(made.model, by_hand("x", [("45+12", "45+12", "+058")]), (), generator())
    with pytest.raises(ValueError, match="circuit: got 'no nodes'"):
        faithfulness(record(made.model, PROBLEMS), (), zeros(record(made.model, PROBLEMS)), generator())
    with pytest.raises(ValueError, match="problems: got 1; allowed: two or more"):
        other_problems(1, generator())


def test_random_sets_are_of_other_nodes_of_the_same_layers_and_kinds(made: HandMade) -> None:
    chosen = nodes("P7L1H0", "P7L1M", "P3L0M")
    for drawn in random_sets(made.model, chosen, generator(), 20):
        assert not set(drawn) & set(chosen) and len(set(drawn)) == 3
        assert sorted((node.layer, node.kind) for node in drawn) == sorted((node.layer, node.kind) for node in chosen)
    with pytest.raises(ValueError, match="nodes: got '40 nodes'; allowed: at most 27"):
        random_sets(made.model, every_node(made.model.config)[:40], generator(), 1)


@given(count=st.integers(2, 60), seed=st.integers(0, 2**32))
def test_every_problem_takes_from_another(count: int, seed: int) -> None:
    order = other_problems(count, torch.Generator().manual_seed(seed))
    assert sorted(order.tolist()) == list(range(count)) and not (order == torch.arange(count)).any()


@given(needed=st.sets(st.integers(0, 40), min_size=1), extra=st.integers(41, 60))
def test_shrinking_leaves_what_is_needed(needed: set[int], extra: int) -> None:
    assert shrunk(range(extra), lambda part: needed <= set(part)) == sorted(needed)


@given(hits=st.lists(st.booleans(), min_size=1, max_size=40), seed=st.integers(0, 2**32))
def test_a_share_is_in_its_interval(hits: list[bool], seed: int) -> None:
    amounts = torch.tensor(hits, dtype=torch.float32)[:, None]
    whole, nothing = estimates(
        amounts.expand(-1, 2),
        torch.tensor([[1.0, 0.0]]).expand(len(hits), 2),
        torch.Generator().manual_seed(seed),
        draws=100,
    )
    assert (0 <= whole.low <= whole.value + 1e-6 and whole.value - 1e-6 <= whole.high <= 1 + 1e-6) or len(hits) < 8
    assert (nothing.value, nothing.low, nothing.high) == (0, 0, 1)


# What nodes say and look at.


def test_a_probe_reads_a_variable_where_it_is_and_only_there(made: HandMade, recording: Recording) -> None:
    state = torch.from_numpy(made.algorithm.graph.run(made.algorithm.inputs(PROBLEMS))["A1.ST"].copy())
    there = probes.probe(recording.output(parse("P3L0M")), state, generator())
    assert there.accuracy > 0.95 and there.p_value == 0.01 and max(there.null) < there.accuracy
    assert probes.probe(recording.output(parse("P3L0H1")), state, generator()).p_value > 0.05
    assert probes.principal(recording.output(parse("P3L0M")), state).separation > 0.3
    with pytest.raises(ValueError, match="values: got '1 of 150 problems'; allowed: two or more values"):
        probes.probe(recording.output(parse("P3L0M")), torch.zeros(150, dtype=torch.int64), generator())
    with pytest.raises(ValueError, match="channels that vary"):
        probes.principal(recording.output(parse("P3L0H1")), state)


def test_a_head_that_fetches_a_digit_looks_at_it(recording: Recording) -> None:
    for place in range(DIGITS):
        column = position(f"D'{place}", DIGITS)
        head = parse(f"P{column}L0H0")
        (fact,) = probes.attention(recording, head)
        assert fact.key == position(f"D{place}", DIGITS) and fact.low > 0.95
    carry = probes.attention(recording, parse("P6L1H1"))  # at the highest column that does not pass on
    assert {fact.key for fact in carry} == {3, 4, 5} and all(fact.high > 0.9 for fact in carry)
    with pytest.raises(ValueError, match="head: got 'P6L1M'; allowed: a head"):
        probes.attention(recording, parse("P6L1M"))


def test_a_problem_set_of_the_wrong_size_is_refused(made: HandMade) -> None:
    longer = Problems(operands=np.zeros((3, 2, 4), dtype=np.uint8), subtract=np.zeros(3, dtype=bool))
    with pytest.raises(ValueError, match="model n_ctx: got 10; allowed: 16, for 4 digits"):
        record(made.model, longer)


def test_claims_are_judged_by_their_intervals_and_controls() -> None:
    def share(low: float, high: float) -> Estimate:
        return Estimate(value=(low + high) / 2, low=low, high=high)

    verdicts = [
        judge("x", measured, at_least=0.9, controls=[share(0, 0.3)]).verdict
        for measured in (share(0.9, 1), share(0.8, 0.95), share(0.7, 0.8), share(0.3, 1))
    ]
    assert verdicts == ["holds", "open", "fails", "fails"]
    with pytest.raises(ValueError, match="controls: got 'none'; allowed: one or more"):
        judge("x", share(0, 1), at_least=0.9, controls=[])
