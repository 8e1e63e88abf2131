"""The symbolic twins: what an encoding sees is derived from its score, and refutations are true.

That twin and module give the same scores, and shift alike, is checked by the kit: see test_kit.py.
"""

import math
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
from carryproof.positional.window import Window, parse
from carryproof.theory import Question, TrainingRange, formats, tasks
from carryproof.theory import encodings as twins
from carryproof.theory.cases import process_of
from carryproof.theory.scripts import NO_AXIS, NOWHERE, script_of
from carryproof.theory.visibility import far_scores

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
            matrix = np.array(twin.rotate(at).subs(twins.scalar("omega"), frequency), dtype=float)
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
    proof = twins.get("fire").shift_invariance().proof
    assert proof == "score(2, 3) - score(0, 1) = -log(2)/log(3) + 1 for q = (0, 0), k = (0, 0), f(x) = x, c = 1, L = 1"
    score = twins.get("fire").evaluator({"f": float, "c": 1.0, "L": 1.0})
    assert score((0, 0), (0, 0), 2, 3) - score((0, 0), (0, 0), 0, 1) == pytest.approx(1 - math.log(2, 3))


def test_what_positions_add_to_the_residual_stream() -> None:
    found = {name: twins.get(name).embeds() for name in NAMES}
    assert {name for name in NAMES if found[name] == "learned rows"} == {"absolute"}
    assert {name for name in NAMES if found[name] == "fixed vectors"} == {"sinusoidal"}


@pytest.mark.parametrize("name", ["relative-t5", "relative-clipped", "relative-shaw", "kerple"])
def test_offsets_told_apart_are_those_of_the_module(name: str) -> None:
    """An offset is resolved iff the module's bias differs from both neighbours', in either direction."""
    encoding, twin = build(name, EncodingShape(d_model=6, n_heads=3, d_head=2, n_ctx=8)).double(), twins.get(name)
    encoding.initialize(torch.Generator().manual_seed(2))
    query = torch.randn(1, 3, 1, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for offset in (
        *range(-20, 21),
        *(sign * (edge + d) for sign in (1, -1) for edge in (64, 113) for d in (-2, -1, 0)),
    ):
        bias = encoding.bias(query, torch.tensor([[offset]]), torch.tensor([[1, 0, -1]]))
        assert bias is not None
        assert twin.resolves(offset) == (bias[0, :, 0, [0, 2]] != bias[0, :, 0, [1]]).all(), offset


# Windows


def window_module(name: str) -> Window:
    module = Window(EncodingShape(d_model=4, n_heads=2, d_head=2, n_ctx=8), parse(name)).double()
    module.initialize(torch.Generator().manual_seed(3))
    return module


@pytest.mark.parametrize("name", ["window:0+0", "window:0+0,0-1", "window:0-2,0+3,0+0", "window:0+1,0-1,0+1"])
def test_a_window_twin_scores_as_its_module(name: str) -> None:
    module, places = window_module(name), range(-6, 7)
    queries = torch.tensor([[[NO_AXIS, NOWHERE, home] for home in places]])
    keys = torch.tensor([[[0, place, NOWHERE] for place in places]])
    bias = module.bias(torch.zeros(1, 2, 13, 2, dtype=torch.float64), queries, keys).detach()

    def bias_of(kind: int, head: int) -> float:
        return float(module.W_bias.detach()[kind, head])

    for head in (0, 1):
        score = twins.get(name).evaluator({"b": lambda kind, head=head: bias_of(kind, head)})
        stated = [[score((0, 0), (0, 0), home, place) for place in places] for home in places]
        assert bias[0, head].tolist() == stated


def test_a_window_twin_sees_what_a_query_of_a_script_sees() -> None:
    script = script_of(process_of(tasks.addition(base=2)))
    ids, twin = torch.tensor(script.ids(3)), twins.get(script.derivation.encoding)
    score = twin.evaluator({"b": lambda kind: 0.0})
    visible = window_module(twin.name).visible(ids[None], ids[None])[0]
    rows, digits = (
        range(script.prompt_length(3) - 1, len(ids) - 1),
        [key for key in range(len(ids)) if ids[key, 0] == 0],
    )
    assert len(rows) == 5 and len(digits) == 10
    for row in rows:
        for key in digits:
            seen = math.isfinite(score((0, 0), (0, 0), int(ids[row, 2]), int(ids[key, 1])))
            assert bool(visible[row, key]) == (seen or row == key)


def test_a_window_sees_differences_and_bars_all_other_keys() -> None:
    twin = twins.get("window:0+0,0-1")
    law = twin.shift_invariance()
    assert law.holds and law.sees == twin.sees == "differences" and "j does not occur" in law.proof
    assert [offset for offset in range(-5, 6) if twin.resolves(offset)] == [0, 1]
    assert far_scores(twin) == "fades"


@pytest.mark.parametrize(
    "name", ["window:0+0,1-1", "window:", "window:0", "window:0+0+1", "window:0+(0,1)", "window:0+0,"]
)
def test_windows_without_a_twin_are_one_line(name: str) -> None:
    with pytest.raises(ValueError, match=r"^encoding: got 'window:.*'; allowed: window: and classes on one axis with "):
        twins.get(name)


def test_a_question_is_not_asked_of_a_window() -> None:
    """Its ids are those of scripts, while the formats of questions number their tokens."""
    with pytest.raises(ValueError, match=r"^encoding: unknown value 'window:0\+0'; "):
        Question(
            task=tasks.addition(),
            format=formats.padded(3),
            encoding="window:0+0",
            train=TrainingRange(lengths=(1,)),
        )


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
