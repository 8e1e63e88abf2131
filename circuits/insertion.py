"""Initialising a decoder from a trained one of the same or a smaller number of layers and heads.

The source's layers, heads and neurons fill a part of the target's, and everything else in the target writes zeros to
the residual stream: the target then computes the source's logits at step 0, up to rounding, and what was added learns
from its first gradient. ``GROUPS`` names the weights by what they do, so that an experiment can copy some groups only;
a freshly drawn source is the control that changes the scale of the new parts and nothing else. ``insert_published`` is
the copy of Quirke et al. 2024 (arXiv 2402.02619, their training notebook), which leaves out W_O, b_O, ln2, the bias of
the final LayerNorm and b_U, so that its target cannot do at step 0 what the source did.

>>> sizes = dict(d_vocab=15, n_ctx=10, d_model=12, d_head=4, d_mlp=24, encoding="absolute")
>>> small = Decoder.init(DecoderConfig(n_layers=1, n_heads=2, **sizes), torch.Generator().manual_seed(0))
>>> large = Decoder.init(DecoderConfig(n_layers=2, n_heads=3, **sizes), torch.Generator().manual_seed(1))
>>> tokens = torch.arange(10)[None]
>>> insert(small, large)
>>> bool(torch.allclose(large(tokens), small(tokens), atol=1e-5))
True
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from carryproof.models.config import DecoderConfig
from carryproof.models.decoder import Decoder
from carryproof.positional import Encoding
from carryproof.theory.errors import bad, unknown

PLACEMENTS = ("left", "right")

# Patterns of parameter names; every parameter of a decoder is in one group. A normalization goes with what reads it.
GROUPS: dict[str, tuple[str, ...]] = {
    "embeddings": ("embed.*", "pos_embed.*"),
    "attention": ("blocks.*.ln1.*", "blocks.*.attn.*"),
    "mlps": ("blocks.*.ln2.*", "blocks.*.mlp.*"),
    "output": ("ln_final.*", "unembed.*"),
}
PUBLISHED_HEADS = ("blocks.*.attn.[Wb]_[QKV]",)
PUBLISHED_MLPS = ("blocks.*.mlp.*",)
PUBLISHED_REST = ("embed.W_E", "pos_embed.W_pos", "blocks.*.ln1.*", "ln_final.w", "unembed.W_U")
RECOPY_EVERY = {1: None, 2: 100, 3: 100, 4: 1}  # published mode: steps between two copies in training

_EQUAL = ("d_vocab", "n_ctx", "d_model", "d_head", "encoding", "normalization", "activation")
_AT_LEAST = ("n_layers", "n_heads", "d_mlp")
_WRITERS = ("W_O", "b_O", "W_out", "b_out")  # what a layer adds to the residual stream is a product with these
_HEAD_AXIS = dict.fromkeys(("W_Q", "W_K", "W_V", "W_O", "b_Q", "b_K", "b_V"), 0)
_NEURON_AXIS = {"W_in": 1, "b_in": 0, "W_out": 0}


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where in the target the source's first layer, head and neuron go."""

    layer: int
    head: int
    neuron: int


def insert(source: Decoder, target: Decoder, placement: str = "left") -> None:
    """Copy every weight of ``source`` into ``target``, in place, and let the rest of the target write zeros.

    ``placement`` says whether the source's layers, heads and neurons come first or last in the target. Raises
    ``ValueError`` unless vocabulary, context, d_model, head size, encoding, normalization and activation are equal and
    layers, heads and neurons are no fewer than the source's.
    """
    insert_groups(source, target, GROUPS, placement)


def insert_groups(source: Decoder, target: Decoder, groups: Iterable[str], placement: str = "left") -> None:
    """The part of ``insert`` that concerns some groups of weights, by their names in ``GROUPS``.

    Every other weight of the target stays as it is. Raises ``ValueError`` as ``insert`` does, or for an unknown group.
    """
    require_fit(source.config, target.config)
    place = place_of(source.config, target.config, placement)
    patterns = tuple(pattern for group in groups for pattern in _patterns(group))
    _copy(source, target, patterns, place, quiet=_matching(target, patterns))


