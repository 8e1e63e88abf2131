"""Maps, tables and figures of what a search found: every useful node once, in its place, by its meaning."""

import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from circuit_files import by_hand, curve, files
from hypothesis import given, settings
from hypothesis import strategies as st

from carryproof.circuits.algorithms import decided_at, position
from carryproof.circuits.circuit_figure import arrows, draw_circuit
from carryproof.circuits.cloud_figure import draw_clouds
from carryproof.circuits.clouds import marked_cloud, tri_states
from carryproof.circuits.comparison import common_places, overlay, statements
from carryproof.circuits.comparison_figure import draw_matrix, draw_overlay, matrix
from carryproof.circuits.curve_figure import draw_curves
from carryproof.circuits.handmade import addition_by_hand
from carryproof.circuits.heat_figure import draw_heat, token_impacts
from carryproof.circuits.map_figure import draw_map
from carryproof.circuits.maps import ASPECTS, quanta_map, row_of, useful_nodes
from carryproof.circuits.mixture import Mixture, draw
from carryproof.circuits.nodes import HEAD, parse
from carryproof.circuits.positions import position_table
from carryproof.circuits.recording import record
from carryproof.circuits.sites import decided, read, relative, site
from carryproof.circuits.texts import context
from carryproof.models.config import DecoderConfig
from carryproof.models.decoder import Decoder

Search = dict[str, Any]


@pytest.fixture(scope="module")
def found() -> tuple[Search, Search]:
    return by_hand()


@pytest.fixture(scope="module")
def nothing() -> Search:
    """The search of a model that was never trained."""
    config = DecoderConfig(d_vocab=15, n_ctx=10, d_model=8, n_heads=2, n_layers=2, encoding="absolute")
    model = Decoder.init(config, torch.Generator().manual_seed(0))
    return files(model, ("add",), "untrained")[0]


def share(value: float = 0.5) -> dict[str, float]:
    return {"value": value, "low": value / 2, "high": (1 + value) / 2}


@st.composite
def searches(draws: st.DrawFn) -> Search:
    """Any search: nodes anywhere, with or without what is known of them."""
    digits, layers, heads = (draws(st.integers(1, most)) for most in (7, 3, 4))
    kinds = st.sampled_from(["M", *(f"H{head}" for head in range(heads)), "N7"])
    places = st.tuples(st.integers(0, context(digits) - 2), st.integers(0, layers - 1), kinds)
    shares = st.floats(0, 1).map(share)
    classes = st.dictionaries(st.sampled_from(["S0", "S1", "M0", "N1", "S12"]), shares, max_size=3)
    nodes: Search = {}
    for at, layer, kind in draws(st.sets(places, max_size=12)):
        entry: Search = {"impact": {"whole": draws(shares), "tokens": {}, "classes": draws(classes)}}
        if draws(st.booleans()):
            names = st.sampled_from(["A0.SA", "A0.ST", "A0.SV", "A0.SC", "OPR", "A0"])
            entry["variables"] = draws(st.lists(names, unique=True))
            entry["behaviours"] = {name: draws(shares) for name in ("add", "sub_positive", "sub_negative")}
            if kind.startswith(HEAD):
                entry["attention"] = [{"key": 0, **dict.fromkeys(("mean", "low", "high"), 0.5)}]
        nodes[f"P{at}L{layer}{kind}"] = entry
    model = {"name": "any", "sha256": "0" * 64, "digits": digits, "layers": layers, "heads": heads}
    return {"model": model, "settings": {"floor": 0.01}, "nodes": nodes, "positions": {}, "variables": {}}


# What positions mean.


