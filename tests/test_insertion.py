"""Initialisation from a smaller model: equal logits at step 0, learning in what was added, and the published copy."""

from dataclasses import replace
from fnmatch import fnmatchcase

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from carryproof.benchmarks.configuration import Recipe
from carryproof.benchmarks.engine import Engine
from carryproof.benchmarks.train import Training
from carryproof.circuits.insertion import GROUPS, PLACEMENTS, insert, insert_groups, insert_published
from carryproof.models.config import DecoderConfig
from carryproof.models.decoder import Decoder
from carryproof.positional import ENCODINGS

SHAPE = DecoderConfig(d_vocab=15, n_ctx=13, d_model=12, n_heads=2, n_layers=2, d_head=5, d_mlp=20, encoding="absolute")


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def lived_in(shape: DecoderConfig, seed: int) -> Decoder:
    """A model whose biases and normalization weights are no longer what they were drawn as."""
    model, generator = Decoder.init(shape, seeded(seed)), seeded(seed + 1000)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.3 * torch.randn(weight.shape, generator=generator))
    return model


def texts(shape: DecoderConfig, seed: int = 7) -> Tensor:
    return torch.randint(shape.d_vocab, (6, shape.n_ctx), generator=seeded(seed))


def trained(shape: DecoderConfig, steps: int = 40) -> Decoder:
    """A model after some steps on copying the first token, which has left its initial values behind."""
    model, tokens = Decoder.init(shape, seeded(3)), texts(shape)
    training = Training([model], Recipe(learning_rate=1e-2), Engine())
    ids, targets = torch.arange(shape.n_ctx)[None, None], tokens[None, :, :1].expand(1, -1, 4)
    losses = [float(training.step(tokens[None], ids, targets, 1.0)) for _ in range(steps)]
    assert losses[-1] < 0.5 * losses[0]
    return model


def weights(model: Decoder) -> dict[str, Tensor]:
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


def close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=2e-5)


placements = pytest.mark.parametrize("placement", PLACEMENTS)


@settings(max_examples=60)
@given(
    placement=st.sampled_from(PLACEMENTS),
    normalization=st.sampled_from(("LN", "RMS")),
    activation=st.sampled_from(("relu", "gelu")),
    layers=st.tuples(st.integers(1, 3), st.integers(0, 2)),
    heads=st.tuples(st.integers(1, 3), st.integers(0, 2)),
    neurons=st.tuples(st.integers(1, 20), st.integers(0, 9)),
    encoding=st.sampled_from(("absolute", "sinusoidal", "rope", "none")),
)
def test_the_target_computes_the_logits_of_the_source(
    placement: str,
    normalization: str,
    activation: str,
    layers: tuple[int, int],
    heads: tuple[int, int],
    neurons: tuple[int, int],
    encoding: str,
) -> None:
    shape = replace(SHAPE, normalization=normalization, activation=activation, encoding=encoding, d_head=4)
    small = replace(shape, n_layers=layers[0], n_heads=heads[0], d_mlp=neurons[0])
    large = replace(shape, n_layers=sum(layers), n_heads=sum(heads), d_mlp=sum(neurons))
    source, target = lived_in(small, 0), lived_in(large, 1)
    before = weights(source)
    insert(source, target, placement)
    close(target(texts(shape)), source(texts(shape)))
    assert all(torch.equal(weight, before[name]) for name, weight in source.named_parameters())


@placements
def test_a_trained_model_is_inserted_as_it_is(placement: str) -> None:
    source, target = trained(SHAPE), lived_in(replace(SHAPE, n_layers=4, n_heads=3), 1)
    insert(source, target, placement)
    close(target(texts(SHAPE)), source(texts(SHAPE)))


@pytest.mark.parametrize("encoding", sorted(set(ENCODINGS) - {"window"}))
def test_with_as_many_heads_every_encoding_can_be_inserted(encoding: str) -> None:
    shape = replace(SHAPE, encoding=encoding, d_head=4)
    source, target = lived_in(shape, 0), lived_in(replace(shape, n_layers=3), 1)
    insert(source, target, "right")
    close(target(texts(shape)), source(texts(shape)))


