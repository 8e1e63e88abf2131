"""The symbolic twin of every positional encoding, by name; a test holds each against its torch module.

A twin states the score of query id i and key id j for one head and two channels (see ``symbolic``), so that what an
encoding sees, which offsets it tells apart and what it does with distance are derived and not declared. Names that
begin with ``window:`` get their twin from their classes.

>>> get("alibi").score()
-m*Abs(i - j) + sqrt(2)*(k1*q1 + k2*q2)/2
>>> get("rope").shift_invariance().holds, get("absolute").shift_invariance().holds
(True, False)
>>> round(get("rope").evaluate((1, 0), (1, 0), 9, 8, {"omega": 1.0}), 4)  # cos(1) / sqrt(2)
0.3821
>>> window = get("window:0+0,0-1")                             # keys at the same place, and at the place below
>>> [window.evaluate((0, 0), (0, 0), 5, j, {"b": float}) for j in (6, 5, 4, 3)]
[-inf, 0.0, 1.0, -inf]
"""

import re
from functools import cache
from typing import Any

from carryproof.theory.errors import bad, unknown
from carryproof.theory.symbolic import Embedding, Sees, ShiftInvariance, SymbolicEncoding, scalar, table

__all__ = ["ENCODINGS", "Embedding", "Sees", "ShiftInvariance", "SymbolicEncoding", "get", "scalar", "table"]

T5_EXACT, T5_BUCKETS, T5_DISTANCE = 16, 32, 128
SHAW_CLIP, NEAR = 64, 8
WINDOW = "window:"


def _learned_embedding(i: Any) -> Any:
    import sympy

    return sympy.Matrix([table("P1")(i), table("P2")(i)])


def _wave(i: Any) -> Any:
    import sympy

    return sympy.Matrix([sympy.sin(scalar("omega") * i), sympy.cos(scalar("omega") * i)])


def _rotation(i: Any) -> Any:
    import sympy

    sine, cosine = sympy.sin(scalar("omega") * i), sympy.cos(scalar("omega") * i)
    return sympy.Matrix([[cosine, -sine], [sine, cosine]])


def _t5_bias(_query: Any, i: Any, j: Any) -> Any:
    import sympy

    difference = i - j
    distance = sympy.Abs(difference)
    growth = sympy.log(sympy.Max(distance, 1) / sympy.Integer(T5_EXACT)) / sympy.log(
        sympy.Integer(T5_DISTANCE) / T5_EXACT
    )
    coarse = T5_EXACT + sympy.floor((T5_BUCKETS - T5_EXACT) * growth)
    bucket = sympy.Piecewise((distance, distance < T5_EXACT), (sympy.Min(coarse, T5_BUCKETS - 1), True))
    return table("b")(bucket + sympy.Piecewise((T5_BUCKETS - 1, difference < 0), (0, True)))


def _clipped_bias(_query: Any, i: Any, j: Any) -> Any:
    import sympy

    return table("b")(sympy.Max(-NEAR, sympy.Min(NEAR, i - j)))


def _shaw_bias(query: Any, i: Any, j: Any) -> Any:
    import sympy

    offset = sympy.Max(-SHAW_CLIP, sympy.Min(SHAW_CLIP, i - j))
    return (query[0] * table("a1")(offset) + query[1] * table("a2")(offset)) / sympy.sqrt(2)


def _linear_penalty(_query: Any, i: Any, j: Any) -> Any:
    import sympy

    return -scalar("m") * sympy.Abs(i - j)


def _logarithmic_penalty(_query: Any, i: Any, j: Any) -> Any:
    import sympy

    return -scalar("r1") * sympy.log(1 + scalar("r2") * sympy.Abs(i - j))


def _interpolation(_query: Any, i: Any, j: Any) -> Any:
    import sympy

    def psi(distance: Any) -> Any:
        return sympy.log(scalar("c") * distance + 1)

    share = sympy.sign(i - j) * psi(sympy.Abs(i - j)) / psi(sympy.Max(scalar("L"), sympy.Abs(i)))
    return table("f")(share)


