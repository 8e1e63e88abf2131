"""The quick path against the plain decoder: values, gradients, stacks of one and of several, both number formats."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor
from torch.nn import functional as F

from carryproof.benchmarks.configuration import Evaluation, Recipe, RunConfig
from carryproof.benchmarks.engine import (
    STACKED_AT_MOST,
    Engine,
    fastest_dtype,
    matmul_precision,
    require_room,
    stack_size,
    step_bytes,
)
from carryproof.benchmarks.optimizer import Optimizer
from carryproof.benchmarks.run import in_range_accuracy, measure_model
from carryproof.benchmarks.suites import DEMO_RECIPE
from carryproof.benchmarks.train import UNSCORED, Training, batches, train, train_stacked
from carryproof.models.config import DecoderConfig
from carryproof.models.decoder import Decoder
from carryproof.models.stack import Stack
from carryproof.positional import ENCODINGS
from carryproof.theory import Question, TrainingRange, formats, tasks

VOCABULARY, LENGTH = 14, 9


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def config(encoding: str = "absolute", **sizes: object) -> DecoderConfig:
    plain = {"d_model": 16, "n_heads": 2, "n_layers": 2, "d_head": 6, "activation": "gelu", "encoding": encoding}
    return DecoderConfig(**({"d_vocab": VOCABULARY, "n_ctx": 24} | plain | sizes))


def models(shape: DecoderConfig, count: int) -> list[Decoder]:
    return [Decoder.init(shape, seeded(seed)) for seed in range(count)]


def plain(stack: list[Decoder], tokens: Tensor, ids: Tensor, rows: slice) -> Tensor:
    return torch.stack([model(*own, rows=rows) for model, *own in zip(stack, tokens, ids, strict=True)])


@settings(max_examples=60)
@given(
    encoding=st.sampled_from(sorted(ENCODINGS)),
    normalization=st.sampled_from(("LN", "RMS")),
    activation=st.sampled_from(("relu", "gelu")),
    layers=st.integers(1, 3),
    count=st.integers(1, 3),
    batch=st.sampled_from((1, 5, VOCABULARY + 1)),  # with more texts than tokens the first layer is a table
    own_ids=st.booleans(),
    start=st.integers(0, LENGTH - 1),
    seed=st.integers(0, 99),
)
def test_values_and_gradients_are_the_decoders(
    encoding: str,
    normalization: str,
    activation: str,
    layers: int,
    count: int,
    batch: int,
    own_ids: bool,
    start: int,
    seed: int,
) -> None:
    shape = config(encoding, normalization=normalization, activation=activation, n_layers=layers)
    stack = models(shape, count)
    tokens = torch.randint(VOCABULARY, (count, batch, LENGTH), generator=seeded(seed))
    ids = torch.arange(LENGTH).expand(count, 1, LENGTH)
    if own_ids:
        ids = torch.randint(20, (count, batch, LENGTH), generator=seeded(seed))
    found, truth = (
        Stack(stack).logits(tokens, ids, slice(start, None), torch.float32),
        plain(stack, tokens, ids, slice(start, None)),
    )
    assert torch.allclose(found, truth, atol=2e-5)
    upstream = torch.randn(truth.shape, generator=seeded(seed))
    parameters = [weight for model in stack for weight in model.parameters()]
    ours = torch.autograd.grad(found, parameters, upstream, allow_unused=True, materialize_grads=True)
    theirs = torch.autograd.grad(truth, parameters, upstream, allow_unused=True, materialize_grads=True)
    largest = max(float(gradient.abs().max()) for gradient in theirs)
    assert all(torch.allclose(a, b, atol=1e-5 * largest) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("encoding", sorted(ENCODINGS))
def test_half_precision_points_where_single_precision_does(encoding: str) -> None:
    """Gradients in bfloat16 have the direction of those in single precision, within a few of its 8 bits."""
    shape = config(encoding, d_model=64, d_head=16, n_heads=4)
    tokens = torch.randint(VOCABULARY, (1, 64, LENGTH), generator=seeded(1))
    ids = torch.arange(LENGTH).expand(1, 1, LENGTH)
    gradients = []
    for dtype in (torch.float32, torch.bfloat16):
        (model,) = models(shape, 1)
        logits = Stack([model]).logits(tokens, ids, slice(4, 8), dtype)
        assert logits.dtype == torch.float32
        F.cross_entropy(logits.flatten(0, 2), tokens[0, :, 5:].flatten()).backward()
        assert all(weight.grad is None or weight.grad.dtype == torch.float32 for weight in model.parameters())
        gradients.append(torch.cat([w.grad.flatten() for w in model.parameters() if w.grad is not None]))
    assert torch.cosine_similarity(*gradients, dim=0) > 0.999


def test_a_stack_is_of_decoders_of_one_configuration() -> None:
    with pytest.raises(ValueError, match="models: got none"):
        Stack([])
    with pytest.raises(ValueError, match="decoders of equal configuration"):
        Stack([*models(config(), 1), *models(config(n_layers=1), 1)])


def run(seed: int = 0, *, ids: str = "index", **changes: object) -> RunConfig:
    question = Question(
        task=tasks.addition(),
        format=formats.parse(f"padded:3,ids={ids}"),
        encoding="absolute",
        train=TrainingRange(lengths=(1, 2)),
    )
    recipe = Recipe(d_model=16, n_heads=2, n_layers=1, steps=8, batch=20, warmup_steps=5, muon_rate=0.02)
    plain = {"question": question, "recipe": recipe, "evaluation": Evaluation(test_digits=(1, 2, 3), problems=20)}
    return RunConfig(**(plain | {"seed": seed} | changes))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_stack_trains_each_model_as_it_would_alone(dtype: str) -> None:
    seeds = [run(seed, engine=Engine(dtype=dtype), stack=3, ids="coupled:9") for seed in (0, 1, 2)]
    together = train_stacked(seeds)
    again = train_stacked(seeds)
    for config, (model, points), (twin, _) in zip(seeds, together, again, strict=True):
        alone, lone_points = train(config)
        for weight, same, near in zip(model.parameters(), twin.parameters(), alone.parameters(), strict=True):
            assert torch.equal(weight, same)  # bit for bit at equal stack size
            assert torch.allclose(weight, near, atol=1e-3 if dtype == "float32" else 0.2)
        assert [point.step for point in points] == [point.step for point in lone_points]
        assert points[-1].loss == pytest.approx(lone_points[-1].loss, rel=1e-3 if dtype == "float32" else 0.05)


def test_a_step_is_that_of_the_plain_decoder() -> None:
    """Weights after a few steps, against cross-entropy and the optimizer on the decoder's own logits."""
    asked = run()
    quick, slow = (Decoder.init(asked.decoder(), seeded(0)) for _ in range(2))
    training, optimizer = Training([quick], asked.recipe, Engine()), Optimizer([slow], asked.recipe)
    drawn = batches(asked, 0, 4)
    for tokens, ids, targets in zip(drawn.tokens, drawn.ids, drawn.targets, strict=True):
        logits = slow(tokens, ids, rows=slice(tokens.shape[1] - targets.shape[1], None))
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=UNSCORED)
        loss.backward()
        optimizer.step(1.0)
        (found,) = training.step(tokens[None], ids[None], targets[None], 1.0)
        assert float(found) == pytest.approx(float(loss.detach()), rel=1e-5)
    for (name, one), other in zip(quick.named_parameters(), slow.parameters(), strict=True):
        noise = name.endswith("b_K")  # no gradient but rounding, which AdamW takes at its word
        assert noise or torch.allclose(one, other, atol=1e-4), name


