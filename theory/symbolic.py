"""A symbolic twin: the three hooks of a positional encoding as sympy expressions for one pair of channels.

With contents q, k in R^2, the score of query id i and key id j is (R(i)(q + e(i))) . (R(j)(k + e(j))) / sqrt(2) + bias;
an encoding is shift invariant if score(i + t, j + t) = score(i, j) for all contents, ids, shifts t and parameters, that
is, if j drops out of score(j + d, j), which is decided here by bringing that expression to a normal form. Source: the
definition of relative encodings; the twins themselves are in ``encodings``, and users may write their own.

>>> twin = SymbolicEncoding(name="slope", title="slope", told="differences", source="here", sees="differences",
...                         bias=lambda query, i, j: -scalar("m") * (i - j), scalars=("m",))
>>> twin.shift_invariance().proof
'score(j + d, j) = -d*m + sqrt(2)*k1*q1/2 + sqrt(2)*k2*q2/2, in which j does not occur'
>>> twin.evaluate((1, 0), (0, 1), 9, 7, {"m": 0.5})
-1.0
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any, Literal

Pair = tuple[float, float]
Sees = Literal["absolute ids", "differences", "nothing"]
Embedding = Literal["learned rows", "fixed vectors", "nothing"]


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
    the column that `rotate` returned. `scalars` and `tables` name the parameters: positive symbols, and functions of a
    number. `told` says what the encoding reveals about the task.
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
        scalars = [scalar(name) for name in self.scalars]
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

    def embeds(self) -> Embedding:
        """What a position adds to the residual stream: a row of a learned table, a fixed vector, or nothing."""
        return _embeds(self)

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
def _embeds(encoding: SymbolicEncoding) -> Embedding:
    import sympy

    added = encoding.embed(sympy.Symbol("i", integer=True))
    if added.atoms(sympy.core.function.AppliedUndef):
        return "learned rows"
    return "nothing" if added.is_zero_matrix else "fixed vectors"


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
                    exact = exact.replace(table(name), lambda x: x)
                known = dict.fromkeys(encoding.scalars, 1)
                numbers = dict(zip(("q1", "q2", "k1", "k2"), (*q, *k), strict=True))
                value = exact.subs({part: {**numbers, **known}[part.name] for part in exact.free_symbols})
                where = "".join([f", {name}(x) = x" for name in encoding.tables] + [f", {name} = 1" for name in known])
                return (
                    f"score({i + t}, {j + t}) - score({i}, {j}) = {sympy.simplify(value)} for q = {q}, k = {k}{where}"
                )
    raise AssertionError(f"{encoding.name}: the score mentions j, yet no small counterexample exists")


def scalar(name: str) -> Any:
    """The symbol of a scalar parameter."""
    import sympy

    return sympy.Symbol(name, positive=True)


def table(name: str) -> Any:
    """The function that stands for a learned table, or for a learned function."""
    import sympy

    return sympy.Function(name, real=True)
