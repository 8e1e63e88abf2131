"""A pre-LN transformer decoder with TransformerLens names, and three calls into its positional encoding.

Residual stream x, in every layer: x += attention(norm(x)), then x += mlp(norm(x)); logits are unembed(norm(x)),
untied. Attention of query i over keys j <= i (in token order, whatever the ids) is softmax(R(q_i) . R(k_j) /
sqrt(d_head) + bias(i, j)). Sources: Radford et al. 2019 (GPT-2) for the block, Nanda and Bloom's TransformerLens for
the names.

>>> config = DecoderConfig(d_vocab=14, n_ctx=24, d_model=8, n_heads=2, n_layers=1, encoding="alibi")
>>> model = Decoder.init(config, torch.Generator().manual_seed(0))
>>> tokens = torch.tensor([[1, 2, 10, 3, 4, 11]])
>>> model(tokens).shape, model(tokens, rows=slice(4, 6)).shape
(torch.Size([1, 6, 14]), torch.Size([1, 2, 14]))
>>> logits, cache = model.run_with_cache(tokens)
>>> cache["blocks.0.attn.hook_pattern"].shape       # [batch head query key]
torch.Size([1, 2, 6, 6])
"""

from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from carryproof.models.config import DecoderConfig
from carryproof.positional import Encoding, build

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": functional.relu, "gelu": functional.gelu}
EPSILON = 1e-5
EVERY_ROW = slice(None)


def empty(*shape: int) -> nn.Parameter:
    """A parameter of zeros: building a module draws no random numbers."""
    return nn.Parameter(torch.zeros(*shape))


class HookPoint(nn.Module):
    """The identity, at a place where an activation can be read or replaced. `name` is its path in the model."""

    name: str = ""

    def forward(self, activation: Tensor) -> Tensor:
        return activation

    @property
    def hooked(self) -> bool:
        return bool(self._forward_hooks)


HookFunction = Callable[[Tensor, HookPoint], Tensor | None]


class LayerNorm(nn.Module):
    """(x - mean) / scale * w + b with scale = sqrt(variance + 1e-5)."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.w, self.b = nn.Parameter(torch.ones(d_model)), empty(d_model)
        self.hook_scale, self.hook_normalized = HookPoint(), HookPoint()

    def forward(self, x: Float[Tensor, "batch token d_model"]) -> Float[Tensor, "batch token d_model"]:
        if self.hook_scale.hooked:  # the fused kernel does not show its scale
            centred = x - x.mean(-1, keepdim=True)
            scale = self.hook_scale((centred.square().mean(-1, keepdim=True) + EPSILON).sqrt())
            return self.hook_normalized(centred / scale * self.w + self.b)
        return self.hook_normalized(functional.layer_norm(x, self.w.shape, self.w, self.b, EPSILON))


class RMSNorm(nn.Module):
    """x / scale * w with scale = sqrt(mean of squares + 1e-5) (Zhang and Sennrich 1910.07467)."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(d_model))
        self.hook_scale, self.hook_normalized = HookPoint(), HookPoint()

    def forward(self, x: Float[Tensor, "batch token d_model"]) -> Float[Tensor, "batch token d_model"]:
        if self.hook_scale.hooked:
            scale = self.hook_scale((x.square().mean(-1, keepdim=True) + EPSILON).sqrt())
            return self.hook_normalized(x / scale * self.w)
        return self.hook_normalized(functional.rms_norm(x, self.w.shape, self.w, EPSILON))


NORMALIZATIONS: dict[str, Callable[[int], nn.Module]] = {"LN": LayerNorm, "RMS": RMSNorm}


def project(
    x: Float[Tensor, "batch token d_model"], W: Float[Tensor, "head d_model d_head"], b: Float[Tensor, "head d_head"]
) -> Float[Tensor, "batch token head d_head"]:
    """x W_h + b_h for all heads in one matrix product."""
    matrix = W.transpose(0, 1).flatten(1)  # [d_model, head * d_head]
    return torch.addmm(b.flatten(), x.flatten(0, 1), matrix).unflatten(0, x.shape[:2]).unflatten(-1, b.shape)


