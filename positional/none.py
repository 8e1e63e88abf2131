"""No encoding at all (NoPE): token order enters only through the causal mask.

A score is q.k / sqrt(d_head), with no position in it, so scores are trivially invariant under shifts of the ids; a
causal decoder can still count what it sees, since attention over j + 1 equal keys averages with weight 1 / (j + 1).
Source: Haviv et al. 2203.16634 and Kazemnejad et al. 2305.19466, who study its length generalization.

>>> import torch
>>> encoding = NoEncoding()
>>> heads = torch.ones(1, 1, 2, 4)
>>> encoding.rotate(heads, torch.tensor([[7, 900]])) is heads
True
"""

from typing import final

from carryproof.positional.base import Encoding, EncodingShape


@final
class NoEncoding(Encoding):
    """Every hook is the identity. Told about the task: nothing, ids included. Past the trained length: any ids are
    fine.
    """

    def __init__(self, shape: EncodingShape | None = None) -> None:
        super().__init__()
