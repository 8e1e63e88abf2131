"""Addition, subtraction and both, as causal graphs: the algorithms that trained models are said to compute.

Every column gives a digit, whether it carries or borrows, and which of three states it is in: it carries (1), it does
not (0), or it passes on what comes from below (U); TriAdd resolves a cascade of them from the units up. Names are those
published (Quirke et al. 2402.02619): ``A4.SA`` is sub-task SA of column 4, that of D4, D'4 and A4, counted from the
units; S adds, M is D - D' from 0 up and N is D' - D, for differences below 0.

>>> algorithm = addition(2)
>>> problems = Problems(operands=np.array([[[5, 4], [5, 5]]], dtype=np.uint8), subtract=np.array([False]))
>>> values = algorithm.graph.run(algorithm.inputs(problems))               # 45 + 55
>>> [DOMAIN[values[name][0]] for name in ("A0.ST", "A1.ST", "A0.SV", "A1.SV")], algorithm.tokens(values).tolist()
(['1', 'U', '1', '1'], [[10, 1, 0, 0]])
>>> changed = algorithm.graph.run(algorithm.inputs(problems), {"A0.SV": np.array([0])})
>>> algorithm.tokens(changed).tolist()                                     # had column 0 not carried into column 1
[[10, 1, 9, 0]]
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from carryproof.circuits.graphs import DECIMAL, FLAG, Given, Graph, Rule, Values, Variable
from carryproof.circuits.texts import MINUS, OPERATIONS, PLUS, Problems, prompt_length, require_digits
from carryproof.theory.errors import bad, unknown

BASE = 10
DOMAIN = ("0", "1", "U")  # of ST, MT and NT
UNKNOWN = DOMAIN.index("U")
SIGNS = ("+", "-")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Branch:
    """One way to treat columns: names and rules of the digit before carries, and of what the column sends up."""

    digit: str
    value: Rule
    flag: str
    sends: Rule
    step: int  # what an incoming carry adds to the digit


BRANCHES = {
    "S": _Branch(digit="SA", value=lambda a, b: (a + b) % BASE, flag="SC", sends=lambda a, b: a + b >= BASE, step=1),
    "M": _Branch(digit="MD", value=lambda a, b: (a - b) % BASE, flag="MB", sends=np.less, step=-1),
    "N": _Branch(digit="ND", value=lambda a, b: (b - a) % BASE, flag="NB", sends=np.greater, step=-1),
}
POSITIVE, NEGATIVE = (tuple(BRANCHES).index(letter) for letter in "MN")  # differences, as SLT selects them


@dataclass(frozen=True, kw_only=True, slots=True)
class Algorithm:
    """A graph together with how it reads problems of ``digits`` and ``operations`` and writes their answers."""

    graph: Graph
    digits: int
    operations: tuple[str, ...]

    def inputs(self, problems: Problems) -> dict[str, Given]:
        """Values of the graph's inputs, ``[problem]`` each; ``ValueError`` for another size or operation."""
        if problems.digits != self.digits:
            raise bad(
                "problems", f"{problems.digits} digits", f"{self.digits} digits, as in the {self.graph.name} graph"
            )
        for subtract, operation in enumerate(OPERATIONS):
            if operation not in self.operations and (problems.subtract == bool(subtract)).any():
                raise unknown("operation of problems", operation, self.operations)
        named: dict[str, Given] = {"OP": problems.subtract}
        for place in range(self.digits):
            named |= {f"D{place}": problems.operands[:, 0, place], f"D'{place}": problems.operands[:, 1, place]}
        return {name: named[name] for name in self.graph.inputs}

    def tokens(self, values: Mapping[str, Values]) -> NDArray[np.int64]:
        """The answer that a run gives, as ``write`` writes it: sign and digits, highest first, ``[problem, n + 2]``."""
        sign = np.where(values["SGN"] == SIGNS.index("-"), MINUS, PLUS)
        return np.stack([sign, *(values[f"A{place}"] for place in reversed(range(self.digits + 1)))], axis=1)


