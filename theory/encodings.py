"""The symbolic twin of every positional encoding: the same three hooks, as sympy expressions for one pair of channels.

With contents q, k in R^2, the score of query id i and key id j is (R(i)(q + e(i))) . (R(j)(k + e(j))) / sqrt(2) + bias;
an encoding is shift invariant if score(i + t, j + t) = score(i, j) for all contents, ids, shifts t and parameters, that
is, if j drops out of score(j + d, j), which is decided here by bringing that expression to a normal form. A test
evaluates each twin and compares it with the torch module, so a prediction is about the code that runs.

>>> get("alibi").score()
-m*Abs(i - j) + sqrt(2)*(k1*q1 + k2*q2)/2
>>> get("rope").shift_invariance().holds, get("absolute").shift_invariance().holds
(True, False)
>>> round(get("rope").evaluate((1, 0), (1, 0), 9, 8, {"omega": 1.0}), 4)  # cos(1) / sqrt(2)
0.3821
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any, Literal

from carryproof.theory.errors import unknown

Pair = tuple[float, float]
Sees = Literal["absolute ids", "differences", "nothing"]

T5_EXACT, T5_BUCKETS, T5_DISTANCE = 16, 32, 128
SHAW_CLIP = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class ShiftInvariance:
    """Whether scores survive a common shift of all ids, and a proof: the score without j, or a counterexample."""

    holds: bool
    statement: str
    proof: str
    sees: Sees


def _no_embedding(_i: Any) -> Any:
    import sympy

    return sympy.zeros(2, 1)


def _no_rotation(_i: Any) -> Any:
    import sympy

    return sympy.eye(2)


def _no_bias(_query: Any, _i: Any, _j: Any) -> Any:
    return 0


@dataclass(frozen=True, kw_only=True, slots=True)
class SymbolicEncoding:
    """One head and one pair of channels of an encoding, with W_Q = W_K = identity.

    `embed(i)` is a column of two entries, `rotate(i)` a 2 x 2 matrix, `bias(query, i, j)` a scalar, where `query` is
    the column that `rotate` returned. `scalars` and `tables` name the parameters: symbols, and functions of an integer.
    `told` says what the encoding reveals about the task.
    """

    name: str
    title: str
    told: str
    source: str
    sees: Sees
    embed: Callable[[Any], Any] = _no_embedding
    rotate: Callable[[Any], Any] = _no_rotation
    bias: Callable[[Any, Any, Any], Any] = _no_bias
    scalars: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()

    def score(self, i: Any = "i", j: Any = "j") -> Any:
        """The attention score of query id i and key id j, before the causal mask. Strings become integer symbols."""
        import sympy

        i, j = (sympy.Symbol(at, integer=True) if isinstance(at, str) else sympy.sympify(at) for at in (i, j))
        q, k = (sympy.Matrix(sympy.symbols(names, real=True)) for names in ("q1 q2", "k1 k2"))
        query, key = self.rotate(i) * (q + self.embed(i)), self.rotate(j) * (k + self.embed(j))
        return query.dot(key) / sympy.sqrt(2) + self.bias(query, i, j)

    def evaluator(
        self, parameters: Mapping[str, float | Callable[[int], float]] | None = None
    ) -> Callable[[Pair, Pair, int, int], float]:
        """The score as a function of numbers (q, k, i, j), for given scalars and tables."""
        import sympy

        values = dict(parameters or {})
        wanted = {*self.scalars, *self.tables}
        if set(values) != wanted:
            got, needed = (", ".join(sorted(names)) or "none" for names in (values, wanted))
            raise ValueError(f"parameters: got {got}; allowed: exactly {needed} for encoding {self.name!r}")
        scalars = [_scalar(name) for name in self.scalars]
        contents = sympy.symbols("q1 q2 k1 k2", real=True)
        ids = sympy.symbols("i j", integer=True)
        tables = {name: values[name] for name in self.tables}
        function = sympy.lambdify([*contents, *ids, *scalars], self.score(), modules=[tables, "math"])
        constants = [values[name] for name in self.scalars]
        return lambda q, k, i, j: float(function(*q, *k, i, j, *constants))

    def evaluate(
        self,
        q: Pair,
        k: Pair,
        i: int,
        j: int,
        parameters: Mapping[str, float | Callable[[int], float]] | None = None,
    ) -> float:
        """The score for one choice of contents, ids and parameters."""
        return self.evaluator(parameters)(q, k, i, j)

    def resolves(self, offset: int) -> bool:
        """Whether some score tells this difference of ids from the two next to it, for parameters in general position.

        Clipping and bucketing merge neighbours first, so an offset that differs from both is told from all others.
        """
        return _resolves(self, offset)

    def shift_invariance(self) -> ShiftInvariance:
        """Whether score(i + t, j + t) = score(i, j) always; computed once."""
        return _shift_invariance(self)


@cache
def _shift_invariance(encoding: SymbolicEncoding) -> ShiftInvariance:
    import sympy
    from sympy.simplify.fu import TR8  # products of sines and cosines to sums: a normal form for trigonometric ones

    d, j = sympy.symbols("d j", integer=True)
    normal = sympy.expand(TR8(sympy.expand(encoding.score(j + d, j))))
    if j not in normal.free_symbols:
        sees: Sees = "differences" if d in normal.free_symbols else "nothing"
        return ShiftInvariance(
            holds=True,
            statement=f"{encoding.title}: a score depends on the contents and on {_SEEN[sees]}",
            proof=f"score(j + d, j) = {normal}, in which j does not occur",
            sees=sees,
        )
    return ShiftInvariance(
        holds=False,
        statement=f"{encoding.title}: a score depends on both ids, not only on their difference",
        proof=_counterexample(encoding),
        sees="absolute ids",
    )


@cache
def _resolves(encoding: SymbolicEncoding, offset: int) -> bool:
    scores = [encoding.score(at, 0) for at in (offset - 1, offset, offset + 1)]
    return scores[1] not in (scores[0], scores[2])


_SEEN = {"differences": "the difference of the two ids only", "nothing": "nothing else: ids do not enter it"}


def _counterexample(encoding: SymbolicEncoding) -> str:
    """Small contents, ids and a shift that change the score, with tables P(x) = x and scalars 1."""
    import sympy

    ones: dict[str, float | Callable[[int], float]] = dict.fromkeys(encoding.scalars, 1.0)
    score = encoding.evaluator({**ones, **dict.fromkeys(encoding.tables, float)})
    for q1, q2, k1, k2 in product((0, 1), repeat=4):
        q, k = (q1, q2), (k1, k2)
        for i, j, t in product((0, 1, 2), (0, 1, 2), (1, 2)):
            if abs(score(q, k, i + t, j + t) - score(q, k, i, j)) > 1e-9:
                exact = encoding.score(i + t, j + t) - encoding.score(i, j)
                for name in encoding.tables:
                    exact = exact.replace(_table(name), lambda x: x)
                known = dict.fromkeys(encoding.scalars, 1)
                numbers = dict(zip(("q1", "q2", "k1", "k2"), (*q, *k), strict=True))
                value = exact.subs({part: {**numbers, **known}[part.name] for part in exact.free_symbols})
                where = "".join([f", {name}(x) = x" for name in encoding.tables] + [f", {name} = 1" for name in known])
                return (
                    f"score({i + t}, {j + t}) - score({i}, {j}) = {sympy.simplify(value)} for q = {q}, k = {k}{where}"
                )
    raise AssertionError(f"{encoding.name}: the score mentions j, yet no small counterexample exists")


def _scalar(name: str) -> Any:
    import sympy

    return sympy.Symbol(name, positive=True)


def _table(name: str) -> Any:
    import sympy

    return sympy.Function(name, real=True)


def _learned_embedding(i: Any) -> Any:
    import sympy

    return sympy.Matrix([_table("P1")(i), _table("P2")(i)])


def _wave(i: Any) -> Any:
    import sympy

    return sympy.Matrix([sympy.sin(_scalar("omega") * i), sympy.cos(_scalar("omega") * i)])


def _rotation(i: Any) -> Any:
    import sympy

    sine, cosine = sympy.sin(_scalar("omega") * i), sympy.cos(_scalar("omega") * i)
    return sympy.Matrix([[cosine, -sine], [sine, cosine]])


def _t5_bias(_query: Any, i: Any, j: Any) -> Any:
    import sympy

    distance = i - j
    growth = sympy.log(sympy.Max(distance, 1) / sympy.Integer(T5_EXACT)) / sympy.log(
        sympy.Integer(T5_DISTANCE) / T5_EXACT
    )
    coarse = T5_EXACT + sympy.floor((T5_BUCKETS - T5_EXACT) * growth)
    bucket = sympy.Piecewise(
        (0, distance < 0), (distance, distance < T5_EXACT), (sympy.Min(coarse, T5_BUCKETS - 1), True)
    )
    return _table("b")(bucket)


def _shaw_bias(query: Any, i: Any, j: Any) -> Any:
    import sympy

    offset = sympy.Max(-SHAW_CLIP, sympy.Min(SHAW_CLIP, i - j))
    return (query[0] * _table("a1")(offset) + query[1] * _table("a2")(offset)) / sympy.sqrt(2)


def _linear_penalty(_query: Any, i: Any, j: Any) -> Any:
    import sympy

    return -_scalar("m") * sympy.Abs(i - j)


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
    )
}


def get(name: str) -> SymbolicEncoding:
    """The twin of that name; an unknown name is a ValueError that suggests the nearest one."""
    if name not in ENCODINGS:
        raise unknown("encoding", name, ENCODINGS)
    return ENCODINGS[name]
