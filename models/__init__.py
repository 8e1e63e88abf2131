"""The transformer that Carryproof trains, and its checkpoints.

`Decoder` is one pre-LN decoder whose positional encoding is a module with three hooks; `DecoderConfig` is its frozen
configuration; `save` and `load` keep both in one safetensors file, and `load` also knows the collection by name.

>>> config = DecoderConfig(d_vocab=14, n_ctx=24, d_model=64, n_heads=2, n_layers=2, encoding="absolute")
>>> sum(parameter.numel() for parameter in Decoder(config).parameters())
103438
"""

from carryproof.models.checkpoints import save
from carryproof.models.config import DecoderConfig
from carryproof.models.decoder import Decoder, HookPoint
from carryproof.models.library import load, read_about

__all__ = ["Decoder", "DecoderConfig", "HookPoint", "load", "read_about", "save"]
