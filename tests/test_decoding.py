"""Decoding with cached keys and values writes what the whole forward pass says, under every encoding."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from carryproof.models.config import DecoderConfig
from carryproof.models.decoder import Decoder
from carryproof.models.decoding import Cache, greedy, next_logits, read_on
from carryproof.positional import ENCODINGS

WINDOW = "window:0+0,0-1"
PROMPT, STEPS, BATCH = 5, 7, 11
IDS = {
    "shared": torch.arange(PROMPT + STEPS)[None],
    "of their own": torch.arange(PROMPT + STEPS) + torch.arange(BATCH)[:, None] % 3,
    "repeated": torch.tensor([[1, 2, 0, 1, 2, 0, 1, 2, 3, 4, 0, 0]]),
}


def drawn(encoding: str, **sizes: int) -> Decoder:
    """A model whose logits are far apart, in double precision, so that rounding decides nothing."""
    shape = {"d_vocab": 13, "n_ctx": 16, "d_model": 16, "n_heads": 2, "n_layers": 2} | sizes
    model = Decoder.init(DecoderConfig(encoding=encoding, **shape), torch.Generator().manual_seed(1)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    return model


def prompts(seed: int = 0) -> Tensor:
    return torch.randint(0, 13, (BATCH, PROMPT), generator=torch.Generator().manual_seed(seed))


@torch.inference_mode()
def uncached(model: Decoder, prompts: Tensor, ids: Tensor, steps: int) -> Tensor:
    text = prompts
    for _ in range(steps):
        logits = model(text, ids[:, : text.shape[1]])[:, -1]
        text = torch.cat([text, logits.argmax(dim=-1, keepdim=True)], dim=1)
    return text[:, prompts.shape[1] :]


@pytest.mark.parametrize("kind", IDS)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding_writes_the_same_tokens(encoding: str, kind: str) -> None:
    model, ids = drawn(encoding), IDS[kind]
    written = greedy(model, prompts(), ids, STEPS)
    assert torch.equal(written, uncached(model, prompts(), ids, STEPS))
    assert len(written.unique(dim=0)) > 1  # a model that always says the same would show nothing


def test_ids_may_be_vectors() -> None:
    model = drawn(WINDOW, n_layers=1)
    ids = torch.randint(-1, 3, (1, PROMPT + STEPS, 3), generator=torch.Generator().manual_seed(2))
    assert torch.equal(greedy(model, prompts(), ids, STEPS), uncached(model, prompts(), ids, STEPS))


@given(st.integers(1, 4), st.integers(0, 3), st.integers(0, 99))
def test_any_cut_of_a_text_gives_its_last_logits(first: int, more: int, seed: int) -> None:
    """Tokens may enter the cache in any portions."""
    model, text, ids = drawn("fire"), prompts(seed), IDS["shared"][:, :PROMPT]
    cache = Cache(model, BATCH, PROMPT)
    cuts = sorted({first, min(first + more, PROMPT), PROMPT})
    with torch.inference_mode():
        for known, stop in zip([0, *cuts], cuts, strict=False):
            logits = next_logits(model, text[:, known:stop], ids[:, :stop], cache)
        assert torch.allclose(logits, model(text, ids)[:, -1], rtol=1e-9, atol=1e-9)


@given(st.integers(0, PROMPT - 1), st.integers(0, PROMPT), st.integers(1, 4), st.integers(0, 99))
def test_texts_that_begin_alike_may_share_a_beginning(known: int, rows: int, ways: int, seed: int) -> None:
    """Any number of logits at the end of any number of continuations, of some of the texts that were begun."""
    model, texts, ids = drawn("kerple"), slice(2, 7), IDS["shared"][:, :PROMPT]
    begun, ended = prompts(seed), torch.cat([prompts(seed + way + 1) for way in range(ways)])[: 5 * ways]
    whole = torch.cat([begun[texts, :known].repeat_interleave(ways, dim=0), ended[:, known:]], dim=1)
    cache, rows = Cache(model, BATCH, PROMPT), min(rows, PROMPT - known)
    with torch.inference_mode():
        if known:
            assert read_on(model, begun[:, :known], ids[:, :known], cache, rows=0).shape == (BATCH, 0, 13)
        branched = cache.branch(model, texts, ways)
        logits = read_on(model, whole[:, known:], ids, branched, rows=rows)
        assert torch.allclose(logits, model(whole, ids)[:, PROMPT - rows :], rtol=1e-9, atol=1e-9)
    assert (cache.filled, branched.filled) == (known, PROMPT)


@given(st.sets(st.integers(0, 12), min_size=2))
def test_of_tokens_that_tie_the_lowest_is_written(tied: set[int]) -> None:
    model = drawn("rope")
    with torch.no_grad():
        model.unembed.W_U.zero_()
        model.unembed.b_U.zero_()
        model.unembed.b_U[list(tied)] = 1.0
    assert (greedy(model, prompts(), IDS["shared"], 2) == min(tied)).all()
    assert (uncached(model, prompts(), IDS["shared"], 2) == min(tied)).all()


@given(st.integers(0, 10**6), st.integers(1, 70), st.sampled_from([torch.float32, torch.bfloat16, torch.float64]))
def test_argmax_takes_the_first_of_equals(seed: int, vocabulary: int, dtype: torch.dtype) -> None:
    """What one-pass exact match and both ways of decoding rely on, for strided logits too."""
    few = torch.randint(0, 3, (6, vocabulary, 5), generator=torch.Generator().manual_seed(seed)).to(dtype)
    for logits in (few.transpose(1, 2), few.transpose(1, 2).contiguous()):
        rows = logits.flatten(0, 1).tolist()
        assert logits.argmax(dim=-1).flatten().tolist() == [row.index(max(row)) for row in rows]


def test_too_few_ids_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^ids: got 6 tokens; allowed: at least 11, for the prompt and for every"):
        greedy(drawn("none"), prompts(), IDS["shared"][:, :6], STEPS)
    assert greedy(drawn("none"), prompts(), IDS["shared"][:, :PROMPT], 1).shape == (BATCH, 1)
    assert greedy(drawn("none"), prompts(), IDS["shared"], 0).shape == (BATCH, 0)
