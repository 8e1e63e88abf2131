"""Training on scripts: the quick path and its gradients against the plain one, and equal rows computed once."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from torch.nn import functional

from carryproof.benchmarks.configuration import Recipe
from carryproof.benchmarks.draws import draw_digits
from carryproof.benchmarks.engine import Engine
from carryproof.benchmarks.optimizer import Optimizer
from carryproof.benchmarks.scripted import ROWS_ALIKE, ScriptRun, ScriptTraining, row_views, told_apart, train_script
from carryproof.models.decoder import Decoder
from carryproof.models.quick_window import QuickWindow
from carryproof.models.windowed import RowViews, rows_of, windowed_logits

RECIPE = Recipe(n_layers=1, n_heads=2, d_model=16, steps=3, batch=40, muon_rate=0.02)
SUBJECTS = [
    {"name": "addition"},
    {"name": "copy", "base": 2},
    {"name": "horner", "modulus": 7},
    {"name": "column-rows", "base": 3},
    {"name": "horner", "modulus": 67},  # whose values are gathered
]
every_subject = pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: "-".join(map(str, subject.values())))


def run_on(subject: dict, **changes) -> ScriptRun:
    return replace(ScriptRun(subject=subject, lengths=(1, 2), recipe=RECIPE, seed=0), **changes)


def views_of(run: ScriptRun, size: int = 2) -> np.ndarray:
    script = run.script()
    views = script.views(draw_digits(script.process, size, run.recipe.batch, np.random.default_rng(1)))
    return views.reshape(-1, views.shape[2])


def fresh(run: ScriptRun) -> Decoder:
    model = Decoder.init(run.decoder(), torch.Generator().manual_seed(3))
    for weight in model.parameters():  # biases and the like are drawn as zeros and ones
        torch.nn.init.normal_(weight, std=0.3, generator=torch.Generator().manual_seed(weight.numel()))
    return model


def gradients(model: Decoder, logits: torch.Tensor, targets: torch.Tensor) -> dict[str, torch.Tensor]:
    functional.cross_entropy(logits, targets).backward()
    found = {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
    for weight in model.parameters():
        weight.grad = None
    return found


@every_subject
@pytest.mark.parametrize("change", [{}, {"n_heads": 4, "normalization": "RMS", "activation": "relu"}])
def test_the_quick_path_and_its_gradients_are_those_of_the_plain_one(subject: dict, change: dict) -> None:
    run = run_on(subject, recipe=replace(RECIPE, **change))
    model, classes = fresh(run), run.script().derivation.slot_classes
    rows, targets = row_views(run.script(), views_of(run))
    plain, quick = windowed_logits(model, rows, classes), QuickWindow(model, classes).logits(rows, torch.float32)
    assert torch.allclose(plain, quick, atol=1e-5)
    expected, found = gradients(model, plain, targets), gradients(model, quick, targets)
    assert expected.keys() == found.keys()
    for name in expected:
        assert torch.allclose(expected[name], found[name], atol=1e-6), name


def test_half_precision_is_near_and_reaches_every_weight() -> None:
    run = run_on({"name": "addition"})
    model, classes = fresh(run), run.script().derivation.slot_classes
    rows, targets = row_views(run.script(), views_of(run))
    exact = QuickWindow(model, classes).logits(rows, torch.float32)
    half = QuickWindow(model, classes).logits(rows, torch.bfloat16)
    assert half.dtype == torch.float32 and not torch.equal(exact, half)
    assert (exact - half).abs().max() < 0.05 * exact.abs().max()
    expected, found = gradients(model, exact, targets), gradients(model, half, targets)
    for name in expected:
        if expected[name].abs().max() > 1e-6:  # key biases change no softmax: theirs are rounding alone
            assert found[name].dtype == torch.float32
            assert functional.cosine_similarity(expected[name].flatten(), found[name].flatten(), dim=0) > 0.98, name


@given(
    st_numpy.arrays(
        np.int64,
        st.tuples(st.integers(1, 150), st.integers(1, 4)),
        elements=st.integers(-2, 2) | st.just(2**62),
    )
)
def test_rows_are_told_apart(views: np.ndarray) -> None:
    different, which = told_apart(views)
    count = which.max() + 1
    assert (different[which] == views).all()
    assert len(np.unique(different[:count], axis=0)) == count == len(np.unique(which))
    assert len(different) % ROWS_ALIKE == 0 and len(different) - count < ROWS_ALIKE


@every_subject
@pytest.mark.parametrize("size", [1, 2])
def test_counting_equal_rows_is_the_same_step(subject: dict, size: int) -> None:
    """The loss, what was right and the weights after a step, against cross-entropy over every row by the plain path."""
    run = run_on(subject)
    training, script = ScriptTraining(run), run.script()
    slow = Decoder.init(run.decoder(), torch.Generator().manual_seed(run.seed))
    optimizer = Optimizer([slow], run.recipe)
    operands = draw_digits(script.process, size, run.recipe.batch, np.random.default_rng(2))
    tokens, start = torch.from_numpy(script.write(operands)), script.prompt_length(size)
    (rows,) = rows_of(tokens, torch.from_numpy(script.keys(size)), start)
    logits, targets = windowed_logits(slow, rows, script.derivation.slot_classes), tokens[:, start:].flatten()
    expected = functional.cross_entropy(logits, targets)
    right = (logits.argmax(dim=1) == targets).view(len(tokens), -1).all(dim=1).double().mean()
    expected.backward()
    optimizer.step(0.5)
    found = training.on_problems(operands, 0.5)
    assert found == (pytest.approx(float(expected.detach()), abs=1e-6), float(right))
    for (name, weight), other in zip(training.model.named_parameters(), slow.parameters(), strict=True):
        if not name.endswith("b_K"):  # AdamW makes steps of the rounding in a gradient that is zero
            assert torch.allclose(weight, other, atol=2e-5), name


def test_the_engine_is_part_of_a_run_and_changes_its_numbers() -> None:
    run = run_on({"name": "copy", "base": 2})
    half = replace(run, engine=Engine(dtype="bfloat16"))
    assert "dtype" not in run.to_dict() and half.to_dict() == run.to_dict() | {"dtype": "bfloat16"}
    again, single, other = (train_script(each)[0].unembed.W_U for each in (run, run, half))
    assert torch.equal(again, single) and not torch.equal(single, other)


def test_scripts_are_trained_on_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ValueError, match=r"^engine device: got 'cuda'; allowed: cpu: models of scripts"):
        run_on({"name": "addition"}, engine=Engine(device="cuda"))


def test_other_models_have_no_quick_path() -> None:
    run = run_on({"name": "addition"})
    for change in ({"encoding": "alibi"}, {"n_layers": 2}):
        with pytest.raises(ValueError, match=f"^{next(iter(change))}: got"):
            QuickWindow(Decoder(replace(run.decoder(), **change)), (0,))


def test_a_row_of_its_own_is_as_in_any_batch() -> None:
    run = run_on({"name": "addition"})
    quick = QuickWindow(fresh(run), run.script().derivation.slot_classes)
    rows, _ = row_views(run.script(), views_of(run))
    alone = RowViews(query=rows.query[5:6], keys=rows.keys[5:6], seen=rows.seen[5:6])
    assert torch.allclose(quick.logits(rows, torch.float32)[5:6], quick.logits(alone, torch.float32), atol=1e-5)
