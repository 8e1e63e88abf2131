"""The causal graphs of addition, subtraction and both against integer arithmetic, and graphs as data."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from carryproof.circuits.algorithms import ALGORITHMS, CASCADES, DOMAIN, Algorithm, position
from carryproof.circuits.classes import sample
from carryproof.circuits.graphs import DECIMAL, FLAG, Graph, Variable
from carryproof.circuits.texts import OPERATIONS, Problems, context, prompt_length, write
from carryproof.theory.digits import digits_le, value_of

every_algorithm = pytest.mark.parametrize("name", ALGORITHMS)
every_cascade = pytest.mark.parametrize("cascade", CASCADES)


def all_pairs(digits: int, subtract: bool) -> Problems:
    numbers = np.stack(np.unravel_index(np.arange(100**digits), (10,) * (2 * digits)), axis=1).astype(np.uint8)
    operands = numbers.reshape(-1, 2, digits)
    return Problems(operands=operands, subtract=np.full(len(operands), subtract))


def integers(digits_le: NDArray[np.generic]) -> NDArray[np.int64]:
    return digits_le.astype(np.int64) @ 10 ** np.arange(digits_le.shape[-1])


def written(tokens: NDArray[np.int64]) -> NDArray[np.int64]:
    """The integer that a sign and digits, highest first, write."""
    return np.where(tokens[:, 0] == 11, -1, 1) * integers(tokens[:, :0:-1])


@every_cascade
@every_algorithm
def test_graphs_are_integer_arithmetic_on_all_pairs_of_three_digits(name: str, cascade: str) -> None:
    algorithm = ALGORITHMS[name](3, cascade)
    for operation in algorithm.operations:
        problems = all_pairs(3, operation == "sub")
        left, right = integers(problems.operands[:, 0]), integers(problems.operands[:, 1])
        found = algorithm.tokens(algorithm.graph.run(algorithm.inputs(problems)))
        assert (written(found) == (left - right if operation == "sub" else left + right)).all()
        assert (found[:, 0] == np.where(written(found) < 0, 11, 10)).all(), "zero has the sign +"


@settings(max_examples=25)
@given(data=st.data(), digits=st.integers(1, 40), operation=st.sampled_from(OPERATIONS))
def test_graphs_are_integer_arithmetic_at_every_size(data: st.DataObject, digits: int, operation: str) -> None:
    numbers = st.one_of(st.integers(0, 10**digits - 1), st.integers(max(0, 10**digits - 100), 10**digits - 1))
    left = data.draw(numbers)
    complement = 10**digits - 1 - left if operation == "add" else left
    right = data.draw(st.one_of(numbers, st.just(complement), st.just(min(complement + 1, 10**digits - 1))))
    operands = np.array([[digits_le(number, 10, digits) for number in (left, right)]])
    problems = Problems(operands=operands, subtract=np.array([operation == "sub"]))
    for name, cascade in (
        ("addition" if operation == "add" else "subtraction", "serial"),
        ("mixed", "parallel"),
        ("complement", "parallel"),
    ):
        algorithm = ALGORITHMS[name](digits, cascade)
        (sign, *answer) = algorithm.tokens(algorithm.graph.run(algorithm.inputs(problems)))[0].tolist()
        assert (-1 if sign == 11 else 1) * value_of(answer[::-1], 10) == (
            left - right if operation == "sub" else left + right
        )


def values_at(algorithm: Algorithm, problems: Problems) -> dict[str, list[str]]:
    values = algorithm.graph.run(algorithm.inputs(problems))
    return {each.name: [each.values[value] for value in values[each.name]] for each in algorithm.graph.variables}


def test_every_sub_task_is_what_its_definition_says() -> None:
    """By the definitions of the paper, written out once more on single problems."""
    problems = all_pairs(3, True).at(slice(None, None, 997))
    problems = Problems(operands=np.tile(problems.operands, (2, 1, 1)), subtract=np.arange(2 * len(problems)) % 2 == 0)
    values = values_at(ALGORITHMS["mixed"](3, "serial"), problems)
    for index in range(len(problems)):
        here = {name: column[index] for name, column in values.items()}
        digits = problems.operands[index].astype(int)
        for place, (d, e) in enumerate(digits.T.tolist()):
            at, even = f"A{place}.", "U" if place else "0"
            left, right = integers(digits[:, : place + 1]).tolist()
            added, less, more = d + e, int(d < e), int(e < d)
            carried, borrowed, lent = left + right >= 10 ** (place + 1), left < right, right < left
            expected = {
                "SA": added % 10, "SC": int(added > 9), "SS": int(added == 9), "SV": int(carried),
                "ST": 1 if added > 9 else even if added == 9 else 0,
                "MD": (d - e) % 10, "MB": less, "MT": 1 if less else even if d == e else 0, "MV": int(borrowed),
                "ND": (e - d) % 10, "NB": more, "NT": 1 if more else even if d == e else 0, "NV": int(lent),
            }  # fmt: skip # read as a table
            absent = {"NB", "NT", "NV"} if place == 2 else {"SS"} if place == 0 else set()  # nothing would read them
            assert {at + name: str(value) for name, value in expected.items() if name not in absent} == {
                name: value for name, value in here.items() if name.startswith(at)
            }
        minus = bool(problems.subtract[index])
        assert here["OPR"] == ("-" if minus else "+") and here["SGN"] == ("-" if minus and left < right else "+")
        assert here["SLT"] == ("S" if not minus else "N" if left < right else "M")


@every_cascade
def test_the_sums_of_the_complement_are_those_of_both_operations(cascade: str) -> None:
    """In additions its columns are those of addition; in subtractions a carry is a borrow that does not happen."""
    problems = all_pairs(3, True).at(slice(None, None, 997))
    for subtract in (False, True):
        problems = Problems(operands=problems.operands, subtract=np.full(len(problems), subtract))
        graph = ALGORITHMS["mixed"](3, "serial").graph
        both = graph.run(ALGORITHMS["mixed"](3).inputs(problems))
        found = ALGORITHMS["complement"](3, cascade).graph.run(ALGORITHMS["complement"](3).inputs(problems))
        assert all((found[name] == both[name]).all() for name in ("SLT", *graph.outputs))
        assert (found["IN"] == (both["SLT"] == 1)).all()
        equal = (problems.operands[:, 0] == problems.operands[:, 1]).cumprod(axis=1) == 1
        for place in range(3):
            digit, state, carry = (found[f"A{place}.{name}"] for name in ("CA", "CT", "CV"))
            if not subtract:
                assert (digit == both[f"A{place}.SA"]).all() and (carry == both[f"A{place}.SV"]).all()
                assert (state == both[f"A{place}.ST"])[state != DOMAIN.index("U")].all()
            else:
                assert (digit == (both[f"A{place}.MD"] - 1) % 10).all()
                passes = equal[:, place] & (found["IN"] == 0)  # no carry comes in, so none leaves; nor does a borrow
                assert (carry == np.where(passes, 0, 1 - both[f"A{place}.MV"])).all()
                sides = [problems.operands[:, side, place] for side in (0, 1)]
                assert (state == np.where(sides[0] == sides[1], 2, sides[0] > sides[1])).all()
        top = both["A2.MV"] == 0 if subtract else both["A2.SV"] == 1
        assert (found["OUT"] == top).all()


@every_cascade
@every_algorithm
def test_every_variable_is_above_an_output(name: str, cascade: str) -> None:
    graph = ALGORITHMS[name](4, cascade).graph
    for variable in graph.variables:
        assert set(graph.below(variable.name)) & set(graph.outputs), variable.name


def test_a_carry_interfered_with_goes_on_up_only_in_series() -> None:
    serial, parallel = (ALGORITHMS["addition"](4, cascade).graph for cascade in ("serial", "parallel"))
    assert set(serial.below("A1.SV")) == {"A1.SV", "A2", "A2.SV", "A3", "A3.SV", "A4"}
    assert set(parallel.below("A1.SV")) == {"A1.SV", "A2"}
    assert set(parallel.below("A0.ST")) == {"A0.ST", *(f"A{k}.SV" for k in range(4)), *(f"A{k}" for k in range(1, 5))}


@every_cascade
@pytest.mark.parametrize("name", ["addition", "mixed"])
def test_an_interchanged_carry_changes_the_digit_above_by_one(name: str, cascade: str) -> None:
    algorithm = ALGORITHMS[name](5, cascade)
    base, source = (sample("S2", digits=5, seed=seed, first=0, count=200) for seed in (1, 2))
    runs = [algorithm.graph.run(algorithm.inputs(problems)) for problems in (base, source)]
    found = algorithm.graph.interchange(algorithm.inputs(base), algorithm.inputs(source), ["A1.SV"])
    gained = runs[1]["A1.SV"] - runs[0]["A1.SV"]
    assert set(np.unique(gained)) == {-1, 0, 1}
    assert (found["A2"] == (runs[0]["A2"] + gained) % 10).all()
    untouched = set(algorithm.graph.inputs) | {"A0", "A1", "SGN", "A2.SA"}
    assert all((found[each] == runs[0][each]).all() for each in untouched)


@every_cascade
@pytest.mark.parametrize("base", ["M1", "N1"])
@pytest.mark.parametrize("source", ["S1", "S2", "M0", "N2"])
def test_a_whole_cut_interchanged_is_the_source(base: str, source: str, cascade: str) -> None:
    """Interventions compose: with every parent of the answer taken from the source, the answer is the source's."""
    algorithm = ALGORITHMS["mixed"](3, cascade)
    graph = algorithm.graph
    ours, theirs = (algorithm.inputs(sample(name, digits=3, seed=3, first=0, count=50)) for name in (base, source))
    cut = {parent for each in graph.variables if each.name in graph.outputs for parent in each.parents}
    found, expected = graph.interchange(ours, theirs, cut), graph.run(theirs)
    assert all((found[output] == expected[output]).all() for output in graph.outputs)
    assert all((graph.interchange(ours, theirs, [])[each] == values).all() for each, values in graph.run(ours).items())


