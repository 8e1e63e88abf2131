"""The window encoding: a query sees the keys of its dependency window and an anchor, and nothing else.

An id is a vector: the axis and the place of a token as a key, then the places on every axis from which it counts as a
query (``carryproof.theory.scripts`` writes them). A class (axis a, offset d) is the keys on axis a whose place is the
query's home on a plus d. A learned number for each class and head is added to the score; all other keys are barred.
Source: ours; coupled ids after position coupling (Cho et al. 2405.20671), hard windows after Hard-ALiBi (2407.03310).

>>> encoding = Window(EncodingShape(d_model=8, n_heads=1, d_head=8, n_ctx=9), ((0, 0), (0, -1)))
>>> ids = torch.tensor([[[0, 0, -9], [0, 1, -9], [-1, 0, 0], [0, 0, 1]]])   # two digits, '=', and the first answer
>>> encoding.visible(ids, ids)[0].int().tolist()
[[1, 0, 1, 0], [0, 1, 1, 0], [1, 0, 1, 1], [1, 1, 1, 1]]
"""

from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from carryproof.positional.base import Encoding, EncodingShape

PREFIX = "window:"
ANCHOR_AXIS = -1
INITIAL_STD = 0.5


def parse(name: str) -> tuple[tuple[int, int], ...]:
    """The classes of a name.

    >>> parse("window:0+0,0-1,2+1")
    ((0, 0), (0, -1), (2, 1))
    """
    classes = []
    for part in name.removeprefix(PREFIX).split(","):
        sign = "-" if "-" in part else "+"
        axis, _, offset = part.partition(sign)
        if not (axis.isdecimal() and offset.isdecimal()):
            allowed = "window: and classes such as 0+0,0-1 (axis, sign, offset)"
            raise ValueError(f"encoding: got {name!r}; allowed: {allowed}")
        classes.append((int(axis), int(sign + offset)))
    return tuple(classes)


@final
class Window(Encoding):
    """bias = W_bias[class, head] for visible keys and minus infinity for all others; W_bias has shape [classes + 2,
    n_heads], drawn from N(0, 0.5^2): the classes, the anchor, and the query itself where it is in no class.

    Told about the task: which digits belong together and which of them are needed, that is, the dependency window; not
    what to do with them. Past the trained length: nothing changes, since places enter through differences only.
    """

    def __init__(self, shape: EncodingShape, classes: tuple[tuple[int, int], ...]) -> None:
        super().__init__()
        self.classes = classes
        self.W_bias = nn.Parameter(torch.zeros(len(classes) + 2, shape.n_heads))

    def initialize(self, generator: torch.Generator) -> None:
        nn.init.normal_(self.W_bias, std=INITIAL_STD, generator=generator)

    def _class(
        self, query_ids: Int[Tensor, "#batch query id"], key_ids: Int[Tensor, "#batch key id"]
    ) -> Int[Tensor, "#batch query key"]:
        """The class of every pair, -1 for keys that are barred."""
        axis, place = key_ids[:, None, :, 0], key_ids[:, None, :, 1]
        itself = (query_ids[:, :, None] == key_ids[:, None]).all(dim=-1)
        found = torch.where(itself, len(self.classes) + 1, -1)
        found = found.masked_fill(axis == ANCHOR_AXIS, len(self.classes))
        for index, (on, offset) in enumerate(self.classes):
            home = query_ids[:, :, None, 2 + on]
            found = found.masked_fill((axis == on) & (place == home + offset), index)
        return found

    def visible(
        self, query_ids: Int[Tensor, "#batch query id"], key_ids: Int[Tensor, "#batch key id"]
    ) -> Bool[Tensor, "#batch query key"]:
        """Which keys each query sees, the order of the text aside."""
        return self._class(query_ids, key_ids) >= 0

    def bias(
        self,
        query: Float[Tensor, "batch head query d_head"],
        query_ids: Int[Tensor, "#batch query id"],
        key_ids: Int[Tensor, "#batch key id"],
    ) -> Float[Tensor, "#batch #head query key"]:
        kind = self._class(query_ids, key_ids)  # [#batch query key]
        table = nn.functional.embedding(kind.clamp(min=0), self.W_bias).permute(0, 3, 1, 2).to(query.dtype)
        return table.masked_fill((kind < 0)[:, None], -torch.inf)