def addition(digits: int, cascade: str = "parallel") -> Algorithm:
    """D + D'. ``cascade`` is ``serial``, where each SV comes from the SV below it, or ``parallel``, where it comes from
    every ST up to its own: the same values, but only in the first does a carry that is interfered with go on up. No
    model of fixed depth can do the first at every size.
    """
    top = Variable(name=f"A{digits}", values=FLAG, parents=(f"A{digits - 1}.SV",), rule=np.asarray)
    sign = Variable(name="SGN", values=SIGNS, rule=lambda: SIGNS.index("+"))
    return _algorithm("addition", digits, cascade, ("add",), letters="S", choice=(), rest=(sign, top))


def subtraction(digits: int, cascade: str = "parallel") -> Algorithm:
    """D - D': the sign is that of the last borrow, and chooses between D - D' and D' - D: NEG3 is the choice for A3.

    ``cascade`` as in addition. A model that writes the sign first reads it from the text to choose.
    """
    chosen = tuple(f"NEG{place}" for place in range(digits))
    negative = [Variable(name=name, values=FLAG, parents=("SGN",), rule=np.asarray) for name in chosen]
    top = Variable(name=f"A{digits}", values=DECIMAL[:1], rule=lambda: 0)
    sign = Variable(name="SGN", values=SIGNS, parents=(f"A{digits - 1}.MV",), rule=np.asarray)
    return _algorithm(
        "subtraction", digits, cascade, ("sub",), letters="MN", choice=chosen, rest=(sign, top, *negative)
    )


def mixed(digits: int, cascade: str = "parallel") -> Algorithm:
    """Both, by the operator: OPR reads it, and SLT selects S, M or N by OPR and SGN. ``cascade`` as in addition."""
    rest = (
        Variable(name="OP", values=SIGNS),
        Variable(name="OPR", values=SIGNS, parents=("OP",), rule=np.asarray),
        Variable(name="SGN", values=SIGNS, parents=("OPR", f"A{digits - 1}.MV"), rule=np.logical_and),
        Variable(name="SLT", values=tuple(BRANCHES), parents=("OPR", "SGN"), rule=lambda opr, sgn: opr * (1 + sgn)),
        Variable(
            name=f"A{digits}",
            values=FLAG,
            parents=("SLT", f"A{digits - 1}.SV"),
            rule=lambda selected, carry: np.where(selected == 0, carry, 0),
        ),
    )
    return _algorithm("mixed", digits, cascade, OPERATIONS, letters="SMN", choice=("SLT",) * digits, rest=rest)


def complement(digits: int, cascade: str = "parallel") -> Algorithm:
    """Both by one addition, with the borrow as an end-around carry: what trained mixed models compute.

    A column adds D and D' or, where it subtracts, 9 - D'; CA is the digit of that sum and CT its state, which may be U
    in the units too. A difference is below 0 where no carry leaves the top, one having come in: that is OUT. SLT is the
    choice that is left once the sign is known: a difference from 0 up (M) has a carry into the units, IN, and one below
    0 (N) has none, and NEG3 takes A3 from 9. The operator is read in every column (``A3.OPR``), for the sign
    (``SGN.OPR``) and for the choice (``SLT.OPR``). ``cascade`` as in addition.
    """
    _require(digits, cascade)
    places = range(digits)
    columns = [each for place in places for each in _complemented(place, cascade)]
    rest = (
        Variable(name="OP", values=SIGNS),
        *(Variable(name=f"{by}.OPR", values=SIGNS, parents=("OP",), rule=np.asarray) for by in ("SGN", "SLT")),
        Variable(name="OUT", values=FLAG, parents=(*_parallel("C", digits - 1), "SGN.OPR"), rule=tri_add),
        Variable(name="SGN", values=SIGNS, parents=("SGN.OPR", "OUT"), rule=np.greater),
        Variable(
            name="SLT",
            values=tuple(BRANCHES),
            parents=("SLT.OPR", "SGN"),
            rule=lambda operator, sign: np.where(sign, NEGATIVE, operator),
        ),
        Variable(name="IN", values=FLAG, parents=("SLT",), rule=_comes_around),
        Variable(
            name=f"A{digits}",
            values=FLAG,
            parents=("SLT", f"A{digits - 1}.CV"),
            rule=lambda selected, carry: np.where(selected == 0, carry, 0),
        ),
    )
    outputs = _outputs(digits)
    graph = Graph(name="complement", variables=(*_operands(digits), *columns, *rest), outputs=outputs)
    return Algorithm(graph=graph, digits=digits, operations=OPERATIONS)


