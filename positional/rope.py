"""Rotary encoding (RoPE): each pair of channels of queries and keys is rotated by an angle proportional to the id.

With R(i) the rotation by i * omega, (R(i) q) . (R(j) k) = q . R(j - i) k, because R(i)^T R(j) = R(j - i): the score
depends on the contents and on the difference of the ids only, exactly as if one had rotated the key by j - i.
Source: Su et al. 2104.09864, equation 34; the pairs are adjacent channels, as there.

>>> import torch
>>> rope = Rotary(EncodingShape(d_model=2, n_heads=1, d_head=2, n_ctx=8))
>>> rope.rotate(torch.tensor([[[[1.0, 0.0], [1.0, 0.0]]]]), torch.tensor([[0, 1]]))[0, 0].tolist()  # (cos, sin)
[[1.0, 0.0], [0.5403022766113281, 0.8414709568023682]]
"""

from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from carryproof.positional.base import Encoding, EncodingShape, angles, geometric_frequencies


@final
class Rotary(Encoding):
    """Channels 2c and 2c+1 of a head turn by id * 10000^(-2c/d_head). No parameters; d_head must be even.

    Told about the task: differences of ids. Past the trained length: defined for every integer id; a difference
    larger than any trained one meets angles the slow pairs have never seen.
    """

    def __init__(self, shape: EncodingShape) -> None:
        super().__init__()
        if shape.d_head % 2:
            raise ValueError(
                f"d_head: got {shape.d_head}; allowed: an even number, because rotary encoding turns pairs of channels"
            )
        self.frequencies = geometric_frequencies(shape.d_head)

    def rotate(
        self, heads: Float[Tensor, "batch head token d_head"], ids: Int[Tensor, "#batch token"]
    ) -> Float[Tensor, "batch head token d_head"]:
        phase = angles(ids, self.frequencies)[:, None]  # [#batch 1 token pair]
        # One complex product is four times as fast here as sines and cosines on slices; it has no half precision.
        wide = heads if heads.dtype == torch.float64 else heads.float()
        turn = torch.polar(torch.ones_like(phase), phase).to(wide.dtype.to_complex())
        pairs = torch.view_as_complex(wide.contiguous().unflatten(-1, (-1, 2)))  # [batch head token pair]
        return torch.view_as_real(pairs * turn).flatten(-2).to(heads.dtype)  # [batch head token d_head]
