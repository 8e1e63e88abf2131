"""A recording: what every node of a decoder wrote while it read a set of problems with their answers.

The residual stream of a pre-LN decoder is a sum of what its nodes write, so the recorded outputs, keys and values are
all that is needed to run the model again with some of them replaced. A node's output is, for a head, its mean of the
values (``hook_z``, a linear map away from what it adds), for an MLP what it adds, for a neuron its activation, and
for the residual stream what it is after the layer.

>>> import numpy as np
>>> from carryproof.circuits.nodes import parse
>>> from carryproof.models.config import DecoderConfig
>>> config = DecoderConfig(d_vocab=15, n_ctx=10, d_model=8, n_heads=2, n_layers=1, encoding="absolute")
>>> model = Decoder.init(config, torch.Generator().manual_seed(0))
>>> problems = Problems(operands=np.array([[[1, 2], [3, 4]], [[9, 9], [1, 0]]], dtype=np.uint8),
...                     subtract=np.zeros(2, dtype=bool))
>>> recording = record(model, problems)
>>> recording.output(parse("P5L0H1")).shape, recording.output(parse("P5L0N7")).shape     # [problem width]
(torch.Size([2, 4]), torch.Size([2, 1]))
>>> recording.positions, recording.answers.tolist()           # scored tokens: the sign and A2, A1, A0
(range(5, 9), [[10, 0, 6, 4], [10, 1, 0, 0]])
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from carryproof.circuits.nodes import HEAD, MLP, RESIDUAL, Node, require_nodes
from carryproof.circuits.texts import Problems, context, prompt_length, write
from carryproof.models.decoder import EVERY_ROW, Block, Decoder, project
from carryproof.theory.errors import bad

Heads = tuple[Tensor, Tensor, Tensor]  # queries, keys and values, [batch head token d_head], as attention takes them


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """One layer of a recording, at every token."""

    before: Float[Tensor, "problem token d_model"]
    q: Float[Tensor, "problem head token d_head"]
    k: Float[Tensor, "problem head token d_head"]
    v: Float[Tensor, "problem head token d_head"]
    z: Float[Tensor, "problem token head d_head"]
    middle: Float[Tensor, "problem token d_model"]
    post: Float[Tensor, "problem token neuron"]
    mlp: Float[Tensor, "problem token d_model"]
    after: Float[Tensor, "problem token d_model"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Recording:
    """A run of ``model``: its layers, and the logits [problem row d_vocab] that predict ``answers`` [problem row]."""

    model: Decoder
    problems: Problems
    tokens: Int[Tensor, "problem token"]
    ids: Int[Tensor, "1 token"]
    layers: tuple[Layer, ...]
    logits: Float[Tensor, "problem row d_vocab"]
    answers: Int[Tensor, "problem row"]

    def __len__(self) -> int:
        return len(self.answers)

    @property
    def start(self) -> int:
        """The first position whose logits are scored."""
        return self.ids.shape[1] - self.answers.shape[1]

    @property
    def positions(self) -> range:
        """The positions whose logits are scored."""
        return range(self.start, self.ids.shape[1])

    @property
    def right(self) -> Bool[Tensor, "problem row"]:
        """Which tokens of the answers are predicted right, after true ones."""
        return self.logits.argmax(-1) == self.answers

    def output(self, node: Node) -> Float[Tensor, "problem width"]:
        """What a node wrote; its width is d_head, d_model or 1."""
        require_nodes(self.model.config, (node,))
        layer = self.layers[node.layer]
        if node.kind == HEAD:
            return layer.z[:, node.position, node.index]
        if node.kind == MLP:
            return layer.mlp[:, node.position]
        if node.kind == RESIDUAL:
            return layer.after[:, node.position]
        return layer.post[:, node.position, node.index, None]


def block_of(model: Decoder, layer: int) -> Block:
    """A layer of the model."""
    block = model.blocks[layer]
    assert isinstance(block, Block)
    return block


@torch.no_grad()
def record(model: Decoder, problems: Problems, answers: NDArray[np.int64] | None = None) -> Recording:
    """Run a model on problems with their true answers, or with the tokens [problem, n + 2] given, and keep what every
    node wrote.

    Raises ``ValueError`` for no problems and for a model whose context is not that of the problems' size.
    """
    if not len(problems):
        raise bad("problems", 0, "one or more")
    if model.config.n_ctx != context(problems.digits):
        raise bad("model n_ctx", model.config.n_ctx, f"{context(problems.digits)}, for {problems.digits} digits")
    device = model.embed.W_E.device
    written, start = write(problems), prompt_length(problems.digits)
    if answers is not None:
        written[:, start:] = answers
    texts = torch.from_numpy(written).to(device)
    tokens = texts[:, :-1]
    ids = torch.arange(tokens.shape[1], device=device)[None]
    x = model.pos_embed.embed(model.embed(tokens), ids)
    layers = []
    for index in range(model.config.n_layers):
        layers.append(_layer(model, index, x, ids))
        x = layers[-1].after
    logits = model.unembed(model.ln_final(x[:, start - 1 :]))
    return Recording(
        model=model,
        problems=problems,
        tokens=tokens,
        ids=ids,
        layers=tuple(layers),
        logits=logits,
        answers=texts[:, start:],
    )


def read_heads(
    model: Decoder, layer: int, x: Float[Tensor, "batch token d_model"], ids: Int[Tensor, "#batch token"]
) -> Heads:
    """The queries, keys and values that a layer's heads make of the residual stream before it."""
    block = block_of(model, layer)
    attention, normal = block.attn, block.ln1(x)
    q = project(normal, attention.W_Q, attention.b_Q).transpose(1, 2)
    k = project(normal, attention.W_K, attention.b_K).transpose(1, 2)
    v = project(normal, attention.W_V, attention.b_V).transpose(1, 2)  # [batch head token d_head]
    return model.pos_embed.rotate(q, ids), model.pos_embed.rotate(k, ids), v


def _layer(model: Decoder, index: int, x: Float[Tensor, "problem token d_model"], ids: Int[Tensor, "1 token"]) -> Layer:
    block = block_of(model, index)
    q, k, v = read_heads(model, index, x, ids)
    z = block.attn.mix(q, k, v, ids, EVERY_ROW, model.pos_embed)
    middle = x + block.attn.write(z)
    post = block.mlp.neurons(block.ln2(middle))
    mlp = block.mlp.write(post)
    return Layer(before=x, q=q, k=k, v=v, z=z, middle=middle, post=post, mlp=mlp, after=middle + mlp)
