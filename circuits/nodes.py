"""Nodes: the places of a decoder that write to its residual stream, one token position of one layer at a time.

A node is a head, an MLP, or one neuron of an MLP, at one position; ``P18L0H1``, ``P18L1M`` and ``P18L1N37`` are their
names. ``P18L0R`` is the residual stream after the layer, all that was written there so far: a site for interchange, and
none of the nodes that a search goes through. Nodes are compared by their numbers, so that P2 comes before P10 and P1 is
never taken for P10. Source of the names of heads and MLPs: Quirke et al. 2402.02619; the others are ours.

>>> node = parse("P18L0H1")
>>> node.position, node.layer, node.kind, node.index, str(node)
(18, 0, 'H', 1, 'P18L0H1')
>>> [str(each) for each in sorted(parse(name) for name in ("P10L0M", "P2L1N37", "P2L0H2", "P2L0M"))]
['P2L0H2', 'P2L0M', 'P2L1N37', 'P10L0M']
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from carryproof.models.config import DecoderConfig
from carryproof.theory.errors import bad

HEAD, MLP, NEURON, RESIDUAL = KINDS = ("H", "M", "N", "R")
_NAME = re.compile(r"P(\d+)L(\d+)(?:([HN])(\d+)|([MR]))")


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Node:
    """A head (``kind`` H) or neuron (N) of a layer at a token position, its MLP (M) or its residual stream (R), of
    which there is one, with index 0; all count from 0.
    """

    position: int
    layer: int
    kind: str
    index: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise bad("kind", self.kind, ", ".join(KINDS))
        if min(self.position, self.layer, self.index) < 0 or (self.kind in (MLP, RESIDUAL) and self.index):
            raise bad("node", str(self), "numbers from 0, and none after M or R")

    def __str__(self) -> str:
        return f"P{self.position}L{self.layer}{self.kind}{'' if self.kind in (MLP, RESIDUAL) else self.index}"


def parse(name: str) -> Node:
    """The node of a name, or a one-line ``ValueError``."""
    found = _NAME.fullmatch(name)
    if found is None:
        raise bad("node", name, "a name such as P18L0H1, P18L1M, P18L1N37 or P18L0R")
    position, layer, counted, index, single = found.groups()
    return Node(position=int(position), layer=int(layer), kind=counted or single, index=int(index or 0))


def at_position(config: DecoderConfig, position: int) -> tuple[Node, ...]:
    """The heads and MLPs of a model at one token position, in order."""
    require_position(config, position)
    return tuple(
        Node(position=position, layer=layer, kind=kind, index=index)
        for layer in range(config.n_layers)
        for kind, count in ((HEAD, config.n_heads), (MLP, 1))
        for index in range(count)
    )


def every_node(config: DecoderConfig, positions: Iterable[int] | None = None) -> tuple[Node, ...]:
    """The heads and MLPs of a model at some positions (default: all that it reads), in order.

    The last token of a text is read by nobody, so a context of T tokens has positions 0 to T - 2.
    """
    chosen = range(config.n_ctx - 1) if positions is None else sorted(set(positions))
    return tuple(node for position in chosen for node in at_position(config, position))


def every_stream(config: DecoderConfig, positions: Iterable[int] | None = None) -> tuple[Node, ...]:
    """The residual streams after all layers but the last at some positions (default: all that the model reads)."""
    chosen = range(config.n_ctx - 1) if positions is None else sorted(set(positions))
    for position in chosen:
        require_position(config, position)
    layers = range(config.n_layers - 1)
    return tuple(Node(position=position, layer=layer, kind=RESIDUAL) for position in chosen for layer in layers)


def neurons_of(config: DecoderConfig, mlp: Node) -> tuple[Node, ...]:
    """The neurons of an MLP, in order."""
    require_nodes(config, (mlp,))
    if mlp.kind != MLP:
        raise bad("mlp", str(mlp), "an MLP, such as P18L1M")
    return tuple(
        Node(position=mlp.position, layer=mlp.layer, kind=NEURON, index=index) for index in range(config.mlp_size)
    )


def mlp_of(neuron: Node) -> Node:
    """The MLP that a neuron belongs to."""
    return Node(position=neuron.position, layer=neuron.layer, kind=MLP)


def require_position(config: DecoderConfig, position: int) -> None:
    """A one-line ``ValueError`` for a position that the model does not read."""
    if not 0 <= position < config.n_ctx - 1:
        raise bad("position", position, f"0 to {config.n_ctx - 2}, what a model of context {config.n_ctx} reads")


def require_nodes(config: DecoderConfig, nodes: Iterable[Node]) -> None:
    """A one-line ``ValueError`` that names a node which the model does not have."""
    counts = {HEAD: config.n_heads, MLP: 1, NEURON: config.mlp_size, RESIDUAL: 1}
    for node in nodes:
        require_position(config, node.position)
        if node.layer >= config.n_layers:
            raise bad("node", str(node), f"layers 0 to {config.n_layers - 1}")
        if node.index >= counts[node.kind]:
            raise bad("node", str(node), f"{node.kind}0 to {node.kind}{counts[node.kind] - 1}")