@pytest.mark.parametrize("digits", range(1, 9))
def test_every_position_has_its_meaning(digits: int) -> None:
    tokens, outputs = read(digits), decided(digits)
    for place in range(digits):
        assert tokens[position(f"D{place}", digits)] == f"D{place}"
        assert tokens[position(f"D'{place}", digits)] == f"D'{place}"
        assert outputs[decided_at(f"A{place}", digits)] == f"A{place}"
    assert [tokens[position(name, digits)] for name in ("OP", "SGN")] == ["op", "sign"]
    assert len(set(tokens)) == len(tokens) == context(digits)
    assert sorted(outputs) == list(range(2 * digits + 1, 3 * digits + 3))


@pytest.mark.parametrize("digits", range(1, 9))
def test_a_place_is_the_same_in_texts_of_all_sizes(digits: int) -> None:
    for place in range(digits):
        assert relative(site(digits, position(f"D'{place}", digits)), place) == "D'k"
        assert relative(site(digits, decided_at(f"A{place + 1}", digits)), place) == "Ak+1 is decided"


def test_positions_outside_the_text_are_refused(found: tuple[Search, Search]) -> None:
    with pytest.raises(ValueError, match="position: got 10; allowed: an integer from 0 to 9"):
        site(2, 10)
    search = found[0] | {"nodes": {"P9L0H0": {}}}
    with pytest.raises(ValueError, match="node: got 'P9L0H0'; allowed: positions 0 to 8"):
        quanta_map(search, "impact")


# Maps.


@given(searches(), st.sampled_from(sorted(ASPECTS)))
def test_a_map_has_useful_nodes_only_and_each_once(search: Search, by: str) -> None:
    quanta, useful = quanta_map(search, by), useful_nodes(search)
    places = [(cell.row, cell.position) for cell in quanta.cells]
    assert len(set(places)) == len(places)
    assert set(places) <= {(row_of(node), node.position) for node in useful}
    assert [column.position for column in quanta.columns] == sorted({at for _, at in places})
    assert set(quanta.rows) == {row for row, _ in places} and len(set(quanta.rows)) == len(quanta.rows)
    if by in ("impact", "variables", "behaviour"):
        assert len(places) == len(useful)
    for cell in quanta.cells:
        assert 1 <= len(cell.lines) <= 3 and all(cell.lines)
        assert cell.tone in quanta.categories if quanta.categories else 0 <= float(cell.tone) <= 1


def test_the_map_of_variables_is_the_key_of_a_hand_made_model(found: tuple[Search, Search]) -> None:
    cells = {(cell.row, cell.position): cell.lines for cell in quanta_map(found[0], "variables").cells}
    made = addition_by_hand(2)
    assert set(cells) == {(row_of(node), node.position) for node in map(parse, made.carries)}
    assert cells["L0 MLP", position("D'1", 2)] == ("A1", "SA SC", "SS ST")
    assert cells["L1 H0", decided_at("A1", 2)] == ("A1.SA",)
    assert "A0.SV" in cells["L1 H1", decided_at("A1", 2)]


def test_attention_of_a_hand_made_model(found: tuple[Search, Search]) -> None:
    cells = {(cell.row, cell.position): cell.lines for cell in quanta_map(found[0], "attention").cells}
    assert cells["L0 H0", position("D'1", 2)] == ("D1",)
    assert cells["L1 H0", decided_at("A0", 2)] == ("D'0",)
    assert not any("MLP" in row for row, _ in cells)


def test_streams_are_in_the_map_of_variables_and_in_no_other() -> None:
    variables = {"A1.SA, A1.SC, A1.SS, A1.ST": {"verdict": "carried", "nodes": ["P3L0R"]}}
    model = {"name": "a", "digits": 2, "layers": 1, "heads": 1}
    search: Search = {"model": model, "settings": {}, "nodes": {}, "positions": {}, "variables": variables}
    (cell,) = quanta_map(search, "variables").cells
    assert (cell.row, cell.lines, cell.tone) == ("L0 stream", ("A1", "SA SC", "SS ST"), "several kinds")
    assert not quanta_map(search, "impact").cells