ALGORITHMS = {"addition": addition, "subtraction": subtraction, "mixed": mixed, "complement": complement}


def position(name: str, digits: int) -> int:
    """The index of the token that writes an input or an output, such as ``D4``, ``D'4``, ``OP``, ``SGN`` or ``A4``."""
    require_digits("digits", digits)
    indices = {"OP": digits, "SGN": prompt_length(digits)}
    for place in range(digits):
        indices |= {f"D{place}": digits - 1 - place, f"D'{place}": 2 * digits - place}
    indices |= {f"A{place}": prompt_length(digits) + 1 + digits - place for place in range(digits + 1)}
    if name not in indices:
        raise unknown("name", name, indices)
    return indices[name]


def decided_at(output: str, digits: int) -> int:
    """The position whose logits are those of an output, one before its token; published tools call it ``P{position}``.

    >>> decided_at("SGN", 5), decided_at("A5", 5), decided_at("A0", 5)
    (11, 12, 17)
    """
    return position(output, digits) - 1


def complement_places(digits: int) -> dict[str, tuple[int, ...]]:
    """Positions whose residual streams after the first layer carry variables of ``complement``, in trained models of 5
    and 6 digits: the columns at both of their digits, the operator at the equals sign, the choice at the answer's sign.

    >>> places = complement_places(5)
    >>> places["A4.CA"], places["SGN.OPR"], places["SLT"]
    ((0, 6), (11,), (12,))
    """
    places: dict[str, tuple[int, ...]] = {"SGN.OPR": (decided_at("SGN", digits),), "SLT": (position("SGN", digits),)}
    for place in range(digits):
        column = (position(f"D{place}", digits), position(f"D'{place}", digits))
        places |= {f"A{place}.{name}": column for name in ("OPR", "CA", "CT")}
    return places


def tri_add(*states: Values) -> Values:
    """What leaves the highest of some columns, given the states of all, highest first; the lowest is 0 or 1.

    >>> tri_add(np.array([2, 2, 0]), np.array([1, 2, 1]), np.array([0, 1, 1])).tolist()
    [1, 1, 0]
    """
    *higher, carry = states
    for state in reversed(higher):
        carry = np.where(state == UNKNOWN, carry, state)
    return carry


def _algorithm(
    name: str,
    digits: int,
    cascade: str,
    operations: tuple[str, ...],
    *,
    letters: str,
    choice: tuple[str, ...],  # for each place, or for none
    rest: tuple[Variable, ...],
) -> Algorithm:
    _require(digits, cascade)
    places = range(digits)
    columns = [
        each
        for letter in letters
        for place in places
        for each in _column(letter, place, cascade)
        if letter != "N" or place < digits - 1 or each.name == f"A{place}.ND"  # no difference borrows out of its top
    ]
    answer = [_digit(place, letters, choice[place : place + 1]) for place in places]
    variables = (*_operands(digits), *columns, *answer, *rest)
    graph = Graph(name=name, variables=variables, outputs=_outputs(digits))
    return Algorithm(graph=graph, digits=digits, operations=operations)


def _require(digits: int, cascade: str) -> None:
    require_digits("digits", digits)
    if cascade not in CASCADES:
        raise unknown("cascade", cascade, CASCADES)


def _operands(digits: int) -> list[Variable]:
    return [Variable(name=f"{each}{place}", values=DECIMAL) for each in ("D", "D'") for place in range(digits)]


def _outputs(digits: int) -> tuple[str, ...]:
    return ("SGN", *(f"A{place}" for place in reversed(range(digits + 1))))


