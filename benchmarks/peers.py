"""Other packages' GPT-2-like models at the sizes of one of our configurations, for speed to be held against.

Each is built as its documentation shows, with learned absolute positions, GELU, layer norms and no dropout, and is
trained by the same plain loop in single precision. A package that is not installed is named and left out; `pip install
'carryproof[peers]'` brings all of them.

>>> sorted(PEERS)
['GPT-2 of transformers', 'TransformerLens', 'nanoGPT-style', 'x-transformers']
>>> "nanoGPT-style" in installed()    # it is ours
True
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn

from carryproof.benchmarks.baselines import GPT, Logits
from carryproof.models.config import DecoderConfig

Built = tuple[nn.Module, Logits]
NANO = "nanoGPT-style"


@dataclass(frozen=True, kw_only=True, slots=True)
class Peer:
    """How a package builds a model of a configuration; ``package`` is the name it is imported and looked for by."""

    package: str
    build: Callable[[DecoderConfig, int], Built]


def installed() -> list[str]:
    """The names of the peers that can run here, the baseline first."""
    return [name for name, peer in PEERS.items() if find_spec(peer.package) is not None]


def absent() -> list[str]:
    """The names of the peers that are not installed."""
    present = installed()
    return [name for name in PEERS if name not in present]


def build(name: str, config: DecoderConfig, seed: int) -> Built:
    """A peer's model and the function from tokens to logits of all tokens; ``name`` is one of ``installed()``."""
    return PEERS[name].build(config, seed)


def _nano(config: DecoderConfig, seed: int) -> Built:
    model = GPT(config, torch.Generator().manual_seed(seed))
    return model, model


def _transformers(config: DecoderConfig, seed: int) -> Built:
    transformers = _module("transformers")
    sizes = transformers.GPT2Config(
        vocab_size=config.d_vocab, n_positions=config.n_ctx, n_embd=config.d_model, n_head=config.n_heads,
        n_layer=config.n_layers, n_inner=config.mlp_size, activation_function="gelu", use_cache=False,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip # read as a table
    model = transformers.GPT2LMHeadModel(sizes)
    return model, lambda tokens: model(input_ids=tokens).logits


def _x_transformers(config: DecoderConfig, seed: int) -> Built:
    x = _module("x_transformers")
    layers = x.Decoder(
        dim=config.d_model, depth=config.n_layers, heads=config.n_heads, attn_dim_head=config.head_size, attn_flash=True
    )
    model = x.TransformerWrapper(num_tokens=config.d_vocab, max_seq_len=config.n_ctx, attn_layers=layers)
    return model, model


def _transformer_lens(config: DecoderConfig, seed: int) -> Built:
    sizes = _module("transformer_lens.config").TransformerBridgeConfig(
        n_layers=config.n_layers, d_model=config.d_model, d_head=config.head_size, n_heads=config.n_heads,
        d_mlp=config.mlp_size, n_ctx=config.n_ctx, d_vocab=config.d_vocab, act_fn="gelu", normalization_type="LN",
        device="cpu", seed=seed,
    )  # fmt: skip # read as a table
    model = _module("transformer_lens.model_bridge").TransformerBridge.boot_native(sizes)
    return model, model


def _module(name: str) -> Any:
    """A package whose import may warn about its own dependencies."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return import_module(name)


PEERS = {
    NANO: Peer(package="torch", build=_nano),
    "GPT-2 of transformers": Peer(package="transformers", build=_transformers),
    "x-transformers": Peer(package="x_transformers", build=_x_transformers),
    "TransformerLens": Peer(package="transformer_lens", build=_transformer_lens),
}
