"""TransformerLens 4's own functions on our decoder (the ``interop`` extra, in an environment of its own)."""

import warnings
from importlib import import_module
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from carryproof.circuits.lens import WORDS, Lens
from carryproof.circuits.texts import VOCABULARY, context, render
from carryproof.models.config import DecoderConfig
from carryproof.models.decoder import Decoder

DIGITS, LAYERS, HEADS = 1, 2, 3
TOKENS = context(DIGITS)


def lived_in(**choices: Any) -> Decoder:
    sizes = {"d_model": 12, "n_heads": HEADS, "n_layers": LAYERS, "d_head": 5, "encoding": "absolute"} | choices
    generator = torch.Generator().manual_seed(0)
    model = Decoder.init(DecoderConfig(d_vocab=VOCABULARY, n_ctx=TOKENS, **sizes), generator)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.3 * torch.randn(weight.shape, generator=generator))
    return model


def four(module: str) -> Any:
    """A module of TransformerLens 4, or a skipped test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("transformer_lens", reason="transformer-lens is not installed (the interop extra)")
        pytest.importorskip("transformer_lens.model_protocol", reason="transformer-lens is older than 4")
        return import_module(module)


def test_texts_become_the_tokens_that_render_writes() -> None:
    lens, text = Lens(lived_in()), "5+7=+12"
    assert [render(row.numpy()) for row in lens.to_tokens([text, text[::-1]])] == [text, text[::-1]]
    assert lens.to_tokens(WORDS).tolist() == [list(range(VOCABULARY))]
    with pytest.raises(ValueError, match="texts: got '4x'; allowed: texts of one length in the symbols"):
        lens.to_tokens("4x")
    with pytest.raises(ValueError, match="texts: got '4'; allowed: texts of one length in the symbols"):
        lens.to_tokens(["45", "4"])
    with pytest.raises(ValueError, match="model d_vocab: got 14; allowed: 15"):
        Lens(Decoder(DecoderConfig(d_vocab=14, n_ctx=7, d_model=8, n_heads=2, n_layers=1, encoding="none")))


CLEAN, CORRUPTED = ["5+7=+12", "9+1=+10"], ["4+7=+11", "8+1=+09"]
BLOCKS = {name: f"hook_{name}" for name in ("resid_pre", "resid_mid", "attn_out", "mlp_out")}
VECTORS = {"out": "z", "q": "q", "k": "k", "v": "v"}


def metric(logits: Tensor) -> Tensor:
    return logits[:, -2].log_softmax(-1)[:, 2].mean()  # of writing a 2 in the end


@torch.no_grad()
def patched(model: Decoder, name: str, where: tuple[Any, ...]) -> float:
    """The metric on the corrupted texts while a part of one activation is as on the clean ones, by our own hooks."""
    lens = Lens(model)
    _, clean = model.run_with_cache(lens.to_tokens(CLEAN), names=[name])

    def replace(activation: Tensor, hook: Any) -> Tensor:
        changed = activation.clone()
        changed[where] = clean[name][where]
        return changed

    return float(metric(model.run_with_hooks(lens.to_tokens(CORRUPTED), fwd_hooks=[(name, replace)])))


@pytest.mark.interop
@pytest.mark.parametrize(("normalization", "grad"), [("LN", True), ("RMS", False)])
def test_every_activation_patch_is_what_our_hooks_say(normalization: str, grad: bool) -> None:
    patching, every = four("transformer_lens.patching"), slice(None)
    model = lived_in(normalization=normalization)
    lens = Lens(model)
    _, cache = lens.run_with_cache(lens.to_tokens(CLEAN))
    corrupted = lens.to_tokens(CORRUPTED)
    expected = {}
    for name, hook in BLOCKS.items():
        expected[name] = [
            [patched(model, f"blocks.{layer}.{hook}", (every, at)) for at in range(TOKENS)] for layer in range(LAYERS)
        ]
    heads = list(product(range(LAYERS), range(HEADS)))
    for name, vector in VECTORS.items():
        hooks = {layer: f"blocks.{layer}.attn.hook_{vector}" for layer in range(LAYERS)}
        expected[f"attn_head_{name}_all_pos"] = [
            patched(model, hooks[layer], (every, every, head)) for layer, head in heads
        ]
        expected[f"attn_head_{name}_by_pos"] = [
            patched(model, hooks[layer], (every, at, head))
            for layer, at, head in product(range(LAYERS), range(TOKENS), range(HEADS))
        ]
    patterns = {layer: f"blocks.{layer}.attn.hook_pattern" for layer in range(LAYERS)}
    expected["attn_head_pattern_all_pos"] = [patched(model, patterns[layer], (every, head)) for layer, head in heads]
    expected["attn_head_pattern_by_pos"] = [
        patched(model, patterns[layer], (every, head, to))
        for layer, head, to in product(range(LAYERS), range(HEADS), range(TOKENS))
    ]
    expected["attn_head_pattern_dest_src_pos"] = [
        patched(model, patterns[layer], (every, head, to, at))
        for layer, head, to, at in product(range(LAYERS), range(HEADS), range(TOKENS), range(TOKENS))
    ]
    assert {f"get_act_patch_{name}" for name in expected} == {
        name
        for name in dir(patching)
        if name.startswith("get_act_patch_") and not name.endswith("_every") and "direct_path" not in name
    }
    with torch.set_grad_enabled(grad):
        for name, values in expected.items():
            theirs = getattr(patching, f"get_act_patch_{name}")(lens, corrupted, cache, metric)
            torch.testing.assert_close(theirs.flatten(), torch.tensor(values).flatten(), rtol=1e-4, atol=1e-5)
        for name, sweeps in (("block", 3), ("attn_head_all_pos", 5), ("attn_head_by_pos", 5)):
            theirs = getattr(patching, f"get_act_patch_{name}_every")(lens, corrupted, cache, metric)
            assert len(theirs) == sweeps and theirs.isfinite().all()


@pytest.mark.interop
def test_it_is_a_model_to_them_and_its_cache_adds_up() -> None:
    protocol, heads = four("transformer_lens.model_protocol"), four("transformer_lens.head_detector")
    model = lived_in()
    lens = Lens(model)
    assert isinstance(lens, protocol.TransformerLensModel)
    sizes = ("d_model", "n_heads", "n_layers", "n_ctx", "d_vocab", "d_head", "d_mlp")
    assert all(getattr(lens.cfg, size) == getattr(model.config, size) for size in sizes)
    logits, cache = lens.run_with_cache(lens.to_tokens(CLEAN))
    torch.testing.assert_close(logits, model(lens.to_tokens(CLEAN)))
    assert set(cache.keys()) == set(model.hook_points())
    assert torch.equal(cache["resid_post", -1], cache["blocks.1.hook_resid_post"])
    torch.testing.assert_close(cache.decompose_resid(layer=LAYERS).sum(0), cache["resid_post", -1])
    written = sum(cache["attn_out", layer] - model.blocks[layer].attn.b_O for layer in range(LAYERS))
    torch.testing.assert_close(cache.stack_head_results(layer=LAYERS).sum(0), written, rtol=1e-4, atol=1e-5)
    normal = cache.accumulated_resid(layer=LAYERS, apply_ln=True)[-1]
    torch.testing.assert_close(model.unembed(normal), logits)
    for some in ("blocks.0.attn.hook_z", ["blocks.0.attn.hook_z"], lambda name: name == "blocks.0.attn.hook_z"):
        assert list(lens.run_with_cache(lens.to_tokens(CLEAN), names_filter=some)[1].keys()) == ["blocks.0.attn.hook_z"]
    found = heads.detect_head(lens, CLEAN[0][:-1], "previous_token_head")
    assert found.shape == (LAYERS, HEADS)
    pattern = lens.run_with_cache(lens.to_tokens(CLEAN[0]), remove_batch_dim=True)[1]["pattern", 1]
    assert pattern.shape == (HEADS, TOKENS, TOKENS)
