"""The checkpoint format of the published models: a TransformerLens state dict of tensors, written by ``torch.save``.

Quirke et al. (arXiv 2402.02619) trained ``HookedTransformer`` models with ReLU, unfolded LayerNorm, learned positions,
a vocabulary of 15 and a context of 3n + 4. Their parameters have our names and shapes, so a file is read and written
bit for bit, and the sizes come from the tensors. Each layer also has two constants, the causal ``attn.mask`` and an
``attn.IGNORE`` that stands for minus infinity: they are checked and written anew. Only tensors are ever unpickled.

>>> import tempfile
>>> config = DecoderConfig(d_vocab=15, n_ctx=10, d_model=8, n_heads=2, d_head=4, n_layers=1, encoding="absolute")
>>> model = Decoder.init(config, torch.Generator().manual_seed(0))
>>> with tempfile.TemporaryDirectory() as folder:
...     write_published(Path(folder) / "model.pth", model)
...     again = read_published(Path(folder) / "model.pth")
>>> again.config == config and torch.equal(again.embed.W_E, model.embed.W_E)
True
"""

import io
import pickle
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from carryproof.circuits.texts import digits_of
from carryproof.models.checkpoints import corrupt, require_tensors, write_atomically
from carryproof.models.config import DecoderConfig
from carryproof.models.decoder import Decoder
from carryproof.theory.errors import bad

KEY = "model"
LAYER = re.compile(r"blocks\.\d+\.")
AS_GOOD_AS_INFINITE = -1e4  # softmax in single precision gives nothing to what lies a hundred below the rest
SIZES = {  # tensors that the configuration is read from, and how many dimensions they have
    "embed.W_E": 2,
    "pos_embed.W_pos": 2,
    "blocks.0.attn.W_Q": 3,
    "blocks.0.mlp.W_in": 2,
}
ASSUMED = {"encoding": "absolute", "normalization": "LN", "activation": "relu"}


def read_published(path: str | Path) -> Decoder:
    """The model in a file of the published format, on the CPU, with its own floating-point type.

    A state dict under the key ``model`` is read as well, and what stands beside it is left out. Raises a one-line
    ``ValueError`` that names the first tensor that is missing, extra, misshapen or not finite, for pickled objects
    other than tensors, and for a vocabulary or context other than those of the published models.
    """
    weights = _unpickle(path)
    model = Decoder(_configuration(weights, path))
    for name, required in _constants(model.config).items():
        if name in weights and not _stands_for(weights.pop(name), required):
            raise corrupt(path, f"tensor {name!r} is not what causal attention needs")
    require_tensors(weights, model, path)
    model.to(weights["embed.W_E"].dtype).load_state_dict(weights)
    return model


def write_published(path: str | Path, model: Decoder) -> None:
    """Write the model as the published ones are.

    Raises a one-line ``ValueError`` where readers of the format would take it for another model: unless its encoding is
    ``absolute``, its normalization ``LN``, its activation ``relu``, its vocabulary 15 and its context 3n + 4.
    """
    for choice, value in ASSUMED.items():
        if getattr(model.config, choice) != value:
            raise bad(f"model {choice}", getattr(model.config, choice), f"{value!r}, which the format stands for")
    digits_of(model.config)
    tensors = {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
    content = io.BytesIO()
    torch.save(tensors | _constants(model.config), content)
    write_atomically(Path(path), content.getvalue())


def _unpickle(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a file, plain or under ``KEY``."""
    if not Path(path).is_file():
        raise ValueError(f"path: {str(path)!r} is not a file; allowed: a state dict written by torch.save")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise corrupt(path, "it holds pickled objects or is damaged; only tensors are read") from None
    except Exception:  # what the reader of a damaged file stumbles over can be anything
        raise corrupt(path, "not a complete file of torch.save") from None
    if isinstance(found, Mapping) and isinstance(found.get(KEY), Mapping):
        found = found[KEY]
    if not isinstance(found, Mapping):
        raise corrupt(path, f"it holds a {type(found).__name__}, not a state dict")
    for name, value in found.items():
        if not isinstance(name, str) or not isinstance(value, Tensor) or value.layout != torch.strided:
            raise corrupt(path, f"entry {name!r} is not a tensor with a name")
    return {name: value.detach() for name, value in found.items()}


def _configuration(tensors: Mapping[str, Tensor], path: str | Path) -> DecoderConfig:
    """The sizes of the model that the tensors are of."""
    for name, dimensions in SIZES.items():
        if name not in tensors:
            raise corrupt(path, f"tensor {name!r} is missing")
        if tensors[name].dim() != dimensions:
            raise corrupt(path, f"tensor {name!r} has shape {list(tensors[name].shape)}, not {dimensions} dimensions")
    d_vocab, d_model = tensors["embed.W_E"].shape
    n_heads, _, d_head = tensors["blocks.0.attn.W_Q"].shape
    try:
        config = DecoderConfig(
            d_vocab=d_vocab,
            n_ctx=len(tensors["pos_embed.W_pos"]),
            d_model=d_model,
            n_heads=n_heads,
            d_head=d_head,
            d_mlp=tensors["blocks.0.mlp.W_in"].shape[1],
            n_layers=len({found[0] for found in map(LAYER.match, tensors) if found}),
            **ASSUMED,
        )
        digits_of(config)
    except ValueError as error:
        raise corrupt(path, str(error)) from None
    return config


def _constants(config: DecoderConfig) -> dict[str, Tensor]:
    """What each layer of a ``HookedTransformer`` keeps beside its parameters."""
    mask = torch.ones(config.n_ctx, config.n_ctx).tril().bool()
    both = {"mask": mask, "IGNORE": torch.tensor(-torch.inf)}
    layers = range(config.n_layers)
    return {f"blocks.{layer}.attn.{name}": value.clone() for layer in layers for name, value in both.items()}


def _stands_for(value: Tensor, required: Tensor) -> bool:
    """Whether a constant of a file does what the required one does.

    Early versions filled in -1e5 for infinity, and late ones build the mask when they need it and store an empty one.
    """
    if value.dim() == required.dim() and not value.numel():
        return True
    if value.shape != required.shape:
        return False
    return torch.equal(value.bool(), required) if value.dim() else bool(value <= AS_GOOD_AS_INFINITE)
