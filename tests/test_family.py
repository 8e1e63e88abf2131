"""The family as data, the problems that it is trained on, and the classes that it is tested by."""

from collections import Counter
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carryproof.circuits import family
from carryproof.circuits.classes import classify, names, sample
from carryproof.circuits.mixture import KINDS, Mixture, draw
from carryproof.circuits.texts import DIGITS_AT_MOST, Problems

SIZES = st.integers(1, DIGITS_AT_MOST)
SEEDS = st.integers(0, 2**63)


def only(kind: str, subtract: float = 0.0) -> Mixture:
    return Mixture(kinds=((kind, 1.0),), subtract=subtract, short=0.0)


def every_pair(digits: int, *, subtract: bool) -> Problems:
    numbers = np.array(list(product(range(10), repeat=digits)), dtype=np.uint8)
    pairs = np.stack([np.repeat(numbers, len(numbers), axis=0), np.tile(numbers, (len(numbers), 1))], axis=1)
    return Problems(operands=pairs, subtract=np.full(len(pairs), subtract))


def sums(problems: Problems) -> np.ndarray:
    """Column sums, of the complement where the second operand is subtracted."""
    right = np.where(problems.subtract[:, None], 9 - problems.operands[:, 1], problems.operands[:, 1])
    return problems.operands[:, 0].astype(int) + right


def test_the_table_has_forty_six_rows() -> None:
    rows = family.FAMILY
    assert Counter(row.family for row in rows.values()) == {"add": 16, "sub": 7, "mix": 9, "ins": 14}
    assert all(len(row.published) == len(row.operations) for row in rows.values())
    assert {row.name: row.insert_mode for row in rows.values() if (row.insert_mode or 1) > 1} == family.INSERT_MODES
    for row in rows.values():
        assert (row.source is None) == (row.family != "ins")
        family.decoder_config(row, family.recipe_of(row))
        published = family.decoder_config(row, family.published_recipe_of(row))
        assert (published.d_model, published.d_head, published.d_mlp) == (510, 170, 2040)
        if row.source is not None:
            source = rows[row.source]
            assert source.family == "add" and source.digits == row.digits
            assert source.layers <= row.layers and source.heads <= row.heads


def test_rows_come_after_what_they_start_from_and_unknown_ones_are_refused() -> None:
    ordered = [row.name for row in family.with_sources([family.row("ins_d6_l3_h4_s2"), family.row("add_d6_l2_h3")])]
    assert ordered == ["add_d6_l2_h3_s2", "ins_d6_l3_h4_s2", "add_d6_l2_h3_s1"]
    with pytest.raises(ValueError, match=r"^row: unknown value 'add_d5_12_h3'; did you mean 'add_d"):
        family.row("add_d5_12_h3")


