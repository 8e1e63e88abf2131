"""Which nodes serve which behaviour, and what becomes of inserted ones: just what was put in, on models made here."""

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from carryproof.benchmarks.configuration import Recipe
from carryproof.benchmarks.engine import Engine
from carryproof.benchmarks.train import Training
from carryproof.circuits.behaviours import (
    behaviour_table,
    losses,
    resampled_within,
    shares_of_nodes,
    times_drawn,
)
from carryproof.circuits.classes import BEHAVIOURS, balanced, behaviours_of, classify
from carryproof.circuits.files import read_file, write_file
from carryproof.circuits.handmade import addition_by_hand, decoy_addition_by_hand
from carryproof.circuits.insertion import insert
from carryproof.circuits.nodes import every_node, parse
from carryproof.circuits.recording import record
from carryproof.circuits.replacing import means, resampled, zeros
from carryproof.circuits.roles import CRITERIA, ROLES, Changes, load_steps, origin, role_of, roles, same_donors
from carryproof.circuits.texts import Problems, context, prompt_length, write
from carryproof.circuits.training import MODEL, milestone
from carryproof.cli import main
from carryproof.models import checkpoints
from carryproof.models.config import DecoderConfig
from carryproof.models.decoder import Decoder

ALL = ("add", "sub_positive", "sub_negative")
SIZES = {"d_vocab": 15, "n_ctx": context(1), "d_model": 16, "d_head": 8, "d_mlp": 48, "encoding": "absolute"}
SMALL = DecoderConfig(n_layers=1, n_heads=2, **SIZES)
LARGE = DecoderConfig(n_layers=2, n_heads=3, **SIZES)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def every_problem(operations: tuple[str, ...]) -> Problems:
    """All problems of one digit."""
    pairs = np.array(list(product(range(10), repeat=2)), dtype=np.uint8)[:, :, None]
    subtract = [operation == "sub" for operation in operations]
    return Problems(operands=np.concatenate([pairs] * len(subtract)), subtract=np.repeat(subtract, len(pairs)))


def taught(model: Decoder, problems: Problems, steps: int) -> Decoder:
    """The model after some steps on all of the problems at once."""
    texts = torch.from_numpy(write(problems))
    ids = torch.arange(texts.shape[1] - 1)[None, None]
    training = Training([model], Recipe(learning_rate=1e-2, muon_rate=0.02), Engine())
    for _ in range(steps):
        training.step(texts[None, :, :-1], ids, texts[None, :, prompt_length(1) :], 1.0)
    return model


def copy_of(model: Decoder) -> Decoder:
    other = Decoder(model.config)
    other.load_state_dict(model.state_dict())
    return other


@pytest.fixture(scope="module")
def source() -> Decoder:
    return taught(Decoder.init(SMALL, generator()), every_problem(("add",)), 100)


@pytest.fixture(scope="module")
def steps(source: Decoder) -> dict[int, Decoder]:
    model = Decoder.init(LARGE, torch.Generator().manual_seed(1))
    insert(source, model)
    found = {0: copy_of(model)}
    for step in (40, 160):
        found[step] = copy_of(taught(model, every_problem(("add", "sub")), step - max(found)))
    return found


@pytest.fixture(scope="module")
def problems() -> Problems:
    return balanced(("add", "sub"), digits=1, seed=0, count=45)


@pytest.fixture(scope="module")
def changes(source: Decoder, steps: dict[int, Decoder], problems: Problems) -> Changes:
    return roles(source, steps, problems, generator(), alternative=zeros)


# Problem sets.


@settings(max_examples=40)
@given(st.sampled_from([("add",), ("sub",), ("sub", "add")]), st.integers(1, 6), st.integers(1, 30), st.integers(0, 99))
def test_every_behaviour_has_as_many_problems(operations: tuple[str, ...], digits: int, count: int, seed: int) -> None:
    labels = classify(balanced(operations, digits=digits, seed=seed, count=count))
    for letter, behaviour in BEHAVIOURS.items():
        of = labels[np.char.startswith(labels, letter)]
        assert len(of) == (count if behaviour in behaviours_of(operations) else 0)
        _, sizes = np.unique(of, return_counts=True)
        assert not len(of) or sizes.max() - sizes.min() <= 1


def test_operations_are_checked() -> None:
    assert behaviours_of(("sub", "add")) == ALL and behaviours_of(("sub",)) == ALL[1:]
    with pytest.raises(ValueError, match=r"operations: unknown value 'mul'; .*allowed: add, sub"):
        behaviours_of(("mul",))
    with pytest.raises(ValueError, match="operations: got 'none'"):
        balanced((), digits=2, seed=0, count=3)
    with pytest.raises(ValueError, match="count: got 0"):
        balanced(("add",), digits=2, seed=0, count=0)


