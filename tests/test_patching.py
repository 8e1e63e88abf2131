"""Nodes, recordings and patched runs, held against runs of the whole model with hooks."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from carryproof.circuits.mixture import Mixture, draw
from carryproof.circuits.nodes import (
    HEAD,
    KINDS,
    MLP,
    NEURON,
    RESIDUAL,
    Node,
    at_position,
    every_node,
    mlp_of,
    neurons_of,
    parse,
)
from carryproof.circuits.patching import patched_logits, patched_right
from carryproof.circuits.recording import Recording, record
from carryproof.circuits.texts import context, write
from carryproof.models.config import DecoderConfig
from carryproof.models.decoder import Decoder, HookPoint

numbers = st.integers(0, 200)


def decoder(digits: int = 2, layers: int = 2, encoding: str = "absolute", seed: int = 0) -> Decoder:
    """Untrained, so that every node matters a little."""
    config = DecoderConfig(
        d_vocab=15,
        n_ctx=context(digits),
        d_model=8,
        n_heads=2,
        n_layers=layers,
        encoding=encoding,
        d_head=4,
        d_mlp=5,
    )
    return Decoder.init(config, torch.Generator().manual_seed(seed))


def recorded(model: Decoder, count: int = 6, seed: int = 1) -> Recording:
    digits = (model.config.n_ctx - 4) // 3
    return record(model, draw(Mixture(subtract=0.5), digits=digits, seed=seed, first=0, count=count))


def by_hooks(recording: Recording, patch: dict[Node, torch.Tensor]) -> torch.Tensor:
    """The whole model with the nodes replaced by hooks, one at a time: slow, and nothing shared with ``patching``."""
    names = {HEAD: "attn.hook_z", MLP: "hook_mlp_out", NEURON: "mlp.hook_post", RESIDUAL: "hook_resid_post"}
    hooks = []
    for node, value in patch.items():

        def put(activation: torch.Tensor, hook: HookPoint, node: Node = node, value: torch.Tensor = value):
            changed = activation.clone()
            if node.kind == HEAD:
                changed[:, node.position, node.index] = value
            elif node.kind in (MLP, RESIDUAL):
                changed[:, node.position] = value
            else:
                changed[:, node.position, node.index] = value[:, 0]
            return changed

        hooks.append((f"blocks.{node.layer}.{names[node.kind]}", put))
    tokens = torch.from_numpy(write(recording.problems))[:, :-1]
    with torch.no_grad():
        return recording.model.run_with_hooks(tokens, fwd_hooks=hooks)[:, recording.start :]


@given(position=numbers, layer=numbers, kind=st.sampled_from(KINDS), index=numbers)
def test_names_are_read_back(position: int, layer: int, kind: str, index: int) -> None:
    node = Node(position=position, layer=layer, kind=kind, index=0 if kind in (MLP, RESIDUAL) else index)
    assert parse(str(node)) == node


@pytest.mark.parametrize("name", ["P1", "P1L0", "P1L0H", "P1L0M3", "p1l0m", "P1L0H1 ", "P-1L0M", "L0H1", "P1L0R1", ""])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"node: got {name!r}; allowed: a name such as P18L0H1")):
        parse(name)


def test_nodes_are_in_the_order_of_their_numbers() -> None:
    config = decoder(digits=5).config
    nodes = every_node(config)
    assert list(nodes) == sorted(nodes) and len(nodes) == 18 * 2 * 3
    assert every_node(config, [1]) == at_position(config, 1)
    assert {node.position for node in every_node(config, [1])} == {1}, "and not 10 to 17"
    assert len(neurons_of(config, parse("P3L1M"))) == 5
    assert {mlp_of(neuron) for neuron in neurons_of(config, parse("P3L1M"))} == {parse("P3L1M")}


@pytest.mark.parametrize("name", ["P9L0H0", "P0L2M", "P0L0H2", "P0L0N5"])
def test_nodes_that_a_model_lacks_are_refused(name: str) -> None:
    recording = recorded(decoder())
    with pytest.raises(ValueError, match=r"allowed: "):
        recording.output(parse(name))
    with pytest.raises(ValueError, match=r"allowed: "):
        patched_logits(recording, [{parse(name): torch.zeros(1, 4)}])


def test_a_recording_is_a_run() -> None:
    recording = recorded(decoder(layers=3))
    assert torch.allclose(recording.logits, by_hooks(recording, {}), atol=1e-5)
    assert patched_logits(recording, [{}]).equal(recording.logits[None])


@pytest.mark.parametrize("encoding", ["absolute", "rope", "alibi", "none"])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_every_node_patched_alone_is_the_run_with_a_hook(layers: int, encoding: str) -> None:
    model = decoder(layers=layers, encoding=encoding)
    recording, other = recorded(model), recorded(model, seed=2)
    nodes = [*every_node(model.config), *neurons_of(model.config, parse("P7L0M")), parse("P2L0N3"), parse("P3L0R")]
    patches = [{node: other.output(node)} for node in nodes]
    found = patched_logits(recording, patches)
    for logits, patch in zip(found, patches, strict=True):
        assert torch.allclose(logits, by_hooks(recording, patch), atol=1e-5)
    right = found.argmax(-1) == recording.answers
    assert patched_right(recording, patches).equal(right)


@settings(max_examples=20)
@given(data=st.data(), layers=st.integers(1, 3))
def test_sets_of_nodes_patched_together_are_the_run_with_all_hooks(data: st.DataObject, layers: int) -> None:
    model = decoder(layers=layers)
    recording, other = recorded(model), recorded(model, seed=2)
    nodes = [*every_node(model.config), *(n for p in (1, 7) for n in neurons_of(model.config, parse(f"P{p}L0M")))]
    nodes += [Node(position=position, layer=layer, kind=RESIDUAL) for position in (0, 6) for layer in range(layers)]
    sets = data.draw(st.lists(st.sets(st.sampled_from(nodes)), min_size=1, max_size=4))
    patches = [{node: other.output(node)[: 1 if node.index else 6] for node in chosen} for chosen in sets]
    for logits, patch in zip(patched_logits(recording, patches), patches, strict=True):
        assert torch.allclose(logits, by_hooks(recording, patch), atol=1e-5)


def test_a_node_given_its_own_output_changes_nothing() -> None:
    recording = recorded(decoder(layers=3), count=30)
    patches = [{node: recording.output(node)} for node in every_node(recording.model.config)]
    assert torch.allclose(
        patched_logits(recording, patches), recording.logits.expand(len(patches), -1, -1, -1), atol=1e-5
    )


def test_bad_input_is_refused() -> None:
    recording = recorded(decoder())
    with pytest.raises(ValueError, match=r"shape of the values of P1L0H0: got \[6, 8\]; allowed: \[6, 4\]"):
        patched_logits(recording, [{parse("P1L0H0"): torch.zeros(6, 8)}])
    with pytest.raises(ValueError, match="model n_ctx: got 10; allowed: 13, for 3 digits"):
        record(recording.model, draw(Mixture(), digits=3, seed=0, first=0, count=1))
    with pytest.raises(ValueError, match="problems: got 0; allowed: one or more"):
        record(recording.model, recording.problems.at(np.array([], dtype=np.int64)))
