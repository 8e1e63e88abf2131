"""Window attention as training computes it: the logits of a one-layer decoder's rows, its weights cast once a call.

``QuickWindow.logits`` is ``windowed_logits``, up to rounding, as ``Stack.logits`` is the decoder. A key is a function
of its token, so scores are entries of a table over pairs of tokens. Where the vocabulary is small, what attention
reads is the pattern, spread over it, times the values; gathering those would add row by row on the way back. Source:
ours.

>>> from carryproof.models.config import DecoderConfig
>>> from carryproof.models.windowed import windowed_logits
>>> config = DecoderConfig(d_vocab=13, n_ctx=9, d_model=8, n_heads=2, n_layers=1, encoding="window:0+0,0-1")
>>> model = Decoder.init(config, torch.Generator().manual_seed(0))
>>> rows = RowViews(query=torch.tensor([11, 5]), keys=torch.tensor([[7, 3, 0, 11], [2, 1, 7, 11]]),
...                 seen=torch.tensor([[1, 1, 0, 1], [1, 1, 1, 1]]).bool())
>>> quick = QuickWindow(model, slot_classes=(0, 0, 1)).logits(rows, torch.bfloat16)
>>> quick.dtype, bool(torch.allclose(quick, windowed_logits(model, rows, (0, 0, 1)), atol=0.05))
(torch.float32, True)
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from carryproof.models.decoder import EVERY_ROW, Decoder
from carryproof.models.stack import Stack, Weights, affine
from carryproof.models.windowed import RowViews, require_windowed

GATHERED_FROM = 64  # the vocabulary from which on spreading was measured to cost more than gathering


class QuickWindow:
    """A decoder with one layer and a window encoding. It stays the master: its parameters receive the gradients.

    ``slot_classes`` are the classes of a row's keys; the last key, the anchor, has one of its own. Raises
    ``ValueError`` where the model has more layers or another encoding.
    """

    def __init__(self, model: Decoder, slot_classes: Sequence[int]) -> None:
        self.window = require_windowed(model)
        self.stack = Stack([model])
        self.kinds = torch.tensor([*slot_classes, len(self.window.classes)], device=self.window.W_bias.device)

    def logits(self, rows: RowViews, dtype: torch.dtype) -> Float[Tensor, "row d_vocab"]:
        """The logits of rows, in single precision; all but scores, softmax and unembedding is computed in ``dtype``."""
        w = self.stack.weights(dtype)  # with a leading model dimension, here of one
        z = self._attend(w, rows)[None, None]
        attention = affine(z, w["blocks.0.attn.W_O"].flatten(1, 2), w["blocks.0.attn.b_O"])
        x = functional.embedding(rows.query, w["embed.W_E"][0]) + attention  # [1 1 row d_model]
        return self.stack.unembed(w, x + self.stack.mlp(w, 0, x))[0, 0]

    def _attend(self, w: Weights, rows: RowViews) -> Float[Tensor, "row inner"]:
        """What the heads bring to each row, all heads side by side."""
        vocabulary = w["embed.W_E"][:, None]  # every token as a text of its own
        heads = self.stack.read(w, 0, vocabulary, rows.keys, EVERY_ROW)
        q, k, v = (self.stack.by_head(each)[0, 0] for each in heads)  # [head d_vocab d_head]
        count, size, _ = q.shape
        pairs = torch.bmm(q, k.transpose(1, 2)).float() * q.shape[-1] ** -0.5  # [head query key]
        head = torch.arange(count, device=q.device)[:, None, None]
        entry = (head * size + rows.query[:, None]) * size + rows.keys  # [head row slot]
        scores = (
            pairs.flatten().gather(0, entry.flatten()).view(entry.shape) + self.window.W_bias[self.kinds].T[:, None]
        )
        pattern = scores.masked_fill(~rows.seen, -torch.inf).softmax(-1)
        pattern = pattern.to(v.dtype)
        if size >= GATHERED_FROM:
            values = functional.embedding(rows.keys, v.transpose(0, 1).flatten(1)).unflatten(2, (count, -1))
            return (pattern.permute(1, 2, 0)[..., None] * values).sum(1).flatten(1)
        spread = pattern.new_zeros(count, len(rows.query), size).scatter_add(2, rows.keys.expand(entry.shape), pattern)
        return torch.bmm(spread, v).transpose(0, 1).flatten(1)
