"""The property-testing kit accepts what is registered, and refuses each kind of broken task and encoding in words."""

import itertools
import operator
import random
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from cases import TASKS
from hypothesis import find, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from carryproof.benchmarks import conformance as encoding_kit
from carryproof.benchmarks.conformance import (
    READINGS,
    check_encoding,
    check_stream,
    encoding_checks,
    registered,
    stream_checks,
)
from carryproof.benchmarks.strata import longest_chain
from carryproof.positional import ENCODINGS, Encoding, EncodingShape
from carryproof.positional.base import offsets
from carryproof.theory import Task, strategies, tasks
from carryproof.theory import encodings as twins
from carryproof.theory.conformance import Claims, check_task, claims_of, task_checks
from carryproof.theory.digits import Digits, digits_le, length_of
from carryproof.theory.tasks import Operation

DOCUMENT = Path(__file__).parent.parent / "docs" / "property_testing.md"


# beartype, which conftest.py switches on, checks a random item of a tuple, also where hypothesis builds a value
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")


# What is registered passes


TASK_CHECKS = [check for task in TASKS for check in task_checks(task, examples=40)]
STREAM_CHECKS = [
    check
    for task in (tasks.addition(), tasks.addition(3, base=7), tasks.modular_addition(9973, 4, base=36))
    for check in stream_checks(task)
]


def checks_of(name: str) -> list:
    build, twin, parameters = registered(name)
    return encoding_checks(build, twin, parameters=parameters)


ENCODING_CHECKS = [check for name in sorted(ENCODINGS) for check in checks_of(name)]


@pytest.mark.parametrize("check", TASK_CHECKS + STREAM_CHECKS + ENCODING_CHECKS)
def test_what_is_registered_conforms(check: Callable[[], None]) -> None:
    check()


@given(strategies.tasks())
def test_every_derived_claim_is_about_the_task(task: Task) -> None:
    claims = claims_of(task)
    assert claims.commutative == (task.operation.name != "subtraction")
    assert claims.shift_equivariant == (task.modulus is None and task.operation.name != "multiplication")
    alone = (0, 1) if task.modulus is None and task.operation.name == "multiplication" else ()
    assert claims.shift_equivariant_in == alone


def test_derived_locality_is_neither_too_bold_nor_too_shy() -> None:
    local = [p for p in range(2, 151) if claims_of(tasks.modular_addition(p)).digit_local]
    assert local == [2, 5, 10, 20, 50, 100]
    for modulus in range(2, 151):
        task = tasks.modular_addition(modulus)
        exact = all(
            task(x, 0) // 10**place % 10 == task(x % 10 ** (place + 1), 0) // 10**place % 10
            for x in range(1000)
            for place in range(3)
        )
        assert exact == (modulus in local), modulus


def test_every_registered_encoding_has_a_reading() -> None:
    assert set(READINGS) == set(ENCODINGS)


def test_checks_have_names_that_pytest_shows() -> None:
    checks = task_checks(tasks.multiplication())
    assert checks[0].__name__ == "multiplication-determinism"
    assert task_checks(tasks.addition(3, base=7))[-1].__name__ == "addition-of-3-base-7-text"
    assert [check.name for check in checks] == [
        "determinism",
        "integers",
        "width",
        "digit-arrays",
        "commutativity",
        "shift-of-operand-1",
        "shift-of-operand-2",
        "digit-locality",
        "text",
    ]


# Broken tasks are refused in words


def wide(base: int, places: int, operands: int) -> int:
    return 2 * places + 1


def narrow(base: int, places: int, operands: int) -> int:
    return places


def own(apply: Callable, *, width: Callable = wide, symbol: str = "+", base: int = 10, **more: object) -> Task:
    return Task(operation=Operation(name="mine", symbol=symbol, apply=apply, width=width, **more), base=base)


def refusing_zero(a: int, b: int) -> int:
    if b == 0:
        raise KeyError("no entry for zero")
    return a + b


COUNTER = itertools.count()
GENERATOR = random.Random(5)

