"""Relative encodings learn one number, or one vector, for each clipped or bucketed difference of ids.

T5 adds a learned scalar b_h(bucket(i - j)) to the score; Shaw adds q . a(clip(i - j)) / sqrt(d_head), so that content
can choose the offset. Both see differences only, hence scores are invariant when all ids shift together. Sources:
Raffel et al. 1910.10683 (causal bucketing as in the T5 decoder) and Shaw et al. 1803.02155 (equation 4, the key
term).

>>> [bucket_of(distance) for distance in (0, 1, 15, 16, 18, 19, 127, 10**6)]
[0, 1, 15, 16, 16, 17, 31, 31]
"""

import math
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from carryproof.positional.base import Encoding, EncodingShape, offsets

N_BUCKETS = 32
MAX_DISTANCE = 128
CLIP_DISTANCE = 64
INITIAL_STD = 0.1


def bucket_of(distance: int) -> int:
    """T5's causal bucket of query id minus key id: exact to 15, then logarithmic, everything from 113 up in the last.

    Negative distances, which causal attention meets only where ids do not grow along the text, share bucket 0.

    >>> bucket_of(-3)
    0
    """
    exact = N_BUCKETS // 2
    if distance < exact:
        return max(distance, 0)
    growth = math.log(distance / exact) / math.log(MAX_DISTANCE / exact)
    return min(exact + int(growth * (N_BUCKETS - exact)), N_BUCKETS - 1)


@final
class T5Buckets(Encoding):
    """bias = W_bias[bucket(i - j), head], with W_bias of shape [32, n_heads], drawn from N(0, 0.1^2); shared by all
    layers, as in T5.

    Told about the task: differences of ids, exactly up to 15 and coarsely beyond. Past the trained length: buckets of
    distances that training never showed keep their initial values (weight decay aside); all distances of 113 and more
    look the same.
    """

    def __init__(self, shape: EncodingShape) -> None:
        super().__init__()
        self.W_bias = nn.Parameter(torch.zeros(N_BUCKETS, shape.n_heads))
        table = torch.tensor([bucket_of(distance) for distance in range(MAX_DISTANCE + 1)])
        self.register_buffer("bucket", table, persistent=False)
        self.bucket: Tensor

    def initialize(self, generator: torch.Generator) -> None:
        nn.init.normal_(self.W_bias, std=INITIAL_STD, generator=generator)

    def bias(
        self,
        query: Float[Tensor, "batch head query d_head"],
        query_ids: Int[Tensor, "#batch query"],
        key_ids: Int[Tensor, "#batch key"],
    ) -> Float[Tensor, "#batch #head query key"]:
        buckets = self.bucket[offsets(query_ids, key_ids).clamp(0, MAX_DISTANCE)]  # [#batch query key]
        return functional.embedding(buckets, self.W_bias).permute(0, 3, 1, 2).to(query.dtype)


@final
class ShawKeys(Encoding):
    """bias = q . W_rel[clip(i - j, -64, 64) + 64] / sqrt(d_head), with W_rel of shape [129, d_head], drawn from N(0,
    0.1^2).

    The paper gives each layer a table of its own, and values a second one; here one table serves all layers and
    heads, and keys only. It clips at 16; 64 keeps apart the offsets of the padded formats. Told about the task:
    differences of ids up to 64. Past the trained length: rows of differences that training never showed keep their
    initial values; beyond 64 all look the same.
    """

    def __init__(self, shape: EncodingShape) -> None:
        super().__init__()
        self.W_rel = nn.Parameter(torch.zeros(2 * CLIP_DISTANCE + 1, shape.d_head))

    def initialize(self, generator: torch.Generator) -> None:
        nn.init.normal_(self.W_rel, std=INITIAL_STD, generator=generator)

    def bias(
        self,
        query: Float[Tensor, "batch head query d_head"],
        query_ids: Int[Tensor, "#batch query"],
        key_ids: Int[Tensor, "#batch key"],
    ) -> Float[Tensor, "#batch #head query key"]:
        clipped = offsets(query_ids, key_ids).clamp(-CLIP_DISTANCE, CLIP_DISTANCE) + CLIP_DISTANCE
        vectors = functional.embedding(clipped, self.W_rel * query.shape[-1] ** -0.5).to(query.dtype)
        # With ids shared by the batch this is one product per query; gathering from q . W_rel^T is 13 times slower.
        return torch.einsum("bhqd,bqkd->bhqk", query, vectors)  # vectors: [#batch query key d_head]
