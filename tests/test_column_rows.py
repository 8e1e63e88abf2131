"""Rows of column values: they multiply, four tokens decide the next one, and every view of every length is listed."""

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from carryproof.benchmarks.certify import certify, listed, margins
from carryproof.benchmarks.configuration import Recipe
from carryproof.benchmarks.draws import draw_digits
from carryproof.benchmarks.scripted import ScriptRun, shown_views, train_script
from carryproof.models import load
from carryproof.models.windowed import generate
from carryproof.theory import tasks
from carryproof.theory.cases import process_of
from carryproof.theory.column_rows import WINDOW, column_rows, product_digits
from carryproof.theory.coverage import windows_of_views
from carryproof.theory.digits import Digits
from carryproof.theory.enumeration import counterexample, enumerated
from carryproof.theory.processes import Process
from carryproof.theory.scripts import script_of
from carryproof.theory.windows import dependency_window

SMALL = Recipe(n_layers=1, n_heads=4, d_model=32, d_mlp=32, steps=300, batch=128, learning_rate=1e-2, warmup_steps=20)
BINARY = ScriptRun(subject={"name": "column-rows", "base": 2}, lengths=(1, 2), recipe=SMALL, seed=0)


def numbers(digits: np.ndarray, base: int) -> list[int]:
    return [sum(int(digit) * base**place for place, digit in enumerate(each)) for each in digits]


def check_products(base: int, operands: list[Digits]) -> None:
    size = operands[0].shape[1]
    tokens = np.stack([values for _, values in column_rows(base).write(operands)], axis=1)
    rows = tokens.reshape(len(tokens), size, 2 * size)
    assert (rows < base * (operands[1][:, :, None].astype(int) + 1)).all() and (rows >= 0).all()
    assert (rows[:, :, -1] < base).all()  # nothing is carried into the next row
    left, right = (numbers(each, base) for each in operands)
    product = [a * b for a, b in zip(left, right, strict=True)]
    assert numbers(product_digits(tokens, size, base), base) == product
    plain = operands[1][:, -1] == 0  # then the last row is the product as it stands
    assert (rows[plain, -1] == product_digits(tokens, size, base)[plain]).all()


@pytest.mark.parametrize(("base", "size"), [(2, 5), (3, 3), (4, 2), (10, 2)])
def test_rows_multiply_all_numbers_of_few_digits(base: int, size: int) -> None:
    for places in range(1, size + 1):
        check_products(base, enumerated(column_rows(base), places))


@given(st.integers(2, 36), st.integers(1, 9), st.integers(0, 2**32))
def test_rows_multiply(base: int, size: int, seed: int) -> None:
    check_products(base, draw_digits(column_rows(base), size, 5, np.random.default_rng(seed)))


def test_the_largest_values_of_a_row_are_reached() -> None:
    nines = np.full((1, 4), 9, dtype=np.uint8)
    values = [int(each[0]) for _, each in column_rows(10).write([nines, nines])]
    assert max(values) == 99 and values[:8] == [81, 89, 89, 89, 8, 0, 0, 0]


def test_four_tokens_decide_the_next_one_and_none_can_go() -> None:
    found = dependency_window(column_rows(10))
    assert (found.status, found.position_independent) == ("proved", True)
    assert set(found.texts) == {"c[t-2n]", "a[i-j]", "b[j]", "c[t-1]"}
    for base, size in ((2, 4), (3, 3)):
        assert counterexample(column_rows(base), WINDOW, size) is None
        for slot in WINDOW:
            assert counterexample(column_rows(base), [each for each in WINDOW if each != slot], size) is not None


def shown(process: Process, sizes: range) -> set[tuple[int, ...]]:
    script = script_of(process)
    return {
        view for size in sizes for view in map(tuple, script.views(enumerated(process, size)).reshape(-1, 6).tolist())
    }


def all_listed(process: Process) -> set[tuple[int, ...]]:
    return set(map(tuple, listed(script_of(process), windows_of_views(process)).tolist()))


def test_what_is_listed_is_what_problems_show() -> None:
    assert shown(column_rows(2), range(1, 6)) < all_listed(column_rows(2)) == shown(column_rows(2), range(1, 7))
    three, four = column_rows(3), column_rows(4)
    assert len(all_listed(three)) == 590 and shown(three, range(1, 5)) < all_listed(three)
    assert shown(four, range(1, 4)) < all_listed(four)


@cache
def packed_list(base: int) -> np.ndarray:
    return packed(listed(script_of(column_rows(base)), windows_of_views(column_rows(base))))


@settings(max_examples=20)
@given(st.sampled_from([3, 4, 5]), st.integers(1, 12), st.integers(0, 2**32))
def test_no_problem_shows_more_than_is_listed(base: int, size: int, seed: int) -> None:
    process = column_rows(base)
    views = script_of(process).views(draw_digits(process, size, 50, np.random.default_rng(seed))).reshape(-1, 6)
    assert np.isin(packed(views), packed_list(base)).all()