def test_positions_are_those_of_the_text() -> None:
    for digits in (1, 3, 6):
        problems = sample("N0", digits=digits, seed=0, first=0, count=50)
        algorithm = ALGORITHMS["mixed"](digits)
        values, texts = algorithm.graph.run(algorithm.inputs(problems)), write(problems)
        assert (algorithm.tokens(values) == texts[:, prompt_length(digits) :]).all()
        names = [*algorithm.graph.inputs, *algorithm.graph.outputs]
        assert len({position(name, digits) for name in names}) == len(names) == context(digits) - 1  # all but '='
        for name in names:
            shift = 10 if name in ("OP", "SGN") else 0
            assert (texts[:, position(name, digits)] == values[name] + shift).all(), name


def copy(**changes: object) -> Graph:
    parts = {
        "name": "copy",
        "variables": (
            Variable(name="A", values=DECIMAL, parents=("D",), rule=np.asarray),  # in any order
            Variable(name="D", values=DECIMAL),
        ),
        "outputs": ("A",),
    }
    return Graph(**parts | changes)  # type: ignore[arg-type] - a caller's mistakes are of any type


def loop(name: str, parent: str) -> Variable:
    return Variable(name=name, values=FLAG, parents=(parent,), rule=np.asarray)


def test_graphs_go_to_json_without_their_rules() -> None:
    stored = json.loads(json.dumps(copy().to_dict()))
    assert stored == {
        "schema_version": 1,
        "name": "copy",
        "variables": [
            {"name": "D", "values": list(DECIMAL), "parents": []},
            {"name": "A", "values": list(DECIMAL), "parents": ["D"]},
        ],
        "inputs": ["D"],
        "outputs": ["A"],
    }
    names = [each["name"] for each in ALGORITHMS["mixed"](6).graph.to_dict()["variables"]]
    assert len(set(names)) == len(names) and {"A5.SV", "A0.NT", "SLT"} <= set(names)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: copy(outputs=("B",)), "outputs: unknown value 'B'; allowed: A, D"),
        (lambda: copy(outputs=()), "outputs: got (); allowed: one or more variables"),
        (lambda: copy(variables=(Variable(name="A", values=FLAG),) * 2), "variables: got 'A'; allowed: each name once"),
        (lambda: copy(variables=(loop("A", "E"),)), "parents of A: unknown value 'E'"),
        (lambda: copy(variables=(loop("A", "D"), loop("D", "A"))), "variables: got ('A', 'D'); allowed: at least one"),
        (
            lambda: copy(variables=(Variable(name="I", values=FLAG), loop("A", "D"), loop("D", "A"))),
            "; allowed: no variable below itself",
        ),
        (lambda: Variable(name="A", values=()), "values of A: got (); allowed: one or more names, each once"),
        (lambda: Variable(name="A", values=("0", "0")), "values of A: got ('0', '0'); allowed"),
        (lambda: Variable(name="A", values=FLAG, parents=("D",)), "rule of A: got None; allowed"),
        (lambda: copy().run({"E": np.array([1])}), "inputs: unknown value 'E'"),
        (lambda: copy().run({}), "inputs: got (); allowed: values of all inputs; D missing"),
        (lambda: copy().run({"D": np.array([10])}), "values of D: got 10; allowed: 0 to 9"),
        (lambda: copy().run({"D": np.array([0.5])}), "values of D: got 'float64 [1]'; allowed: integers [1]"),
        (lambda: copy().run({"D": np.array([1])}, {"B": np.array([1])}), "variable: unknown value 'B'"),
        (lambda: copy().run({"D": np.array([1])}, {"A": np.array([-1])}), "values of A: got -1; allowed: 0 to 9"),
        (lambda: copy().run({"D": np.array([1])}, {"A": np.array([1, 2])}), "values of A: got 'int64 [2]'; allowed"),
        (lambda: copy().interchange({}, {}, ["B"]), "variable: unknown value 'B'"),
        (lambda: copy().below("B"), "variable: unknown value 'B'"),
        (lambda: ALGORITHMS["addition"](3, "sideways"), "cascade: unknown value 'sideways'"),
        (lambda: ALGORITHMS["addition"](41), "digits: got 41; allowed: 1 to 40"),
        (lambda: position("A5", 3), "name: unknown value 'A5'"),
        (lambda: ALGORITHMS["mixed"](3).inputs(all_pairs(1, True)), "problems: got '1 digits'; allowed: 3 digits"),
        (lambda: ALGORITHMS["addition"](1).inputs(all_pairs(1, True)), "operation of problems: unknown value 'sub'"),
        (lambda: ALGORITHMS["subtraction"](1).inputs(all_pairs(1, False)), "operation of problems: unknown value 'ad"),
    ],
)
def test_bad_input_is_one_line(make: object, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        make()  # type: ignore[operator] - a table of calls that are typed in no common way
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_domains_are_shown_by_name() -> None:
    assert DOMAIN == ("0", "1", "U")
    assert ALGORITHMS["addition"](2).graph.run(
        {"D0": np.array([9]), "D1": np.array([4]), "D'0": np.array([0]), "D'1": np.array([5])}
    )["A1.ST"] == [DOMAIN.index("U")]
