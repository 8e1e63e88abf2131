"""How operands are drawn for training: every law takes problems of the process only, and letters come out uniform."""

import math
from collections import Counter
from dataclasses import replace
from itertools import combinations_with_replacement, permutations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carryproof.benchmarks.collection import ENTRIES
from carryproof.benchmarks.configuration import Recipe
from carryproof.benchmarks.draws import DRAWS, draw_letters, draw_multisets
from carryproof.benchmarks.scripted import ScriptRun, train_script
from carryproof.theory import cases, tasks
from carryproof.theory.cases import process_of

COUNT = 20_000
READ = [
    process_of(tasks.addition(3, base=4)),
    process_of(tasks.addition()),
    cases.unsigned_subtraction(3),
    cases.running_comparison(3, "most-first"),
]
TINY = Recipe(n_layers=1, n_heads=1, d_model=8, steps=3, batch=8, warmup_steps=0)


LAWS = [(process, law) for process in READ for law in DRAWS if law != "multisets" or len(process.homes) > 2]


@given(st.sampled_from(LAWS), st.integers(1, 4), st.integers(0, 50))
def test_every_law_draws_problems_that_the_process_takes(pair, size: int, seed: int) -> None:
    process, law = pair
    digits = DRAWS[law](process, size, 20, np.random.default_rng(seed))
    assert [each.shape for each in digits] == [(20, size)] * len(process.homes)
    assert all(each.dtype == np.uint8 and each.max() < process.base for each in digits)
    assert process.domain is None or process.domain(digits).all()
    again = DRAWS[law](process, size, 20, np.random.default_rng(seed))
    assert all(np.array_equal(one, other) for one, other in zip(digits, again, strict=True))


def test_letters_are_uniform_and_so_are_the_columns_of_each() -> None:
    """A column of three digits of base 4 has the share 1 / (10 sums * columns of its sum), within five deviations."""
    digits = np.stack(draw_letters(READ[0], 2, COUNT, np.random.default_rng(0)), axis=-1).reshape(-1, 3)
    counts = Counter(map(tuple, digits.tolist()))
    alike = Counter(map(sum, product(range(4), repeat=3)))
    assert alike[9] == 1 and alike[4] == 12
    for column in product(range(4), repeat=3):
        share = 1 / (10 * alike[sum(column)])
        deviation = math.sqrt(len(digits) * share * (1 - share))
        assert abs(counts[column] - len(digits) * share) < 5 * deviation, column


def test_multisets_that_are_read_alike_are_uniform_and_their_orders_too() -> None:
    """Of the sums of three digits of base 4, four come from three multisets; nothing is drawn that is no multiset."""
    digits = np.stack(draw_multisets(READ[0], 2, COUNT, np.random.default_rng(0)), axis=-1).reshape(-1, 3)
    counts = Counter(map(tuple, digits.tolist()))
    rising = Counter(map(sum, combinations_with_replacement(range(4), 3)))
    assert rising[4] == 3 and len(counts) == 4**3
    for column in product(range(4), repeat=3):
        share = 1 / (10 * rising[sum(column)] * len(set(permutations(column))))
        deviation = math.sqrt(len(digits) * share * (1 - share))
        assert abs(counts[column] - len(digits) * share) < 5 * deviation, column


def test_the_law_of_the_operands_names_the_run() -> None:
    run = ScriptRun(subject={"name": "addition", "base": 2}, lengths=(1, 2), recipe=TINY, seed=0)
    assert "draw" not in run.to_dict() and ENTRIES["addition-base10"].to_dict().keys() == run.to_dict().keys()
    letters = replace(run, draw="letters")
    assert letters.to_dict() == run.to_dict() | {"draw": "letters"} and letters.run_id != run.run_id
    weights = [train_script(each)[0].embed.W_E for each in (run, letters, letters)]
    assert not weights[0].equal(weights[1]) and weights[1].equal(weights[2])


def test_what_has_no_letters_is_refused() -> None:
    with pytest.raises(ValueError, match="draw: unknown value 'leters'; did you mean 'letters'"):
        ScriptRun(subject={"name": "addition"}, lengths=(1,), recipe=TINY, seed=0, draw="leters")
    for process in (cases.times_one_digit(), process_of(tasks.multiplication()), cases.multiply_add_rows()):
        with pytest.raises(ValueError, match=r"draw: got 'letters'; allowed: digits for .*: no machine reads its"):
            draw_letters(process, 2, 5, np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"draw: got 'multisets'; allowed: digits for .*: no three operands can be"):
        draw_multisets(process_of(tasks.addition()), 2, 5, np.random.default_rng(0))
    with pytest.raises(ValueError, match="its columns are more than 1,000,000"):
        draw_letters(process_of(tasks.addition(7)), 2, 5, np.random.default_rng(0))
