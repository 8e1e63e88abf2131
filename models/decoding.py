"""Greedy decoding with cached keys and values: every token passes through the model once.

A key and a value depend on their own token and on those before it, so what one step computed stays true in the next,
and a step reads one token. The arithmetic is that of ``Decoder``; only sums are taken in another order, and a test
holds the tokens of both against each other under every encoding. Of tokens with equal logits the lowest is written.

>>> from carryproof.models.config import DecoderConfig
>>> config = DecoderConfig(d_vocab=13, n_ctx=9, d_model=8, n_heads=2, n_layers=2, encoding="rope")
>>> model = Decoder.init(config, torch.Generator().manual_seed(0))
>>> prompts = torch.tensor([[7, 3, 11], [5, 0, 11]])
>>> greedy(model, prompts, torch.arange(7)[None], steps=4).shape
torch.Size([2, 4])
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from carryproof.models.decoder import Block, Decoder, project


class Cache:
    """The rotated keys and the values of every layer, ``[layer batch head token d_head]``, filled from the left."""

    def __init__(self, model: Decoder, batch: int, tokens: int) -> None:
        config, like = model.config, model.embed.W_E
        shape = (config.n_layers, batch, config.n_heads, tokens, config.head_size)
        self.keys, self.values = like.new_empty(shape), like.new_empty(shape)
        self.filled = 0

    def branch(self, model: Decoder, texts: slice, ways: int) -> "Cache":
        """A cache of the model with what is known of some texts, each repeated for so many ways to go on."""
        layers, batch, heads, tokens, d_head = self.keys[:, texts].shape
        other, known = Cache(model, batch * ways, tokens), self.filled
        for copy, original in ((other.keys, self.keys), (other.values, self.values)):
            copy.view(layers, batch, ways, heads, tokens, d_head)[..., :known, :] = original[:, texts, None, :, :known]
        other.filled = known
        return other


@torch.inference_mode()
def greedy(
    model: Decoder, prompts: Int[Tensor, "batch prompt"], ids: Int[Tensor, "#batch token *id"], steps: int
) -> Int[Tensor, "batch steps"]:
    """The ``steps`` tokens that the model writes after prompts of equal length.

    ``ids`` are the position ids of the prompt and of what is written, of which the last token needs none. Raises
    ``ValueError`` if they are too few.
    """
    start = prompts.shape[1]
    if ids.shape[1] < start + steps - 1:
        allowed = f"at least {start + steps - 1}, for the prompt and for every written token but the last"
        raise ValueError(f"ids: got {ids.shape[1]} tokens; allowed: {allowed}")
    text = torch.cat([prompts, prompts.new_zeros(len(prompts), steps)], dim=1)
    cache = Cache(model, len(prompts), start + steps)
    for at in range(start, start + steps):
        text[:, at] = next_logits(model, text[:, cache.filled : at], ids[:, :at], cache).argmax(dim=-1)
    return text[:, start:]


def next_logits(
    model: Decoder, tokens: Int[Tensor, "batch new"], ids: Int[Tensor, "#batch key *id"], cache: Cache
) -> Float[Tensor, "batch d_vocab"]:
    """The logits after new tokens, which follow those in the cache and are added to it; ``ids`` are those of all."""
    return read_on(model, tokens, ids, cache, rows=1)[:, 0]


def read_on(
    model: Decoder, tokens: Int[Tensor, "batch new"], ids: Int[Tensor, "#batch key *id"], cache: Cache, *, rows: int
) -> Float[Tensor, "batch rows d_vocab"]:
    """As ``next_logits``, the logits at the last ``rows`` new tokens; without rows the last layer only fills the cache.

    Which rows are asked for changes nothing in the cache.
    """
    known, stop = cache.filled, ids.shape[1]
    encoding, last = model.pos_embed, len(model.blocks) - 1
    x = encoding.embed(model.embed(tokens), ids[:, known:])
    for layer, block in enumerate(model.blocks):
        assert isinstance(block, Block)
        attention, normal = block.attn, block.ln1(x)
        k = project(normal, attention.W_K, attention.b_K).transpose(1, 2)  # [batch head new d_head]
        v = project(normal, attention.W_V, attention.b_V).transpose(1, 2)
        cache.keys[layer, :, :, known:stop] = encoding.rotate(k, ids[:, known:])
        cache.values[layer, :, :, known:stop] = v
        here = slice(stop - rows if layer == last else known, stop)
        x, normal = x[:, here.start - known :], normal[:, here.start - known :]
        if x.shape[1]:
            q = encoding.rotate(project(normal, attention.W_Q, attention.b_Q).transpose(1, 2), ids[:, here])
            keys, values = cache.keys[layer, :, :, :stop], cache.values[layer, :, :, :stop]
            x = x + attention.attend(q, keys, values, ids, here, encoding)
            x = x + block.mlp(block.ln2(x))
    cache.filled = stop
    return model.unembed(model.ln_final(x))
