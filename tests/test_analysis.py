"""The analysis of one model finds what was put into a hand-made one and nothing in an untrained one; its commands."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from carryproof.circuits import analysis
from carryproof.circuits.algorithms import addition, decided_at, position
from carryproof.circuits.alignment import groups
from carryproof.circuits.analysis import Settings, examine, search
from carryproof.circuits.handmade import HandMade, addition_by_hand, redundant_addition_by_hand
from carryproof.circuits.stages import Stages
from carryproof.circuits.subjects import Subject, find
from carryproof.circuits.texts import context
from carryproof.cli import main
from carryproof.models import Decoder, DecoderConfig, save

DIGITS = 2
SETTINGS = Settings(problems=100)


@pytest.fixture(scope="module")
def made() -> HandMade:
    return addition_by_hand(DIGITS)


@pytest.fixture(scope="module")
def found(made: HandMade) -> dict[str, Any]:
    return search(subject(made.model), SETTINGS, Stages(None, {}))


def subject(model: Decoder, name: str = "by hand") -> Subject:
    return Subject(name=name, model=model, operations=("add",))


def untrained() -> Decoder:
    sizes = {"d_vocab": 15, "n_ctx": context(DIGITS), "d_model": 8, "n_heads": 2, "n_layers": 2}
    return Decoder.init(DecoderConfig(**sizes, encoding="absolute"), torch.Generator().manual_seed(0))


def test_search_finds_the_key_of_a_hand_made_model(made: HandMade, found: dict[str, Any]) -> None:
    assert set(found["nodes"]) == set(found["circuit"]["nodes"]) == set(made.carries)
    assert found["circuit"]["kept"]["value"] == 1 and found["right"]["add"]["value"] == 1
    for place in range(DIGITS):
        column = next(name for name in found["variables"] if name.startswith(f"A{place}.SA, "))
        operand = f"D'{place}"
        assert found["variables"][column]["nodes"] == [f"P{position(operand, DIGITS)}L0M"]
        read = found["variables"][f"A{place}.SV"]["nodes"]
        assert (
            read
            == [f"P{decided_at(f'A{place + 1}', DIGITS)}L1H1"]
            == [node for node, names in made.carries.items() if f"A{place}.SV" in names]
        )
    head = found["nodes"]["P4L0H0"]
    assert [(fact["key"], fact["mean"]) for fact in head["attention"]] == [(position("D0", DIGITS), 1.0)]
    assert {edge["edge"] for edge in found["edges"]} >= {"P4L0H0 -> P4L0M.in", "P4L0M -> P7L1H1.v"}
    json.dumps(found)


def test_claims_of_a_hand_made_model_hold_and_name_what_they_rest_on(made: HandMade, found: dict[str, Any]) -> None:
    tested = examine(subject(made.model), found, Stages(None, {}))
    assert [claim["verdict"] for claim in tested["claims"]] == ["holds"] * 4
    assert {name for group in tested["groups"] for name in group} == set(tested["alignment"])
    whole = tested["whole"]["add"]
    assert whole["result"]["accuracy"]["value"] == 1 and whole["untrained"]["accuracy"]["value"] == 0
    with pytest.raises(ValueError, match="search: got 'of other'; allowed: one of by hand with the same weights"):
        examine(subject(made.model), found | {"model": found["model"] | {"name": "other"}}, Stages(None, {}))


def test_a_variable_that_was_not_found_is_named_and_fails_the_claim(made: HandMade, found: dict[str, Any]) -> None:
    lost = {"verdict": "nothing", "nodes": []}
    tested = examine(
        subject(made.model),
        found | {"variables": found["variables"] | {"A1.SV": found["variables"]["A1.SV"] | lost}},
        Stages(None, {}),
    )
    assert tested["claims"][0]["verdict"] == "fails" and tested["claims"][0]["reason"] == "nowhere: A1.SV"
    assert tested["claims"][1]["reason"].endswith("; 3 of 4 groups of variables moved")


def test_a_graph_that_is_nowhere_is_not_computed(made: HandMade, found: dict[str, Any]) -> None:
    nowhere = {name: each | {"verdict": "nothing", "nodes": []} for name, each in found["variables"].items()}
    tested = examine(subject(made.model), found | {"variables": nowhere}, Stages(None, {}))
    assert tested["whole"] == {} and tested["claims"][1] == {
        "statement": "computes the addition graph",
        "verdict": "fails",
        "reason": "none of 4 groups of variables is carried anywhere",
    }


def test_redundant_deliveries_are_one_set_a_column() -> None:
    made = redundant_addition_by_hand(DIGITS)
    found = search(subject(made.model), Settings(problems=60, alternative="mean"), Stages(None, {}))
    assert sorted(tuple(each["nodes"]) for each in found["redundant"]) == sorted(made.redundant)


def test_nothing_is_found_in_an_untrained_model() -> None:
    blank = subject(untrained())
    found = search(blank, SETTINGS, Stages(None, {}))
    assert not any(found[name] for name in ("positions", "nodes", "redundant", "edges", "variables"))
    tested = examine(blank, found, Stages(None, {}))
    assert [(claim["verdict"], claim["reason"]) for claim in tested["claims"]] == [
        ("not testable", "it answers nothing right")
    ]


def test_columns_and_cascades_are_the_groups_of_the_algorithm() -> None:
    names = [name for group in groups(addition(3)) for name in group]
    assert len(names) == len(set(names)) and set(names) == {
        f"A{place}.{kind}" for place in range(3) for kind in ("SA", "SC", "SS", "ST", "SV")
    } - {"A0.SS"}


def test_a_search_that_was_killed_goes_on_from_its_stage(made: HandMade, found: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "search.partial.json"

    def stop(stage: str) -> None:
        if stage == "edges":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(subject(made.model), SETTINGS, Stages(path, {}, stop))
    begun: list[str] = []
    again = search(subject(made.model), SETTINGS, Stages(path, {}, begun.append))
    assert begun == ["edges", "gradients"]
    assert {**again, "seconds": None} == {**found, "seconds": None}


# The commands.


@pytest.fixture
def checkpoint(made: HandMade, tmp_path: Path) -> Path:
    save(tmp_path / "made.safetensors", made.model)
    return tmp_path / "made.safetensors"


def test_commands_search_test_and_ablate(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [str(checkpoint), "--operations", "add", "--problems", "60"]
    out = ["--out", str(tmp_path / "found")]
    assert main(["circuits", "search", *asked, *out]) == 0
    assert "11 nodes; a circuit of 11 keeps 100.0%" in capsys.readouterr().out
    monkeypatch.setattr(analysis, "search_nodes", None)  # what is found is not searched for again
    assert main(["circuits", "test", *asked, *out]) == 0
    assert "every variable of the addition graph has a place" in capsys.readouterr().out
    assert main(["circuits", "test", *asked, *out, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "test"
    assert sorted(path.name for path in (tmp_path / "found").iterdir()) == ["search.json", "test.json"]
    assert main(["circuits", "ablate", *asked, "P4L0H0,P3L0H0", "P8L1H1", "--json"]) == 0
    ablations = json.loads(capsys.readouterr().out)["ablations"]
    assert [(each["nodes"], each["impact"]["whole"]["value"] > 0.5) for each in ablations] == [
        (nodes, broken) for nodes, broken in ((["P4L0H0", "P3L0H0"], True), (["P8L1H1"], False)) for _ in range(3)
    ]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "operations: got None; allowed: add, sub or add,sub, for a checkpoint that does not name its row"),
        (["--operations", "add,mul"], "operations: unknown value 'add,mul'"),
        (["--operations", "add", "--problems", "3"], "problems: got 3; allowed: "),
        (["--operations", "add", "--ablation", "noise"], "ablation: unknown value 'noise'"),
        (["--operations", "add", "--graph", "mixed"], "graph: got 'mixed'; allowed: one for add, as made"),
        (["--operations", "add", "--floor", "1.5"], "floor: got 1.5; allowed: a share from 0, below 1"),
    ],
)
def test_bad_input_is_one_line(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    assert main(["circuits", "search", str(checkpoint), "--out", str(tmp_path / "found"), *more]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"carryproof: {message}") and error.count("\n") == 1
    assert not (tmp_path / "found").exists()


def test_models_are_named_by_row_or_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="row: unknown value 'add_d5'"):
        find("add_d5", tmp_path)
    with pytest.raises(ValueError, match=r"model: got 'mix_d6_l3_h4'; allowed: a row that is trained"):
        find("mix_d6_l3_h4", tmp_path)
    sizes = {"d_vocab": 14, "n_ctx": 10, "d_model": 8, "n_heads": 1, "n_layers": 1, "encoding": "absolute"}
    save(tmp_path / "other.safetensors", Decoder(DecoderConfig(**sizes)))
    with pytest.raises(ValueError, match="model d_vocab: got 14; allowed: 15"):
        find(str(tmp_path / "other.safetensors"), tmp_path, ["add"])


def test_a_subject_has_the_algorithm_and_the_behaviours_of_its_operations() -> None:
    both = Subject(name="x", model=untrained(), operations=("add", "sub"))
    assert both.algorithm().graph.name == "complement" and both.algorithm("mixed").graph.name == "mixed"
    assert both.behaviours == ("add", "sub_positive", "sub_negative")