class Attention(nn.Module):
    """Causal multi-head attention. Hook shapes: q, k, v, z [batch token head d_head]; attn_scores, pattern [batch
    head query key].
    """

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        heads, d_model, d_head = config.n_heads, config.d_model, config.head_size
        self.W_Q, self.b_Q = empty(heads, d_model, d_head), empty(heads, d_head)
        self.W_K, self.b_K = empty(heads, d_model, d_head), empty(heads, d_head)
        self.W_V, self.b_V = empty(heads, d_model, d_head), empty(heads, d_head)
        self.W_O, self.b_O = empty(heads, d_head, d_model), empty(d_model)
        self.hook_q, self.hook_k, self.hook_v = HookPoint(), HookPoint(), HookPoint()
        self.hook_attn_scores, self.hook_pattern, self.hook_z = HookPoint(), HookPoint(), HookPoint()

    def forward(
        self, x: Float[Tensor, "batch key d_model"], ids: Int[Tensor, "#batch key *id"], rows: slice, encoding: Encoding
    ) -> Float[Tensor, "batch query d_model"]:
        q = self.hook_q(project(x[:, rows], self.W_Q, self.b_Q)).transpose(1, 2)  # [batch head query d_head]
        k = self.hook_k(project(x, self.W_K, self.b_K)).transpose(1, 2)  # [batch head key d_head]
        v = self.hook_v(project(x, self.W_V, self.b_V)).transpose(1, 2)  # [batch head key d_head]
        q, k = encoding.rotate(q, ids[:, rows]), encoding.rotate(k, ids)
        return self.attend(q, k, v, ids, rows, encoding)

    def attend(
        self,
        q: Float[Tensor, "batch head query d_head"],
        k: Float[Tensor, "batch head key d_head"],
        v: Float[Tensor, "batch head key d_head"],
        ids: Int[Tensor, "#batch key *id"],
        rows: slice,
        encoding: Encoding,
    ) -> Float[Tensor, "batch query d_model"]:
        """What the queries, those of the tokens `rows`, bring to the residual stream; q and k come after `rotate`."""
        return self.write(self.mix(q, k, v, ids, rows, encoding))

    def mix(
        self,
        q: Float[Tensor, "batch head query d_head"],
        k: Float[Tensor, "batch head key d_head"],
        v: Float[Tensor, "batch head key d_head"],
        ids: Int[Tensor, "#batch key *id"],
        rows: slice,
        encoding: Encoding,
    ) -> Float[Tensor, "batch query head d_head"]:
        """The mean of the values that each head takes, for every query, from keys up to its own."""
        order = torch.arange(k.shape[2], device=k.device)
        future = order > order[rows, None]  # [query key]
        bias = encoding.bias(q, ids[:, rows], ids)
        barred = q.new_zeros(()) if bias is None else bias
        barred = barred.masked_fill(future, -torch.inf)  # [#batch #head query key]
        scores = torch.add(barred, q @ k.transpose(2, 3), alpha=q.shape[-1] ** -0.5)
        pattern = self.hook_pattern(self.hook_attn_scores(scores).softmax(-1))
        return self.hook_z((pattern.to(v.dtype) @ v).transpose(1, 2))  # [batch query head d_head]

    def write(self, z: Float[Tensor, "batch query head d_head"]) -> Float[Tensor, "batch query d_model"]:
        """What the heads add to the residual stream, all together."""
        return torch.addmm(self.b_O, z.flatten(2).flatten(0, 1), self.W_O.flatten(0, 1)).unflatten(0, z.shape[:2])


