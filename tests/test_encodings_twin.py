"""The symbolic twins: what an encoding sees is derived from its score, and refutations are true.

That twin and module give the same scores, and shift alike, is checked by the kit: see test_kit.py.
"""

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from carryproof.benchmarks.conformance import READINGS
from carryproof.positional import ENCODINGS, EncodingShape, build
from carryproof.positional.base import geometric_frequencies
from carryproof.theory import encodings as twins

NAMES = sorted(ENCODINGS)


def test_both_registries_have_the_same_names() -> None:
    assert set(ENCODINGS) == set(twins.ENCODINGS) == set(READINGS)
    assert all(name == twin.name for name, twin in twins.ENCODINGS.items())


@pytest.mark.parametrize("name", NAMES)
def test_every_pair_of_channels_turns_as_the_twin_says(name: str) -> None:
    shape = EncodingShape(d_model=6, n_heads=1, d_head=6, n_ctx=200)
    encoding, twin, ids = build(name, shape).double(), twins.get(name), [0, 1, 7, 150]
    heads = torch.randn(1, 1, len(ids), 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    turned = encoding.rotate(heads, torch.tensor([ids]))
    for pair, frequency in enumerate(geometric_frequencies(6)):
        channels = slice(2 * pair, 2 * pair + 2)
        for token, at in enumerate(ids):
            matrix = np.array(twin.rotate(at).subs(twins._scalar("omega"), frequency), dtype=float)
            expected = matrix @ heads[0, 0, token, channels].numpy()
            np.testing.assert_allclose(turned[0, 0, token, channels].numpy(), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_what_an_encoding_sees_is_derived_from_its_score(name: str) -> None:
    twin = twins.get(name)
    law = twin.shift_invariance()
    assert twin.sees == law.sees
    assert law.holds == (law.sees != "absolute ids")
    assert twin.title in law.statement
    assert twin.told and twin.source


@pytest.mark.parametrize("name", [name for name in NAMES if twins.get(name).sees != "absolute ids"])
@given(i=st.integers(-300, 300), j=st.integers(-300, 300), shift=st.integers(-(10**6), 10**6))
def test_invariant_scores_are_invariant_in_numbers_too(name: str, i: int, j: int, shift: int) -> None:
    twin = twins.get(name)
    tables = dict.fromkeys(twin.tables, lambda at: np.sin(3.0 * at))
    score = twin.evaluator({**dict.fromkeys(twin.scalars, 0.3), **tables})
    assert score((0.4, -1.2), (2.0, 0.7), i + shift, j + shift) == pytest.approx(
        score((0.4, -1.2), (2.0, 0.7), i, j), abs=1e-7
    )


def test_counterexamples_are_stated_in_full_and_true() -> None:
    proof = twins.get("sinusoidal").shift_invariance().proof
    assert proof.startswith("score(1, 1) - score(0, 0) = sqrt(2)*(-1 + cos(1))/2 for q = (0, 0), k = (0, 1)")
    score = twins.get("sinusoidal").evaluator({"omega": 1.0})
    assert score((0, 0), (0, 1), 1, 1) - score((0, 0), (0, 1), 0, 0) == pytest.approx((np.cos(1) - 1) / 2**0.5)
    score = twins.get("absolute").evaluator({"P1": float, "P2": float})
    assert score((0, 0), (0, 0), 1, 1) - score((0, 0), (0, 0), 0, 0) == pytest.approx(2**0.5)
    assert "score(1, 1) - score(0, 0) = sqrt(2) for" in twins.get("absolute").shift_invariance().proof


def test_rotary_scores_are_the_relative_rotation() -> None:
    import sympy

    d, j = sympy.symbols("d j", integer=True)
    q1, q2, k1, k2 = sympy.symbols("q1 q2 k1 k2", real=True)
    angle = sympy.Symbol("omega", positive=True) * d
    expected = ((q1 * k1 + q2 * k2) * sympy.cos(angle) + (q1 * k2 - q2 * k1) * sympy.sin(angle)) / sympy.sqrt(2)
    assert sympy.simplify(twins.get("rope").score(j + d, j) - expected) == 0


def test_unknown_names_and_parameters_are_one_clear_error() -> None:
    with pytest.raises(
        ValueError, match=r"^encoding: unknown value 'rop'; did you mean 'rope'\? allowed: absolute, alibi"
    ):
        twins.get("rop")
    with pytest.raises(ValueError, match=r"^parameters: got none; allowed: exactly omega for encoding 'rope'$"):
        twins.get("rope").evaluate((1.0, 0.0), (1.0, 0.0), 0, 0)


def test_importing_the_twins_costs_no_sympy_and_no_torch() -> None:
    code = "import sys, carryproof.theory.encodings; print({'sympy', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
