"""Decoders of one configuration, computed together and quickly: the path that training takes.

``Stack.logits`` is ``Decoder.forward`` for every model of the stack, up to rounding, with a leading model dimension.
Weights are cast once a call; what the first layer's attention reads is a function of (token, position), hence a table
over the vocabulary wherever all texts share their position ids; the last layer's queries, MLP and logits exist at the
asked rows only; attention is written out, because at these lengths fused kernels are several times slower on a CPU. No
hook is called: to look inside, use the decoder. Source: ours.

>>> from carryproof.models.config import DecoderConfig
>>> config = DecoderConfig(d_vocab=14, n_ctx=24, d_model=8, n_heads=2, n_layers=2, encoding="alibi")
>>> model = Decoder.init(config, torch.Generator().manual_seed(0))
>>> tokens, ids = torch.randint(14, (20, 6)), torch.arange(6)[None]
>>> quick = Stack([model]).logits(tokens[None], ids[None], slice(4, 6), torch.float32)
>>> quick.shape, bool(torch.allclose(quick[0], model(tokens, rows=slice(4, 6)), atol=1e-5))
(torch.Size([1, 20, 2, 14]), True)
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from carryproof.models.decoder import ACTIVATIONS, EPSILON, EVERY_ROW, Decoder
from carryproof.positional import Encoding

Weights = dict[str, Tensor]  # by the decoder's names, with a leading model dimension
Heads = tuple[Tensor, Tensor, Tensor]  # queries, keys and values, [model batch token inner], all heads side by side


class Stack:
    """One or more decoders of equal configuration. They stay the masters: their parameters receive the gradients."""

    def __init__(self, models: Sequence[Decoder]) -> None:
        if not models:
            raise ValueError("models: got none; allowed: one or more decoders")
        for model in models:
            if model.config != models[0].config:
                raise ValueError(f"models: got {model.config}; allowed: decoders of equal configuration")
        self.models, self.config = tuple(models), models[0].config
        named = [dict(model.named_parameters()) for model in models]
        self._parameters = {
            name: [each[name] for each in named] for name in named[0] if not name.startswith("pos_embed.")
        }

    def weights(self, dtype: torch.dtype) -> Weights:
        """Every weight but the encoding's, stacked and cast; gradients flow back through both."""
        return {name: stacked([each.to(dtype) for each in same]) for name, same in self._parameters.items()}

    def logits(
        self,
        tokens: Int[Tensor, "model batch token"],
        ids: Int[Tensor, "model #batch token *id"],
        rows: slice,
        dtype: torch.dtype,
    ) -> Float[Tensor, "model batch row d_vocab"]:
        """Logits of the next token at ``rows``, in single precision; all but the unembedding is computed in ``dtype``.

        ``ids`` are position ids, one row of them for every text of a model or one for all.
        """
        w = self.weights(dtype)
        cut = [EVERY_ROW] * (self.config.n_layers - 1) + [rows]
        if ids.shape[1] == 1 and self.config.d_vocab < tokens.shape[1]:
            x, heads = self._look_up(w, tokens, ids, cut[0])
        else:
            x = self._embed(w, tokens, ids)
            heads = self.read(w, 0, x, ids, cut[0])
        for layer, here in enumerate(cut):
            if layer:
                heads = self.read(w, layer, x, ids, here)
            W_O, b_O = w[f"blocks.{layer}.attn.W_O"], w[f"blocks.{layer}.attn.b_O"]
            x = x[:, :, here] + affine(self._attend(heads, ids, here), W_O.flatten(1, 2), b_O)
            x = x + self.mlp(w, layer, x)
        return self.unembed(w, x)

    def _look_up(
        self, w: Weights, tokens: Int[Tensor, "model batch token"], ids: Int[Tensor, "model 1 token *id"], rows: slice
    ) -> tuple[Float[Tensor, "model batch token d_model"], Heads]:
        """The residual stream before the first layer and what its attention reads, from tables over (token, position).

        The texts whose tokens are all equal, one for each token, hold every entry of the tables.
        """
        models, _, length = tokens.shape
        vocabulary = self.config.d_vocab
        constant = torch.arange(vocabulary, device=tokens.device)[:, None].expand(models, vocabulary, length)
        x = self._embed(w, constant, ids)
        joined = torch.cat([x, *self.read(w, 0, x, ids, EVERY_ROW)], dim=-1)  # [model vocabulary token wide]
        entry = tokens * length + torch.arange(length, device=tokens.device)
        found = functional.embedding(numbered(entry, vocabulary * length), joined.flatten(0, 2))
        inner = self.config.n_heads * self.config.head_size
        residual, q, k, v = found.split([self.config.d_model, inner, inner, inner], dim=-1)
        return residual, (q[:, :, rows], k, v)

    def _embed(
        self, w: Weights, tokens: Int[Tensor, "model batch token"], ids: Int[Tensor, "model #batch token *id"]
    ) -> Float[Tensor, "model batch token d_model"]:
        """The residual stream before the first layer."""
        W_E = w["embed.W_E"]
        x = functional.embedding(numbered(tokens, W_E.shape[1]), W_E.flatten(0, 1))
        if not self._fills_in("embed"):
            return x
        return stacked([model.pos_embed.embed(*own) for model, *own in zip(self.models, x, ids, strict=True)])

    def read(
        self, w: Weights, layer: int, x: Float[Tensor, "model batch key d_model"], ids: Tensor, rows: slice
    ) -> Heads:
        """Queries at ``rows``, keys and values of a layer, all heads side by side; one product where rows are all."""
        prefix = f"blocks.{layer}.attn."
        normal = self._norm(w, f"blocks.{layer}.ln1.", x)
        W = [w[prefix + name].transpose(1, 2).flatten(2) for name in ("W_Q", "W_K", "W_V")]  # [model d_model inner]
        b = [w[prefix + name].flatten(1) for name in ("b_Q", "b_K", "b_V")]
        if rows == EVERY_ROW:
            q, k, v = affine(normal, torch.cat(W, dim=2), torch.cat(b, dim=1)).chunk(3, dim=-1)
        else:
            q = affine(normal[:, :, rows], W[0], b[0])
            k, v = affine(normal, torch.cat(W[1:], dim=2), torch.cat(b[1:], dim=1)).chunk(2, dim=-1)
        if self._fills_in("rotate"):
            q, k = self._rotate(q, ids[:, :, rows]), self._rotate(k, ids)
        return q, k, v

    def _rotate(
        self, x: Float[Tensor, "model batch token inner"], ids: Int[Tensor, "model #batch token *id"]
    ) -> Float[Tensor, "model batch token inner"]:
        turned = [model.pos_embed.rotate(*own) for model, *own in zip(self.models, self.by_head(x), ids, strict=True)]
        return stacked(turned).transpose(2, 3).flatten(3)

    def by_head(self, x: Float[Tensor, "model batch token inner"]) -> Float[Tensor, "model batch head token d_head"]:
        return x.unflatten(-1, (self.config.n_heads, self.config.head_size)).transpose(2, 3)

    def _attend(self, heads: Heads, ids: Int[Tensor, "model #batch key *id"], rows: slice) -> Tensor:
        """What the heads bring to each query, all heads side by side: [model batch query inner]."""
        q, k, v = (self.by_head(each) for each in heads)
        order = torch.arange(k.shape[3], device=k.device)
        future = order > order[rows, None]  # [query key]
        barred = torch.zeros((), device=k.device)
        if self._fills_in("bias"):
            biases = [
                model.pos_embed.bias(*own) for model, *own in zip(self.models, q, ids[:, :, rows], ids, strict=True)
            ]
            barred = stacked([each for each in biases if each is not None]).float()
        barred = barred.masked_fill(future, -torch.inf)  # [#model #batch #head query key], single precision
        scores = torch.bmm(q.flatten(0, 2), k.flatten(0, 2).transpose(1, 2)).view(*q.shape[:4], -1)
        pattern = torch.add(barred, scores, alpha=q.shape[-1] ** -0.5).softmax(-1).to(v.dtype)
        z = torch.bmm(pattern.flatten(0, 2), v.flatten(0, 2)).view(q.shape)  # [model batch head query d_head]
        return z.transpose(2, 3).flatten(3)

    def mlp(self, w: Weights, layer: int, x: Float[Tensor, "model batch token d_model"]) -> Tensor:
        prefix = f"blocks.{layer}.mlp."
        normal = self._norm(w, f"blocks.{layer}.ln2.", x)
        post = ACTIVATIONS[self.config.activation](affine(normal, w[prefix + "W_in"], w[prefix + "b_in"]))
        return affine(post, w[prefix + "W_out"], w[prefix + "b_out"])

    def unembed(
        self, w: Weights, x: Float[Tensor, "model batch row d_model"]
    ) -> Float[Tensor, "model batch row d_vocab"]:
        """The logits, in single precision: half precision would tie them."""
        W_U, b_U = (stacked(self._parameters[name]) for name in ("unembed.W_U", "unembed.b_U"))
        return affine(self._norm(w, "ln_final.", x).float(), W_U, b_U)

    def _norm(self, w: Weights, prefix: str, x: Float[Tensor, "model batch token d_model"]) -> Tensor:
        weight, shape = w[prefix + "w"], x.shape[-1:]
        if self.config.normalization == "RMS":
            return functional.rms_norm(x, shape, None, EPSILON) * weight[:, None, None]
        if len(weight) == 1:
            return functional.layer_norm(x, shape, weight[0], w[prefix + "b"][0], EPSILON)
        return torch.addcmul(
            w[prefix + "b"][:, None, None], functional.layer_norm(x, shape, eps=EPSILON), weight[:, None, None]
        )

    def _fills_in(self, hook: str) -> bool:
        """Whether the encoding has a hook of its own, so that identities cost nothing."""
        return getattr(type(self.models[0].pos_embed), hook) is not getattr(Encoding, hook)


def affine(
    x: Float[Tensor, "model batch token input"],
    W: Float[Tensor, "model input output"],
    b: Float[Tensor, "model output"],
) -> Float[Tensor, "model batch token output"]:
    """x W + b, one product for all texts; a stack of one takes the plain product, which is quicker."""
    alone = len(W) == 1
    product = torch.addmm(b[0], x.flatten(0, 2), W[0]) if alone else torch.baddbmm(b[:, None], x.flatten(1, 2), W)
    return product.view(*x.shape[:3], -1)


def stacked(same: Sequence[Tensor]) -> Tensor:
    """Tensors of each model along a leading dimension, without a copy where there is one."""
    return same[0][None] if len(same) == 1 else torch.stack(tuple(same))


def numbered(index: Int[Tensor, "model batch token"], size: int) -> Int[Tensor, "model batch token"]:
    """Rows of tables of ``size`` rows, one table a model, as rows of the tables below each other."""
    return index + size * torch.arange(len(index), device=index.device)[:, None, None]
