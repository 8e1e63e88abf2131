"""ALiBi: a fixed penalty on attention that grows linearly with distance, at a rate of its own for every head.

The score of query i and key j is q.k / sqrt(d_head) - m_h |i - j|; the slopes m_h are the geometric sequence
2^(-8/n), 2^(-16/n), ... for n = 2^r heads, and other head counts interleave the sequence of the next power of two, as
in the authors' code. Source: Press et al. 2108.12409; the absolute value extends it to ids that do not grow along the
text.

>>> import torch
>>> slopes(4)
(0.25, 0.0625, 0.015625, 0.00390625)
>>> alibi = Alibi(EncodingShape(d_model=4, n_heads=4, d_head=1, n_ctx=8))
>>> alibi.bias(torch.zeros(1, 4, 1, 1), torch.tensor([[2]]), torch.tensor([[0, 1, 2]]))[0, 0].tolist()
[[-0.5, -0.25, -0.0]]
"""

from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from carryproof.positional.base import Encoding, EncodingShape, offsets


def slopes(n_heads: int) -> tuple[float, ...]:
    """One slope for each head.

    >>> slopes(3)       # both of 2 heads, then the first of every other one of 4 heads
    (0.0625, 0.00390625, 0.25)
    """
    power = 2 ** (n_heads.bit_length() - 1)  # the largest power of two that is at most n_heads
    own = [2.0 ** (-8 * head / power) for head in range(1, power + 1)]
    finer = [2.0 ** (-8 * head / (2 * power)) for head in range(1, 2 * power + 1)]
    return tuple(own + finer[0::2][: n_heads - power])


@final
class Alibi(Encoding):
    """bias = -m_h |i - j|, of shape [#batch, head, query, key]. No parameters.

    Told about the task: differences of ids, with a preference for near ones. Past the trained length: defined for
    every id; keys far away fade out, at a distance of about 10 / m_h.
    """

    def __init__(self, shape: EncodingShape) -> None:
        super().__init__()
        self.slopes = slopes(shape.n_heads)

    def bias(
        self,
        query: Float[Tensor, "batch head query d_head"],
        query_ids: Int[Tensor, "#batch query"],
        key_ids: Int[Tensor, "#batch key"],
    ) -> Float[Tensor, "#batch #head query key"]:
        distance = offsets(query_ids, key_ids).abs()[:, None].to(query.dtype)  # [#batch 1 query key]
        rate = torch.tensor(self.slopes, dtype=query.dtype, device=query.device)
        return distance * -rate[:, None, None]  # [#batch head query key]
