"""Absolute encodings add a vector that depends on the id to the residual stream: learned rows, or sines and cosines.

The score of query i and key j then contains e(i) and e(j) separately, so it is not a function of i - j alone: W_Q and
W_K can read the id itself, which is what lets a model learn a rule of its own for each position. Source: Vaswani et
al. 1706.03762 (section 3.5) for both; learned rows also Gehring et al. 1705.03122.

>>> import torch
>>> wave = Sinusoidal(EncodingShape(d_model=2, n_heads=1, d_head=2, n_ctx=8))
>>> wave.embed(torch.zeros(1, 2, 2), torch.tensor([[0, 1]]))[0].tolist()       # (sin id, cos id)
[[0.0, 1.0], [0.8414709568023682, 0.5403022766113281]]
"""

from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from carryproof.positional.base import Encoding, EncodingShape, angles, geometric_frequencies

INITIAL_STD = 0.1


@final
class LearnedAbsolute(Encoding):
    """residual + W_pos[id], with W_pos of shape [n_ctx, d_model], drawn from N(0, 0.1^2).

    Told about the task: the index of each token, nothing else. Past the trained length: rows whose ids never occurred
    in training keep their initial values, so behaviour there is arbitrary; an id outside 0..n_ctx-1 has no row and is
    refused.
    """

    def __init__(self, shape: EncodingShape) -> None:
        super().__init__()
        self.W_pos = nn.Parameter(torch.zeros(shape.n_ctx, shape.d_model))

    def initialize(self, generator: torch.Generator) -> None:
        nn.init.normal_(self.W_pos, std=INITIAL_STD, generator=generator)

    def embed(
        self, residual: Float[Tensor, "batch token d_model"], ids: Int[Tensor, "#batch token"]
    ) -> Float[Tensor, "batch token d_model"]:
        rows = self.W_pos.shape[0]
        if ids.numel() and ids.is_cpu:  # elsewhere the lookup asserts it, and no step waits for the device
            lowest, highest = (int(bound) for bound in torch.aminmax(ids))
            if lowest < 0 or highest >= rows:
                outside = lowest if lowest < 0 else highest
                raise ValueError(
                    f"ids: got {outside}, which has no learned vector; allowed: 0 to {rows - 1} (n_ctx = {rows})"
                )
        return residual + functional.embedding(ids, self.W_pos).to(residual.dtype)


@final
class Sinusoidal(Encoding):
    """residual + e(id), where channels 2c and 2c+1 hold sin and cos of id * 10000^(-2c/d_model).

    No parameters; amplitude 1. Told about the task: the index of each token. Past the trained length: every integer
    id has a vector, but sums of unseen ones are out of distribution for the weights that read them.
    """

    def __init__(self, shape: EncodingShape) -> None:
        super().__init__()
        self.d_model = shape.d_model
        self.frequencies = geometric_frequencies(shape.d_model)

    def embed(
        self, residual: Float[Tensor, "batch token d_model"], ids: Int[Tensor, "#batch token"]
    ) -> Float[Tensor, "batch token d_model"]:
        phase = angles(ids, self.frequencies)
        waves = torch.stack((phase.sin(), phase.cos()), dim=-1).flatten(-2)  # [#batch token 2*pairs]
        return residual + waves[..., : self.d_model].to(residual.dtype)