@given(st.sampled_from(["add", "sub", "mix"]), SIZES, st.integers(1, 8), st.integers(1, 8), st.integers(1, 5))
def test_names_of_any_shape_say_what_they_are(kind: str, digits: int, layers: int, heads: int, replicate: int) -> None:
    bare = f"{kind}_d{digits}_l{layers}_h{heads}"
    found = family.row(f"{bare}_s{replicate}")
    assert (found.family, found.digits, found.layers, found.heads) == (kind, digits, layers, heads)
    assert found.replicate == replicate and found.source is None
    assert found.mixture.subtract == family.SUBTRACTIONS[kind]
    assert family.row(found.name) == found and family.row(bare) == family.row(f"{bare}_s1")
    assert bool(found.published) == (found.name in family.FAMILY)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("add_d0_l2_h3", r"^row digits: got 0; allowed: an integer of at least 1$"),
        ("add_d41_l2_h3", r"^row digits: got 41; allowed: 1 to 40$"),
        ("sub_d5_l9_h3", r"^row layers: got 9; allowed: an integer from 1 to 8$"),
        ("mix_d5_l2_h0", r"^row heads: got 0; allowed: an integer from 1 to 8$"),
        ("add_d5_l2_h3_s0", r"^row replicate: got 0; allowed: an integer of at least 1$"),
        ("ins_d4_l2_h3", r"^row: unknown value 'ins_d4_l2_h3'; did you mean 'ins_d"),
    ],
)
def test_shapes_that_there_cannot_be_are_refused_in_one_line(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        family.row(name)


@given(SIZES, SEEDS, st.integers(0, 2**40), st.integers(0, 20), st.floats(0, 1))
def test_items_of_a_stream_depend_on_seed_and_number_alone(
    digits: int, seed: int, first: int, count: int, subtract: float
) -> None:
    mixture = Mixture(subtract=subtract)
    whole = draw(mixture, digits=digits, seed=seed, first=first, count=20)
    part = draw(mixture, digits=digits, seed=seed, first=first + 20 - count, count=count)
    assert (part.operands == whole.operands[20 - count :]).all() and (
        part.subtract == whole.subtract[20 - count :]
    ).all()
    assert whole.operands.shape == (20, 2, digits) and whole.operands.max() <= 9


@given(SIZES, SEEDS, st.sampled_from(sorted(KINDS)), st.sampled_from([0.0, 1.0]))
def test_kinds_plant_what_they_say(digits: int, seed: int, kind: str, subtract: float) -> None:
    columns = sums(draw(only(kind, subtract), digits=digits, seed=seed, first=0, count=50))
    deciding = columns != 9
    if kind == "near":
        assert deciding.sum(axis=1).max() <= 2
    if kind == "border":
        top = np.where(deciding, np.arange(digits), -1).max(axis=1)
        assert set(columns[np.arange(50), top].tolist()) <= {8, 10}
    if kind == "cascade":
        assert deciding.any(axis=1).all()
    assert columns.min() >= 0 and columns.max() <= 18


def test_cascades_start_anywhere_have_any_length_and_go_both_ways() -> None:
    columns = sums(draw(only("cascade"), digits=4, seed=1, first=0, count=40_000))
    for start in range(4):
        for end in range(start, 4):
            passes = (columns[:, start + 1 : end + 1] == 9).all(axis=1)
            for decides in (columns[:, start] > 9, columns[:, start] < 9):
                assert (passes & decides).mean() > 0.9 / 4 / (4 - start) / 2


def test_shares_are_those_of_the_configuration() -> None:
    mixture = Mixture(kinds=(("uniform", 0.5), ("near", 0.5)), subtract=0.25, short=0.5)
    problems = draw(mixture, digits=20, seed=2, first=0, count=20_000)
    assert abs(problems.subtract.mean() - 0.25) < 0.01
    kept = replace(mixture, short=0.0)
    assert abs(((sums(draw(kept, digits=20, seed=2, first=0, count=20_000)) != 9).sum(axis=1) <= 2).mean() - 0.5) < 0.01
    lengths = np.where(problems.operands > 0, np.arange(1, 21), 0).max(axis=2)
    assert abs((lengths < 15).any(axis=1).mean() - 0.5 * (1 - (6 / 21) ** 2)) < 0.02


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kinds": (("unifrom", 1.0),)}, "kinds: unknown value 'unifrom'; did you mean 'uniform'"),
        ({"kinds": (("uniform", 0.5),)}, "kinds: got .* allowed: shares that add up to 1"),
        ({"kinds": (("uniform", 1.5), ("near", -0.5))}, "share of uniform: got 1.5"),
        ({"subtract": 2.0}, "share of subtract: got 2.0"),
    ],
)
def test_mixtures_are_refused_in_one_line(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Mixture(**change)
    with pytest.raises(ValueError, match=r"^digits: got 41; allowed: 1 to 40$"):
        draw(Mixture(), digits=41, seed=0, first=0, count=1)


@pytest.mark.parametrize("subtract", [False, True])
def test_classes_are_those_of_the_definition_on_all_problems_of_three_digits(subtract: bool) -> None:
    problems = every_pair(3, subtract=subtract)
    left, right = (problems.operands[:, index].astype(int) for index in (0, 1))
    values = [number @ np.array([1, 10, 100]) for number in (left, right)]
    below = (values[0] < values[1])[:, None]
    smaller, larger = np.where(below, left, right), np.where(below, right, left)
    starts, passes = (smaller > larger, smaller == larger) if subtract else (left + right > 9, left + right == 9)
    longest = np.zeros(len(left), dtype=int)
    for length in (1, 2, 3):
        for start in range(4 - length):
            runs = starts[:, start] & passes[:, start + 1 : start + length].all(axis=1)
            longest[runs] = length
    letter = np.where(below[:, 0], "N", "M") if subtract else np.full(len(left), "S")
    found = classify(problems)
    assert (found == np.char.add(letter, longest.astype(str))).all()
    assert set(np.unique(found).tolist()) == set(names("sub" if subtract else "add", 3))


@pytest.mark.parametrize("subtract", [False, True])
def test_samples_are_uniform_in_their_class(subtract: bool) -> None:
    every = every_pair(2, subtract=subtract)
    labels, place = classify(every), np.array([1, 10, 100, 1000])
    for name in names("sub" if subtract else "add", 2):
        members = np.sort(every.operands[labels == name].reshape(-1, 4) @ place)
        problems = sample(name, digits=2, seed=5, first=0, count=40 * len(members))
        found, counts = np.unique(problems.operands.reshape(-1, 4) @ place, return_counts=True)
        assert (found == members).all() and counts.min() > 10 and counts.max() < 90
        assert abs(((counts - 40) ** 2 / 40).mean() - 1) < 0.25  # chi-square a degree of freedom


@given(SIZES, SEEDS, st.data())
def test_samples_are_of_their_class_and_depend_on_seed_and_number_alone(
    digits: int, seed: int, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from([*names("add", digits), *names("sub", digits)]))
    whole = sample(name, digits=digits, seed=seed, first=3, count=9)
    assert set(classify(whole).tolist()) == {name}
    assert (sample(name, digits=digits, seed=seed, first=7, count=5).operands == whole.operands[4:]).all()


def test_classes_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^class: unknown value 'M3'"):
        sample("M3", digits=3, seed=0, first=0, count=1)
    with pytest.raises(ValueError, match=r"^operation: unknown value 'mul'"):
        names("mul", 3)