def insert_published(
    source: Decoder, target: Decoder, mode: int, useful: Collection[tuple[int, int]] | None = None
) -> Callable[[int], None]:
    """The published partial copy into the first layers and heads, in place, and what the mode repeats in training.

    The function that is returned is called after every training step with the number of that step, from 0. Under mode
    1 it does nothing. After every 100th step it copies again, under mode 2, the queries, keys and values of the
    ``useful`` (layer, head) pairs of the source (default: all), into the *last* heads of the target, as published;
    under mode 3 those of all heads and the MLPs, into where they were first; mode 4 does that after every step. Raises
    ``ValueError`` as ``insert`` does, for another mode, and for a head that the source lacks.
    """
    if mode not in RECOPY_EVERY:
        raise bad("mode", mode, ", ".join(str(each) for each in RECOPY_EVERY))
    require_fit(source.config, target.config)
    heads = {(layer, head) for layer in range(source.config.n_layers) for head in range(source.config.n_heads)}
    for pair in useful or ():
        if pair not in heads:
            allowed = f"(layer, head) below {(source.config.n_layers, source.config.n_heads)}"
            raise bad("useful", pair, allowed)
    first, last = Place(layer=0, head=0, neuron=0), place_of(source.config, target.config, "right")
    shifted = Place(layer=0, head=last.head, neuron=0)
    _copy(source, target, (*PUBLISHED_HEADS, *PUBLISHED_MLPS, *PUBLISHED_REST), first)

    def again(step: int) -> None:
        every = RECOPY_EVERY[mode]
        if every is None or step % every:
            return
        if mode == 2:
            _copy_heads(source, target, heads if useful is None else useful, shifted)
        else:
            _copy(source, target, (*PUBLISHED_HEADS, *PUBLISHED_MLPS), first)

    return again


def place_of(source: DecoderConfig, target: DecoderConfig, placement: str) -> Place:
    """Where a source of that shape goes, or a one-line ``ValueError`` for an unknown placement."""
    if placement not in PLACEMENTS:
        raise unknown("placement", placement, PLACEMENTS)
    if placement == "left":
        return Place(layer=0, head=0, neuron=0)
    return Place(
        layer=target.n_layers - source.n_layers,
        head=target.n_heads - source.n_heads,
        neuron=target.mlp_size - source.mlp_size,
    )


def require_fit(source: DecoderConfig, target: DecoderConfig) -> None:
    """A one-line ``ValueError`` unless a source of that shape can be inserted into a target of the other."""
    for size in _EQUAL:
        ours, theirs = getattr(source, size), getattr(target, size)
        if ours != theirs:
            raise bad(f"source {size}", ours, f"{theirs!r}, as in the target")
    for size in _AT_LEAST:
        ours, theirs = getattr(source, size), getattr(target, size)
        if ours > theirs:
            raise bad(f"source {size}", ours, f"at most {theirs}, as many as the target has")
    biased = type(Decoder(source).pos_embed).bias is not Encoding.bias
    if biased and source.n_heads != target.n_heads:
        raise bad("source n_heads", source.n_heads, f"{target.n_heads}: {source.encoding!r} has a bias for each head")


def _patterns(group: str) -> tuple[str, ...]:
    if group not in GROUPS:
        raise unknown("group", group, GROUPS)
    return GROUPS[group]


def _matching(model: Decoder, patterns: Collection[str]) -> dict[str, nn.Parameter]:
    named = model.named_parameters()
    return {name: weight for name, weight in named if any(fnmatchcase(name, pattern) for pattern in patterns)}


@torch.no_grad()
def _copy(
    source: Decoder,
    target: Decoder,
    patterns: Collection[str],
    place: Place,
    quiet: dict[str, nn.Parameter] | None = None,
) -> None:
    """Copy the weights of matching names to their place, after zeroing all that those of ``quiet`` write."""
    values = {name: value.detach().clone() for name, value in _matching(source, patterns).items()}
    for name, weight in (quiet or {}).items():
        if name.startswith("blocks.") and _leaf(name) in _WRITERS:
            weight.zero_()
    weights = dict(target.named_parameters())
    for name, value in values.items():
        _part(weights[_placed(name, place)], name, value.shape, place).copy_(value)


@torch.no_grad()
def _copy_heads(source: Decoder, target: Decoder, heads: Collection[tuple[int, int]], place: Place) -> None:
    """Copy the queries, keys and values of single heads."""
    weights = dict(target.named_parameters())
    for name, value in _matching(source, PUBLISHED_HEADS).items():
        part = _part(weights[_placed(name, place)], name, value.shape, place)
        for layer, head in heads:
            if name.startswith(f"blocks.{layer}."):
                part[head].copy_(value[head])


def _leaf(name: str) -> str:
    return name.rsplit(".", 1)[-1]


def _placed(name: str, place: Place) -> str:
    """The target's name of a parameter of the source."""
    if not name.startswith("blocks."):
        return name
    blocks, layer, rest = name.split(".", 2)
    return f"{blocks}.{int(layer) + place.layer}.{rest}"


def _part(weight: Tensor, name: str, shape: torch.Size, place: Place) -> Tensor:
    """The view of a target's weight that belongs to the source."""
    if name.startswith("blocks."):
        for axes, start in ((_HEAD_AXIS, place.head), (_NEURON_AXIS, place.neuron)):
            axis = axes.get(_leaf(name))
            if axis is not None:
                return weight.narrow(axis, start, shape[axis])
    return weight
