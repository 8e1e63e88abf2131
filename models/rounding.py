"""How far single precision can move the logits of a windowed row: a running error bound, for any order of summation.

Every vector is followed with a bound on the Euclidean norm of its error. A sum of n products is off by at most g(n) =
n u / (1 - n u) times the sum of their absolute values, u = 2^-24, whatever the order (Higham, Accuracy and Stability of
Numerical Algorithms, 2nd ed., section 3.1). Errors of inputs pass through matrices with their spectral norm, through
a normalization with 1 / scale, through the softmax as factors, and through an activation with its Lipschitz constant.
Results and weights below 2^-126 may be flushed to zero; where values reach 2^60, so that squares could overflow, the
bound is infinite. Values and norms are taken in double precision.

>>> from carryproof.models.config import DecoderConfig
>>> config = DecoderConfig(d_vocab=13, n_ctx=9, d_model=8, n_heads=2, n_layers=1, encoding="window:0+0,0-1")
>>> model = Decoder.init(config, torch.Generator().manual_seed(0)).double()
>>> rows = RowViews(query=torch.tensor([5]), keys=torch.tensor([[2, 1, 7, 3, 5, 11]]), seen=torch.ones(1, 6).bool())
>>> 1e-7 < float(rounding_bound(model, rows, (0, 0, 1, 1, 1))) < 1e-2
True
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from carryproof.models.decoder import ACTIVATIONS, EPSILON, Block, Decoder, LayerNorm
from carryproof.models.windowed import RowViews, require_windowed

UNIT = 2.0**-24
TINY = 2.0**-126  # what flushing to zero can take away
LARGEST = 2.0**60
LIBRARY = 8  # elementary functions and fused kernels are taken to be off by no more than so many units
LIPSCHITZ = {"relu": 1.0, "gelu": 1.13}


@dataclass(frozen=True, kw_only=True, slots=True)
class Followed:
    """Vectors along the last axis, and for each a bound on the norm of its error."""

    value: Float[Tensor, "... size"]
    error: Float[Tensor, "..."]

    def __add__(self, other: "Followed") -> "Followed":
        total, spread = self.value + other.value, self.error + other.error
        lost = TINY * total.shape[-1] ** 0.5
        return Followed(value=total, error=spread + UNIT * (total.norm(dim=-1) + spread) + lost)

    def at(self, index: Tensor) -> "Followed":
        """The rows that an index selects."""
        return Followed(value=self.value[index], error=self.error[index])


def gamma(terms: int) -> float:
    """The bound for a sum of so many rounded products."""
    return terms * UNIT / (1 - terms * UNIT)


def linear(x: Followed, W: Float[Tensor, "inputs outputs"], b: Float[Tensor, " outputs"]) -> Followed:
    """x W + b."""
    value = x.value @ W + b
    largest = (x.value.abs() @ W.abs() + b.abs()).norm(dim=-1) + x.error * W.norm()
    lost = TINY * (x.value.norm(dim=-1) + x.error + 1) * len(W) * W.shape[1] ** 0.5
    spectral = torch.linalg.matrix_norm(W, 2)
    return Followed(value=value, error=_held(spectral * x.error + gamma(len(W) + 1) * largest + lost, largest))


def _held(error: Float[Tensor, "..."], largest: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """The bound, or infinity where values are so large that single precision might not hold their squares."""
    return torch.where(largest + error < LARGEST, error, torch.inf)  # also where either is not a number


def normalized(x: Followed, norm: LayerNorm) -> Followed:
    """Layer normalization: its derivative has norm at most 1 / scale, which moves by at most error / sqrt(d)."""
    count = x.value.shape[-1]
    mean = x.value.mean(-1)
    ratio = x.value - mean[..., None]
    variance = ratio.square().mean(-1)
    scale = (variance + EPSILON).sqrt()
    lowest = (scale - x.error / count**0.5).clamp(min=EPSILON**0.5)
    root = count**0.5
    centring = gamma(count + LIBRARY) * root * (x.value.abs().mean(-1) + x.error) / lowest
    relative = gamma(count + LIBRARY) * (1 + ((mean.abs() + x.error) / lowest).square()) + TINY / EPSILON
    scaling = torch.where(relative < 0.5, relative, torch.inf) * root  # |1 / sqrt(1 + r) - 1| <= |r| there
    largest = norm.w.abs().max()
    value = ratio / scale[..., None] * norm.w + norm.b
    local = largest * (centring + scaling) + LIBRARY * UNIT * (value.norm(dim=-1) + norm.b.norm())
    local = local + LIBRARY * TINY * root * (1 + largest / lowest)
    return Followed(value=value, error=_held(largest * x.error / lowest + local, x.value.norm(dim=-1) + x.error))


def rounding_bound(model: Decoder, rows: RowViews, slot_classes: Sequence[int]) -> Float[Tensor, " row"]:
    """The most that single precision can move a logit of each row; see ``followed_logits``."""
    return followed_logits(model, rows, slot_classes).error


@torch.no_grad()
def followed_logits(model: Decoder, rows: RowViews, slot_classes: Sequence[int]) -> Followed:
    """The logits ``[row, d_vocab]`` and how far single precision can move them; the model is in double precision.

    Raises ``ValueError`` for a normalization other than LN, and where the model is not windowed.
    """
    window = require_windowed(model)
    (block,) = model.blocks
    assert isinstance(block, Block)
    if not (isinstance(block.ln1, LayerNorm) and isinstance(block.ln2, LayerNorm)):
        raise ValueError(f"normalization: got {model.config.normalization!r}; allowed: LN")
    assert isinstance(model.ln_final, LayerNorm)
    attention, mlp = block.attn, block.mlp
    table = Followed(value=model.embed.W_E, error=model.embed.W_E.new_zeros(len(model.embed.W_E)))
    normal = normalized(table, block.ln1)
    kinds = torch.tensor([*slot_classes, len(window.classes)])
    biases = window.W_bias[kinds]  # [slot head]
    values, squares = [], torch.zeros(len(rows.query), dtype=table.value.dtype)
    for head in range(model.config.n_heads):
        q, k, v = (
            linear(normal, W[head], b[head])
            for W, b in (
                (attention.W_Q, attention.b_Q),
                (attention.W_K, attention.b_K),
                (attention.W_V, attention.b_V),
            )
        )
        z = _mixed(q.at(rows.query), k.at(rows.keys), v.at(rows.keys), rows.seen, biases[:, head])
        values.append(z.value)
        squares = squares + z.error.square()
    z = Followed(value=torch.cat(values, dim=1), error=squares.sqrt())
    x = table.at(rows.query) + linear(z, attention.W_O.flatten(0, 1), attention.b_O)
    pre = linear(normalized(x, block.ln2), mlp.W_in, mlp.b_in)
    name = model.config.activation
    bent = LIPSCHITZ[name] * pre.error + LIBRARY * UNIT * (pre.value.norm(dim=-1) + pre.error)
    x = x + linear(Followed(value=ACTIVATIONS[name](pre.value), error=bent), mlp.W_out, mlp.b_out)
    return linear(normalized(x, model.ln_final), model.unembed.W_U, model.unembed.b_U)


def _mixed(q: Followed, k: Followed, v: Followed, seen: Tensor, bias: Float[Tensor, " slot"]) -> Followed:
    """One head's weighted mean: softmax factors are off by at most exp of twice the largest error of a score."""
    size = q.value.shape[-1]
    scale = size**-0.5
    dots = torch.einsum("rd,rsd->rs", q.value, k.value)
    products = torch.einsum("rd,rsd->rs", q.value.abs(), k.value.abs())
    lengths = q.value.norm(dim=-1)[:, None], k.value.norm(dim=-1)
    crossed = q.error[:, None] * lengths[1] + lengths[0] * k.error + q.error[:, None] * k.error
    scores = dots * scale + bias
    moved = scale * (crossed + gamma(size + 3) * (products + crossed)) + 2 * UNIT * (scores.abs() + crossed)
    moved = _held(moved + TINY * size * (1 + lengths[0] + lengths[1]), products)
    barred = scores.masked_fill(~seen, -torch.inf)
    reach = barred.amax(dim=1) - scores.masked_fill(~seen, torch.inf).amin(dim=1)
    off = moved.masked_fill(~seen, 0.0).amax(dim=1) + UNIT * reach
    relative = torch.expm1(2 * off) + gamma(scores.shape[1] + 2 * LIBRARY)
    pattern = barred.softmax(dim=1)
    value = torch.einsum("rs,rsd->rd", pattern, v.value)
    weighted = (pattern * (v.value.norm(dim=-1) + v.error)).sum(dim=1)
    spread = (pattern * v.error).sum(dim=1)
    mixing = relative + (1 + relative) * gamma(scores.shape[1])
    return Followed(value=value, error=spread + mixing * weighted + TINY * scores.shape[1] * size**0.5)
