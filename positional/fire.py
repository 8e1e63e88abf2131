"""FIRE: a small network reads how far a key is, as a share of how far the query is from the start.

The score of query i and key j is q.k / sqrt(d_head) + f_h(psi(i - j) / psi(max(L, |i|))) with psi(x) = log(c x + 1)
and learned c, L > 0; f has one hidden layer of 32 ReLUs, from one number to one for each head. In a text with ids 0,
1, ... the share lies in [0, 1] at every length. Ids are any integers here, so psi is extended as an odd function,
sign(x) log(c |x| + 1), and the query's id enters by its absolute value. Source: Li et al. 2310.04418.

>>> import torch
>>> fire = Fire(EncodingShape(d_model=4, n_heads=1, d_head=4, n_ctx=8))
>>> fire.share(torch.tensor([[1_000, 1_000_000]]), torch.tensor([[0]])).detach()[0].tolist()  # the first key
[[1.0], [1.0]]
"""

from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from carryproof.positional.base import Encoding, EncodingShape, offsets, wide

HIDDEN = 32
INITIAL_C, INITIAL_L = 0.1, 512.0


@final
class Fire(Encoding):
    """bias = relu(share W_in + b_in) W_out[:, head]; W_in and b_in of shape [32] are drawn from U(-1, 1), W_out of
    shape [32, n_heads] from U(-1/sqrt(32), 1/sqrt(32)), as linear layers are in PyTorch.

    As in the paper's code c starts at 0.1 and L at 512; c = 0.1 exp(log_c) and L = 512 exp(log_L) stay positive, where
    the paper takes absolute values and adds an epsilon. A last bias is left out, since softmax does not see it; all
    layers share one network. Told about the task: differences of ids while |i| <= L, and beyond that their share of the
    query's id, so that scores change when all ids shift. Past the trained length: defined for every id; shares between
    those that training showed are interpolated by f.
    """

    def __init__(self, shape: EncodingShape) -> None:
        super().__init__()
        self.W_in = nn.Parameter(torch.zeros(HIDDEN))
        self.b_in = nn.Parameter(torch.zeros(HIDDEN))
        self.W_out = nn.Parameter(torch.zeros(HIDDEN, shape.n_heads))
        self.log_c = nn.Parameter(torch.zeros(()))
        self.log_L = nn.Parameter(torch.zeros(()))

    def initialize(self, generator: torch.Generator) -> None:
        for parameter, reach in ((self.W_in, 1.0), (self.b_in, 1.0), (self.W_out, HIDDEN**-0.5)):
            nn.init.uniform_(parameter, -reach, reach, generator=generator)

    def share(
        self, query_ids: Int[Tensor, "#batch query"], key_ids: Int[Tensor, "#batch key"]
    ) -> Float[Tensor, "#batch query key"]:
        """psi(i - j) / psi(max(L, |i|)) for every pair."""
        c, threshold = INITIAL_C * wide(self.log_c).exp(), INITIAL_L * wide(self.log_L).exp()
        difference = offsets(query_ids, key_ids).to(c.dtype)
        reach = torch.maximum(query_ids.abs().to(c.dtype), threshold)[:, :, None]
        return difference.sign() * (c * difference.abs()).log1p() / (c * reach).log1p()

    def network(self, share: Float[Tensor, "*pair"]) -> Float[Tensor, "*pair head"]:
        """f of a share, for every head."""
        hidden = (share[..., None] * self.W_in.to(share.dtype) + self.b_in.to(share.dtype)).relu()  # [*pair 32]
        return hidden @ self.W_out.to(share.dtype)

    def bias(
        self,
        query: Float[Tensor, "batch head query d_head"],
        query_ids: Int[Tensor, "#batch query"],
        key_ids: Int[Tensor, "#batch key"],
    ) -> Float[Tensor, "#batch #head query key"]:
        return self.network(self.share(query_ids, key_ids)).permute(0, 3, 1, 2).to(query.dtype)
