"""Window attention in linear time: the logits of a one-layer decoder from the few keys that each query sees.

With the window encoding a query sees a fixed number of keys, and in one layer a key is a function of its token alone.
So keys and values are tables over the vocabulary, every row gathers its own, and time and memory grow linearly with
the text. The arithmetic is that of ``Decoder`` on the same weights; only sums are taken in another order, and a test
holds the decisions of both against each other.

>>> from carryproof.models.config import DecoderConfig
>>> config = DecoderConfig(d_vocab=13, n_ctx=9, d_model=8, n_heads=2, n_layers=1, encoding="window:0+0,0-1")
>>> model = Decoder.init(config, torch.Generator().manual_seed(0))
>>> rows = RowViews(query=torch.tensor([11, 5]), keys=torch.tensor([[7, 3, 0, 0, 0, 11], [2, 1, 7, 3, 5, 11]]),
...                 seen=torch.tensor([[1, 1, 0, 0, 0, 1], [1, 1, 1, 1, 1, 1]]).bool())
>>> windowed_logits(model, rows, slot_classes=(0, 0, 1, 1, 1)).shape
torch.Size([2, 13])
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from carryproof.models.decoder import Block, Decoder, project
from carryproof.positional.window import Window

ROWS_AT_ONCE = 8_192


@dataclass(frozen=True, kw_only=True, slots=True)
class RowViews:
    """What rows see: the query's token, the tokens at the window's slots and the anchor, and which are there."""

    query: Int[Tensor, " row"]
    keys: Int[Tensor, "row slot"]
    seen: Bool[Tensor, "row slot"]


def require_windowed(model: Decoder) -> Window:
    """The window encoding of a model, or a one-line error that names the condition for a finite receptive field."""
    if not isinstance(model.pos_embed, Window):
        allowed = "a window encoding; the receptive field of any other is the whole text"
        raise ValueError(f"encoding: got {model.config.encoding!r}; allowed: {allowed}")
    if model.config.n_layers != 1:
        allowed = "1; in more layers keys carry what their own windows hold, and windows of windows are not enumerated"
        raise ValueError(f"n_layers: got {model.config.n_layers}; allowed: {allowed}")
    return model.pos_embed


def rows_of(tokens: Int[Tensor, "batch token"], keys: Int[Tensor, "answer slot"], start: int) -> Iterator[RowViews]:
    """The views of every answer row, problem by problem in chunks; row r has its query at token start - 1 + r.

    ``keys`` are token positions, negative where a slot holds nothing.
    """
    for first in range(0, len(keys), ROWS_AT_ONCE):
        chunk = keys[first : first + ROWS_AT_ONCE]
        found = tokens[:, chunk.clamp(min=0)]  # [batch answer slot]
        query = tokens[:, start - 1 + first : start - 1 + first + len(chunk)]
        seen = (chunk >= 0).expand(len(tokens), -1, -1)
        yield RowViews(query=query.flatten(), keys=found.flatten(0, 1), seen=seen.flatten(0, 1))


def windowed_logits(model: Decoder, rows: RowViews, slot_classes: Sequence[int]) -> Float[Tensor, "row d_vocab"]:
    """The logits of rows from their views; the last key is the anchor.

    Raises ``ValueError`` unless the model has one layer and a window encoding.
    """
    window = require_windowed(model)
    (block,) = model.blocks
    assert isinstance(block, Block)
    attention = block.attn
    normal = block.ln1(model.embed.W_E[None])  # [1 d_vocab d_model]
    keys = project(normal, attention.W_K, attention.b_K)[0]  # [d_vocab head d_head]
    values = project(normal, attention.W_V, attention.b_V)[0]
    queries = project(normal, attention.W_Q, attention.b_Q)[0]
    products = torch.einsum("qhd,khd->qkh", queries, keys) * queries.shape[-1] ** -0.5  # [query key head]
    kinds = torch.tensor([*slot_classes, len(window.classes)], device=rows.keys.device)
    scores = products[rows.query[:, None], rows.keys] + window.W_bias[kinds].to(products.dtype)  # [row slot head]
    pattern = scores.masked_fill(~rows.seen[..., None], -torch.inf).softmax(dim=1)
    z = torch.einsum("rsh,rshd->rhd", pattern, values[rows.keys])
    x = model.embed.W_E[rows.query]
    x = x + torch.addmm(attention.b_O, z.flatten(1), attention.W_O.flatten(0, 1))
    x = x[None]
    x = x + block.mlp(block.ln2(x))
    return model.unembed(model.ln_final(x))[0]


@torch.inference_mode()
def generate(
    model: Decoder,
    prompt: Int[Tensor, " token"],
    keys: Int[Tensor, "answer slot"],
    slot_classes: Sequence[int],
    *,
    end: int,
) -> Int[Tensor, " written"]:
    """Greedy decoding after a prompt, up to the token ``end`` or the last row of ``keys``; each token costs the same.

    Keys that stand in the answer are the tokens written before.
    """
    start = len(prompt)
    text = torch.cat([prompt, prompt.new_zeros(len(keys))])
    for row, at in enumerate(keys):
        views = RowViews(query=text[start - 1 + row][None], keys=text[at.clamp(min=0)][None], seen=(at >= 0)[None])
        text[start + row] = windowed_logits(model, views, slot_classes)[0].argmax()
        if int(text[start + row]) == end:
            return text[start : start + row + 1]
    return text[start:]