BROKEN_TASKS = {
    "narrow": (
        own(operator.add, width=narrow),
        Claims(),
        "mine does not fit its declared width: f(1, 9) = 10 has 2 digits in base 10, "
        "the width declared for operands of 1 is 1",
    ),
    "no-width": (
        own(operator.add, width=lambda *_: 0),
        Claims(),
        "mine: the width of answers to operands of length 1 is 0, not an integer of at least 1",
    ),
    "not-commutative": (
        tasks.subtraction(),
        Claims(commutative=True),
        "subtraction is not commutative: f(0, 1) = -1, f(1, 0) = 1",
    ),
    "multiplication-shift": (
        tasks.multiplication(),
        Claims(shift_equivariant=True),
        "multiplication is not jointly shift-equivariant: f(10*1, 10*1) = 100, 10*f(1, 1) = 10",
    ),
    "addition-shift-alone": (
        tasks.addition(),
        Claims(shift_equivariant_in=(1,)),
        "addition is not shift-equivariant in operand 2 alone: f(1, 10*0) = 1, 10*f(1, 0) = 10",
    ),
    "modular-shift": (
        tasks.modular_addition(7),
        Claims(shift_equivariant=True),
        "addition mod 7 is not jointly shift-equivariant: f(10*0, 10*1) = 3, 10*f(0, 1) = 10",
    ),
    "not-compatible": (
        tasks.modular_addition(101),
        Claims(decisive_digits=2),
        "addition mod 101 is not decided by the last 2 digits in base 10: f(0, 100) = 100, f(0, 0) = 0",
    ),
    "not-local": (
        tasks.subtraction(),
        Claims(digit_local=True),
        "subtraction is not digit-local in base 10: digit 0 of f(1, 10) = -9 is not that of f(1, 0) = 1",
    ),
    "float": (own(operator.truediv), Claims(), "mine: f(0, 0) raises ZeroDivisionError: "),
    "half": (own(lambda a, b: (a + b) / 2), Claims(), "mine does not return integers: f(0, 0) = 0.0 is of type float"),
    "bool": (own(operator.lt), Claims(), "mine does not return integers: f(0, 0) = False is of type bool"),
    "numpy": (
        own(lambda a, b: np.int64(7)),
        Claims(),
        "mine does not return integers: f(0, 0) = np.int64(7) is of type int64",
    ),
    "none": (own(lambda a, b: None), Claims(), "mine does not return integers: f(0, 0) = None is of type NoneType"),
    "raises": (own(refusing_zero), Claims(), "mine: f(0, 0) raises KeyError: 'no entry for zero'"),
    "arity": (own(lambda a: a), Claims(), "mine: f(0, 0) raises TypeError: "),
    "unsigned": (
        own(operator.sub),
        Claims(),
        "mine returns a negative number, but its operation is not declared signed: f(0, 1) = -1",
    ),
    "counter": (own(lambda a, b: a + b + next(COUNTER)), Claims(), "mine is not deterministic: f(0, 0) = "),
    "alternating": (own(lambda a, b: a + b + next(COUNTER) % 2), Claims(), "mine is not deterministic: f(0, 0) = "),
    "random": (own(lambda a, b: a + GENERATOR.randrange(2)), Claims(), "mine is not deterministic: f("),
    "columns": (
        own(operator.add, columns=lambda d: (d[:, 0].astype(np.int64), np.zeros(len(d), dtype=bool))),
        Claims(),
        "mine: digit arrays and integers disagree: f(0, 1) = 1, digit by digit it is 0",
    ),
    "not-a-ring-operation": (
        replace(own(operator.xor, polynomial=True), modulus=7),
        Claims(),
        "mine mod 7: digit arrays and integers disagree: f(",
    ),
    "symbol": (own(operator.xor, symbol="^"), Claims(), "mine: the symbol '^' has no token; allowed: +, -, *"),
}


