"""Relative encodings learn one number, or one vector, for each clipped or bucketed difference of ids.

T5 adds a learned scalar b_h(bucket(i - j)) to the score, the clipped bias b_h(clip(i - j)), and Shaw q . a(clip(i - j))
/ sqrt(d_head), so that content can choose the offset. All see differences only, hence scores are invariant when all ids
shift together. Sources: Raffel et al. 1910.10683 (causal bucketing as in the T5 decoder) and Shaw et al. 1803.02155
(equation 4, the key term; its clipping for the scalar).

>>> [bucket_of(difference) for difference in (0, 1, 15, 16, 18, 19, 127, 10**6)]
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
NEAR = 8
INITIAL_STD = 0.1


def bucket_of(difference: int) -> int:
    """The bucket of query id minus key id, 0 to 31 as in T5's decoder: exact to 15, then logarithmic, everything from
    113 up in the last.

    Negative differences, which causal attention meets only where ids do not grow along the text, have buckets of their
    own, the mirror image of 1 to 31. (T5's decoder puts them into bucket 0; its encoder halves the buckets for them.)

    >>> bucket_of(-1), bucket_of(-3), bucket_of(-(10**6))
    (32, 34, 62)
    """
    if difference < 0:
        return N_BUCKETS - 1 + bucket_of(-difference)
    exact = N_BUCKETS // 2
    if difference < exact:
        return difference
    growth = math.log(difference / exact) / math.log(MAX_DISTANCE / exact)
    return min(exact + int(growth * (N_BUCKETS - exact)), N_BUCKETS - 1)


@final
class T5Buckets(Encoding):
    """bias = W_bias[bucket(i - j), head], with W_bias of shape [63, n_heads], drawn from N(0, 0.1^2); shared by all
    layers, as in T5.

    Told about the task: differences of ids, their sign included, exactly up to 15 and coarsely beyond. Past the trained
    length: buckets of distances that training never showed keep their initial values (weight decay aside); all
    distances of 113 and more in one direction look the same.
    """

    def __init__(self, shape: EncodingShape) -> None:
        super().__init__()
        self.W_bias = nn.Parameter(torch.zeros(2 * N_BUCKETS - 1, shape.n_heads))
        table = torch.tensor([bucket_of(difference) for difference in range(-MAX_DISTANCE, MAX_DISTANCE + 1)])
        self.register_buffer("bucket", table, persistent=False)
        self.bucket: Tensor

    def initialize(self, generator: torch.Generator) -> None:
        # Two draws: the rows that ids in text order meet are then those of a table that has no others.
        nn.init.normal_(self.W_bias[:N_BUCKETS], std=INITIAL_STD, generator=generator)
        nn.init.normal_(self.W_bias[N_BUCKETS:], std=INITIAL_STD, generator=generator)

    def bias(
        self,
        query: Float[Tensor, "batch head query d_head"],
        query_ids: Int[Tensor, "#batch query"],
        key_ids: Int[Tensor, "#batch key"],
    ) -> Float[Tensor, "#batch #head query key"]:
        places = offsets(query_ids, key_ids).clamp(-MAX_DISTANCE, MAX_DISTANCE) + MAX_DISTANCE
        buckets = self.bucket[places]  # [#batch query key]
        return functional.embedding(buckets, self.W_bias).permute(0, 3, 1, 2).to(query.dtype)


@final
class ClippedBias(Encoding):
    """bias = W_bias[clip(i - j, -8, 8) + 8, head], with W_bias of shape [17, n_heads], drawn from N(0, 0.1^2);
    shared by all layers.

    Told about the task: differences of ids up to 8, their sign included. Past the trained length: rows of differences
    that training never showed keep their initial values (weight decay aside); from 8 on all look the same.
    """

    def __init__(self, shape: EncodingShape) -> None:
        super().__init__()
        self.W_bias = nn.Parameter(torch.zeros(2 * NEAR + 1, shape.n_heads))

    def initialize(self, generator: torch.Generator) -> None:
        nn.init.normal_(self.W_bias, std=INITIAL_STD, generator=generator)

    def bias(
        self,
        query: Float[Tensor, "batch head query d_head"],
        query_ids: Int[Tensor, "#batch query"],
        key_ids: Int[Tensor, "#batch key"],
    ) -> Float[Tensor, "#batch #head query key"]:
        clipped = offsets(query_ids, key_ids).clamp(-NEAR, NEAR) + NEAR  # [#batch query key]
        return functional.embedding(clipped, self.W_bias).permute(0, 3, 1, 2).to(query.dtype)


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
