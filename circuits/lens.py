"""A decoder as TransformerLens 4 sees a model, so that its own patching functions run on ours.

TransformerLens 4 asks of a model what its ``TransformerLensModel`` protocol names: ``cfg``, ``run_with_cache``,
``run_with_hooks`` and ``to_tokens``. The hooks of ``Decoder`` have the names and shapes of that package already, so
``Lens`` passes tensors through unchanged; ``blocks`` and ``ln_final`` serve ``ActivationCache`` where it asks for
weights. What needs normalizations folded into weights, or a query, key and value input for each head (direct paths), is
not there. Needs the ``interop`` extra for all but texts and hooks. Source: Nanda and Bloom's TransformerLens, 4.3.

>>> from carryproof.models.config import DecoderConfig
>>> config = DecoderConfig(d_vocab=15, n_ctx=10, d_model=8, n_heads=2, n_layers=1, encoding="absolute")
>>> lens = Lens(Decoder.init(config, torch.Generator().manual_seed(0)))
>>> tokens = lens.to_tokens("45+27=+072")
>>> tokens.tolist()
[[4, 5, 10, 2, 7, 12, 10, 0, 7, 2]]
>>> lens.run_with_hooks(tokens, fwd_hooks=[("hook_embed", lambda activation, hook: activation * 0)]).shape
torch.Size([1, 10, 15])
"""

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from carryproof.circuits.texts import SYMBOLS, VOCABULARY
from carryproof.models.decoder import Decoder, HookFunction
from carryproof.theory.errors import bad

if TYPE_CHECKING:
    from transformer_lens import ActivationCache
    from transformer_lens.config import TransformerLensConfig

WORDS = "0123456789" + SYMBOLS
POSITIONS = {"absolute": "standard", "rope": "rotary"}  # names of encodings there; the others keep ours


@final
class Lens:
    """A view of ``model``, which stays what it is. Tokens are ``[batch token]``, at positions 0, 1, 2, ..."""

    def __init__(self, model: Decoder) -> None:
        if model.config.d_vocab != VOCABULARY:
            raise bad("model d_vocab", model.config.d_vocab, str(VOCABULARY))
        self.model = model
        self.blocks: nn.ModuleList = model.blocks
        self.ln_final: nn.Module = model.ln_final

    @property
    def cfg(self) -> "TransformerLensConfig":
        """Sizes and choices under the names of TransformerLens."""
        from transformer_lens.config import TransformerLensConfig

        config = self.model.config
        return TransformerLensConfig(
            d_model=config.d_model,
            d_head=config.head_size,
            d_mlp=config.mlp_size,
            d_vocab=config.d_vocab,
            n_ctx=config.n_ctx,
            n_heads=config.n_heads,
            n_layers=config.n_layers,
            act_fn=config.activation,
            normalization_type=config.normalization,
            uses_rms_norm=config.normalization == "RMS",
            final_rms=config.normalization == "RMS",
            positional_embedding_type=POSITIONS.get(config.encoding, config.encoding),
            default_prepend_bos=False,
            device=str(self.model.embed.W_E.device),
            dtype=self.model.embed.W_E.dtype,
        )

    def run_with_hooks(
        self, tokens: Int[Tensor, "batch token"], *, fwd_hooks: Sequence[tuple[str, HookFunction]] = ()
    ) -> Float[Tensor, "batch token d_vocab"]:
        """Logits while functions of (activation, hook) run at the named hooks and may replace what they see."""
        return self.model.run_with_hooks(tokens, fwd_hooks=fwd_hooks)

    def run_with_cache(
        self,
        tokens: Int[Tensor, "batch token"],
        *,
        names_filter: Callable[[str], bool] | Collection[str] | str | None = None,
        remove_batch_dim: bool = False,
    ) -> "tuple[Float[Tensor, 'batch token d_vocab'], ActivationCache]":
        """Logits, and the activations at the hooks that the filter names (default: all)."""
        from transformer_lens import ActivationCache

        names: Collection[str]
        match names_filter:
            case None:
                names = self.model.hook_points()
            case str():
                names = [names_filter]
            case Collection():
                names = names_filter
            case _:
                names = [name for name in self.model.hook_points() if names_filter(name)]
        logits, found = self.model.run_with_cache(tokens, names=names)
        cache = ActivationCache(found, self)
        return logits, cache.remove_batch_dim() if remove_batch_dim else cache

    def to_tokens(self, texts: str | Sequence[str]) -> Int[Tensor, "batch token"]:
        """Texts of equal length as tokens, one a symbol; ``ValueError`` for a symbol outside the vocabulary."""
        rows = [texts] if isinstance(texts, str) else list(texts)
        for text in rows:
            if len(text) != len(rows[0]) or not set(text) <= set(WORDS):
                raise bad("texts", text, f"texts of one length in the symbols {WORDS}")
        tokens = [[WORDS.index(symbol) for symbol in text] for text in rows]
        return torch.tensor(tokens, device=self.model.embed.W_E.device)