def test_a_model_that_diverges_does_not_touch_the_others() -> None:
    asked = [run(seed, stack=2) for seed in (0, 1)]
    models = [Decoder.init(each.decoder(), seeded(each.seed)) for each in asked]
    with torch.no_grad():
        models[0].embed.W_E.fill_(float("nan"))
    training = Training(models, asked[0].recipe, Engine())
    drawn = [batches(each, 0, 1) for each in asked]
    tokens, ids, targets = (torch.cat([getattr(each, name) for each in drawn]) for name in ("tokens", "ids", "targets"))
    losses = training.step(tokens, ids, targets, 1.0)
    assert losses.isnan().tolist() == [True, False]
    assert all(weight.isfinite().all() for weight in models[1].parameters())


def test_only_seeds_may_differ_in_a_stack() -> None:
    with pytest.raises(ValueError, match="configs"):
        train_stacked([run(), run(1, engine=Engine(dtype="bfloat16"))])


def test_whatever_changes_numbers_has_another_name() -> None:
    base = run()
    others = [replace(base, stack=2), replace(base, engine=Engine(dtype="bfloat16"))]
    assert len({base.run_id, *(other.run_id for other in others)}) == 3


def test_small_models_are_stacked_and_large_ones_are_not() -> None:
    tiny, large = config(), config(d_model=256, d_head=None, n_heads=4)
    engine = Engine()
    assert stack_size(tiny, tokens=1_000, models=5, engine=engine) == 5
    assert stack_size(tiny, tokens=1_000, models=50, engine=engine) == STACKED_AT_MOST
    assert stack_size(large, tokens=8_000, models=5, engine=engine) == 1


