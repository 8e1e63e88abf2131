"""The files of an analysis: what keeps to its schema is read back as it was, and anything else is refused in a line."""

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from carryproof.circuits import quanta
from carryproof.circuits.analysis import Settings, examine, search
from carryproof.circuits.files import read_file, require_valid, write_file
from carryproof.circuits.handmade import addition_by_hand
from carryproof.circuits.nodes import parse
from carryproof.circuits.quanta import BEHAVIORS, FEATURES, from_search, read_maps, to_search, write_maps
from carryproof.circuits.schemas import SCHEMAS
from carryproof.circuits.stages import Stages
from carryproof.circuits.subjects import Subject
from carryproof.circuits.tags import (
    MAJORS,
    MOST,
    Finding,
    behaviour_tags,
    feature_tags,
    impact_text,
    impact_tokens,
    parse_tags,
    token_names,
)
from carryproof.models.decoder import Decoder


def estimate(value: float) -> dict[str, float]:
    return {"value": value, "low": value / 2, "high": value}


INTERCHANGE = {"pairs": 9, **{name: estimate(1.0) for name in ("accuracy", "moved", "kept", "unmoved")}}
ASSIGNMENT = {
    "variable": "A2.SA",
    "verdict": "carried",
    "reason": "the interval begins at 0.950",
    "nodes": ["P8L0R"],
    "result": INTERCHANGE,
    "random": [INTERCHANGE],
    "untrained": INTERCHANGE,
}
IMPACT = {
    "whole": estimate(0.29),
    "tokens": {"A4": estimate(0.2), "SGN": estimate(0.1)},
    "classes": {"S0": estimate(0.2), "S7": estimate(0.3), "M4": estimate(0.1)},
}
ABOUT = {
    "schema_version": 1,
    "model": {
        "name": "mix_d5_l2_h3",
        "sha256": "0" * 64,
        "digits": 5,
        "operations": ["add", "sub"],
        "layers": 2,
        "heads": 3,
        "parameters": 1234,
    },
    "settings": {"alternative": "resample", "problems": 300, "seed": 0, "floor": 0.0},
}
SEARCH: dict[str, Any] = {
    **ABOUT,
    "kind": "search",
    "right": {"add": estimate(1.0), "sub_positive": estimate(1.0)},
    "positions": {"11": IMPACT},
    "nodes": {
        "P11L0H1": {
            "impact": IMPACT,
            "behaviours": {"add": estimate(0.5)},
            "attention": [
                {"key": 4, "mean": 0.51, "low": 0.5, "high": 0.6},
                {"key": 10, "mean": 0.48, "low": 0.0, "high": 0.6},
                {"key": 1, "mean": 0.001, "low": 0.0, "high": 0.6},
            ],
            "variables": ["A2.SA, A2.ST", "A2.SA", "OPR"],
        },
        "P11L1M": {"impact": IMPACT, "behaviours": {}},
        "P11L1N7": {"impact": IMPACT},
    },
    "redundant": [{"nodes": ["P11L0H1", "P11L0H2"], "impact": 0.9}],
    "edges": [{"edge": "P9L0M -> P13L1H0.v", "impact": 0.31}],
    "variables": {"A2.SA": ASSIGNMENT},
    "circuit": {"nodes": ["P11L0H1"], "kept": estimate(0.95)},
    "attribution": {"correlation": 0.9, "mean_error": 0.01, "worst_error": 0.2},
    "seconds": {"positions": 1.5},
}
LEFT = {"whole": estimate(1.0), "tokens": {"A0": estimate(1.0)}, "classes": {"N1": estimate(1.0)}}
FAITHFUL = {
    "nodes": ["P11L0H1"],
    "kept": LEFT,
    "dropped": LEFT,
    "gaps": [-0.1, 0.2],
    "missed": {"P11L0H1": -0.01},
    "minimal": False,
    "controls": [estimate(0.1)],
}
TEST: dict[str, Any] = {
    **ABOUT,
    "kind": "test",
    "graph": "mixed",
    "alignment": {"A2.SA": ["P8L0R"]},
    "whole": {"add": {"result": INTERCHANGE, "random": [INTERCHANGE], "untrained": INTERCHANGE}},
    "groups": [["A2.SA", "A2.ST"], ["OPR"]],
    "circuits": [{"behaviour": "add", "alternative": "mean", "result": FAITHFUL}],
    "claims": [{"statement": "computes the graph", "verdict": "holds", "reason": "0.98"}],
    "seconds": {"whole": 2},
}


