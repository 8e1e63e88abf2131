"""The learning curve of a model of the family: loss and exact match as it is trained, token by token of the answer.

>>> from carryproof.circuits.mixture import Mixture, draw
>>> from carryproof.models.config import DecoderConfig
>>> config = DecoderConfig(d_vocab=15, n_ctx=10, d_model=8, n_heads=2, n_layers=1, encoding="absolute")
>>> model = Decoder.init(config, torch.Generator().manual_seed(0))
>>> point = watch(model, draw(Mixture(), digits=2, seed=0, first=0, count=50), step=0, loss=2.7)
>>> point.in_range, [2 < each < 4 for each in point.tokens]          # of sign, A2, A1, A0; ln 15 = 2.7
(0.0, [True, True, True, True])
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from carryproof.circuits.texts import Problems, prompt_length, write
from carryproof.models.decoder import Decoder


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """One moment of a training: the loss of the last batch, and on a sample of the same mixture the exact match and,
    for each of the n + 2 tokens of the answer, the mean loss in nats.
    """

    step: int
    loss: float
    in_range: float
    tokens: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """As plain data; a loss that is not finite is None."""
        loss, *tokens = (each if math.isfinite(each) else None for each in (self.loss, *self.tokens))
        return {"step": self.step, "loss": loss, "in_range": self.in_range, "tokens": tokens}


@torch.inference_mode()
def watch(model: Decoder, problems: Problems, *, step: int, loss: float) -> Point:
    """What a model does on some problems, in single precision: for people to see, never to choose anything by."""
    texts = torch.from_numpy(write(problems)).to(model.embed.W_E.device)
    start = prompt_length(problems.digits)
    answers = texts[:, start:]
    logits = model(texts[:, :-1])[:, start - 1 :]
    losses = functional.cross_entropy(logits.transpose(1, 2), answers, reduction="none").mean(dim=0)
    right = (logits.argmax(-1) == answers).all(dim=1)
    return Point(step=step, loss=loss, in_range=float(right.float().mean()), tokens=tuple(losses.tolist()))