# Shares.


@settings(max_examples=40)
@given(st.lists(st.tuples(*[st.integers(0, 20)] * 3), min_size=1, max_size=9), st.integers(1, 20))
def test_shares_are_those_of_sets(counts: list[tuple[int, int, int]], least: int) -> None:
    shares = torch.tensor([counts, counts], dtype=torch.float64) / 20
    found = shares_of_nodes(shares, ALL, least / 20)
    serve = [{index for index, of in enumerate(counts) if of[which] >= least} for which in range(3)]
    useful = set.union(*serve)
    expected = dict(zip(ALL, serve, strict=True))
    expected["both_operations"] = serve[0] & (serve[1] | serve[2])
    expected["all_three"] = set.intersection(*serve)
    assert found.useful == len(useful) and {*found.parts} == {*expected}
    for name, nodes in expected.items():
        part = found.parts[name]
        assert part.nodes == len(nodes) and part.share.low <= part.share.value <= part.share.high
        assert part.share.value == (pytest.approx(len(nodes) / len(useful)) if useful else 0.0)


def test_problems_are_drawn_again_within_their_behaviour() -> None:
    member = torch.tensor([[True] * 3 + [False] * 5, [False] * 3 + [True] * 5])
    times = times_drawn(member, generator(), draws=50)
    assert times.shape == (51, 8) and (times[0] == 1).all()
    assert (times[:, :3].sum(dim=1) == 3).all() and (times[:, 3:].sum(dim=1) == 5).all()
    assert len(times.unique(dim=0)) > 20


@pytest.mark.parametrize("make", [addition_by_hand, decoy_addition_by_hand])
def test_what_was_put_in_serves_addition_and_nothing_else_does(make: object) -> None:
    made = make(2)
    recording = record(made.model, balanced(("add",), digits=2, seed=0, count=120))
    for alternative in (zeros(recording), means(recording), resampled(recording, generator())):
        found = behaviour_table(recording, alternative, generator())
        assert set(found.nodes) == {parse(name) for name in made.carries}
        assert found.right == {"add": 1.0} and found.problems == 120
        assert found.shares.parts["add"].share.value == 1.0 and set(found.shares.parts) == {"add"}


def test_nothing_serves_anything_in_an_untrained_model(problems: Problems) -> None:
    recording = record(Decoder.init(LARGE, generator()), problems)
    found = behaviour_table(recording, resampled(recording, generator()), generator())
    assert found.nodes == {} and found.shares.useful == 0 and set(found.right.values()) == {0.0}
    part = found.shares.parts["both_operations"]
    assert (part.nodes, part.share.value, part.share.low, part.share.high) == (0, 0.0, 0.0, 1.0)


def test_donors_may_be_of_the_same_behaviour(problems: Problems) -> None:
    recording = record(Decoder.init(LARGE, generator()), problems)
    written = resampled_within(recording, generator())(parse("P3L0M"))  # at the equals sign, after the whole problem
    labels = np.array([label[0] for label in classify(problems)])
    own = recording.output(parse("P3L0M"))
    for row, letter in zip(written, labels, strict=True):
        assert (own[torch.from_numpy(labels == letter)] == row).all(dim=1).any()
    assert not torch.equal(written, own)


def test_a_table_needs_equal_sets_and_a_bound(problems: Problems) -> None:
    recording = record(Decoder.init(LARGE, generator()), problems.at(slice(0, 80)))
    with pytest.raises(ValueError, match=r"problems: got {'add': 45, 'sub_positive': 35}; allowed: equally many"):
        behaviour_table(recording, zeros(recording), generator())
    for bound in (0.0, 1.1):
        with pytest.raises(ValueError, match=f"at_least: got {bound}; allowed: a share above 0, at most 1"):
            behaviour_table(recording, zeros(recording), generator(), at_least=bound)


# Roles.


def test_exactly_one_criterion_holds_for_what_serves_something() -> None:
    for inserted, before, adds, subs in product((False, True), repeat=4):
        if before and not inserted:
            continue  # what is new was not in the source
        facts = {"served_source": before, "serves_add": adds, "serves_sub": subs}
        met = [
            criterion
            for criterion in CRITERIA
            if criterion.inserted == inserted
            and all(getattr(criterion, name) in (fact, None) for name, fact in facts.items())
        ]
        assert len(met) == (before or adds or subs)
        assert role_of(inserted=inserted, **facts) == (met[0].role if met else None)