def test_a_corner_shrinks_to_the_smallest_counterexample() -> None:
    with pytest.raises(AssertionError, match=re.escape("f(10*0, 10*998) = 7, 10*f(0, 998) = 9980")):
        check_task(tasks.modular_addition(9973), Claims(shift_equivariant=True))


def test_a_failure_shows_the_counterexample_and_not_how_it_was_found() -> None:
    check = next(each for each in task_checks(own(refusing_zero)) if each.name == "integers")
    with pytest.raises(AssertionError) as error:
        check()
    assert [entry.name for entry in error.traceback][-1] == "__call__"
    assert isinstance(error.value.__cause__, KeyError)
    assert repr(check) == "Check(subject='mine', name='integers')"


@pytest.mark.parametrize("name", BROKEN_TASKS)
def test_broken_tasks_are_refused_in_words(name: str) -> None:
    task, claims, message = BROKEN_TASKS[name]
    with pytest.raises(AssertionError) as error:
        check_task(task, claims)
    assert str(error.value).startswith(message) and "\n" not in str(error.value)


def test_claims_that_make_no_sense_are_refused_at_once() -> None:
    with pytest.raises(ValueError, match=r"^shift_equivariant_in: got 2; allowed: an integer from 0 to 1$"):
        task_checks(tasks.addition(), Claims(shift_equivariant_in=(2,)))
    with pytest.raises(ValueError, match=r"^decisive_digits: got -1; allowed"):
        Claims(decisive_digits=-1)
    with pytest.raises(ValueError, match=r"^examples: got 0; allowed"):
        task_checks(tasks.addition(), examples=0)


def test_a_reading_that_raises_is_named() -> None:
    with pytest.raises(AssertionError, match=r"^rope: parameters\(module, head\) raises KeyError: 'no such head'$"):
        check_encoding(*registered("rope")[:2], parameters=failing_reading)


def failing_reading(module: Encoding, head: int) -> dict[str, float]:
    raise KeyError("no such head")


class Loaded(encoding_kit.Stream):
    def block(self, start: int, count: int) -> Digits:
        drawn = super().block(start, count)
        drawn[np.arange(start, start + count) % 10 == 0] = 1
        return drawn


class Forgetful(encoding_kit.Stream):
    def block(self, start: int, count: int) -> Digits:
        return super().block(0, count)


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (Loaded, "addition: problems of length 1 under the law 'exact' are not uniform: chi-square has p = "),
        (Forgetful, "addition: under the law 'exact', items 10 to 16 of seed 0 drawn alone are not those drawn"),
    ],
)
def test_broken_streams_are_refused_in_words(monkeypatch: pytest.MonkeyPatch, stream: type, message: str) -> None:
    monkeypatch.setattr(encoding_kit, "Stream", stream)
    with pytest.raises(AssertionError) as error:
        check_stream(tasks.addition())
    assert str(error.value).startswith(message)


# Broken encodings are refused in words

NOTHING = twins.get("none")


class Plain(Encoding):
    def __init__(self, shape: EncodingShape) -> None:
        super().__init__()


class Shapeless(Plain):
    def bias(self, query: Tensor, query_ids: Tensor, key_ids: Tensor) -> Tensor:
        return torch.zeros(query_ids.shape[1], key_ids.shape[1], dtype=query.dtype)


class Widening(Plain):
    def rotate(self, heads: Tensor, ids: Tensor) -> Tensor:
        return heads.double()


class Raising(Plain):
    def embed(self, residual: Tensor, ids: Tensor) -> Tensor:
        raise RuntimeError("not today")


class Global(Plain):
    def __init__(self, shape: EncodingShape) -> None:
        super().__init__(shape)
        self.weight = nn.Parameter(torch.randn(3))


class Mixing(Plain):
    def embed(self, residual: Tensor, ids: Tensor) -> Tensor:
        return residual + residual.mean(dim=0, keepdim=True)


class Counting(Plain):
    def bias(self, query: Tensor, query_ids: Tensor, key_ids: Tensor) -> Tensor:
        rows = torch.arange(query_ids.shape[1], dtype=query.dtype)
        return rows[None, None, :, None].expand(1, 1, -1, key_ids.shape[1])


