"""The baseline that speed is held against: a GPT of plain modules, its training step and its way of writing text.

It is what nanoGPT (Karpathy 2022) computes, written anew: one projection to queries, keys and values, fused attention,
GELU, layer norms before each half of a block, a head tied to the embeddings, logits of every token, single precision,
AdamW from torch with clipped gradients, and text written token by token by whole forward passes. A decoder with
absolute positions, GELU, layer norms and a tied head without a bias computes the same function.

>>> config = DecoderConfig(
...     d_vocab=17, n_ctx=12, d_model=8, n_heads=2, n_layers=1, encoding="absolute", activation="gelu"
... )
>>> model = GPT(config, torch.Generator().manual_seed(0))
>>> model(torch.zeros(3, 12, dtype=torch.int64)).shape
torch.Size([3, 12, 17])
>>> generate(model, torch.zeros(3, 5, dtype=torch.int64), 4).shape    # four tokens behind each prompt
torch.Size([3, 9])
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from carryproof.models.config import DecoderConfig
from carryproof.models.decoder import Decoder
from carryproof.theory.errors import bad

UNSCORED = -100  # the target of a row that is not scored
BETAS = (0.9, 0.95)
WEIGHT_DECAY = 0.1
CLIP = 1.0
STD = 0.02

# From tokens [batch token] to logits [batch token d_vocab].
Logits = Callable[[Int[Tensor, "batch token"]], Float[Tensor, "batch token d_vocab"]]


class SelfAttention(nn.Module):
    """Causal attention by torch's fused kernel."""

    def __init__(self, d_model: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.qkv, self.out = nn.Linear(d_model, 3 * d_model), nn.Linear(d_model, d_model)

    def forward(self, x: Float[Tensor, "batch token d_model"]) -> Float[Tensor, "batch token d_model"]:
        q, k, v = (
            part.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)  # [batch head token d_head]
            for part in self.qkv(x).chunk(3, dim=-1)
        )
        z = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(z.transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """One block: attention, then the MLP, each on a normalized copy of what it adds to."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        d_model = config.d_model
        self.norm_attention, self.norm_mlp = nn.LayerNorm(d_model), nn.LayerNorm(d_model)
        self.attention = SelfAttention(d_model, config.n_heads)
        self.mlp = nn.Sequential(nn.Linear(d_model, config.mlp_size), nn.GELU(), nn.Linear(config.mlp_size, d_model))

    def forward(self, x: Float[Tensor, "batch token d_model"]) -> Float[Tensor, "batch token d_model"]:
        x = x + self.attention(self.norm_attention(x))
        return x + self.mlp(self.norm_mlp(x))


class GPT(nn.Module):
    """The model, of the sizes of a decoder's configuration; weights N(0, 0.02^2), smaller where a layer writes.

    Raises ``ValueError`` for a configuration that it cannot be: other encodings, activations, norms or head sizes.
    """

    def __init__(self, config: DecoderConfig, generator: torch.Generator) -> None:
        super().__init__()
        for name, only in (("encoding", "absolute"), ("activation", "gelu"), ("normalization", "LN")):
            if getattr(config, name) != only:
                raise bad(name, getattr(config, name), f"{only} in the baseline")
        if config.n_heads * config.head_size != config.d_model:
            raise bad("d_head", config.d_head, f"d_model / n_heads = {config.d_model / config.n_heads:g} here")
        self.config = config
        self.tokens = nn.Embedding(config.d_vocab, config.d_model)
        self.positions = nn.Embedding(config.n_ctx, config.d_model)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.n_layers))
        self.norm = nn.LayerNorm(config.d_model)
        self.head = nn.Linear(config.d_model, config.d_vocab, bias=False)
        self.head.weight = self.tokens.weight
        for name, weight in self.named_parameters():
            if name.endswith(".bias"):
                nn.init.zeros_(weight)
            elif weight.dim() > 1:
                writes = name.endswith(("attention.out.weight", "mlp.2.weight"))
                std = STD * (2 * config.n_layers) ** -0.5 if writes else STD
                nn.init.normal_(weight, std=std, generator=generator)

    def hidden(self, tokens: Int[Tensor, "batch token"]) -> Float[Tensor, "batch token d_model"]:
        """The normalized residual stream behind the last layer."""
        x = self.tokens(tokens) + self.positions(torch.arange(tokens.shape[1], device=tokens.device))
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)

    def forward(self, tokens: Int[Tensor, "batch token"]) -> Float[Tensor, "batch token d_vocab"]:
        return self.head(self.hidden(tokens))


def adamw(model: nn.Module, learning_rate: float) -> torch.optim.AdamW:
    """torch's AdamW, with weight decay on matrices and embeddings only."""
    decayed = [weight for weight in model.parameters() if weight.dim() > 1]
    others = [weight for weight in model.parameters() if weight.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=BETAS)


class PlainTraining:
    """The usual loop around any model from tokens to logits of all tokens; ``step`` returns the loss of its batch."""

    def __init__(self, model: nn.Module, logits: Logits, learning_rate: float) -> None:
        self.model, self.logits = model, logits
        self.optimizer = adamw(model, learning_rate)

    def step(self, tokens: Int[Tensor, "batch token"], targets: Int[Tensor, "batch token"]) -> Float[Tensor, ""]:
        """One step on the mean loss of the scored rows; unscored targets are -100."""
        loss = functional.cross_entropy(self.logits(tokens).flatten(0, 1), targets.flatten(), ignore_index=UNSCORED)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
        self.optimizer.step()
        return loss.detach()


@torch.no_grad()
def generate(model: GPT, prompts: Int[Tensor, "batch prompt"], steps: int) -> Int[Tensor, "batch token"]:
    """Greedy decoding: every token takes a forward pass over all tokens before it, and logits of the last alone."""
    written = prompts
    for _ in range(steps):
        logits = model.head(model.hidden(written)[:, -1])
        written = torch.cat([written, logits.argmax(dim=-1, keepdim=True)], dim=1)
    return written


@torch.no_grad()
def copy_of(decoder: Decoder) -> GPT:
    """The baseline that computes the same function, with copies of the weights; its head is untied and has a bias."""
    model = GPT(decoder.config, torch.Generator())
    own = {name: weight.detach() for name, weight in decoder.named_parameters()}
    model.tokens.weight.copy_(own["embed.W_E"])
    model.positions.weight.copy_(own["pos_embed.W_pos"])
    model.head = nn.Linear(decoder.config.d_model, decoder.config.d_vocab)
    _copy(model.head, own["unembed.W_U"], own["unembed.b_U"])
    _copy(model.norm, own["ln_final.w"], own["ln_final.b"])
    for number, layer in enumerate(model.layers):
        assert isinstance(layer, Layer)
        here = {name.removeprefix(f"blocks.{number}."): weight for name, weight in own.items()}
        W = [here[f"attn.W_{name}"].transpose(0, 1).flatten(1) for name in "QKV"]
        b = [here[f"attn.b_{name}"].flatten() for name in "QKV"]
        _copy(layer.attention.qkv, torch.cat(W, dim=1), torch.cat(b))
        _copy(layer.attention.out, here["attn.W_O"].flatten(0, 1), here["attn.b_O"])
        _copy(layer.norm_attention, here["ln1.w"], here["ln1.b"])
        _copy(layer.norm_mlp, here["ln2.w"], here["ln2.b"])
        _copy(layer.mlp[0], here["mlp.W_in"], here["mlp.b_in"])
        _copy(layer.mlp[2], here["mlp.W_out"], here["mlp.b_out"])
    return model


def _copy(module: nn.Module, weight: Tensor, bias: Tensor) -> None:
    """Set a module's weights; torch keeps matrices [output input]."""
    assert isinstance(module, nn.Linear | nn.LayerNorm) and isinstance(module.bias, nn.Parameter)
    module.weight.copy_(weight.T if weight.dim() == 2 else weight)
    module.bias.copy_(bias)