@pytest.mark.parametrize(
    ("placement", "name", "expected"),
    [
        ("left", "P3L0H1", "P3L0H1"),
        ("left", "P3L0H2", None),
        ("left", "P3L0M", "P3L0M"),
        ("left", "P3L1M", None),
        ("right", "P3L1H1", "P3L0H0"),
        ("right", "P3L1H0", None),
        ("right", "P3L1M", "P3L0M"),
        ("right", "P3L0H2", None),
    ],
)
def test_origins_are_where_insertion_took_from(placement: str, name: str, expected: str | None) -> None:
    found = origin(SMALL, LARGE, placement, parse(name))
    assert (None if found is None else str(found)) == expected


def test_what_was_just_inserted_is_re_used() -> None:
    """A hand-made source, whose nodes are known, in a larger model that has learnt nothing yet."""
    made = addition_by_hand(2)
    config = made.model.config
    larger = {name: getattr(config, name) + 1 for name in ("n_layers", "n_heads")}
    target = Decoder.init(DecoderConfig(**config.to_dict() | larger), generator())
    insert(made.model, target)
    problems = balanced(("add", "sub"), digits=2, seed=0, count=60)
    found = roles(made.model, {0: target}, problems, generator(), alternative=same_donors(0))
    assert found.right_source == 1.0 and found.right[0]["add"] == 1.0
    inserted = {node: change for node, change in found.nodes.items() if change.role == "re-used"}
    assert set(inserted) == {parse(name) for name in made.carries}
    for change in inserted.values():
        assert change.serves_since == {"add": 0} and change.source == change.end["add"]
    elsewhere = roles(made.model, {0: target}, problems, generator(), alternative=same_donors(0), placement="right")
    assert {str(node) for node, change in elsewhere.nodes.items() if change.role == "new"} == {
        name for name in made.carries if origin(config, target.config, "right", parse(name)) is None
    }


def test_all_is_lost_in_a_model_that_answers_nothing(source: Decoder, problems: Problems) -> None:
    found = roles(source, {5: Decoder.init(LARGE, generator())}, problems, generator(), alternative=means)
    assert {change.role for change in found.nodes.values()} == {"lost"}
    assert found.counts["lost"].nodes == len(found.nodes) > 0
    assert all(change.serves_since == {} for change in found.nodes.values())


def test_the_insertion_starts_as_the_source_was(source: Decoder, changes: Changes, problems: Problems) -> None:
    """Nothing written is the same in both, so at step 0 the same sums are lost without each inserted node."""
    additions = record(source, problems.at(~problems.subtract))
    assert changes.right_source == changes.right[0]["add"] > 0.9
    before = losses(additions, zeros(additions))
    shares = dict(zip(before.nodes, before.lost.float().mean(dim=1).tolist(), strict=True))
    for node, change in changes.nodes.items():
        made_of = origin(SMALL, LARGE, "left", node)
        assert (change.source is None) == (made_of is None)
        lost = 0.0 if made_of is None else shares[made_of] / changes.right_source
        assert change.milestones[0]["add"] == pytest.approx(lost, abs=1e-6)
        assert change.likeness is None or change.likeness[0] == pytest.approx(1.0, abs=1e-4)


def test_roles_say_what_is_measured(changes: Changes, steps: dict[int, Decoder]) -> None:
    assert changes.steps == (0, 40, 160) and min(changes.right[-1].values()) > 0.8
    assert {change.role for change in changes.nodes.values()} >= {"generalised", "new"}
    for change in changes.nodes.values():
        end = {name: estimate.value for name, estimate in change.end.items()}
        assert end == change.milestones[-1]
        assert change.role == role_of(
            inserted=change.source is not None,
            served_source=change.source is not None and change.source.value >= changes.at_least,
            serves_add=end["add"] >= changes.at_least,
            serves_sub=max(end[name] for name in ALL[1:]) >= changes.at_least,
        )
        for name, since in change.serves_since.items():
            served = {
                step: of[name] >= changes.at_least for step, of in zip(changes.steps, change.milestones, strict=True)
            }
            assert all(serves for step, serves in served.items() if step >= since)
            assert since == 0 or not served[max(step for step in served if step < since)]
        assert 0 <= change.support <= 1
    for role, likeness in changes.likeness.items():
        ends = [of.likeness[-1] for of in changes.nodes.values() if of.role == role and of.likeness is not None]
        assert min(ends) == likeness["least"] <= likeness["median"] <= likeness["most"] == max(ends)
    assert "new" not in changes.likeness
    for role in ROLES:
        count = changes.counts[role]
        assert count.nodes == sum(change.role == role for change in changes.nodes.values())
        assert 0 <= count.low <= count.high <= len(every_node(LARGE))