class Clairvoyant(Plain):
    def embed(self, residual: Tensor, ids: Tensor) -> Tensor:
        return residual + residual.flip(1).cumsum(1).flip(1)


class Sloped(Plain):
    def bias(self, query: Tensor, query_ids: Tensor, key_ids: Tensor) -> Tensor:
        return -offsets(query_ids, key_ids)[:, None].to(query.dtype)


class Placed(Plain):
    def bias(self, query: Tensor, query_ids: Tensor, key_ids: Tensor) -> Tensor:
        return (query_ids[:, None, :, None] * key_ids[:, None, None, :]).to(query.dtype)


def twin(name: str, bias: Callable) -> twins.SymbolicEncoding:
    return replace(NOTHING, name=name, title=name, bias=bias)


BROKEN_ENCODINGS = {
    "shape": (Shapeless, NOTHING, "none: bias returns the shape [5, 5]; allowed: [1 or batch, 1 or head, query, key]"),
    "type": (Widening, NOTHING, "none: rotate turns torch.bfloat16 into torch.float64; the type must be preserved"),
    "raises": (Raising, NOTHING, "none: embed raises RuntimeError: not today"),
    "global": (Global, NOTHING, "none: building and initializing draw from torch's global generator"),
    "batch": (Mixing, NOTHING, "none: the scores of problem 0 depend on the other problem of its batch"),
    "late-query": (Counting, NOTHING, "none: bias of the last queries alone differs from their rows among all queries"),
    "causality": (Clairvoyant, NOTHING, "none is not causal: the logits at token 0 change with token 1"),
    "lying-slope": (
        Sloped,
        twin("steep", lambda query, i, j: -2 * (i - j)),
        "steep: in head 1, score(0, 1) = 1 in the module and 2 in the twin, for q = (0, 0), k = (0, 0)",
    ),
    "lying-sees": (
        Sloped,
        twin("blind", lambda query, i, j: -(i - j)),
        "blind: the twin is declared to see nothing, but its score sees differences",
    ),
    "lying-shift": (
        Placed,
        twin("placed", lambda query, i, j: i - j),
        "placed: in head 1, score(",
    ),
}


@pytest.mark.parametrize("name", BROKEN_ENCODINGS)
def test_broken_encodings_are_refused_in_words(name: str) -> None:
    build, stated, message = BROKEN_ENCODINGS[name]
    with pytest.raises(AssertionError) as error:
        check_encoding(build, stated)
    assert str(error.value).startswith(message) and "\n" not in str(error.value)


def shift_check(build: Callable, stated: twins.SymbolicEncoding) -> Callable[[], None]:
    return next(check for check in encoding_checks(build, stated) if check.name == "shift")


def test_a_twin_that_lies_about_shifts_is_refused_either_way() -> None:
    message = "none is not shift invariant: in head 1, score(0, 0) = 0 and score(1, 1) = 1, for q = (0, 0), k = (0, 0)"
    with pytest.raises(AssertionError, match=re.escape(message)):
        shift_check(Placed, NOTHING)()
    message = "sinusoidal: the twin says that scores see absolute ids, but no shift of the ids changed a score"
    with pytest.raises(AssertionError, match=message):
        shift_check(Sloped, twins.get("sinusoidal"))()


def test_a_twin_whose_parameters_are_not_read_is_a_clear_error() -> None:
    with pytest.raises(ValueError, match=r"^parameters: got none; allowed: exactly m for encoding 'alibi'$"):
        check_encoding(ENCODINGS["alibi"], twins.get("alibi"))
    with pytest.raises(ValueError, match=r"^encoding: unknown value 'rop'; did you mean 'rope'"):
        registered("rop")


# Strategies


@given(st.data(), strategies.bases(), st.booleans())
def test_moduli_are_compatible_as_asked(data: st.DataObject, base: int, compatible: bool) -> None:
    modulus = data.draw(strategies.moduli(base=base, compatible=compatible, largest=10**6))
    assert 2 <= modulus <= 10**6
    assert (pow(base, 20, modulus) == 0) == compatible