def test_no_decimal_problem_shows_more_than_is_listed() -> None:
    process, generator = column_rows(10), np.random.default_rng(0)
    operands = draw_digits(process, 9, 300, generator)
    operands[0][:100], operands[1][50:150] = 9, generator.integers(8, 10, (100, 9))  # where values are largest
    views = script_of(process).views(operands).reshape(-1, 6)
    assert views[:, 1].max() == 99 and np.isin(packed(views), packed_list(10)).all()


def packed(views: np.ndarray) -> np.ndarray:
    return (views + 2) @ (200 ** np.arange(6))


def test_larger_bases_are_not_listed() -> None:
    with pytest.raises(ValueError, match=r"^base: got 13; allowed: at most 12"):
        script_of(column_rows(13))


def test_a_text_as_it_is_written() -> None:
    script = script_of(column_rows(10))
    operands = [np.array([[9, 1]], dtype=np.uint8), np.array([[7, 0]], dtype=np.uint8)]
    assert script.text(script.write(operands)[0]) == "9 1 + 7 0 = 63 13 1 0 3 3 1 0 ;"
    assert script.derivation.encoding == "window:0+0,1+0,2+0"
    # the second row's first value: 63 above it, no digit of a, b_1, and the 0 before
    assert script.views(operands)[0, 4].tolist() == [0, 63, -1, 0, 0, 3]


def test_a_broken_model_is_refuted_by_a_product() -> None:
    broken = load("multiplication-base2")
    with torch.no_grad():
        broken.unembed.b_U[1] += 40.0
    found = certify(broken)
    assert not found.holds and found.to_dict()["verdict"] == "refuted"
    failure = found.failures[0]
    assert failure.expected != failure.written and "1" in failure.written and "->" in failure.window


def test_training_on_rows_shows_those_of_its_problems_and_no_others() -> None:
    run = replace(BINARY, problems=500)  # among which are all 4 + 16
    rows = shown_views(run)
    assert set(map(tuple, rows.tolist())) == shown(column_rows(2), range(1, 3))
    model, _ = train_script(run)
    every = listed(run.script(), windows_of_views(column_rows(2)))
    seen = np.isin(packed(every), packed(rows))
    found, _ = margins(model, run.script(), np.flatnonzero(seen))
    assert seen.sum() == len(rows) == 34 and found.min() > 0


def test_runs_on_whole_problems_keep_their_names() -> None:
    assert "problems" not in BINARY.to_dict()
    assert len({replace(BINARY, problems=count).run_id for count in (0, 500, 501)}) == 3
    with pytest.raises(ValueError, match="problems: got -1"):
        replace(BINARY, problems=-1)
    many = replace(BINARY, subject={"name": "horner", "base": 2, "operands": 8, "modulus": 97}, problems=9)
    with pytest.raises(ValueError, match="whose views do not fit 62 bits"):
        shown_views(many)


@pytest.mark.parametrize("digits", [(20, 15), pytest.param((100, 100), marks=pytest.mark.slow)])
def test_long_products_are_written_by_the_collection(digits: tuple[int, int]) -> None:
    script, model = script_of(column_rows(10)), load("multiplication-base10")
    size, generator = max(digits) + 1, np.random.default_rng(sum(digits))
    operands = [np.zeros((1, size), dtype=np.uint8) for _ in digits]
    for each, length in zip(operands, digits, strict=True):
        each[0, :length] = generator.integers(0, 10, length)
    start = script.prompt_length(size)
    prompt = torch.from_numpy(script.write(operands)[0, :start])
    keys = torch.from_numpy(script.keys(size))
    written = generate(model, prompt, keys, script.derivation.slot_classes, end=script.end).numpy()
    assert len(written) == 2 * size**2 + 1 and written[-1] == script.end
    last = written[-1 - 2 * size : -1]
    assert last.max() < 10 and numbers(last[None], 10) == [math.prod(numbers(each, 10)[0] for each in operands)]


# Residues modulo p that divides a power of the base.


@pytest.mark.parametrize("make", [tasks.modular_addition, tasks.modular_subtraction, tasks.modular_multiplication])
@pytest.mark.parametrize("order", ["least-first", "most-first"])
def test_longer_problems_show_no_view_of_residues_that_is_not_listed(make, order) -> None:
    process = process_of(make(4, base=2), order)
    script, every = script_of(process), all_listed(process)
    for size in range(1, 5):
        views = script.views(enumerated(process, size))
        assert set(map(tuple, views.reshape(-1, views.shape[2]).tolist())) <= every
    assert shown_by(script, 1) | shown_by(script, 2) == every


def shown_by(script, size: int) -> set[tuple[int, ...]]:
    views = script.views(enumerated(script.process, size))
    return set(map(tuple, views.reshape(-1, views.shape[2]).tolist()))


def test_residues_of_too_many_digits_are_not_listed() -> None:
    with pytest.raises(ValueError, match="at most 300,000 problems"):
        script_of(process_of(tasks.modular_addition(1000)))
