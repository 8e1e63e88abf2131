"""Edges: which node reads which, by path patching.

An edge leads from a node that writes to the residual stream to an input of a later one: what a head asks (``q``), what
it is found by (``k``) and gives (``v``), or what an MLP or the residual stream takes in (``in``). To ablate an edge the
receiver alone is computed as if the sender had written something else, all other inputs being as recorded, and the
model then runs on with the receiver's new output. Source: Goldowsky-Dill et al. 2304.05969.

>>> from carryproof.circuits.nodes import parse
>>> nodes = [parse(name) for name in ("P2L0M", "P3L0H1", "P3L0M", "P3L1H0")]
>>> for edge in edges_among(nodes):
...     print(edge)
P2L0M -> P3L1H0.k
P2L0M -> P3L1H0.v
P3L0H1 -> P3L0M.in
P3L0H1 -> P3L1H0.k
P3L0H1 -> P3L1H0.q
P3L0H1 -> P3L1H0.v
P3L0M -> P3L1H0.k
P3L0M -> P3L1H0.q
P3L0M -> P3L1H0.v
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from carryproof.circuits.ablation import Impact, patch_impacts
from carryproof.circuits.nodes import HEAD, MLP, NEURON, RESIDUAL, Node, require_nodes
from carryproof.circuits.recording import Recording, block_of, read_heads
from carryproof.circuits.replacing import Alternative
from carryproof.theory.errors import bad

EDGES_AT_ONCE = 64
ATTENDED = ("k", "v")  # inputs that a head takes from other positions
INPUTS = {HEAD: ("k", "q", "v"), MLP: ("in",), RESIDUAL: ("in",), NEURON: ()}


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Edge:
    """From the sender to one input of the receiver: a head, an MLP, or the residual stream after a layer.

    Raises ``ValueError`` where the receiver has no such input or does not read the sender there.
    """

    sender: Node
    receiver: Node
    input: str

    def __post_init__(self) -> None:
        sender, receiver = self.sender, self.receiver
        if self.input not in INPUTS[receiver.kind]:
            raise bad("input", self.input, ", ".join(INPUTS[receiver.kind]) or "none: a neuron is read, not written")
        before = sender.layer < receiver.layer or (
            sender.layer == receiver.layer
            and ((receiver.kind == RESIDUAL) or (receiver.kind == MLP and sender.kind == HEAD))
        )
        there = sender.position == receiver.position or (self.input in ATTENDED and sender.position < receiver.position)
        if sender.kind == RESIDUAL or not (before and there):
            raise bad("edge", str(self), "a node that writes before the receiver reads, where it reads")

    def __str__(self) -> str:
        return f"{self.sender} -> {self.receiver}.{self.input}"


def edges_among(nodes: Iterable[Node]) -> tuple[Edge, ...]:
    """All edges between some nodes, in order."""
    every, found = sorted(set(nodes)), []
    for sender in every:
        for receiver in every:
            for name in INPUTS[receiver.kind]:
                try:
                    found.append(Edge(sender=sender, receiver=receiver, input=name))
                except ValueError:
                    continue  # not an edge
    return tuple(found)


def search_edges(
    recording: Recording,
    edges: Sequence[Edge],
    alternative: Alternative,
    generator: torch.Generator,
    *,
    floor: float = 0.0,
) -> dict[Edge, Impact]:
    """The edges with an interval of the impact above ``floor``, and their impacts.

    ``alternative`` says what the sender writes instead, along this edge alone.
    """
    found = {}
    for low in range(0, len(edges), EDGES_AT_ONCE):
        part = edges[low : low + EDGES_AT_ONCE]
        patches = [{edge.receiver: received(recording, edge, alternative(edge.sender))} for edge in part]
        for edge, impact in zip(part, patch_impacts(recording, patches, generator), strict=True):
            if impact.whole.low > floor:
                found[edge] = impact
    return found


@torch.no_grad()
def received(
    recording: Recording, edge: Edge, value: Float[Tensor, "#problem width"]
) -> Float[Tensor, "problem other_width"]:
    """What the receiver writes if the sender has written ``value`` for it and for no other node."""
    model, receiver, position = recording.model, edge.receiver, edge.sender.position
    require_nodes(model.config, (edge.sender, receiver))
    change = added(recording, edge.sender, value) - added(recording, edge.sender, recording.output(edge.sender))
    layer, block = recording.layers[receiver.layer], block_of(model, receiver.layer)
    if receiver.kind == RESIDUAL:
        return layer.after[:, position] + change
    if receiver.kind == MLP:
        return block.mlp(block.ln2((layer.middle[:, position] + change)[:, None]))[:, 0]
    here = slice(position, position + 1)
    x = (layer.before[:, position] + change)[:, None]
    heads = dict(zip("qkv", read_heads(model, receiver.layer, x, recording.ids[:, here]), strict=True))
    row = slice(receiver.position, receiver.position + 1)
    inputs = {"q": layer.q[:, :, row], "k": layer.k, "v": layer.v}
    if edge.input == "q":
        inputs["q"] = heads["q"]
    else:
        inputs[edge.input] = inputs[edge.input].clone()
        inputs[edge.input][:, :, here] = heads[edge.input]
    z = block.attn.mix(inputs["q"], inputs["k"], inputs["v"], recording.ids, row, model.pos_embed)
    return z[:, 0, receiver.index]


def added(
    recording: Recording, node: Node, value: Float[Tensor, "#problem width"]
) -> Float[Tensor, "#problem d_model"]:
    """What a node that writes ``value`` adds to the residual stream, biases aside."""
    block = block_of(recording.model, node.layer)
    if node.kind == HEAD:
        return value @ block.attn.W_O[node.index]
    if node.kind == NEURON:
        return value * block.mlp.W_out[node.index]
    return value