def _column(letter: str, place: int, cascade: str) -> list[Variable]:
    """The variables of one column in one branch."""
    branch, operands, here = BRANCHES[letter], (f"D{place}", f"D'{place}"), f"A{place}"
    flag = f"{here}.{branch.flag}"
    variables = [
        Variable(name=f"{here}.{branch.digit}", values=DECIMAL, parents=operands, rule=branch.value),
        Variable(name=flag, values=FLAG, parents=operands, rule=branch.sends),
        Variable(name=f"{here}.{letter}V", values=FLAG, parents=CASCADES[cascade](letter, place), rule=tri_add),
    ]
    if place == 0:  # nothing comes from below the units: a column that would pass it on sends nothing
        return [*variables, Variable(name=f"{here}.{letter}T", values=FLAG, parents=(flag,), rule=np.asarray)]
    if letter == "S":
        nine = Variable(name=f"{here}.SS", values=FLAG, parents=operands, rule=lambda a, b: a + b == BASE - 1)
        state = Variable(name=f"{here}.ST", values=DOMAIN, parents=(flag, nine.name), rule=_tri_state)
        return [*variables, nine, state]
    state = Variable(
        name=f"{here}.{letter}T",
        values=DOMAIN,
        parents=(flag, *operands),
        rule=lambda sends, a, b: _tri_state(sends, a == b),
    )
    return [*variables, state]


def _complemented(place: int, cascade: str) -> list[Variable]:
    """The variables of one column that adds D and D' or 9 - D', with its digit of the answer."""
    here, below = f"A{place}", f"A{place - 1}.CV" if place else "IN"
    terms, states = (f"D{place}", f"D'{place}", f"{here}.OPR"), CASCADES[cascade]("C", place)
    whole = cascade == "parallel" or not place  # a cascade that begins at the units

    def leaves(*parents: Values) -> Values:
        return tri_add(*parents[:-1], _comes_around(parents[-1]))

    return [
        Variable(name=f"{here}.OPR", values=SIGNS, parents=("OP",), rule=np.asarray),
        Variable(
            name=f"{here}.CA", values=DECIMAL, parents=terms, rule=lambda a, b, minus: (a + _nines(minus, b)) % BASE
        ),
        Variable(
            name=f"{here}.CT", values=DOMAIN, parents=terms, rule=lambda a, b, minus: _sum_state(a + _nines(minus, b))
        ),
        Variable(
            name=f"{here}.CV",
            values=FLAG,
            parents=(*states, "SLT") if whole else states,
            rule=leaves if whole else tri_add,
        ),
        Variable(name=f"NEG{place}", values=FLAG, parents=("SLT",), rule=lambda selected: selected == NEGATIVE),
        Variable(
            name=here,
            values=DECIMAL,
            parents=(f"NEG{place}", f"{here}.CA", below),
            rule=lambda negative, digit, carry: _nines(negative, (digit + carry) % BASE),
        ),
    ]


def _comes_around(selected: Values) -> Values:
    return np.where(selected == POSITIVE, 1, 0)


def _nines(taken: Given, digit: Values) -> Values:
    return np.where(taken, BASE - 1 - digit, digit)


def _tri_state(sends: Given, passes: Given) -> Values:
    return np.where(sends, 1, np.where(passes, UNKNOWN, 0))


def _sum_state(total: Values) -> Values:
    return _tri_state(total >= BASE, total == BASE - 1)


def _serial(letter: str, place: int) -> tuple[str, ...]:
    return (f"A{place}.{letter}T", *([f"A{place - 1}.{letter}V"] if place else []))


def _parallel(letter: str, place: int) -> tuple[str, ...]:
    return tuple(f"A{lower}.{letter}T" for lower in reversed(range(place + 1)))


CASCADES = {"serial": _serial, "parallel": _parallel}


def _digit(place: int, letters: str, choice: tuple[str, ...]) -> Variable:
    """A digit of the answer: of each branch the column's digit and the carry from below, of which one is chosen."""
    branches = [BRANCHES[letter] for letter in letters]
    parents = [
        [f"A{place}.{branch.digit}", *([f"A{place - 1}.{letter}V"] if place else [])]
        for letter, branch in zip(letters, branches, strict=True)
    ]

    def rule(*values: Values) -> Values:
        chosen, parts = values[: len(choice)], iter(values[len(choice) :])
        digits = [(next(parts) + branch.step * (next(parts) if place else 0)) % BASE for branch in branches]
        return np.choose(chosen[0], digits) if choice else digits[0]

    return Variable(
        name=f"A{place}", values=DECIMAL, parents=(*choice, *(each for pair in parents for each in pair)), rule=rule
    )
