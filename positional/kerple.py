"""KERPLE: a learned penalty on attention that grows with the logarithm of the distance, at rates of its own per head.

The score of query i and key j is q.k / sqrt(d_head) - r1 log(1 + r2 |i - j|) with r1, r2 > 0, so a key at distance d
has the weight (1 + r2 d)^(-r1) besides its content: a power of the distance, where ALiBi's weight is exponential.
Source: Chi et al. 2205.09921, the logarithmic variant; as there, the absolute value serves ids of any order.

>>> import torch
>>> kerple = Kerple(EncodingShape(d_model=4, n_heads=1, d_head=4, n_ctx=8))    # not yet initialized: r1 = r2 = 1
>>> kerple.bias(torch.zeros(1, 1, 1, 4), torch.tensor([[3]]), torch.tensor([[0, 2, 3]])).exp()[0, 0].tolist()
[[0.25, 0.5, 1.0]]
"""

from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from carryproof.positional.base import Encoding, EncodingShape, offsets, wide


@final
class Kerple(Encoding):
    """bias = -r1_h log(1 + r2_h |i - j|), r = exp(log_r); log_r1 and log_r2 have shape [n_heads], drawn from N(0, 1).

    The paper draws the rates uniformly and clamps them from below; their logarithms need no clamp. One pair of rates
    for each head serves all layers. Told about the task: differences of ids, near ones preferred. Past the trained
    length: defined for every id; far keys lose weight, but where r1 <= 1 all of them together have as much as they
    are many.
    """

    def __init__(self, shape: EncodingShape) -> None:
        super().__init__()
        self.log_r1 = nn.Parameter(torch.zeros(shape.n_heads))
        self.log_r2 = nn.Parameter(torch.zeros(shape.n_heads))

    def initialize(self, generator: torch.Generator) -> None:
        nn.init.normal_(self.log_r1, generator=generator)
        nn.init.normal_(self.log_r2, generator=generator)

    def bias(
        self,
        query: Float[Tensor, "batch head query d_head"],
        query_ids: Int[Tensor, "#batch query"],
        key_ids: Int[Tensor, "#batch key"],
    ) -> Float[Tensor, "#batch #head query key"]:
        r1, r2 = (wide(rate).exp()[:, None, None] for rate in (self.log_r1, self.log_r2))
        distance = offsets(query_ids, key_ids).abs()[:, None].to(r1.dtype)  # [#batch 1 query key]
        return (-r1 * (r2 * distance).log1p()).to(query.dtype)  # [#batch head query key]