@placements
def test_what_was_added_learns(placement: str) -> None:
    """At the first step the new weights that write have gradients; from then on all of them have."""
    source, target = lived_in(SHAPE, 0), lived_in(replace(SHAPE, n_layers=3, n_heads=4, d_mlp=24), 1)
    insert(source, target, placement)
    layer, head, neuron = (2, slice(2, 4), slice(20, 24)) if placement == "left" else (0, slice(0, 2), slice(0, 4))
    inserted = 0 if placement == "left" else 1
    for step in range(2):
        target.zero_grad()
        torch.nn.functional.cross_entropy(target(texts(SHAPE)).flatten(0, 1), texts(SHAPE, 8).flatten()).backward()
        gradients = {name: weight.grad for name, weight in target.named_parameters()}
        new = {name: gradient for name, gradient in gradients.items() if name.startswith(f"blocks.{layer}.")}
        new |= {
            name: gradient[head]
            for name, gradient in gradients.items()
            if name.startswith(f"blocks.{inserted}.attn.") and not name.endswith("b_O")
        }
        new[f"blocks.{inserted}.mlp.W_out"] = gradients[f"blocks.{inserted}.mlp.W_out"][neuron]
        for name, gradient in new.items():
            reads = not name.endswith(("W_O", "b_O", "W_out", "b_out"))
            if step or not reads:
                assert gradient.abs().max() > 1e-9 or name.endswith("b_K"), name  # softmax ignores a key's bias
        with torch.no_grad():
            for weight in target.parameters():
                weight.sub_(0.1 * weight.grad)


def test_a_model_inserted_into_its_own_shape_is_a_copy_and_into_itself_the_same() -> None:
    source, target = lived_in(SHAPE, 0), lived_in(SHAPE, 1)
    before = weights(source)
    insert(source, target)
    insert(source, source)
    for model in (source, target):
        assert all(torch.equal(weight, before[name]) for name, weight in model.named_parameters())


def test_every_parameter_is_in_one_group() -> None:
    for encoding in ("absolute", "relative-t5"):
        for name, _ in lived_in(replace(SHAPE, encoding=encoding), 0).named_parameters():
            owners = [group for group, patterns in GROUPS.items() if any(fnmatchcase(name, each) for each in patterns)]
            assert len(owners) == 1, name


@placements
def test_groups_one_after_the_other_are_the_whole(placement: str) -> None:
    source, large = lived_in(SHAPE, 0), replace(SHAPE, n_layers=3, n_heads=3, d_mlp=24)
    whole, parts = lived_in(large, 1), lived_in(large, 1)
    insert(source, whole, placement)
    for group, patterns in GROUPS.items():
        before = weights(parts)
        insert_groups(source, parts, (group,), placement)
        for name, weight in parts.named_parameters():
            mine = any(fnmatchcase(name, pattern) for pattern in patterns)
            assert mine or torch.equal(weight, before[name]), name
    assert all(torch.equal(weight, whole.get_parameter(name)) for name, weight in parts.named_parameters())
    before = weights(parts)
    insert_groups(lived_in(SHAPE, 5), parts, ())
    assert all(torch.equal(weight, before[name]) for name, weight in parts.named_parameters())


LEFT_OUT = ("attn.W_O", "attn.b_O", "ln2.w", "ln2.b", "ln_final.b", "unembed.b_U")


def test_the_published_copy_leaves_out_what_it_left_out() -> None:
    source, target = lived_in(SHAPE, 0), lived_in(SHAPE, 1)
    before = weights(target)
    insert_published(source, target, 1)
    for name, weight in target.named_parameters():
        expected = before[name] if name.endswith(LEFT_OUT) else source.get_parameter(name)
        assert torch.equal(weight, expected), name
    assert not torch.allclose(target(texts(SHAPE)), source(texts(SHAPE)), atol=1e-2)