ENCODINGS: dict[str, SymbolicEncoding] = {
    twin.name: twin
    for twin in (
        SymbolicEncoding(
            name="absolute",
            title="learned absolute",
            told="the index of each token, up to the context length; nothing about digits",
            source="Vaswani et al., arXiv 1706.03762; Gehring et al., arXiv 1705.03122",
            sees="absolute ids",
            embed=_learned_embedding,
            tables=("P1", "P2"),
        ),
        SymbolicEncoding(
            name="sinusoidal",
            title="sinusoidal",
            told="the index of each token, any integer; nothing about digits",
            source="Vaswani et al., arXiv 1706.03762, section 3.5",
            sees="absolute ids",
            embed=_wave,
            scalars=("omega",),
        ),
        SymbolicEncoding(
            name="none",
            title="none (NoPE)",
            told="nothing; only the causal mask orders the tokens",
            source="Haviv et al., arXiv 2203.16634; Kazemnejad et al., arXiv 2305.19466",
            sees="nothing",
        ),
        SymbolicEncoding(
            name="relative-t5",
            title="relative bias (T5 buckets)",
            told="how many tokens apart two tokens are: exactly to 15, in coarse buckets to 112, not at all beyond",
            source="Raffel et al., arXiv 1910.10683",
            sees="differences",
            bias=_t5_bias,
            tables=("b",),
        ),
        SymbolicEncoding(
            name="relative-clipped",
            title="relative bias (clipped)",
            told="how many tokens apart two tokens are, their order included, clipped at 8",
            source="Shaw et al., arXiv 1803.02155, whose clipping it takes for a scalar",
            sees="differences",
            bias=_clipped_bias,
            tables=("b",),
        ),
        SymbolicEncoding(
            name="relative-shaw",
            title="relative keys (Shaw)",
            told="how many tokens apart two tokens are, clipped at 64",
            source="Shaw et al., arXiv 1803.02155, equation 4",
            sees="differences",
            bias=_shaw_bias,
            tables=("a1", "a2"),
        ),
        SymbolicEncoding(
            name="rope",
            title="rotary (RoPE)",
            told="how many tokens apart two tokens are, as angles",
            source="Su et al., arXiv 2104.09864",
            sees="differences",
            rotate=_rotation,
            scalars=("omega",),
        ),
        SymbolicEncoding(
            name="alibi",
            title="linear penalty (ALiBi)",
            told="how many tokens apart two tokens are, nearer ones preferred",
            source="Press et al., arXiv 2108.12409",
            sees="differences",
            bias=_linear_penalty,
            scalars=("m",),
        ),
        SymbolicEncoding(
            name="kerple",
            title="logarithmic penalty (KERPLE)",
            told="how many tokens apart two tokens are, nearer ones preferred",
            source="Chi et al., arXiv 2205.09921, the logarithmic variant",
            sees="differences",
            bias=_logarithmic_penalty,
            scalars=("r1", "r2"),
        ),
        SymbolicEncoding(
            name="fire",
            title="interpolation (FIRE)",
            told="how many tokens apart two tokens are; for queries beyond a learned index, as a share of the index",
            source="Li et al., arXiv 2310.04418",
            sees="absolute ids",
            bias=_interpolation,
            scalars=("c", "L"),
            tables=("f",),
        ),
    )
}


def get(name: str) -> SymbolicEncoding:
    """The twin of that name; an unknown name is a ValueError that suggests the nearest one."""
    if name.startswith(WINDOW):
        return _window(name)
    if name not in ENCODINGS:
        raise unknown("encoding", name, ENCODINGS)
    return ENCODINGS[name]


@cache
def _window(name: str) -> SymbolicEncoding:
    """The twin of a window encoding with classes on one axis: ids are the home of the query and the place of the key.

    Class k, at the offset d, is the keys with i - j = -d, and adds b(k); no other key is seen. The anchor and the
    query's own token, which the module finds by ids of another kind, are left out.
    """
    classes = [re.fullmatch(r"(\d+)([+-]\d+)", part) for part in name.removeprefix(WINDOW).split(",")]
    if not all(classes) or len({each[1] for each in classes if each}) != 1:
        raise bad("encoding", name, "window: and classes on one axis with one offset each, such as 0+0,0-1")
    kinds = {-int(each[2]): kind for kind, each in enumerate(classes) if each}

    def bias(_query: Any, i: Any, j: Any) -> Any:
        import sympy

        seen = [(table("b")(kind), sympy.Eq(i - j, difference)) for difference, kind in kinds.items()]
        return sympy.Piecewise(*seen, (-sympy.oo, True))

    offsets = ", ".join(f"{-difference:+d}" for difference in kinds)
    return SymbolicEncoding(
        name=name,
        title=f"window of places {offsets}",
        told="which digits belong together, and which of them each step needs",
        source="this library; coupled ids after Cho et al., arXiv 2405.20671",
        sees="differences",
        bias=bias,
        tables=("b",),
    )