# Schemas.


@pytest.mark.parametrize("kind", sorted(SCHEMAS))
def test_schemas_are_schemas_and_say_what_is_allowed(kind: str) -> None:
    Draft202012Validator.check_schema(SCHEMAS[kind])
    json.dumps(SCHEMAS[kind], allow_nan=False)

    def walk(schema: dict[str, Any]) -> None:
        assert schema["description"]
        for each in [
            *schema.get("properties", {}).values(),
            *(schema[k] for k in ("items", "propertyNames") if k in schema),
        ]:
            walk(each)

    walk(SCHEMAS[kind])


@pytest.mark.parametrize(("kind", "value"), [("search", SEARCH), ("test", TEST)])
def test_files_are_read_as_they_were_written(kind: str, value: dict[str, Any], tmp_path: Path) -> None:
    write_file(tmp_path / "a.json", kind, value)
    assert read_file(tmp_path / "a.json", kind) == value
    without = {name: each for name, each in value.items() if name not in ("schema_version", "kind")}
    write_file(tmp_path / "b.json", kind, without)
    assert read_file(tmp_path / "b.json", kind) == value


REFUSED = [
    (
        ("nodes", "P11L0H1", "impact", "whole", "value"),
        1.2,
        "$.nodes.P11L0H1.impact.whole.value: got 1.2; allowed: a number from 0 to 1",
    ),
    (
        ("nodes", "P11L0H1", "impact", "whole", "value"),
        float("nan"),
        "$.nodes.P11L0H1.impact.whole.value: got nan; allowed: a number from 0 to 1",
    ),
    (
        ("nodes", "P11L0H1", "impact", "whole", "value"),
        True,
        "$.nodes.P11L0H1.impact.whole.value: got True; allowed: a number from 0 to 1",
    ),
    (
        ("nodes", "P011L0H1"),
        {"impact": IMPACT},
        "$.nodes: got 'P011L0H1'; allowed: the name of a node, such as P18L0H1, P18L1M or P18L1N37",
    ),
    (
        ("nodes", "P18L0H1"),
        {"impact": IMPACT},
        "$.nodes.P18L0H1: got 'P18L0H1'; allowed: positions 0 to 17, layers 0 to 1, heads 0 to 2",
    ),
    (
        ("nodes", "P1L2M"),
        {"impact": IMPACT},
        "$.nodes.P1L2M: got 'P1L2M'; allowed: positions 0 to 17, layers 0 to 1, heads 0 to 2",
    ),
    (
        ("circuit", "nodes"),
        ["P1L0H3"],
        "$.circuit.nodes[0]: got 'P1L0H3'; allowed: positions 0 to 17, layers 0 to 1, heads 0 to 2",
    ),
    (
        ("edges",),
        [{"edge": "P9L0M -> P13L5H0.v", "impact": 0.1}],
        "$.edges[0].edge: got 'P13L5H0'; allowed: positions 0 to 17, layers 0 to 1, heads 0 to 2",
    ),
    (
        ("variables", "A2.SA", "verdict"),
        "maybe",
        "$.variables['A2.SA'].verdict: got 'maybe'; allowed: carried, partly, nothing",
    ),
    (
        ("model", "size"),
        3,
        "$.model: got 'size'; allowed: the fields name, sha256, digits, operations, layers, heads, parameters",
    ),
    (("model", "sha256"), None, "$.model.sha256: got None; allowed: 64 hexadecimal digits"),
    (("right",), {}, "$.right: got {}; allowed: an object of add, sub_positive, sub_negative"),
    (("positions", "18"), IMPACT, "$.positions['18']: got 18; allowed: 0 to 17"),
    (("nodes", "P11L0H1", "attention", 0, "key"), 12, "$.nodes.P11L0H1.attention[0].key: got 12; allowed: 0 to 11"),
    (("kind",), "test", "$.kind: got 'test'; allowed: search"),
    (("schema_version",), 2, "$.schema_version: got 2; allowed: 1 to 1, what this version reads"),
]


@pytest.mark.parametrize(("path", "value", "message"), REFUSED, ids=[message[:50] for *_, message in REFUSED])
def test_what_is_not_allowed_is_refused_with_its_path(path: tuple[str | int, ...], value: object, message: str) -> None:
    broken = copy.deepcopy(SEARCH)
    *parents, last = path
    place: Any = broken
    for each in parents:
        place = place[each]
    place[last] = value
    with pytest.raises(ValueError) as raised:
        require_valid("search", broken, "search.json")
    assert str(raised.value) == f"search.json: {message}"