def scramble(model: Decoder) -> dict[str, Tensor]:
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(1.0)
    return weights(model)


@pytest.mark.parametrize("mode", [1, 2, 3, 4])
def test_published_modes_copy_again_what_and_when_they_did(mode: int) -> None:
    source, target = lived_in(SHAPE, 0), lived_in(replace(SHAPE, n_layers=3, n_heads=3), 1)
    again = insert_published(source, target, mode, useful=((1, 0),) if mode == 2 else None)
    for step in (0, 1, 99, 100, 200):
        before = scramble(target)
        again(step)
        changed = {name for name, weight in target.named_parameters() if not torch.equal(weight, before[name])}
        heads = {f"blocks.{layer}.attn.{part}_{of}" for layer in (0, 1) for part in "Wb" for of in "QKV"}
        mlps = {f"blocks.{layer}.mlp.{part}_{of}" for layer in (0, 1) for part in "Wb" for of in ("in", "out")}
        if mode == 1 or (step % 100 and mode != 4):
            assert not changed
        elif mode == 2:
            assert changed == {name for name in heads if ".1." in name}
            for name in changed:  # head 0 goes to head 1, the first of the last two
                now, old = target.get_parameter(name), before[name]
                assert torch.equal(now[1], source.get_parameter(name)[0])
                assert torch.equal(now[[0, 2]], old[[0, 2]])
        else:
            assert changed == heads | mlps
            assert all(torch.equal(target.get_parameter(name)[:2], source.get_parameter(name)) for name in heads)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"d_vocab": 14}, "source d_vocab: got 15; allowed: 14, as in the target"),
        ({"n_ctx": 16}, "source n_ctx: got 13; allowed: 16, as in the target"),
        ({"d_model": 16}, "source d_model: got 12; allowed: 16, as in the target"),
        ({"d_head": 6}, "source d_head: got 5; allowed: 6, as in the target"),
        ({"encoding": "none"}, "source encoding: got 'absolute'; allowed: 'none', as in the target"),
        ({"normalization": "RMS"}, "source normalization: got 'LN'; allowed: 'RMS', as in the target"),
        ({"activation": "gelu"}, "source activation: got 'relu'; allowed: 'gelu', as in the target"),
        ({"n_layers": 1}, "source n_layers: got 2; allowed: at most 1, as many as the target has"),
        ({"n_heads": 1}, "source n_heads: got 2; allowed: at most 1, as many as the target has"),
        ({"d_mlp": 10}, "source d_mlp: got 20; allowed: at most 10, as many as the target has"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(change: dict[str, object], message: str) -> None:
    source, target = Decoder(SHAPE), lived_in(replace(SHAPE, **change), 1)
    before = weights(target)
    for attempt in (lambda: insert(source, target), lambda: insert_published(source, target, 1)):
        with pytest.raises(ValueError) as raised:
            attempt()
        assert str(raised.value) == message
    assert all(torch.equal(weight, before[name]) for name, weight in target.named_parameters())


def test_names_that_do_not_exist_are_refused_in_one_line() -> None:
    source, target = Decoder(SHAPE), Decoder(SHAPE)
    with pytest.raises(ValueError, match="placement: unknown value 'top'; allowed: left, right"):
        insert_groups(source, target, (), "top")
    with pytest.raises(ValueError, match="group: unknown value 'mlp'; did you mean 'mlps'"):
        insert_groups(source, target, ("mlp",))
    with pytest.raises(ValueError, match="mode: got 5; allowed: 1, 2, 3, 4"):
        insert_published(source, target, 5)
    with pytest.raises(ValueError, match=r"useful: got \(0, 2\); allowed: \(layer, head\) below \(2, 2\)"):
        insert_published(source, target, 2, useful=((0, 2),))
    per_head = replace(SHAPE, encoding="alibi")
    with pytest.raises(ValueError, match="source n_heads: got 2; allowed: 3: 'alibi' has a bias for each head"):
        insert(Decoder(per_head), Decoder(replace(per_head, n_heads=3)))