def test_compatible_moduli_are_all_there() -> None:
    expected = [p for p in range(2, 1001) if pow(12, 10, p) == 0]
    found: set[int] = set()
    for modulus in expected:
        found.add(find(strategies.moduli(base=12, compatible=True), lambda drawn, p=modulus: drawn == p))
    assert sorted(found) == expected


@given(st.data(), strategies.tasks(), strategies.operand_laws(), strategies.lengths(shortest=2))
def test_operands_follow_their_law(data: st.DataObject, task: Task, law: str, length: int) -> None:
    operands = data.draw(strategies.operands(task, length=length, law=law))
    assert len(operands) == task.operands and all(type(value) is int for value in operands)
    found = sorted(length_of(value, task.base) for value in operands)
    assert found[-1] == length
    assert law != "exact" or found[0] == length
    assert law != "unequal" or found[-2] < length


@given(st.data(), strategies.bases(), st.integers(1, 12))
def test_chains_have_the_length_asked(data: st.DataObject, base: int, length: int) -> None:
    chain = data.draw(st.integers(0, length))
    try:
        pairs = strategies.operands_with_chain(base, length, chain=chain)
    except ValueError:
        assert base == 2 and length > 1 and chain in (0, length)
        return
    pair = data.draw(pairs)
    assert all(length_of(value, base) == length for value in pair)
    digits = np.array([[digits_le(value, base, length) for value in pair]])
    assert longest_chain(digits, base)[0] == chain


@settings(max_examples=30)
@given(st.data(), strategies.questions(longest=4))
def test_questions_have_room_and_a_layout(data: st.DataObject, question) -> None:
    question.format.require_room(4)
    assert question.train.longest <= 4
    slots = data.draw(strategies.layouts(question.task, room=3))
    assert slots[-1].role == "end" and len(set(slots) - {slots[-1]}) >= question.task.operands


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: strategies.bases(largest=40), "largest: got 40; allowed: an integer from 2 to 36"),
        (lambda: strategies.bases(smallest=1), "base: got 1; allowed: an integer from 2 to 36"),
        (lambda: strategies.moduli(compatible=True), "base: got None"),
        (
            lambda: strategies.moduli(base=35, compatible=True, largest=4),
            "largest: got 4; allowed: at least",
        ),
        (
            lambda: strategies.moduli(base=6, compatible=False, largest=4),
            "largest: got 4; allowed: at least",
        ),
        (lambda: strategies.operations(names=["division"]), "names: got 'division'; allowed: addition, "),
        (lambda: strategies.tasks(most_operands=1), "most_operands: got 1"),
        (lambda: strategies.formats(room=0), "room: got 0"),
        (lambda: strategies.lengths(shortest=3, longest=2), "longest: got 2; allowed: an integer of at least 3"),
        (lambda: strategies.operands(tasks.addition(), length=0), "length: got 0"),
        (lambda: strategies.operands(tasks.addition(), length=1, law="unequal"), "length: got 1; allowed"),
        (lambda: strategies.operands_with_chain(10, 3, chain=4), "chain: got 4; allowed: an integer from 0 to 3"),
        (lambda: strategies.operands_with_chain(2, 3, chain=0), "chain: got 0; allowed: one that two numbers of 3"),
    ],
)
def test_bad_arguments_are_refused_at_the_call(call: Callable, message: str) -> None:
    with pytest.raises(ValueError) as error:
        call()
    assert str(error.value).startswith(message) and "\n" not in str(error.value)


# The document


def test_the_page_runs_as_a_test_module(tmp_path: Path) -> None:
    code = re.findall(r"^```python\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    definition = code[0].partition("\n\n")[2]
    assert len([line for line in definition.splitlines() if line]) < 10, "a task is defined in under ten lines"
    (tmp_path / "test_page.py").write_text("\n".join(code))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_page.py"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout
    assert re.search(r"\b3\d passed", run.stdout), run.stdout