def test_a_batch_that_cannot_fit_is_refused_before_anything_is_allocated() -> None:
    shape = config()
    require_room(shape, Engine(), models=1, batch=64, length=9)
    assert step_bytes(shape, models=2, batch=64, length=9, dtype="float32") > 2**20
    with pytest.raises(ValueError, match=r"batch: got 1000000000; allowed: at most about \d+ here"):
        require_room(shape, Engine(), models=1, batch=10**9, length=9)


def test_the_engine_names_what_is_not_here() -> None:
    with pytest.raises(ValueError, match="dtype: unknown value 'bf16'"):
        Engine(dtype="bf16")
    with pytest.raises(ValueError, match=r"device: got 'cuda:97'; allowed: one that is here: cpu"):
        Engine(device="cuda:97")
    assert fastest_dtype() in ("float32", "bfloat16") and matmul_precision() in ("medium", "highest")


def test_an_engine_at_work_leaves_the_process_as_it_was() -> None:
    before = torch.get_float32_matmul_precision()
    with Engine().at_work():
        assert torch.get_float32_matmul_precision() == matmul_precision()
    assert torch.get_float32_matmul_precision() == before


EQUIVALENT = 0.01  # the margin: one percentage point of in-range exact match


@pytest.mark.slow
@pytest.mark.parametrize(("task", "steps"), [(tasks.addition(), 800), (tasks.modular_addition(101), 1_500)])
def test_half_and_single_precision_end_equally_right(task: tasks.Task, steps: int) -> None:
    """Two one-sided t tests at 5 % over eight seeds: mean in-range accuracies differ by less than the margin."""
    question = Question(task=task, format=formats.padded(6), encoding="absolute", train=TrainingRange(lengths=(1, 2)))
    evaluation = Evaluation(test_digits=(1, 2), problems=5_000)
    accuracies = []
    for dtype in ("float32", "bfloat16"):
        configs = [
            RunConfig(
                question=question,
                recipe=replace(DEMO_RECIPE, steps=steps),
                evaluation=evaluation,
                seed=seed,
                engine=Engine(dtype=dtype),
                stack=8,
            )
            for seed in range(8)
        ]
        accuracies.append(
            [
                in_range_accuracy(config, measure_model(config, model))
                for config, (model, _) in zip(configs, train_stacked(configs), strict=True)
            ]
        )
    single, half = accuracies
    print(f"\n{task}: float32 {single}, bfloat16 {half}")
    assert min(single) > 0.98 and min(half) > 0.98
    spread = (np.var(single, ddof=1) / len(single) + np.var(half, ddof=1) / len(half)) ** 0.5
    reach = stats.t.ppf(0.95, df=len(single) - 1) * spread  # fewer degrees of freedom than Welch's: the careful side
    assert abs(np.mean(half) - np.mean(single)) + reach < EQUIVALENT