def test_an_unknown_aspect_is_refused(found: tuple[Search, Search]) -> None:
    with pytest.raises(ValueError, match="by: unknown value 'impacts'; did you mean 'impact'"):
        quanta_map(found[0], "impacts")


# Tables.


def test_positions_of_a_hand_made_model(found: tuple[Search, Search]) -> None:
    lines = position_table(found[0])
    assert [(line.read, line.decides) for line in lines] == [
        ("D'1", ""),
        ("D'0", ""),
        ("sign", "A2"),
        ("A2", "A1"),
        ("A1", "A0"),
    ]
    assert sum(len(line.nodes) for line in lines) == len(found[0]["nodes"])
    assert "A0.SV" in lines[3].variables


def test_nodes_of_a_column_break_its_own_digit(found: tuple[Search, Search]) -> None:
    table = token_impacts(found[0])
    assert list(table.columns) == ["sign", "A2", "A1", "A0"]
    assert table.loc["A1 L1 H0", "A0"] > 0.5 and table.loc["A1 L1 H0", ["sign", "A2", "A1"]].sum() == 0


def test_arrows_join_the_inputs_of_a_pair(found: tuple[Search, Search]) -> None:
    found_arrows = arrows(found[0])
    pairs = Counter((arrow.sender, arrow.receiver) for arrow in found_arrows)
    assert pairs and set(pairs.values()) == {1}
    impacts = [arrow.impact for arrow in found_arrows]
    assert impacts == sorted(impacts, reverse=True)


def test_clouds_tell_the_states_of_a_hand_made_model_apart() -> None:
    made = addition_by_hand(3)
    problems = draw(Mixture(), digits=3, seed=0, first=0, count=200)
    clouds = tri_states(made.model, made.algorithm, problems, map(parse, made.carries))
    assert [(each.variable, str(each.node)) for each in clouds] == [("A1.ST", "P5L0M"), ("A2.ST", "P4L0M")]
    assert all(each.apart > 0.99 and len(each.values) == 200 for each in clouds)
    with pytest.raises(ValueError, match=r"variable: unknown value 'A1\.TT'"):
        marked_cloud(record(made.model, problems), made.algorithm, parse("P5L0M"), "A1.TT")


# Figures.


def test_figures_are_written_in_every_format(found: tuple[Search, Search], tmp_path: Path) -> None:
    made = addition_by_hand(2)
    problems = draw(Mixture(), digits=2, seed=0, first=0, count=100)
    clouds = tri_states(made.model, made.algorithm, problems, map(parse, made.carries))
    drawn = [
        draw_map(found[0], "variables", tmp_path),
        draw_circuit(found[0], tmp_path),
        draw_heat(found[0], tmp_path),
        draw_clouds(clouds, tmp_path),
        draw_curves(curve(2), 2, tmp_path),
        draw_matrix([found[0]], tmp_path),
        draw_overlay([found[0]], tmp_path),
    ]
    assert {path.name for path in tmp_path.iterdir()} == {
        f"{each.name}.{ending}" for each in drawn if each is not None for ending in ("png", "svg", "pdf")
    }
    assert len(drawn) == 7 and None not in drawn
    for path in tmp_path.glob("*.svg"):
        ElementTree.parse(path)


def test_equal_findings_give_equal_bytes(found: tuple[Search, Search], tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
        draw_circuit(found[0], folder)
    for path in folders[0].iterdir():
        assert path.read_bytes() == (folders[1] / path.name).read_bytes(), path.name


def test_nothing_to_show_gives_no_figure(nothing: Search, tmp_path: Path) -> None:
    assert not nothing["nodes"]
    assert all(draw_map(nothing, by, tmp_path) is None for by in ASPECTS)
    assert draw_circuit(nothing, tmp_path) is draw_heat(nothing, tmp_path) is draw_clouds((), tmp_path) is None
    assert draw_overlay([nothing], tmp_path) is None
    old = {"loss": [{"step": 1, "loss": 1.0, "in_range": 0.0}]}  # a record without the loss by token
    assert draw_curves(old, 2, tmp_path) is None
    assert not list(tmp_path.iterdir())


def test_a_curve_of_another_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="curve: got 'losses of 5 tokens'; allowed: 4, as 2 digits have"):
        draw_curves(curve(3), 2, tmp_path)


