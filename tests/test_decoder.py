"""The decoder: its names, its arithmetic against a computation by hand, causality, hooks, and the rows shortcut."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from carryproof.models import Decoder, DecoderConfig, HookPoint
from carryproof.positional import ENCODINGS

NAMES = sorted(ENCODINGS)


def config(**changes: object) -> DecoderConfig:
    values = {"d_vocab": 11, "n_ctx": 16, "d_model": 12, "n_heads": 3, "n_layers": 2, "encoding": "none"}
    return DecoderConfig.from_dict(values | changes)


def drawn(dtype: torch.dtype = torch.float64, seed: int = 0, **changes: object) -> Decoder:
    """A model whose biases and norms are random too, so that nothing hides behind a zero."""
    model = Decoder.init(config(**changes), torch.Generator().manual_seed(seed)).to(dtype)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1 or ".b_" in name:
                parameter.add_(torch.randn(parameter.shape, generator=generator, dtype=dtype), alpha=0.3)
    return model


def tokens(batch: int = 3, length: int = 9, seed: int = 0) -> Tensor:
    return torch.randint(0, 11, (batch, length), generator=torch.Generator().manual_seed(seed))


BLOCK_WEIGHTS = [
    "ln1.w",
    "ln1.b",
    "attn.W_Q",
    "attn.b_Q",
    "attn.W_K",
    "attn.b_K",
    "attn.W_V",
    "attn.b_V",
    "attn.W_O",
    "attn.b_O",
    "ln2.w",
    "ln2.b",
    "mlp.W_in",
    "mlp.b_in",
    "mlp.W_out",
    "mlp.b_out",
]
BLOCK_HOOKS = [
    "hook_resid_pre",
    "ln1.hook_scale",
    "ln1.hook_normalized",
    "attn.hook_q",
    "attn.hook_k",
    "attn.hook_v",
    "attn.hook_attn_scores",
    "attn.hook_pattern",
    "attn.hook_z",
    "hook_attn_out",
    "hook_resid_mid",
    "ln2.hook_scale",
    "ln2.hook_normalized",
    "mlp.hook_pre",
    "mlp.hook_post",
    "hook_mlp_out",
    "hook_resid_post",
]


def test_weights_have_the_names_and_shapes_of_transformer_lens() -> None:
    shapes = {name: tuple(value.shape) for name, value in drawn(encoding="absolute", d_head=5).state_dict().items()}
    expected = {"embed.W_E", "pos_embed.W_pos", "ln_final.w", "ln_final.b", "unembed.W_U", "unembed.b_U"}
    assert set(shapes) == expected | {f"blocks.{layer}.{name}" for layer in (0, 1) for name in BLOCK_WEIGHTS}
    assert shapes["embed.W_E"] == (11, 12) and shapes["pos_embed.W_pos"] == (16, 12)
    assert shapes["blocks.1.attn.W_Q"] == (3, 12, 5) and shapes["blocks.1.attn.b_V"] == (3, 5)
    assert shapes["blocks.0.attn.W_O"] == (3, 5, 12) and shapes["blocks.0.attn.b_O"] == (12,)
    assert shapes["blocks.0.mlp.W_in"] == (12, 48) and shapes["blocks.0.mlp.W_out"] == (48, 12)
    assert shapes["unembed.W_U"] == (12, 11)


def test_rms_has_no_offsets() -> None:
    assert not [name for name in drawn(normalization="RMS").state_dict() if "ln" in name and name.endswith(".b")]


def test_hooks_have_the_names_of_transformer_lens() -> None:
    model = drawn()
    expected = {"hook_embed", "hook_pos_embed", "ln_final.hook_scale", "ln_final.hook_normalized"}
    expected |= {f"blocks.{layer}.{name}" for layer in (0, 1) for name in BLOCK_HOOKS}
    _, cache = model.run_with_cache(tokens())
    assert set(cache) == set(model.hook_points()) == expected
    shapes = {name.removeprefix("blocks.0."): tuple(value.shape) for name, value in cache.items()}
    assert shapes["attn.hook_q"] == shapes["attn.hook_k"] == shapes["attn.hook_z"] == (3, 9, 3, 4)
    assert shapes["attn.hook_attn_scores"] == shapes["attn.hook_pattern"] == (3, 3, 9, 9)
    assert shapes["ln1.hook_scale"] == (3, 9, 1) and shapes["mlp.hook_pre"] == (3, 9, 48)


def by_hand(model: Decoder, row: list[int]) -> np.ndarray:
    """Logits of one sequence without encoding, token by token in numpy."""
    weight = {name: value.numpy() for name, value in model.state_dict().items()}

    def normalize(x: np.ndarray, name: str) -> np.ndarray:
        if model.config.normalization == "RMS":
            return x / math.sqrt((x * x).mean() + 1e-5) * weight[f"{name}.w"]
        return (x - x.mean()) / math.sqrt(x.var() + 1e-5) * weight[f"{name}.w"] + weight[f"{name}.b"]

    def activate(x: float) -> float:
        return max(x, 0.0) if model.config.activation == "relu" else x * (1 + math.erf(x / math.sqrt(2))) / 2

    stream = [weight["embed.W_E"][token] for token in row]
    for layer in range(model.config.n_layers):
        block = {name: weight[f"blocks.{layer}.{name}"] for name in BLOCK_WEIGHTS if f"blocks.{layer}.{name}" in weight}
        normal = [normalize(x, f"blocks.{layer}.ln1") for x in stream]
        after = []
        for i, x in enumerate(stream):
            x = x + block["attn.b_O"]
            for head in range(model.config.n_heads):
                q, k, v = (
                    [n @ block[f"attn.W_{part}"][head] + block[f"attn.b_{part}"][head] for n in normal]
                    for part in "QKV"
                )
                odds = [math.exp(q[i] @ k[j] / math.sqrt(len(q[i]))) for j in range(i + 1)]
                z = sum(odds[j] * v[j] for j in range(i + 1)) / sum(odds)
                x = x + z @ block["attn.W_O"][head]
            pre = normalize(x, f"blocks.{layer}.ln2") @ block["mlp.W_in"] + block["mlp.b_in"]
            after.append(x + np.array([activate(p) for p in pre]) @ block["mlp.W_out"] + block["mlp.b_out"])
        stream = after
    return np.stack([normalize(x, "ln_final") @ weight["unembed.W_U"] + weight["unembed.b_U"] for x in stream])


@pytest.mark.parametrize("normalization", ["LN", "RMS"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_logits_equal_a_computation_by_hand(normalization: str, activation: str) -> None:
    model, row = drawn(normalization=normalization, activation=activation, d_head=5), tokens(1, 6)
    np.testing.assert_allclose(model(row)[0].detach().numpy(), by_hand(model, row[0].tolist()), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("normalization", ["LN", "RMS"])
@pytest.mark.parametrize("name", NAMES)
def test_watching_changes_nothing(name: str, normalization: str) -> None:
    model, given_tokens = drawn(encoding=name, normalization=normalization), tokens()
    logits, cache = model.run_with_cache(given_tokens)
    torch.testing.assert_close(logits, model(given_tokens), rtol=1e-10, atol=1e-10)
    for layer in (0, 1):
        mid = cache[f"blocks.{layer}.hook_resid_pre"] + cache[f"blocks.{layer}.hook_attn_out"]
        torch.testing.assert_close(mid, cache[f"blocks.{layer}.hook_resid_mid"])
        post = mid + cache[f"blocks.{layer}.hook_mlp_out"]
        torch.testing.assert_close(post, cache[f"blocks.{layer}.hook_resid_post"])
        pattern = cache[f"blocks.{layer}.attn.hook_pattern"]
        torch.testing.assert_close(pattern.sum(-1), torch.ones_like(pattern[..., 0]))
        assert (pattern.triu(1) == 0).all()
    placed = cache["hook_embed"] + cache["hook_pos_embed"]
    torch.testing.assert_close(placed, cache["blocks.0.hook_resid_pre"])
    torch.testing.assert_close(cache["ln_final.hook_normalized"] @ model.unembed.W_U + model.unembed.b_U, logits)
    assert not any(point.hooked for point in model.hook_points().values())


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25)
@given(at=st.integers(1, 8), seed=st.integers(0, 1000))
def test_a_later_token_never_alters_earlier_logits(name: str, at: int, seed: int) -> None:
    model, one = drawn(encoding=name), tokens(2, 9, seed)
    other = one.clone()
    other[:, at:] = (other[:, at:] + 1 + seed % 9) % 11
    assert torch.equal(model(one)[:, :at], model(other)[:, :at])
    assert (model(one)[:, at] - model(other)[:, at]).abs().max() > 1e-6


def test_causality_follows_token_order_not_ids() -> None:
    model, one = drawn(encoding="relative-t5"), tokens(1, 6)
    other = one.clone()
    other[:, 5] = (other[:, 5] + 1) % 11
    backwards = torch.arange(6).flip(0)[None]
    assert torch.equal(model(one, backwards)[:, :5], model(other, backwards)[:, :5])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rows", [slice(6, 9), slice(0, 2), slice(-1, None), slice(2, None, 3)])
def test_rows_are_the_same_numbers_and_gradients(name: str, rows: slice) -> None:
    given_tokens = tokens()
    ids = torch.stack([torch.randperm(16, generator=torch.Generator().manual_seed(row))[:9] for row in range(3)])
    for positions in (None, ids):
        whole, part = drawn(encoding=name), drawn(encoding=name)
        expected, logits = whole(given_tokens, positions)[:, rows], part(given_tokens, positions, rows)
        torch.testing.assert_close(logits, expected, rtol=1e-10, atol=1e-10)
        expected.square().sum().backward()
        logits.square().sum().backward()
        for one, two in zip(whole.parameters(), part.parameters(), strict=True):
            torch.testing.assert_close(one.grad, two.grad, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "absolute"])
def test_longer_inputs_than_the_context_are_fine_unless_positions_are_learned(name: str) -> None:
    assert drawn(encoding=name)(tokens(1, 40)).isfinite().all()


def test_learned_positions_end_at_the_context() -> None:
    with pytest.raises(ValueError, match=r"^ids: got 39, which has no learned vector; allowed: 0 to 15"):
        drawn(encoding="absolute")(tokens(1, 40))


def test_default_ids_count_from_zero() -> None:
    model, given_tokens = drawn(encoding="absolute"), tokens()
    assert torch.equal(model(given_tokens), model(given_tokens, torch.arange(9)[None]))
    assert not torch.allclose(model(given_tokens), model(given_tokens, torch.arange(9)[None] + 1))


def test_hooks_can_remove_a_head() -> None:
    model, given_tokens = drawn(), tokens()

    def remove(z: Tensor, hook: HookPoint) -> Tensor:
        assert hook.name == "blocks.0.attn.hook_z"
        z[:, :, 1] = 0
        return z

    with torch.no_grad():
        ablated = model.run_with_hooks(given_tokens, fwd_hooks=[("blocks.0.attn.hook_z", remove)])
        plain = model(given_tokens)
        model.blocks[0].attn.W_O[1] = 0
        torch.testing.assert_close(ablated, model(given_tokens))
    assert not torch.allclose(ablated, plain)


@pytest.mark.parametrize("name", sorted(drawn().hook_points()))
def test_every_hook_point_is_on_the_path(name: str) -> None:
    model, given_tokens = drawn(encoding="absolute"), tokens()
    changed = model.run_with_hooks(given_tokens, fwd_hooks=[(name, lambda value, hook: value * 1.5)])
    assert not torch.allclose(changed, model(given_tokens))


def test_hooks_are_removed_even_after_an_error_and_unknown_names_are_refused() -> None:
    model = drawn()

    def fail(value: Tensor, hook: HookPoint) -> None:
        raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        model.run_with_hooks(tokens(), fwd_hooks=[("hook_embed", fail)])
    with pytest.raises(
        ValueError, match=r"^fwd_hooks: unknown name 'blocks.0.hook_z'; allowed: hook names such as 'blocks"
    ):
        model.run_with_hooks(tokens(), fwd_hooks=[("hook_embed", fail), ("blocks.0.hook_z", fail)])
    assert not any(point.hooked for point in model.hook_points().values())


def test_a_cache_can_be_limited_to_some_names() -> None:
    _, cache = drawn().run_with_cache(tokens(), names=["blocks.1.attn.hook_pattern"])
    assert list(cache) == ["blocks.1.attn.hook_pattern"]


@pytest.mark.parametrize("name", NAMES)
def test_weights_are_a_function_of_the_generator_alone(name: str) -> None:
    before = torch.get_rng_state()
    one, two = (Decoder.init(config(encoding=name), torch.Generator().manual_seed(3)) for _ in range(2))
    other = Decoder.init(config(encoding=name), torch.Generator().manual_seed(4))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not torch.equal(one.embed.W_E, other.embed.W_E)
    assert torch.equal(one(tokens()), two(tokens()))


def test_initial_logits_and_residual_stream_have_moderate_size() -> None:
    for width in (16, 64, 256):
        model = Decoder.init(config(d_model=width, n_heads=2, encoding="absolute"), torch.Generator().manual_seed(0))
        logits, cache = model.run_with_cache(tokens(20))
        assert 0.4 < logits.std() < 1.2
        assert 0.1 < cache["blocks.1.hook_resid_post"].std() < 1.5


def test_a_model_learns_to_copy() -> None:
    model = Decoder.init(config(d_model=32, n_heads=2, encoding="rope"), torch.Generator().manual_seed(0))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(120):
        half = tokens(64, 5, step)
        text = torch.cat([half, half], dim=1)
        loss = torch.nn.functional.cross_entropy(model(text[:, :-1], rows=slice(4, 9)).flatten(0, 1), half.flatten())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    half = tokens(64, 5, 1000)
    guesses = model(torch.cat([half, half], dim=1)[:, :-1], rows=slice(4, 9)).argmax(-1)
    assert (guesses == half).float().mean() > 0.9


def test_a_hook_point_that_is_not_used_copies_nothing() -> None:
    point, value = HookPoint(), torch.zeros(1)
    assert point(value) is value and not point.hooked


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"d_model": 10}, r"d_model: got 10; allowed: a multiple of n_heads = 3, or any size with d_head given"),
        ({"n_heads": 0}, r"n_heads: got 0; allowed: an integer of at least 1"),
        ({"d_head": -1}, r"d_head: got -1; allowed: an integer of at least 1"),
        ({"d_mlp": 0}, r"d_mlp: got 0; allowed: an integer of at least 1"),
        ({"n_ctx": True}, r"n_ctx: got True; allowed: an integer of at least 1"),
        ({"normalization": "BN"}, r"normalization: got 'BN'; allowed: LN, RMS"),
        ({"activation": "swish"}, r"activation: got 'swish'; allowed: relu, gelu"),
        ({"encoding": "alibbi"}, r"encoding: unknown value 'alibbi'; did you mean 'alibi'\? allowed: absolute"),
        ({"encoding": "rope", "d_head": 3}, r"d_head: got 3; allowed: an even number"),
        ({"dropout": 0.1}, r"configuration: unknown dropout; allowed: activation"),
    ],
)
def test_impossible_configurations_are_one_clear_line(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match="^" + message) as raised:
        config(**changes)
    assert "\n" not in str(raised.value)


def test_configurations_travel_as_plain_dictionaries() -> None:
    full = config(d_head=5, d_mlp=7, normalization="RMS", activation="gelu", encoding="alibi")
    assert DecoderConfig.from_dict(full.to_dict()) == full
    assert config().d_head == 4 and config().d_mlp == 48
    assert config() == config(d_head=4, d_mlp=48)
    with pytest.raises(ValueError, match=r"^configuration: missing n_ctx; allowed: "):
        DecoderConfig.from_dict({name: value for name, value in full.to_dict().items() if name != "n_ctx"})