class MLP(nn.Module):
    """activation(x W_in + b_in) W_out + b_out."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.W_in, self.b_in = empty(config.d_model, config.mlp_size), empty(config.mlp_size)
        self.W_out, self.b_out = empty(config.mlp_size, config.d_model), empty(config.d_model)
        self.hook_pre, self.hook_post = HookPoint(), HookPoint()
        self.activation = ACTIVATIONS[config.activation]

    def forward(self, x: Float[Tensor, "batch token d_model"]) -> Float[Tensor, "batch token d_model"]:
        return self.write(self.neurons(x))

    def neurons(self, x: Float[Tensor, "batch token d_model"]) -> Float[Tensor, "batch token d_mlp"]:
        """What each neuron says."""
        return self.hook_post(self.activation(self.hook_pre(functional.linear(x, self.W_in.T, self.b_in))))

    def write(self, post: Float[Tensor, "batch token d_mlp"]) -> Float[Tensor, "batch token d_model"]:
        """What the neurons add to the residual stream, all together."""
        return functional.linear(post, self.W_out.T, self.b_out)


class Block(nn.Module):
    """One layer: attention, then the MLP, each reading a normalized copy of the residual stream and adding to it."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        normalization = NORMALIZATIONS[config.normalization]
        self.ln1, self.attn = normalization(config.d_model), Attention(config)
        self.ln2, self.mlp = normalization(config.d_model), MLP(config)
        self.hook_resid_pre, self.hook_attn_out = HookPoint(), HookPoint()
        self.hook_resid_mid, self.hook_mlp_out, self.hook_resid_post = HookPoint(), HookPoint(), HookPoint()

    def forward(
        self, x: Float[Tensor, "batch key d_model"], ids: Int[Tensor, "#batch key *id"], rows: slice, encoding: Encoding
    ) -> Float[Tensor, "batch query d_model"]:
        x = self.hook_resid_pre(x)
        x = self.hook_resid_mid(x[:, rows] + self.hook_attn_out(self.attn(self.ln1(x), ids, rows, encoding)))
        return self.hook_resid_post(x + self.hook_mlp_out(self.mlp(self.ln2(x))))


class Embed(nn.Module):
    """Token ids to rows of W_E."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.W_E = empty(config.d_vocab, config.d_model)

    def forward(self, tokens: Int[Tensor, "batch token"]) -> Float[Tensor, "batch token d_model"]:
        return functional.embedding(tokens, self.W_E)


class Unembed(nn.Module):
    """The normalized residual stream to logits."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.W_U, self.b_U = empty(config.d_model, config.d_vocab), empty(config.d_vocab)

    def forward(self, x: Float[Tensor, "batch token d_model"]) -> Float[Tensor, "batch token d_vocab"]:
        return functional.linear(x, self.W_U.T, self.b_U)