def test_what_is_missing_is_refused_with_its_path() -> None:
    broken = copy.deepcopy(SEARCH)
    del broken["model"]["sha256"]
    with pytest.raises(ValueError) as raised:
        require_valid("search", broken, "search.json")
    assert str(raised.value) == "search.json: $.model.sha256: missing; allowed: 64 hexadecimal digits"
    with pytest.raises(ValueError, match=r"^a.json: \$.schema_version: got None"):
        require_valid("test", {}, "a.json")
    with pytest.raises(ValueError, match="kind: unknown value 'tests'; did you mean 'test'"):
        require_valid("tests", TEST, "a.json")


def test_nothing_is_written_that_could_not_be_read(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a.json: \$.graph: missing; allowed: any text"):
        write_file(tmp_path / "a.json", "test", {name: each for name, each in TEST.items() if name != "graph"})
    assert not list(tmp_path.iterdir())
    (tmp_path / "a.json").write_text(json.dumps(TEST | {"schema_version": 7}))
    with pytest.raises(ValueError, match="schema_version is 7"):
        read_file(tmp_path / "a.json", "test")


def test_what_an_analysis_finds_keeps_to_the_schemas(tmp_path: Path) -> None:
    subject = Subject(name="by hand", model=addition_by_hand(1).model, operations=("add",))
    untrained = replace(subject, model=Decoder.init(subject.model.config, torch.Generator().manual_seed(0)))
    for each in (subject, untrained):
        found = search(each, Settings(problems=40), stages=Stages(None, {}))
        for kind, value in (("search", found), ("test", examine(each, found, stages=Stages(None, {})))):
            write_file(tmp_path / f"{kind}.json", kind, value)
            assert read_file(tmp_path / f"{kind}.json", kind) == {"schema_version": 1, **value}
        write_maps(tmp_path, from_search(found), digits=1)
        assert {str(node) for node in read_maps(tmp_path, digits=1).findings} == set(found["nodes"])


# Tags. The lines are those that the published documents and tests show.

PUBLISHED = [
    line.split()
    for line in (
        "Fail%:6 Impact:A2 Math.Add:S123 Math.Sub:M123 Attn:P4=50 Attn:P11=50 Math.Add:A0.SP.Weak Math.Sub:A2.MP.Weak",
        "Fail%:5 Impact:A7 Math.Sub:M0 Math.Neg:N1234 Attn:P0=100",
        "Fail%:2 Impact:A43210 Math.Sub:M123 Math.Neg:N1 Attn:P1=73 Attn:P6=23 Attn:P4=2 Attn:P2=1",
        "Fail%:50 Impact:A2 Math.Add:S012345 Math.Sub:M0123 Math.Neg:N1234",
        "Algo:A5.SA Algo:A5.MD Algo:A5.ND.A5",
        "Algo:D4.GT",
        "Algo:OPR Algo:SGN",
        "",
    )
]


@pytest.mark.parametrize("tags", PUBLISHED, ids=" ".join)
def test_published_tags_come_back(tags: list[str]) -> None:
    finding, unread = parse_tags(tags, 6)
    assert unread == ()
    assert sorted((*behaviour_tags(finding, 6), *feature_tags(finding))) == sorted(tags)


def test_tags_are_read_as_numbers_and_names() -> None:
    finding, _ = parse_tags(PUBLISHED[2], 6)
    assert finding.failed_percent == 2 and finding.tokens == ("A4", "A3", "A2", "A1", "A0")
    assert finding.classes == ("M1", "M2", "M3", "N1") and (1, 73) in finding.attention
    assert parse_tags(["Impact:A7"], 6)[0].tokens == ("SGN",)
    weak, _ = parse_tags(PUBLISHED[4], 6)
    assert weak.variables == ("A5.SA", "A5.MD") and weak.weak == (("A5.ND", "A5"),)


def test_numbers_are_compared_as_numbers() -> None:
    """ "P1" is in the text "P10=50", and the sign of 13 digits, index 14, is written with the digits of 4 and 1."""
    finding, _ = parse_tags(["Attn:P10=50"], 13)
    assert dict(finding.attention).get(1) is None and dict(finding.attention)[10] == 50
    assert parse_tags(["Impact:A41"], 13) == (Finding(), ("Impact:A41",))
    assert impact_tokens("A3", 8) == ("A3",) and impact_tokens("A1", 13) is None
    assert [str(node) for node in sorted(map(parse, ("P10L0H1", "P1L0H1", "P2L0H1")))] == [
        "P1L0H1",
        "P2L0H1",
        "P10L0H1",
    ]


UNKNOWN = (
    "Fail:3 Fail%:101 Fail%:06 Impact:A8 Impact:(none) Impact:A27 Impact:A22 MathAdd:S1 Math.Add:M1 Math.Add:S6",
    "Math.Sub:NG Math.Sub:M21 Math.Sub:A0.SP Attn:P25=1 Attn:P021=1 Attn:P1 PCA:A0.PA Probe:A1.LINXFER=90 Algo:",
    "Algo:A1.SA. Algo:A1.SA.A2.A3 Posn:A7 Algo",
)


@pytest.mark.parametrize("tag", " ".join(UNKNOWN).split())
def test_what_is_not_understood_is_listed(tag: str) -> None:
    finding, unread = parse_tags([tag, "Algo:A0.SA"], 6)
    assert unread == (tag,) and finding == Finding(variables=("A0.SA",))


def test_what_is_said_twice_is_listed() -> None:
    assert parse_tags(["Fail%:3", "Fail%:4", "Fail%:3"], 6)[1] == ("Fail%:4",)
    assert parse_tags(["Math.Add:S1", "Math.Add:S2", "Math.Sub:M1"], 6)[1] == ("Math.Add:S2",)


@settings(max_examples=60)
@given(st.integers(1, 40), st.sets(st.integers(0, 41), min_size=1, max_size=6))
def test_every_impact_can_be_read_back(digits: int, chosen: set[int]) -> None:
    names = token_names(digits)
    tokens = {names[index % len(names)] for index in chosen}
    written = impact_text(sorted(tokens), digits)
    assert set(impact_tokens(written, digits) or ()) == tokens
    if digits <= 8:  # nine digits and the sign, of one figure each
        assert written[1:].isdigit()


# What findings are made of, as plain data: tests make the findings, because checked types draw at random.
TOKENS = token_names(6)
CLASSES = [f"{letter}{k}" for letter in MAJORS for k in range(MOST[letter] + 1)]
VARIABLES = ["A0.SA", "A6.SV", "A2.MD", "OPR", "SGN", "A3"]
PARTS = st.fixed_dictionaries(
    {
        "failed_percent": st.integers(0, 100),
        "tokens": st.sets(st.sampled_from(TOKENS)),
        "classes": st.sets(st.sampled_from(CLASSES)),
        "attention": st.dictionaries(st.integers(0, 2), st.integers(1, 100)),
        "variables": st.lists(st.sampled_from(VARIABLES), unique=True),
    }
)


def finding_of(parts: dict[str, Any]) -> Finding:
    return Finding(
        failed_percent=parts["failed_percent"],
        tokens=tuple(token for token in TOKENS if token in parts["tokens"]),
        classes=tuple(name for name in CLASSES if name in parts["classes"]),
        attention=tuple(sorted(parts["attention"].items(), key=lambda each: (-each[1], each[0]))),
        variables=tuple(parts["variables"]),
    )


@settings(max_examples=40)
@given(
    PARTS,
    st.lists(st.sampled_from(["A0.SP", "A6.MP.Weak", "A3.NP"]), unique=True),
    st.lists(st.sampled_from([("A5.ND", "A5"), ("OPR", "A7")]), unique=True),
)
def test_findings_survive_their_tags(parts: dict[str, Any], clusters: list[str], weak: list[tuple[str, str]]) -> None:
    finding = replace(finding_of(parts), clusters=tuple(clusters), weak=tuple(weak))
    assert parse_tags((*behaviour_tags(finding, 6), *feature_tags(finding)), 6) == (finding, ())


# Maps.


@settings(max_examples=25)
@given(st.dictionaries(st.sampled_from(["P2L0H1", "P10L0H1", "P10L1M", "P20L2H3"]), PARTS))
def test_findings_survive_a_search_file_and_its_schema(parts: dict[str, dict[str, Any]]) -> None:
    findings = {parse(name): finding_of(each) for name, each in parts.items()}
    nodes = to_search(findings)
    model = ABOUT["model"] | {"digits": 6, "layers": 3, "heads": 4}
    require_valid("search", SEARCH | {"nodes": nodes, "model": model}, "search.json")
    assert from_search({"nodes": nodes}) == findings


def test_a_search_goes_to_published_files_and_back(tmp_path: Path) -> None:
    findings = from_search(SEARCH)
    head = findings[parse("P11L0H1")]
    assert head.failed_percent == 29 and head.tokens == ("SGN", "A4") and head.classes == ("S0", "S5", "M4")
    assert head.attention == ((4, 51), (10, 48)) and head.variables == ("A2.SA", "A2.ST", "OPR")
    write_maps(tmp_path, findings, digits=5)
    behaviours, features = (json.loads((tmp_path / name).read_text()) for name in (BEHAVIORS, FEATURES))
    place = {"position": 11, "layer": 0, "is_head": True, "num": 1}
    tags = ["Fail%:29", "Impact:A64", "Math.Add:S05", "Math.Sub:M4", "Attn:P4=51", "Attn:P10=48"]
    assert behaviours[0] == {**place, "tags": tags}
    assert features[0] == {**place, "tags": ["Algo:A2.SA", "Algo:A2.ST", "Algo:OPR"]} and features[1]["tags"] == []
    maps = read_maps(tmp_path, digits=5)
    assert maps.findings == findings and maps.unread == {}


def test_published_files_come_back_but_for_what_is_listed(tmp_path: Path) -> None:
    entries = [
        {"position": position, "layer": 0, "is_head": True, "num": 0, "tags": tags}
        for position, tags in enumerate(PUBLISHED[:4])
    ]
    entries[3]["tags"] = ["Probe:A1.LINXFER=90", *entries[3]["tags"]]
    (tmp_path / BEHAVIORS).write_text(json.dumps(entries))
    maps = read_maps(tmp_path, digits=6)
    assert maps.unread == {parse("P3L0H0"): ("Probe:A1.LINXFER=90",)}
    write_maps(tmp_path, maps.findings, digits=6)
    entries[3]["tags"] = entries[3]["tags"][1:]
    again = json.loads((tmp_path / BEHAVIORS).read_text())
    assert [entry | {"tags": sorted(entry["tags"])} for entry in again] == [
        entry | {"tags": sorted(entry["tags"])} for entry in entries
    ]


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({}, r"behaviors.json: \$: got {}; allowed: an array"),
        ([{"position": 1}], r"behaviors.json: \$\[0\]\.layer: missing; allowed: an integer of at least 0"),
        (
            [{"position": 21, "layer": 0, "is_head": True, "num": 0, "tags": []}],
            r"\$\[0\]\.position: got 21; allowed: 0 to 20, for 6",
        ),
        (
            [{"position": 1, "layer": 0, "is_head": False, "num": 1, "tags": []}],
            r"\$\[0\]\.num: got 1; allowed: 0, for the one MLP",
        ),
        (
            [{"position": 1, "layer": 0, "is_head": True, "num": 1, "tags": ["a:b:c"]}],
            r"\$\[0\]\.tags\[0\]: got 'a:b:c'; allowed: a tag",
        ),
    ],
)
def test_damaged_maps_are_refused(entries: object, message: str, tmp_path: Path) -> None:
    (tmp_path / BEHAVIORS).write_text(json.dumps(entries))
    with pytest.raises(ValueError, match=message):
        read_maps(tmp_path, digits=6)


def test_what_has_no_published_form_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"folder: got .*; allowed: a folder with behaviors.json or features.json"):
        read_maps(tmp_path, digits=6)
    (tmp_path / FEATURES).write_text("[")
    with pytest.raises(ValueError, match=r"features.json: corrupt or truncated JSON"):
        read_maps(tmp_path, digits=6)
    for finding, node, message in (
        (Finding(), "P1L0N3", "node: got 'P1L0N3'; allowed: a head or MLP"),
        (Finding(tokens=("A9",)), "P1L0M", "token: got 'A9'; allowed: SGN, A6"),
        (Finding(variables=("A1:SA",)), "P1L0M", "variable: got 'A1:SA'; allowed: one or two words"),
        (Finding(variables=("A1.A2",)), "P1L0M", "variable: got 'A1.A2'; allowed: one or two words"),
    ):
        with pytest.raises(ValueError, match=message):
            quanta.write_maps(tmp_path, {parse(node): finding}, digits=6)
