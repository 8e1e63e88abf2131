"""AdamW for everything, or Muon for the matrices inside the blocks and AdamW for the rest.

Muon replaces the momentum of a weight matrix by (nearly) the orthogonal matrix of the same singular directions, found
by five Newton-Schulz steps (Jordan et al., 2024, https://kellerjordan.github.io/posts/muon/). At these sizes it needs
about half the steps of AdamW. torch.optim.Muon takes two-dimensional weights one by one; ours are stored head by head,
and are stacked by shape so that one batched product serves all of them.

>>> float(torch.linalg.matrix_norm(orthogonalize(torch.ones(1, 2, 3)), 2)) < 1.3
True
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from carryproof.benchmarks.configuration import Recipe
from carryproof.benchmarks.engine import small_products

NEWTON_SCHULZ_STEPS = 5
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # of x, x^3, x^5: steepest at 0 while singular values stay near 1


class Optimizer:
    """The optimizers of some models under a recipe; ``step(scale)`` takes one step at ``scale`` times the peak rate.

    Each model's gradients are clipped by themselves, so that none feels another.
    """

    def __init__(self, models: Sequence[nn.Module], recipe: Recipe) -> None:
        named = [(name, weight) for model in models for name, weight in model.named_parameters()]
        matrices = [(name, weight) for name, weight in named if is_block_matrix(name)] if recipe.muon_rate else []
        rest = [weight for name, weight in named if not (recipe.muon_rate and is_block_matrix(name))]
        groups = [
            {"params": [weight for weight in rest if weight.dim() > 1], "weight_decay": recipe.weight_decay},
            {"params": [weight for weight in rest if weight.dim() <= 1], "weight_decay": 0.0},
        ]
        self.recipe = recipe
        self.parameters = [list(model.parameters()) for model in models]
        betas = (recipe.beta1, recipe.beta2)
        self.adamw = torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=betas, fused=True)
        self.muon = Muon(matrices, recipe) if matrices else None

    def step(self, scale: float) -> None:
        """Clip the gradients, take one step with them, and forget them."""
        for parameters in self.parameters:
            torch.nn.utils.clip_grad_norm_(parameters, self.recipe.clip)
        for group in self.adamw.param_groups:
            group["lr"] = self.recipe.learning_rate * scale
        self.adamw.step()
        if self.muon is not None:
            self.muon.step(scale)
        for parameters in self.parameters:
            for weight in parameters:
                weight.grad = None


class Muon:
    """Muon with Nesterov momentum and decoupled weight decay, over block matrices stacked by shape.

    A matrix that is taller than wide is stacked transposed, with those of the transposed shape.
    """

    def __init__(self, weights: Sequence[tuple[str, nn.Parameter]], recipe: Recipe) -> None:
        self.rate, self.decay, self.momentum = recipe.muon_rate, recipe.muon_decay, recipe.muon_momentum
        by_shape: dict[torch.Size, list[tuple[str, nn.Parameter]]] = {}
        for name, weight in weights:
            by_shape.setdefault(wide(as_matrix(name, weight)).shape, []).append((name, weight))
        self.stacks = [
            (each, torch.zeros(len(each), *shape, device=each[0][1].device)) for shape, each in by_shape.items()
        ]

    @torch.no_grad()
    def step(self, scale: float) -> None:
        """One step at ``scale`` times the peak rate."""
        rate = self.rate * scale
        for weights, momentum in self.stacks:
            gradient = torch.stack(
                [wide(as_matrix(name, weight.grad)) for name, weight in weights if weight.grad is not None]
            )
            momentum.lerp_(gradient, 1 - self.momentum)
            updates = orthogonalize(gradient.lerp(momentum, self.momentum))
            for (name, weight), update in zip(weights, updates, strict=True):
                inputs, outputs = as_matrix(name, weight).shape
                reach = max(1.0, outputs / inputs) ** 0.5
                update = update.T if inputs > outputs else update
                weight.mul_(1 - rate * self.decay).add_(like_weight(name, update, weight), alpha=-rate * reach)


def is_block_matrix(name: str) -> bool:
    """Whether a parameter is a weight matrix of attention or MLP inside a block."""
    return name.startswith("blocks.") and name.rsplit(".", 1)[-1] in {"W_Q", "W_K", "W_V", "W_O", "W_in", "W_out"}


def as_matrix(name: str, weight: Tensor) -> Float[Tensor, "input output"]:
    """A weight as one matrix: heads of W_Q, W_K, W_V [head, d_model, d_head] side by side, of W_O below each other."""
    if weight.dim() == 2:
        return weight
    return weight.flatten(0, 1) if name.endswith("W_O") else weight.transpose(0, 1).flatten(1, 2)


def like_weight(name: str, matrix: Float[Tensor, "input output"], weight: Tensor) -> Tensor:
    """The inverse of ``as_matrix``."""
    if weight.dim() == 2:
        return matrix
    if name.endswith("W_O"):
        return matrix.view_as(weight)
    return matrix.unflatten(1, (weight.shape[0], weight.shape[2])).transpose(0, 1)


def wide(matrix: Float[Tensor, "row column"]) -> Float[Tensor, "short long"]:
    """A matrix, transposed if it has more rows than columns."""
    return matrix.T if matrix.shape[0] > matrix.shape[1] else matrix


def orthogonalize(stack: Float[Tensor, "matrix row column"]) -> Float[Tensor, "matrix row column"]:
    """Bring the singular values of every matrix near 1 by Newton-Schulz steps, in float32; least work if wide."""
    a, b, c = NEWTON_SCHULZ
    near = stack / (torch.linalg.matrix_norm(stack, keepdim=True) + 1e-7)
    with small_products(stack.shape[1]):
        for _ in range(NEWTON_SCHULZ_STEPS):
            gram = torch.bmm(near, near.transpose(1, 2))
            near = torch.baddbmm(near, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), near, beta=a)
    return near