class Decoder(nn.Module):
    """The model. `Decoder(config)` has zeros for weights; `Decoder.init` draws them, `carryproof.models.load` reads
    them. `about` is what its checkpoint says of it, such as what it was trained on.
    """

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.about: dict[str, Any] = {}
        self.embed, self.unembed = Embed(config), Unembed(config)
        self.pos_embed = build(config.encoding, config.encoding_shape)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.ln_final = NORMALIZATIONS[config.normalization](config.d_model)
        self.hook_embed, self.hook_pos_embed = HookPoint(), HookPoint()
        for name, point in self.hook_points().items():
            point.name = name

    @classmethod
    def init(cls, config: DecoderConfig, generator: torch.Generator) -> "Decoder":
        """A model with freshly drawn weights; equal generators give equal weights."""
        model = cls(config)
        initialize(model, generator)
        return model

    def forward(
        self,
        tokens: Int[Tensor, "batch token"],
        ids: Int[Tensor, "#batch token *id"] | None = None,
        rows: slice | None = None,
    ) -> Float[Tensor, "batch row d_vocab"]:
        """Logits of the next token. `ids` are position ids (default 0, 1, 2, ...); with `rows`, only those token rows
        are computed where the last layer has a choice: its queries, MLP and logits (keys and values always come from
        every token).
        """
        if ids is None:
            ids = torch.arange(tokens.shape[1], device=tokens.device)[None]
        x = self.hook_embed(self.embed(tokens))
        placed = self.pos_embed.embed(x, ids)
        if self.hook_pos_embed.hooked:  # as a hook sees it, the encoding's share of the residual stream
            placed = x + self.hook_pos_embed(placed - x)
        x = placed
        last = len(self.blocks) - 1
        for layer, block in enumerate(self.blocks):
            x = block(x, ids, rows if rows is not None and layer == last else EVERY_ROW, self.pos_embed)
        return self.unembed(self.ln_final(x))

    def hook_points(self) -> dict[str, HookPoint]:
        """Every place that can be hooked, by name, in the order in which they were built."""
        return {name: module for name, module in self.named_modules() if isinstance(module, HookPoint)}

    def run_with_hooks(
        self,
        tokens: Int[Tensor, "batch token"],
        ids: Int[Tensor, "#batch token *id"] | None = None,
        *,
        fwd_hooks: Sequence[tuple[str, HookFunction]] = (),
    ) -> Float[Tensor, "batch token d_vocab"]:
        """Logits while each (name, function) runs at its hook: function(activation, hook) may return a replacement."""
        points = self.hook_points()
        handles = []
        try:
            for name, function in fwd_hooks:
                if name not in points:
                    near = get_close_matches(name, points, n=1) or ["hook_embed"]
                    raise ValueError(f"fwd_hooks: unknown name {name!r}; allowed: hook names such as {near[0]!r}")
                handles.append(points[name].register_forward_hook(torch_hook(function)))
            return self(tokens, ids)
        finally:
            for handle in handles:
                handle.remove()

    def run_with_cache(
        self,
        tokens: Int[Tensor, "batch token"],
        ids: Int[Tensor, "#batch token *id"] | None = None,
        *,
        names: Iterable[str] | None = None,
    ) -> tuple[Float[Tensor, "batch token d_vocab"], dict[str, Tensor]]:
        """Logits and a dictionary from hook name to (detached) activation: of all hooks, or of those named."""
        cache: dict[str, Tensor] = {}

        def keep(activation: Tensor, hook: HookPoint) -> None:
            cache[hook.name] = activation.detach()

        wanted = self.hook_points() if names is None else names
        return self.run_with_hooks(tokens, ids, fwd_hooks=[(name, keep) for name in wanted]), cache


def torch_hook(function: HookFunction) -> Callable[[HookPoint, Any, Tensor], Tensor | None]:
    """The same function with the arguments that torch passes."""
    return lambda point, _inputs, activation: function(activation, point)


def initialize(model: Decoder, generator: torch.Generator) -> None:
    """Draw every weight, in place: token embeddings N(0, 0.2^2), matrices N(0, 0.5 / inputs), those that write to the
    residual stream smaller by sqrt(2 n_layers); biases stay 0 and normalization weights 1, and the encoding draws its
    own.

    (GPT-2's 0.02 for everything suits widths near 1,000; at width 64 it loses hundreds of steps.)
    """
    config = model.config
    to_residual = (2 * config.n_layers) ** -0.5
    std = dict.fromkeys(("W_Q", "W_K", "W_V", "W_in", "W_U"), (0.5 / config.d_model) ** 0.5)
    std["W_O"] = (0.5 / (config.n_heads * config.head_size)) ** 0.5 * to_residual
    std["W_out"] = (0.5 / config.mlp_size) ** 0.5 * to_residual
    std["W_E"] = 0.2
    for name, parameter in model.named_parameters():
        leaf = name.rsplit(".", 1)[-1]
        if leaf in std and not name.startswith("pos_embed."):
            nn.init.normal_(parameter, std=std[leaf], generator=generator)
    model.pos_embed.initialize(generator)
