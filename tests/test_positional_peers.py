"""RoPE, ALiBi, T5 buckets, sinusoids and the whole decoder against well-known packages (the `peers` extra)."""

import warnings
from importlib import import_module
from typing import Any

import pytest
import torch
from torch import Tensor

from carryproof.models import Decoder, DecoderConfig
from carryproof.positional import EncodingShape, build
from carryproof.positional.relative import bucket_of

pytestmark = pytest.mark.peers

SHAPE = EncodingShape(d_model=24, n_heads=3, d_head=8, n_ctx=64)
IDS = torch.arange(40)[None]


def peer(module: str) -> Any:
    """The other package's module, or a skipped test. Their imports warn about their own dependencies."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        package = module.partition(".")[0]
        pytest.importorskip(package, reason=f"{package} is not installed: pip install 'carryproof[peers]'")
        return import_module(module)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_rotary_equals_gpt_j() -> None:
    gptj = peer("transformers.models.gptj.modeling_gptj")
    heads = normal(2, 3, 40, 8)
    sin, cos = gptj.create_sinusoidal_positions(40, 8)[None].chunk(2, dim=-1)
    theirs = gptj.apply_rotary_pos_emb(heads.transpose(1, 2), sin, cos).transpose(1, 2)
    torch.testing.assert_close(build("rope", SHAPE).rotate(heads, IDS), theirs, rtol=1e-5, atol=1e-5)


def test_rotary_equals_x_transformers_at_ids_of_any_order() -> None:
    x = peer("x_transformers.x_transformers")
    heads = normal(2, 3, 40, 8)
    ids = torch.stack([torch.randperm(500, generator=torch.Generator().manual_seed(row))[:40] for row in range(2)])
    frequencies, _ = x.RotaryEmbedding(8)(ids)
    theirs = x.apply_rotary_pos_emb(heads, frequencies)
    torch.testing.assert_close(build("rope", SHAPE).rotate(heads, ids), theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("n_heads", [1, 2, 3, 4, 6, 8, 12, 20])
def test_alibi_equals_x_transformers_for_any_number_of_heads(n_heads: int) -> None:
    x = peer("x_transformers.x_transformers")
    alibi = build("alibi", EncodingShape(d_model=8 * n_heads, n_heads=n_heads, d_head=8, n_ctx=64))
    query, theirs = normal(2, n_heads, 40, 8), x.AlibiPositionalBias(n_heads)
    torch.testing.assert_close(alibi.bias(query, IDS, IDS)[0], theirs(40, 40))
    ids = torch.stack([torch.randperm(500, generator=torch.Generator().manual_seed(row))[:40] for row in range(2)])
    torch.testing.assert_close(alibi.bias(query, ids, ids), theirs.forward_custom_pos(ids))


@pytest.mark.parametrize("n_heads", [1, 3, 8, 12])
def test_alibi_equals_bloom_up_to_what_softmax_ignores(n_heads: int) -> None:
    bloom = peer("transformers.models.bloom.modeling_bloom")
    alibi = build("alibi", EncodingShape(d_model=8 * n_heads, n_heads=n_heads, d_head=8, n_ctx=64))
    by_key = bloom.build_alibi_tensor(torch.ones(1, 40), n_heads, torch.float32)  # [head 1 key]
    theirs = (by_key - by_key.transpose(1, 2)).tril()  # zero at the query itself
    torch.testing.assert_close(alibi.bias(normal(1, n_heads, 40, 8), IDS, IDS)[0].tril(), theirs)


def test_buckets_equal_both_packages_at_every_distance() -> None:
    """Negative differences aside, which theirs put into bucket 0 and causal texts never meet."""
    distances = torch.arange(3000)
    ours = torch.tensor([bucket_of(distance) for distance in distances.tolist()])
    x = peer("x_transformers.x_transformers")
    assert torch.equal(ours, x.RelativePositionBias._relative_position_bucket(-distances, causal=True))
    t5 = peer("transformers.models.t5.modeling_t5")
    assert torch.equal(ours, t5.T5Attention._relative_position_bucket(-distances, bidirectional=False))


def test_t5_bias_equals_x_transformers() -> None:
    x = peer("x_transformers.x_transformers")
    ours, theirs = build("relative-t5", SHAPE), x.RelativePositionBias(scale=1.0, causal=True, heads=3)
    with torch.no_grad():
        ours.W_bias[:32] = theirs.relative_attention_bias.weight  # theirs have no rows for negative differences
    torch.testing.assert_close(ours.bias(normal(1, 3, 40, 8), IDS, IDS)[0].tril(), theirs(40, 40).tril())


def test_t5_bias_equals_transformers() -> None:
    t5, transformers = peer("transformers.models.t5.modeling_t5"), peer("transformers")
    config = transformers.T5Config(d_model=24, d_kv=8, num_heads=3, is_decoder=True)
    theirs = t5.T5Attention(config, has_relative_attention_bias=True, layer_idx=0)
    ours = build("relative-t5", SHAPE)
    with torch.no_grad():
        ours.W_bias[:32] = theirs.relative_attention_bias.weight  # theirs have no rows for negative differences
    torch.testing.assert_close(ours.bias(normal(1, 3, 40, 8), IDS, IDS).tril(), theirs.compute_bias(40, 40).tril())


@pytest.mark.parametrize("d_model", [2, 24, 64])
def test_sinusoids_equal_both_packages_but_for_the_order_of_channels(d_model: int) -> None:
    shape = EncodingShape(d_model=d_model, n_heads=1, d_head=2, n_ctx=64)
    ours = build("sinusoidal", shape).embed(torch.zeros(1, 40, d_model), IDS)[0]
    halves = torch.cat([ours[:, 0::2], ours[:, 1::2]], dim=-1)  # sines first, then cosines
    x = peer("x_transformers.x_transformers")
    theirs = x.ScaledSinusoidalEmbedding(d_model)
    torch.testing.assert_close(halves, theirs(torch.zeros(1, 40, 1)) / theirs.scale, rtol=1e-4, atol=1e-5)
    marian = peer("transformers.models.marian.modeling_marian")
    stored = marian.MarianSinusoidalPositionalEmbedding(40, d_model).create_weight()
    torch.testing.assert_close(halves, stored, rtol=1e-5, atol=1e-5)


def test_the_decoder_equals_gpt_2() -> None:
    transformers = peer("transformers")
    config = DecoderConfig(
        d_vocab=13, n_ctx=20, d_model=24, n_heads=3, n_layers=2, encoding="absolute", activation="gelu"
    )
    model = Decoder.init(config, torch.Generator().manual_seed(0))
    theirs = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=13, n_positions=20, n_embd=24, n_head=3, n_layer=2, n_inner=96, activation_function="gelu",
            resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, tie_word_embeddings=False, bos_token_id=0, eos_token_id=0,
        )
    ).eval()  # fmt: skip # read as a table
    ours = dict(model.named_parameters())
    with torch.no_grad():
        for name, value in ours.items():
            if (".b_" in name and not name.startswith("unembed")) or name.endswith((".b", ".w")):
                value.add_(torch.randn(value.shape, generator=torch.Generator().manual_seed(len(name))), alpha=0.2)
        renamed = {"transformer.wte.weight": ours["embed.W_E"], "transformer.wpe.weight": ours["pos_embed.W_pos"]}
        renamed |= {"transformer.ln_f.weight": ours["ln_final.w"], "transformer.ln_f.bias": ours["ln_final.b"]}
        renamed |= {"lm_head.weight": ours["unembed.W_U"].T}
        for layer in (0, 1):
            here, there = f"blocks.{layer}", f"transformer.h.{layer}"
            for norm, their_norm in (("ln1", "ln_1"), ("ln2", "ln_2")):
                renamed |= {f"{there}.{their_norm}.weight": ours[f"{here}.{norm}.w"]}
                renamed |= {f"{there}.{their_norm}.bias": ours[f"{here}.{norm}.b"]}
            heads = [ours[f"{here}.attn.W_{part}"].transpose(0, 1).flatten(1) for part in "QKV"]
            renamed |= {f"{there}.attn.c_attn.weight": torch.cat(heads, dim=1)}
            renamed |= {
                f"{there}.attn.c_attn.bias": torch.cat([ours[f"{here}.attn.b_{part}"] for part in "QKV"]).flatten()
            }
            renamed |= {f"{there}.attn.c_proj.weight": ours[f"{here}.attn.W_O"].flatten(0, 1)}
            renamed |= {f"{there}.attn.c_proj.bias": ours[f"{here}.attn.b_O"]}
            for part, their_part in (("in", "c_fc"), ("out", "c_proj")):
                renamed |= {f"{there}.mlp.{their_part}.weight": ours[f"{here}.mlp.W_{part}"]}
                renamed |= {f"{there}.mlp.{their_part}.bias": ours[f"{here}.mlp.b_{part}"]}
        theirs.load_state_dict(renamed)
        tokens = torch.randint(0, 13, (4, 20), generator=torch.Generator().manual_seed(1))
        torch.testing.assert_close(model(tokens), theirs(tokens).logits, rtol=1e-4, atol=1e-5)
