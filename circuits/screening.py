"""Training on what a model finds hardest: many problems are read forward, and those with the largest loss are kept.

Near the end of a training nearly every problem is right by a wide margin and teaches nothing, while what still fails
may be a few problems in a million, met once or never. Reading a problem forward costs about a third of a step on it,
so a step that first looks at eight times as many costs between three and four. A problem counts by its worst token,
since one wrong token makes an answer wrong. Source: the idea of Loshchilov and Hutter 1511.06343 and Jiang et al.
1910.00762 (largest losses first); the rule is ours.

>>> Screening().first(steps=3_000), Screening().first(steps=4)
(2400, 4)
"""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn import functional

from carryproof.models.stack import Stack
from carryproof.theory.errors import bad, require_integer

AT_ONCE = 1_024


@dataclass(frozen=True, kw_only=True, slots=True)
class Screening:
    """In the last ``share`` of a training's steps, a batch is the hardest of ``candidates`` problems."""

    share: float = 0.2
    candidates: int = 2_048

    def __post_init__(self) -> None:
        require_integer("screening candidates", self.candidates, 1)
        if not 0 <= self.share <= 1:
            raise bad("screening share", self.share, "a number from 0 to 1")

    def first(self, steps: int) -> int:
        """The first step of a training that is screened."""
        return steps - int(self.share * steps)


@torch.inference_mode()
def hardest(
    stack: Stack, texts: Int[Tensor, "problem token"], start: int, count: int, dtype: torch.dtype
) -> Int[Tensor, "chosen token"]:
    """The ``count`` texts with the largest loss at their worst token from ``start`` on, hardest first.

    ``stack`` holds one decoder; it reads in ``dtype``, as training does.
    """
    ids = torch.arange(texts.shape[1] - 1, device=texts.device)[None, None]
    worst = []
    for part in texts.split(AT_ONCE):
        logits = stack.logits(part[None, :, :-1], ids, slice(start - 1, None), dtype)[0]
        losses = functional.cross_entropy(logits.flatten(0, 1), part[:, start:].flatten(), reduction="none")
        worst.append(losses.view(len(part), -1).amax(dim=1))
    return texts[torch.cat(worst).topk(count).indices]
