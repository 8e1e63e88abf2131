"""Every encoding in the registry: the symmetry it claims, ids past the trained length, shared ids, types, errors."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from carryproof.positional import (
    ENCODINGS,
    Alibi,
    ClippedBias,
    Encoding,
    EncodingShape,
    Fire,
    Kerple,
    ShawKeys,
    T5Buckets,
    build,
)
from carryproof.positional.alibi import slopes
from carryproof.positional.relative import bucket_of
from carryproof.theory import encodings as twins

NAMES = sorted(ENCODINGS)
INVARIANT = [name for name in NAMES if twins.get(name).sees != "absolute ids"]
ABSOLUTE = [name for name in NAMES if twins.get(name).embeds() != "nothing"]
TABLES = ["absolute", "relative-t5", "relative-clipped", "relative-shaw"]
SHAPE = EncodingShape(d_model=12, n_heads=3, d_head=4, n_ctx=40)
UNBOUNDED = [name for name in NAMES if name != "absolute"]


def drawn(name: str, dtype: torch.dtype = torch.float64) -> Encoding:
    encoding = build(name, SHAPE).to(dtype)
    encoding.initialize(torch.Generator().manual_seed(2))
    return encoding


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def scores(encoding: Encoding, contents: Tensor, ids: Tensor) -> Tensor:
    """Attention scores [batch head query key] of one head size after every hook, with W_Q = W_K = identity."""
    heads = encoding.embed(contents, ids).unflatten(-1, (SHAPE.n_heads, SHAPE.d_head)).transpose(1, 2)
    heads = encoding.rotate(heads, ids)
    raw = heads @ heads.transpose(2, 3) * SHAPE.d_head**-0.5
    bias = encoding.bias(heads, ids, ids)
    return raw if bias is None else raw + bias


@pytest.mark.parametrize("name", INVARIANT)
@given(
    ids=st.lists(st.integers(-200, 200), min_size=1, max_size=6),
    shift=st.integers(-(10**6), 10**6),
    seed=st.integers(0, 2**32 - 1),
)
def test_scores_survive_a_shift_of_all_ids(name: str, ids: list[int], shift: int, seed: int) -> None:
    encoding, contents = drawn(name), normal(2, len(ids), SHAPE.d_model, seed=seed)
    here = torch.tensor([ids])
    torch.testing.assert_close(
        scores(encoding, contents, here + shift), scores(encoding, contents, here), rtol=0, atol=1e-7
    )


@pytest.mark.parametrize("name", ABSOLUTE)
@given(shift=st.integers(1, 30), seed=st.integers(0, 2**32 - 1))
def test_absolute_scores_do_not_survive_a_shift(name: str, shift: int, seed: int) -> None:
    encoding, contents, ids = drawn(name), normal(1, 8, SHAPE.d_model, seed=seed), torch.arange(8)[None]
    assert (scores(encoding, contents, ids + shift) - scores(encoding, contents, ids)).abs().max() > 1e-3


def test_only_the_empty_encoding_ignores_the_order_of_ids() -> None:
    contents, ids = normal(1, 6, SHAPE.d_model), torch.arange(6)[None]
    blind = {
        name
        for name in NAMES
        if torch.equal(scores(drawn(name), contents, ids), scores(drawn(name), contents, ids.flip(-1)))
    }
    assert blind == {"none", "alibi", "kerple"}  # a distance is the same backwards


@pytest.mark.parametrize("name", UNBOUNDED)
def test_ids_far_past_the_context_are_finite_and_in_phase(name: str) -> None:
    encoding, contents = drawn(name, torch.float32), normal(1, 5, SHAPE.d_model, dtype=torch.float32)
    far = scores(encoding, contents, torch.arange(5)[None] + 10**6)
    assert far.isfinite().all()
    if name in INVARIANT:
        torch.testing.assert_close(far, scores(encoding, contents, torch.arange(5)[None]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("outside", [-1, 40, 10**6])
def test_learned_rows_refuse_ids_they_do_not_have(outside: int) -> None:
    with pytest.raises(
        ValueError, match=rf"^ids: got {outside}, which has no learned vector; allowed: 0 to 39 \(n_ctx"
    ):
        build("absolute", SHAPE).embed(torch.zeros(1, 2, 12), torch.tensor([[3, outside]]))


@pytest.mark.parametrize("name", NAMES)
def test_two_tokens_may_share_an_id(name: str) -> None:
    contents = normal(1, 1, SHAPE.d_model).expand(1, 3, -1)
    same = scores(drawn(name), contents, torch.tensor([[5, 9, 5]]))
    torch.testing.assert_close(same[..., 0, :], same[..., 2, :])
    torch.testing.assert_close(same[..., :, 0], same[..., :, 2])


@pytest.mark.parametrize("name", NAMES)
def test_ids_of_one_row_serve_the_whole_batch(name: str) -> None:
    encoding, contents = drawn(name), normal(4, 6, SHAPE.d_model)
    own = torch.stack([torch.randperm(30, generator=torch.Generator().manual_seed(row))[:6] for row in range(4)])
    together = scores(encoding, contents, own)
    for row in range(4):
        alone = scores(encoding, contents[row : row + 1], own[row : row + 1])
        torch.testing.assert_close(together[row : row + 1], alone)
    shared = own[:1]
    torch.testing.assert_close(scores(encoding, contents, shared), scores(encoding, contents, shared.repeat(4, 1)))


@pytest.mark.parametrize("name", NAMES)
def test_a_late_query_alone_gets_its_row_of_the_bias(name: str) -> None:
    encoding, heads, ids = drawn(name), normal(2, SHAPE.n_heads, 7, SHAPE.d_head), torch.arange(7)[None] * 3
    full, last = encoding.bias(heads, ids, ids), encoding.bias(heads[:, :, 6:], ids[:, 6:], ids)
    assert (full is None) == (last is None)
    if full is not None and last is not None:
        torch.testing.assert_close(full[:, :, 6:], last)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("name", NAMES)
def test_the_type_follows_the_input(name: str, dtype: torch.dtype) -> None:
    encoding, ids = drawn(name, torch.float32), torch.arange(5)[None]
    heads = normal(2, SHAPE.n_heads, 5, SHAPE.d_head, dtype=dtype)
    assert encoding.embed(normal(2, 5, SHAPE.d_model, dtype=dtype), ids).dtype == dtype
    assert encoding.rotate(heads, ids).dtype == dtype
    bias = encoding.bias(heads, ids, ids)
    assert bias is None or bias.dtype == dtype


@pytest.mark.parametrize("name", NAMES)
def test_parameters_come_from_the_given_generator_only(name: str) -> None:
    before = torch.get_rng_state()
    blank, first, again = build(name, SHAPE), drawn(name), drawn(name)
    assert torch.equal(before, torch.get_rng_state())
    assert all((parameter == 0).all() for parameter in blank.parameters())
    for one, two in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, two)
        assert name not in TABLES or 0.05 < one.std() < 0.2


@pytest.mark.parametrize("name", TABLES)
def test_what_training_never_shows_keeps_its_initial_values(name: str) -> None:
    encoding, contents = drawn(name), normal(2, 6, SHAPE.d_model)
    causal = scores(encoding, contents, torch.arange(6)[None]).tril()
    causal.square().sum().backward()
    [parameter] = encoding.parameters()
    assert parameter.grad is not None
    touched = parameter.grad.abs().sum(-1).nonzero().flatten()
    assert len(touched) == 6 and (touched.diff() == 1).all()  # ids 0..5, or differences 0..5


def test_rotary_needs_pairs() -> None:
    with pytest.raises(ValueError, match=r"^d_head: got 5; allowed: an even number"):
        build("rope", EncodingShape(d_model=10, n_heads=2, d_head=5, n_ctx=8))


def test_rotary_keeps_lengths_and_starts_at_the_identity() -> None:
    rope, heads = drawn("rope"), normal(1, 2, 6, SHAPE.d_head)
    turned = rope.rotate(heads, torch.arange(6)[None] * 11)
    torch.testing.assert_close(turned.norm(dim=-1), heads.norm(dim=-1))
    assert torch.equal(rope.rotate(heads, torch.zeros(1, 6, dtype=torch.long)), heads)


@pytest.mark.parametrize("d_model", [1, 5, 6])
def test_sinusoids_fill_any_width(d_model: int) -> None:
    wave = build("sinusoidal", EncodingShape(d_model=d_model, n_heads=1, d_head=1, n_ctx=4))
    [values] = wave.embed(torch.zeros(1, 1, d_model), torch.tensor([[3]])).tolist()
    trig = (math.sin, math.cos)
    expected = [trig[c % 2](3 / 10000 ** (c // 2 * 2 / d_model)) for c in range(d_model)]
    assert values[0] == pytest.approx(expected, abs=1e-6)


def test_slopes_follow_the_rule_of_the_paper_for_any_number_of_heads() -> None:
    def rule(heads: int) -> list[float]:
        if heads & (heads - 1) == 0:
            ratio = 2 ** (-8 / heads)
            return [ratio ** (head + 1) for head in range(heads)]
        power = 2 ** int(math.log2(heads))
        return rule(power) + rule(2 * power)[0::2][: heads - power]

    for heads in range(1, 40):
        assert slopes(heads) == pytest.approx(rule(heads))
        assert len(set(slopes(heads))) == heads


def test_alibi_penalizes_distance_in_both_directions() -> None:
    alibi, ids = Alibi(SHAPE), torch.tensor([[4, 0, 9]])
    bias = alibi.bias(torch.zeros(1, 3, 3, 4), ids, ids)
    assert bias.shape == (1, 3, 3, 3)
    torch.testing.assert_close(bias[0, 2] / -slopes(3)[2], torch.tensor([[0.0, 4, 5], [4, 0, 9], [5, 9, 0]]))


def test_buckets_grow_from_exact_to_logarithmic() -> None:
    buckets = [bucket_of(distance) for distance in range(500)]
    assert buckets == sorted(buckets)
    assert set(buckets) == set(range(32))
    assert bucket_of(112) == 30 and bucket_of(113) == 31
    for distance in range(16, 113):
        lower = 16 * 8 ** ((bucket_of(distance) - 16) / 16)
        assert lower <= distance + 1e-9 < lower * 8 ** (1 / 16) + 1e-6


def test_buckets_of_negative_differences_mirror_the_others() -> None:
    assert [bucket_of(-distance) for distance in (1, 2, 15, 16, 19, 113, 10**6)] == [32, 33, 46, 47, 48, 62, 62]
    assert all(bucket_of(-distance) == bucket_of(distance) + 31 for distance in range(1, 500))


def test_rows_of_distances_are_drawn_as_if_there_were_no_others() -> None:
    """Results of causal models do not depend on the rows that they never meet."""
    for n_heads in (1, 3, 8):
        encoding = build("relative-t5", EncodingShape(d_model=8, n_heads=n_heads, d_head=4, n_ctx=8))
        encoding.initialize(torch.Generator().manual_seed(7))
        alone = torch.zeros(32, n_heads).normal_(std=0.1, generator=torch.Generator().manual_seed(7))
        [table] = encoding.parameters()
        assert table.shape == (63, n_heads) and torch.equal(table[:32], alone)


def test_clipped_encodings_cannot_tell_far_distances_apart() -> None:
    query = normal(1, 3, 1, 4)
    for encoding, limit in ((drawn("relative-t5"), 113), (drawn("relative-clipped"), 8), (drawn("relative-shaw"), 64)):
        assert isinstance(encoding, T5Buckets | ClippedBias | ShawKeys)
        for sign in (1, -1):
            bias = encoding.bias(query, torch.tensor([[sign * (limit + 50)]]), sign * torch.arange(60)[None])[0, 0, 0]
            assert (bias[:51] == bias[0]).all()
            assert bias[51] != bias[0]


@pytest.mark.parametrize("name", ["relative-t5", "relative-clipped", "relative-shaw", "fire"])
def test_the_sign_of_a_difference_is_told(name: str) -> None:
    here, there = torch.tensor([[2]]), torch.tensor([[9]])
    query = normal(1, 3, 1, 4)
    before, after = drawn(name).bias(query, there, here), drawn(name).bias(query, here, there)
    assert before is not None and after is not None and (before != after).all()


def test_clipped_rows_in_order() -> None:
    clipped = ClippedBias(EncodingShape(d_model=4, n_heads=1, d_head=4, n_ctx=8))
    with torch.no_grad():
        clipped.W_bias.copy_(torch.arange(17.0)[:, None])
    bias = clipped.bias(torch.zeros(1, 1, 1, 4), torch.tensor([[0]]), torch.tensor([[99, 9, 8, 1, 0, -7, -8, -99]]))
    assert bias.flatten().tolist() == [0, 0, 0, 7, 8, 15, 16, 16]


def test_a_penalty_by_hand() -> None:
    """With r1 = 2 and r2 = 1 a key at distance d has the weight 1 / (1 + d)^2."""
    kerple = Kerple(EncodingShape(d_model=4, n_heads=2, d_head=2, n_ctx=8)).double()
    with torch.no_grad():
        kerple.log_r1[0], kerple.log_r1[1] = math.log(2), -50.0
    bias = kerple.bias(normal(1, 2, 1, 2), torch.tensor([[5]]), torch.tensor([[5, 4, 6, 2, 10**6 + 4]]))
    expected = torch.tensor([1, 1 / 4, 1 / 4, 1 / 16, 1e-12], dtype=torch.float64)
    torch.testing.assert_close(bias[0, 0, 0].exp(), expected)
    assert (bias[0, 1, 0, 1:] < 0).all()  # a rate is positive whatever its parameter


def test_interpolation_by_hand() -> None:
    """f(x) = 3 relu(x) - relu(-x) for one head, c = 1 and L = 7: psi(7) = 3 log 2, and psi(15) = 4 log 2."""
    fire = Fire(EncodingShape(d_model=4, n_heads=1, d_head=4, n_ctx=8)).double()
    with torch.no_grad():
        fire.log_c.fill_(math.log(1 / 0.1))
        fire.log_L.fill_(math.log(7 / 512))
        fire.W_in[0], fire.W_in[1] = 1.0, -1.0
        fire.W_out[0, 0], fire.W_out[1, 0] = 3.0, -1.0
    queries, keys = torch.tensor([[3, 15, -15]]), torch.tensor([[0, 12, -12]])
    shares = [[2 / 3, -math.log2(10) / 3, 4 / 3], [1, 1 / 2, math.log2(28) / 4], [-1, -math.log2(28) / 4, -1 / 2]]
    expected = torch.tensor([[x * (3 if x > 0 else 1) for x in row] for row in shares], dtype=torch.float64)
    torch.testing.assert_close(fire.bias(normal(1, 1, 3, 4), queries, keys)[0, 0], expected)


def test_fire_sees_differences_below_its_threshold_and_shares_of_the_query_beyond() -> None:
    fire, contents, ids = drawn("fire"), normal(1, 8, SHAPE.d_model), torch.arange(8)[None]
    torch.testing.assert_close(scores(fire, contents, ids + 500), scores(fire, contents, ids))
    assert (scores(fire, contents, ids + 5_000) - scores(fire, contents, ids)).abs().max() > 1e-3
    for length in (2, 600, 10**6):
        shares = fire.share(torch.tensor([[length - 1]]), torch.arange(0, length, max(1, length // 9))[None])
        assert ((shares >= 0) & (shares <= 1)).all() and (shares[0, 0].diff() < 0).all()
        assert (shares[0, 0, 0] == 1) == (length > 512)


def test_what_fire_draws_is_within_the_bounds_of_linear_layers() -> None:
    for name, parameter in drawn("fire").named_parameters():
        reach = {"W_in": 1.0, "b_in": 1.0, "W_out": 32**-0.5, "log_c": 0.0, "log_L": 0.0}[name]
        assert 0.8 * reach <= parameter.abs().max() <= reach


@pytest.mark.parametrize("name", ["kerple", "fire"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_functions_of_far_ids_are_exact_to_the_last_place_of_half_precision(name: str, dtype: torch.dtype) -> None:
    half = drawn(name).to(dtype)
    exact = build(name, SHAPE).double()
    exact.load_state_dict(half.state_dict())
    query, ids = normal(1, 3, 4, 4, dtype=dtype), torch.tensor([[10**6, 3, -700, 10**6]])
    found, expected = half.bias(query, ids, ids), exact.bias(query.double(), ids, ids)
    assert found is not None and expected is not None and found.dtype == dtype
    torch.testing.assert_close(found.double(), expected, rtol=torch.finfo(dtype).eps, atol=1e-6)


def test_unknown_names_suggest_the_nearest() -> None:
    with pytest.raises(
        ValueError, match=r"^encoding: unknown value 'rop'; did you mean 'rope'\? allowed: absolute, alibi"
    ):
        build("rop", SHAPE)
    with pytest.raises(ValueError, match=r"^encoding: unknown value 'zzzz'; allowed: "):
        build("zzzz", SHAPE)


@pytest.mark.parametrize("bad", [0, -3, True])
def test_sizes_are_positive_integers(bad: int) -> None:
    with pytest.raises(ValueError, match=r"^n_heads: got .*; allowed: an integer of at least 1"):
        EncodingShape(d_model=4, n_heads=bad, d_head=4, n_ctx=4)