def test_a_transfer_file_keeps_table_and_changes(
    source: Decoder, steps: dict[int, Decoder], problems: Problems, changes: Changes, tmp_path: Path
) -> None:
    def about(name: str, model: Decoder, operations: list[str]) -> dict[str, object]:
        return {
            "name": name,
            "sha256": checkpoints.digest(model.state_dict()),
            "digits": 1,
            "operations": operations,
            "layers": model.config.n_layers,
            "heads": model.config.n_heads,
            "parameters": sum(weight.numel() for weight in model.parameters()),
        }

    recording = record(steps[160], problems)
    table = behaviour_table(recording, resampled(recording, generator()), generator())
    assert set(table.shares.parts) == {*ALL, "both_operations", "all_three"}
    value = {
        "model": about("ins", steps[160], ["add", "sub"]),
        "settings": {"alternative": "resample", "problems": 45, "seed": 0},
        "polysemanticity": table.to_dict(),
        "changes": changes.to_dict(about("add", source, ["add"])),
        "seconds": {"table": 1.0},
    }
    write_file(tmp_path / "transfer.json", "transfer", value)
    assert read_file(tmp_path / "transfer.json", "transfer") == {"schema_version": 1, "kind": "transfer"} | value
    value["control"] = {"model": value["model"], "changes": value["changes"]}
    write_file(tmp_path / "transfer.json", "transfer", value)
    value["changes"]["counts"]["lost"]["nodes"] = -1
    with pytest.raises(
        ValueError, match=r"\$\.changes\.counts\.lost\.nodes: got -1; allowed: an integer of at least 0"
    ):
        write_file(tmp_path / "transfer.json", "transfer", value)


def test_steps_are_read_from_the_folder_of_a_training(steps: dict[int, Decoder], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"model\.safetensors"):
        load_steps(tmp_path)
    checkpoints.save(milestone(tmp_path, 0), steps[0])
    checkpoints.save(milestone(tmp_path, 100), steps[40])
    checkpoints.save(tmp_path / MODEL, steps[160])
    with pytest.raises(ValueError, match="does not say how many steps"):
        load_steps(tmp_path)
    checkpoints.save(tmp_path / MODEL, steps[160], about={"config": {"recipe": {"steps": 160}}})
    found = load_steps(tmp_path)
    assert sorted(found) == [0, 100, 160]
    assert torch.equal(found[100].embed.W_E, steps[40].embed.W_E)


def test_what_has_no_roles_is_refused(source: Decoder, steps: dict[int, Decoder], problems: Problems) -> None:
    with pytest.raises(ValueError, match="steps: got 'none'"):
        roles(source, {}, problems, generator(), alternative=zeros)
    with pytest.raises(ValueError, match="problems: got 'one operation'"):
        roles(source, steps, problems.at(~problems.subtract), generator(), alternative=zeros)
    with pytest.raises(ValueError, match="source n_layers: got 2; allowed: at most 1"):
        roles(steps[0], {0: source}, problems, generator(), alternative=zeros)
    with pytest.raises(ValueError, match="placement: unknown value 'top'"):
        roles(source, steps, problems, generator(), alternative=zeros, placement="top")
    with pytest.raises(ValueError, match="at_least: got 2"):
        roles(source, steps, problems, generator(), alternative=zeros, at_least=2.0)


def test_a_control_that_was_not_measured_is_asked_for_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is kept serves again without one or with the same; another control is not taken for it."""
    config = DecoderConfig(n_layers=2, n_heads=3, **SIZES | {"n_ctx": context(5)})
    for index, name in enumerate(("add_d5_l2_h3_s1", "ins_d5_l2_h3", "mix_d5_l2_h3", "mix_d5_l2_h3_s2")):
        (tmp_path / "runs" / name).mkdir(parents=True)
        model = Decoder.init(config, torch.Generator().manual_seed(index))
        about = {"row": name, "config": {"recipe": {"steps": 100}}}
        checkpoints.save(tmp_path / "runs" / name / MODEL, model, about=about)

    def told(*more: str) -> dict[str, Any]:
        folders = ["--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "found")]
        assert main(["circuits", "transfer", "ins_d5_l2_h3", *folders, "--problems", "30", "--json", *more]) == 0
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    plain = told()
    assert "control" not in plain and plain["changes"]["source"]["name"] == "add_d5_l2_h3_s1"
    first = told("--control", "mix_d5_l2_h3")
    assert first["control"]["model"]["name"] == "mix_d5_l2_h3" and first["changes"] == plain["changes"]
    assert told() == told("--control", "mix_d5_l2_h3") == first
    assert told("--control", "mix_d5_l2_h3_s2")["control"]["model"]["name"] == "mix_d5_l2_h3_s2"
