"""Recipes and optimizers: the schedule, Muon's matrices, and that training fits what it is given."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from carryproof.benchmarks.configuration import Evaluation, Recipe, RunConfig
from carryproof.benchmarks.optimizer import (
    NEWTON_SCHULZ,
    NEWTON_SCHULZ_STEPS,
    Optimizer,
    as_matrix,
    is_block_matrix,
    like_weight,
    orthogonalize,
)
from carryproof.benchmarks.run import in_range_accuracy, measure_model
from carryproof.benchmarks.train import train
from carryproof.models.config import DecoderConfig
from carryproof.models.decoder import Decoder
from carryproof.theory import Question, TrainingRange, formats, tasks


@given(st.integers(1, 500), st.integers(0, 100))
def test_the_schedule_rises_then_falls_and_ends_where_it_says(steps: int, warmup: int) -> None:
    recipe = Recipe(steps=steps, warmup_steps=warmup, final_share=0.1)
    shares = [recipe.scale_at(step) for step in range(steps)]
    peak = min(max(warmup - 1, 0), steps - 1)
    assert all(0 < share <= 1 for share in shares)
    assert all(a < b for a, b in pairwise(shares[: peak + 1]))
    assert all(a >= b for a, b in pairwise(shares[peak:]))
    if warmup < steps:
        assert recipe.scale_at(steps) == pytest.approx(0.1)


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 8, 32), (2, 32, 8)])
def test_orthogonalized_matrices_keep_their_directions_and_lose_their_scale(shape: tuple[int, ...]) -> None:
    stack = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 100
    found = orthogonalize(stack)
    singular = torch.linalg.svdvals(found)
    assert singular.max() < 1.3 and singular.min() > 0.3  # the steps trade exactness for speed, by design
    for before, after in zip(stack, found, strict=True):
        left, _, right = torch.linalg.svd(before, full_matrices=False)
        inside = left.T @ after @ right.T  # diagonal in the singular basis of the matrix it came from
        assert torch.allclose(inside, torch.diag(torch.diagonal(inside)), atol=1e-3)


def decoder(heads: int = 4) -> Decoder:
    config = DecoderConfig(
        d_vocab=16, n_ctx=12, d_model=16, n_heads=heads, n_layers=2, d_head=None, d_mlp=None, encoding="absolute"
    )
    return Decoder.init(config, torch.Generator().manual_seed(1))


@pytest.mark.parametrize("heads", [1, 4])
def test_weights_become_matrices_and_come_back(heads: int) -> None:
    model = decoder(heads)
    x = torch.randn(5, 16, generator=torch.Generator().manual_seed(2))
    for name, weight in model.named_parameters():
        if is_block_matrix(name):
            matrix = as_matrix(name, weight)
            assert matrix.dim() == 2 and torch.equal(like_weight(name, matrix, weight), weight)
        if name.endswith("W_Q"):  # the matrix is the map from the residual stream to all heads
            heads_out = torch.einsum("td,hde->the", x, weight).flatten(1)
            assert torch.allclose(x @ as_matrix(name, weight), heads_out, atol=1e-5)


@pytest.mark.parametrize("muon_rate", [0.0, 0.02])
def test_every_parameter_moves_and_gradients_are_forgotten(muon_rate: float) -> None:
    model = decoder()
    optimizer = Optimizer([model], Recipe(muon_rate=muon_rate))
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    tokens = torch.randint(0, 16, (8, 12), generator=torch.Generator().manual_seed(3))
    torch.nn.functional.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten()).backward()
    optimizer.step(1.0)
    for name, weight in model.named_parameters():
        moved = not torch.equal(before[name], weight)
        # a shift of all scores of a query changes no softmax: key biases have no gradient; the last position is unused
        assert moved or name.endswith("b_K"), name
        assert weight.grad is None


@pytest.mark.parametrize("muon_rate", [0.0, 0.02])
def test_training_learns_one_digit_addition_whole(muon_rate: float) -> None:
    question = Question(
        task=tasks.modular_addition(10),
        format=formats.padded(2),
        encoding="absolute",
        train=TrainingRange(lengths=(1,)),
    )
    recipe = Recipe(
        d_model=32,
        n_layers=1,
        steps=400,
        batch=64,
        learning_rate=6e-3,
        warmup_steps=20,
        muon_rate=muon_rate,
        weight_decay=0.1,
    )
    config = RunConfig(question=question, recipe=recipe, evaluation=Evaluation(test_digits=(1, 2), problems=50), seed=0)
    model, points = train(config)
    assert in_range_accuracy(config, measure_model(config, model)) == 1.0
    assert points[0].loss > points[-1].loss and points[-1].step == recipe.steps


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "recipe steps: got 0"),
        ({"batch": -1}, "recipe batch: got -1"),
        ({"warmup_steps": -1}, "recipe warmup_steps: got -1"),
        ({"learning_rate": 0.0}, "recipe learning_rate: got 0.0"),
        ({"learning_rate": float("nan")}, "recipe learning_rate: got nan"),
        ({"muon_rate": -0.1}, "recipe muon_rate: got -0.1"),
    ],
)
def test_bad_recipes_are_one_line(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Recipe(**change)


def test_a_matrix_and_its_transpose_are_brought_near_alike() -> None:
    """Muon on W_in and W_out stacked together, against a step computed for each as it stands."""
    model = decoder()
    recipe = Recipe(muon_rate=0.02, clip=1e9)
    optimizer = Optimizer([model], recipe)
    assert optimizer.muon is not None
    generator, expected = torch.Generator().manual_seed(4), {}
    for name, weight in model.named_parameters():
        weight.grad = torch.randn(weight.shape, generator=generator)
        if is_block_matrix(name):
            gradient = as_matrix(name, weight.grad)
            inputs, outputs = gradient.shape
            near = (1 - recipe.muon_momentum**2) * gradient  # of the first momentum, looked ahead
            left, sizes, right = torch.linalg.svd(near, full_matrices=False)
            sizes = sizes / sizes.norm()
            for _ in range(NEWTON_SCHULZ_STEPS):
                sizes = sum(factor * sizes ** (2 * power + 1) for power, factor in enumerate(NEWTON_SCHULZ))
            update = (left * sizes) @ right * max(1.0, outputs / inputs) ** 0.5
            kept = weight.detach() * (1 - recipe.muon_rate * recipe.muon_decay)
            expected[name] = kept - recipe.muon_rate * like_weight(name, update, weight)
    optimizer.step(1.0)
    assert {momentum.shape for _, momentum in optimizer.muon.stacks} == {(8, 16, 16), (4, 16, 64)}
    for name, weight in model.named_parameters():
        if name in expected:
            assert torch.allclose(weight, expected[name], atol=1e-5), name