# Comparison.


def carried(name: str, digits: int, layers: int, nodes: Mapping[str, list[str]]) -> Search:
    """A search that found variables at some nodes."""
    model = {"name": name, "sha256": name, "digits": digits, "layers": layers, "heads": 2}
    result = {"accuracy": share(1.0)}
    variables = {
        each: {"verdict": "carried" if at else "nothing", "nodes": at, "result": result} for each, at in nodes.items()
    }
    return {"model": model, "settings": {}, "nodes": {}, "positions": {}, "variables": variables}


def test_places_agree_over_digits_layers_and_heads() -> None:
    small = carried("a", 2, 2, {"A0.SV": ["P7L1H1"], "A1.SV": ["P6L1H0"], "A0.SA": ["P4L0M"]})
    large = carried("b", 3, 3, {"A0.SV": ["P10L2H0"], "A1.SV": [], "A2.SV": ["P8L2H1"], "OPR": ["P7L0M"]})
    carries, *others = common_places([small, large])
    assert str(carries) == ("Ak.SV by a head of the last layer where Ak+1 is decided: in 2 of 2 models, 4 of 5 columns")
    assert [str(each) for each in others] == [
        "Ak.SA by the MLP of the first layer at D'k: in 1 of 1 models, 1 of 1 columns",
        "OPR by the MLP of the first layer where the sign is decided: in 1 of 1 models, 1 of 1 columns",
    ]


@given(st.integers(1, 5))
def test_a_model_beside_itself_shares_everything(copies: int) -> None:
    search = carried("a", 3, 2, {"A0.SV": ["P10L1H1"], "A1.SA, A1.SC": ["P5L0R"], "A2.SA": []})
    for place in common_places([search] * copies):
        assert place.models == place.of_models == copies
    assert [each.variables for each in common_places([search])] == [("Ak.SC",), ("Ak.SV",), ("Ak.SA",)]


def test_what_is_carried_partly_counts_apart() -> None:
    search = carried("a", 2, 1, {"A0.SV": ["P7L0H1"], "A1.SV": ["P6L0H1"]})
    search["variables"]["A1.SV"]["verdict"] = "partly"
    (place,) = common_places([search])
    assert (place.models, place.columns, place.of_columns, place.partly) == (1, 1, 2, 1)


@settings(max_examples=25)
@given(st.lists(searches(), min_size=1, max_size=3))
def test_an_overlay_has_shares(some: list[Search]) -> None:
    found = overlay(some)
    assert set(found.shares) <= {(row, at) for row in found.rows for at in found.sites}
    assert all(0 < value <= 1 + 1e-9 for value in found.shares.values())
    assert bool(found.rows) == any(useful_nodes(search) for search in some)


def test_the_matrix_has_every_variable_of_every_model(found: tuple[Search, Search]) -> None:
    cells = matrix([found[0], carried("b", 3, 2, {"A2.SA, A2.SC": ["P4L0R"], "SGN": []})])
    assert len(cells) == len(found[0]["variables"]) + 2
    assert cells[cells["model"] == "b"]["panel"].tolist() == ["whole column", "the problem"]


def test_claims_are_joined_whatever_the_size_of_the_circuit() -> None:
    tests = [
        {
            "model": {"name": name},
            "claims": [{"statement": f"{size} nodes do add", "verdict": verdict, "reason": ""}],
        }
        for name, size, verdict in (("a", 20, "holds"), ("b", 31, "holds"), ("c", 40, "fails"))
    ]
    (joined,) = statements(tests)
    assert joined.statement == "the circuit does add"
    assert joined.verdicts == {"holds": ("a", "b"), "fails": ("c",)}
