"""Patching: run a decoder on recorded problems with the outputs of some nodes replaced, for many choices at once.

What lies below the lowest replaced node and before the first is as recorded, so a run starts there: in the lowest layer
only the replaced positions are computed, above it only positions from the first on, and the last layer's only where
its logits are scored. Answers are read after true tokens, which decides what greedy decoding would write: it departs
where the first token is no longer the likeliest. Source of the operation: Vig et al. 2004.12265; the batching is ours.

>>> import numpy as np
>>> from carryproof.circuits.nodes import parse
>>> from carryproof.circuits.recording import record
>>> from carryproof.circuits.texts import Problems
>>> from carryproof.models import DecoderConfig
>>> config = DecoderConfig(d_vocab=15, n_ctx=10, d_model=8, n_heads=2, n_layers=2, encoding="absolute")
>>> model = Decoder.init(config, torch.Generator().manual_seed(0))
>>> problems = Problems(operands=np.array([[[1, 2], [3, 4]]] * 5, dtype=np.uint8), subtract=np.zeros(5, dtype=bool))
>>> recording = record(model, problems)
>>> without = [{node: torch.zeros_like(recording.output(node))} for node in map(parse, ("P5L0H0", "P2L1M"))]
>>> logits = patched_logits(recording, without)
>>> logits.shape, bool(torch.equal(logits[1], recording.logits))      # P2L1M is read by no answer
(torch.Size([2, 5, 4, 15]), True)
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from carryproof.circuits.nodes import HEAD, MLP, NEURON, RESIDUAL, Node, require_nodes
from carryproof.circuits.recording import Recording, block_of, read_heads
from carryproof.models.decoder import Decoder
from carryproof.theory.errors import bad

TEXTS_AT_ONCE = 2_048

# What each node writes instead, [problem width] or [1 width].
Patch = Mapping[Node, Float[Tensor, "#problem _"]]


def patched_logits(recording: Recording, patches: Sequence[Patch]) -> Float[Tensor, "patch problem row d_vocab"]:
    """The scored logits of every problem under every patch. Raises ``ValueError`` for a node the model lacks."""
    found = recording.logits.expand(len(patches), *recording.logits.shape).clone()
    for indices, first_row, logits in _parts(recording, patches):
        found[indices, :, first_row:] = logits
    return found


def patched_right(recording: Recording, patches: Sequence[Patch]) -> Bool[Tensor, "patch problem row"]:
    """Which tokens of the answers are predicted right under every patch, after true ones; as ``patched_logits``."""
    found = recording.right.expand(len(patches), *recording.answers.shape).clone()
    for indices, first_row, logits in _parts(recording, patches):
        found[indices, :, first_row:] = logits.argmax(-1) == recording.answers[:, first_row:]
    return found


def _parts(recording: Recording, patches: Sequence[Patch]) -> Iterator[tuple[list[int], int, Tensor]]:
    """Logits [patch problem row d_vocab] from the first row that changes on, of the patches with these indices."""
    alike: dict[tuple[int, int], list[int]] = defaultdict(list)
    read = [_that_are_read(recording, patch) for patch in patches]
    for index, patch in enumerate(read):
        if patch:
            alike[min(node.layer for node in patch), min(node.position for node in patch)].append(index)
    at_once = max(1, TEXTS_AT_ONCE // len(recording))
    for (lowest, first), indices in alike.items():
        for part in (indices[low : low + at_once] for low in range(0, len(indices), at_once)):
            logits = _run(recording, [read[index] for index in part], lowest, first)
            yield part, max(0, first - recording.start), logits


def _that_are_read(recording: Recording, patch: Patch) -> Patch:
    """The nodes of a patch without those of the last layer that write where nothing is scored."""
    config = recording.model.config
    require_nodes(config, patch)
    widths = {HEAD: config.head_size, MLP: config.d_model, NEURON: 1, RESIDUAL: config.d_model}
    for node, value in patch.items():
        if value.shape not in ((1, widths[node.kind]), (len(recording), widths[node.kind])):
            allowed = f"{[len(recording), widths[node.kind]]}, or one row for all problems"
            raise bad(f"shape of the values of {node}", list(value.shape), allowed)
    last = config.n_layers - 1
    return {node: value for node, value in patch.items() if node.layer < last or node.position >= recording.start}


@torch.no_grad()
def _run(
    recording: Recording, patches: Sequence[Patch], lowest: int, first: int
) -> Float[Tensor, "patch problem row d_vocab"]:
    """The logits from the first row that changes on, where no patch has a node below ``lowest`` or before ``first``."""
    model, count = recording.model, len(patches)
    last = model.config.n_layers - 1
    wanted = [first] * last + [max(first, recording.start)]  # for each layer, where what is computed begins
    replaced = [node.position for patch in patches for node in patch if node.layer == lowest]
    begin, end = min(replaced), max(replaced) + 1
    recorded = recording.layers[lowest]
    changed = _layer(
        model,
        lowest,
        _repeated(recorded.before[:, begin:end], count),
        _repeated(recorded.z[:, begin:end], count),
        patches,
        begin,
    )
    x = _repeated(recorded.after[:, wanted[lowest] :], count)
    x[:, begin - wanted[lowest] : end - wanted[lowest]] = changed
    for layer in range(lowest + 1, last + 1):
        recorded, begin = recording.layers[layer], wanted[layer]
        q, k, v = read_heads(model, layer, x, recording.ids[:, first:])
        k = torch.cat([_repeated(recorded.k[:, :, :first], count), k], dim=2)
        v = torch.cat([_repeated(recorded.v[:, :, :first], count), v], dim=2)
        q = q[:, :, begin - first :]
        z = block_of(model, layer).attn.mix(q, k, v, recording.ids, slice(begin, None), model.pos_embed)
        x = _layer(model, layer, x[:, begin - first :], z, patches, begin)
    return model.unembed(model.ln_final(x)).unflatten(0, (count, len(recording)))


def _layer(
    model: Decoder,
    layer: int,
    x: Float[Tensor, "text token d_model"],
    z: Float[Tensor, "text token head d_head"],
    patches: Sequence[Patch],
    begin: int,
) -> Float[Tensor, "text token d_model"]:
    """The residual stream after a layer, from that before it and what its heads take, at tokens from ``begin`` on."""
    block = block_of(model, layer)
    x = x + block.attn.write(_replaced(z, patches, (layer, HEAD), begin))
    post = _replaced(block.mlp.neurons(block.ln2(x)), patches, (layer, NEURON), begin)
    x = x + _replaced(block.mlp.write(post), patches, (layer, MLP), begin)
    return _replaced(x, patches, (layer, RESIDUAL), begin)


def _repeated(recorded: Tensor, count: int) -> Tensor:
    """A copy for each patch, [patch * problem ...]."""
    return recorded.repeat(count, *(1 for _ in recorded.shape[1:]))


def _replaced(written: Tensor, patches: Sequence[Patch], which: tuple[int, str], begin: int) -> Tensor:
    """What the nodes of a layer and kind wrote, [patch * problem, token from ``begin`` on, ...], as patched."""
    chosen = [
        (index, node, value)
        for index, patch in enumerate(patches)
        for node, value in patch.items()
        if (node.layer, node.kind) == which
    ]
    if not chosen:
        return written
    by_patch = written.clone().unflatten(0, (len(patches), -1))
    for index, node, value in chosen:
        here = by_patch[index, :, node.position - begin]  # [problem d_model], [problem head d_head] or [problem neuron]
        if node.kind in (MLP, RESIDUAL):
            here[:] = value
        elif node.kind == HEAD:
            here[:, node.index] = value
        else:
            here[:, node.index, None] = value
    return by_patch.flatten(0, 1)
