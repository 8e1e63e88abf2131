"""Conformance of a task: one check for each invariant, with the smallest counterexample stated as mathematics.

A task f is checked for what every task must satisfy (it is a function, on integers, whose digit arrays and texts say
the same) and for what is claimed of it (``Claims``). Hypothesis searches and shrinks; ``check_task`` stops at the first
broken invariant, ``task_checks`` makes each of them a test of its own, after scikit-learn's ``estimator_checks``.

>>> from carryproof.theory import tasks
>>> check_task(tasks.multiplication())
>>> check_task(tasks.multiplication(), Claims(shift_equivariant=True))
Traceback (most recent call last):
    ...
carryproof.theory.conformance.Broken: multiplication is not jointly shift-equivariant: f(10*1, 10*1) = 100, \
10*f(1, 1) = 10
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from typing import TypeVar, final

import numpy as np
from hypothesis import errors, find, settings
from hypothesis import strategies as st

from carryproof.theory.compatibility import decisive_digits
from carryproof.theory.digits import Digits, digits_le, length_of, value_of
from carryproof.theory.errors import require_integer
from carryproof.theory.formats import SPECIAL_SYMBOLS, Format, render
from carryproof.theory.shift import applied, shift_law, shift_refutation
from carryproof.theory.strategies import LONGEST, formats
from carryproof.theory.tasks import OPERATIONS, Task

EXAMPLES = 100
OPERATORS = SPECIAL_SYMBOLS[:3]

Operands = tuple[int, ...]
Example = TypeVar("Example")


class Broken(AssertionError):
    """An invariant does not hold; the message is the smallest counterexample found."""


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class Claims:
    """What is claimed of a task beyond what every task must satisfy; what is not claimed is not checked.

    ``commutative``: no order of the operands changes the answer. ``shift_equivariant``: f(B a, B b) = B f(a, b);
    ``shift_equivariant_in`` lists operands (0 is the first) that may be shifted alone. ``decisive_digits``: the last k
    digits of the operands decide the answer. ``digit_local``: digit i of the answer needs operand digits 0 to i only.
    """

    commutative: bool = False
    shift_equivariant: bool = False
    shift_equivariant_in: tuple[int, ...] = ()
    decisive_digits: int | None = None
    digit_local: bool = False

    def __post_init__(self) -> None:
        for operand in self.shift_equivariant_in:
            require_integer("shift_equivariant_in", operand, 0)
        if self.decisive_digits is not None:
            require_integer("decisive_digits", self.decisive_digits, 0)


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """A named test of a task or encoding, without arguments: call it; it raises ``Broken``. pytest shows its name."""

    subject: str
    name: str
    run: Callable[[], None] = field(repr=False)

    def __call__(self) -> None:
        __tracebackhide__ = True  # pytest shows the test and the message, not how the counterexample was found
        try:
            self.run()
        except Broken as broken:
            raise broken.with_traceback(None) from broken.__cause__

    @property
    def __name__(self) -> str:
        return f"{self.subject} {self.name}".replace(" ", "-")


def claims_of(task: Task) -> Claims:
    """What the laws say of a registered operation; of another operation they know nothing, so nothing is claimed.

    >>> from carryproof.theory import tasks
    >>> claims_of(tasks.multiplication())
    Claims(commutative=True, shift_equivariant=False, shift_equivariant_in=(0, 1), decisive_digits=None, \
digit_local=True)
    """
    if task.operation not in OPERATIONS.values():
        return Claims()
    commutative = task.operation.name != "subtraction"
    if task.modulus is None:
        alone = (index for index in range(task.operands) if shift_law(task, index).status == "proved")
        return Claims(
            commutative=commutative,
            shift_equivariant=shift_law(task).status == "proved",
            shift_equivariant_in=tuple(alone),
            digit_local=not task.signed,  # 1 - 10 = -9 needs the tens for its units
        )
    top = task.base ** (task.answer_width(1) - 1)  # x mod p has local digits iff p is this power times a divisor of B
    return Claims(
        commutative=commutative,
        decisive_digits=decisive_digits(task.modulus, task.base),
        digit_local=task.modulus % top == 0 and top * task.base % task.modulus == 0,
    )


def check_task(task: Task, claims: Claims | None = None, *, examples: int = EXAMPLES) -> None:
    """Run every check of a task; raise ``Broken``, an ``AssertionError``, at the first that does not hold."""
    __tracebackhide__ = True
    for check in task_checks(task, claims, examples=examples):
        check()


def task_checks(task: Task, claims: Claims | None = None, *, examples: int = EXAMPLES) -> list[Check]:
    """The checks of a task, for ``pytest.mark.parametrize``; claims default to what the laws say of the task."""
    claims = claims_of(task) if claims is None else claims
    require_integer("examples", examples, 1)
    for operand in claims.shift_equivariant_in:
        require_integer("shift_equivariant_in", operand, 0, task.operands - 1)
    every = tuple(range(task.operands))
    wanted: list[tuple[str, Callable[[Task, Operands], None]]] = [
        ("integers", _integers),
        ("width", _width),
        ("digit-arrays", _digit_arrays),
    ]
    if claims.commutative:
        wanted.append(("commutativity", _commutativity))
    if claims.shift_equivariant:
        wanted.append(("joint-shift", partial(_shift, every)))
    wanted += [(f"shift-of-operand-{index + 1}", partial(_shift, (index,))) for index in claims.shift_equivariant_in]
    if claims.decisive_digits is not None:
        wanted.append(("base-compatibility", partial(_base_compatibility, claims.decisive_digits)))
    if claims.digit_local:
        wanted.append(("digit-locality", _digit_locality))
    problems = _problems(task)
    written = st.tuples(problems, formats(room=LONGEST))
    runs = [
        ("determinism", partial(_determinism, task, examples)),
        *((name, partial(smallest, problems, partial(f, task), examples=examples, below=_below)) for name, f in wanted),
        ("text", partial(smallest, written, partial(_text, task), examples=examples)),
    ]
    return [Check(subject=task.label, name=name, run=run) for name, run in runs]


def smallest(
    strategy: st.SearchStrategy[Example],
    test: Callable[[Example], None],
    *,
    examples: int = EXAMPLES,
    below: Callable[[Example], st.SearchStrategy[Example]] | None = None,
) -> None:
    """Raise what ``test`` raises at the simplest example that breaks it, if one is found; the same ones every time.

    ``below`` gives the examples at most as large as a given one, among which a simpler one is then looked for.
    """

    def broken(example: Example) -> bool:
        try:
            test(example)
        except Broken:
            return True
        return False

    repeatable = settings(max_examples=examples, database=None, deadline=None, derandomize=True)
    try:
        found = find(strategy, broken, settings=repeatable)
    except errors.NoSuchExample:
        return
    except errors.Flaky as error:
        raise Broken("an example breaks this at one time and not at another: something is not deterministic") from error
    if below is not None:
        with suppress(errors.NoSuchExample, errors.Flaky):
            found = find(below(found), broken, settings=repeatable)
    test(found)
    raise Broken(f"{found!r} breaks this at one time and not at another: something is not deterministic")


def _problems(task: Task) -> st.SearchStrategy[Operands]:
    """Operands of up to six digits; the corners of small boxes are among them, so that the largest answers occur."""
    corners = [
        values
        for places in (1, 2, 3)
        for values in product((0, 1, task.base**places - 1), repeat=min(task.operands, 3))
    ]
    extremes = st.sampled_from([values + values[-1:] * (task.operands - len(values)) for values in corners])
    # Each operand has a range of its own, short ones first, so that it shrinks alone: operands of one length cannot.
    number = st.one_of([st.integers(0, task.base**places - 1) for places in (1, 3, LONGEST)])
    return st.one_of(st.tuples(*[number] * task.operands), extremes)


def _below(operands: Operands) -> st.SearchStrategy[Operands]:
    """Corners are drawn whole and hardly shrink; in the box below one, each operand shrinks alone."""
    return st.tuples(*(st.integers(0, value) for value in operands))


@contextmanager
def told(what: str) -> Iterator[None]:
    """Turn whatever a user's function raises into one line that begins with ``what``."""
    try:
        yield
    except Broken:
        raise
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise Broken(f"{what} {type(error).__name__}: {reason}") from error


def _value(task: Task, operands: Operands) -> int:
    """The task's answer, if it is an integer: every check evaluates f through this."""
    at = applied(operands)
    with told(f"{task.label}: {at} raises"):
        raw = task.operation.apply(*operands)
    if isinstance(raw, bool) or not isinstance(raw, int):
        raise Broken(f"{task.label} does not return integers: {at} = {raw!r} is of type {type(raw).__name__}")
    # Not by calling the task, which would apply f a second time: an f that alternates would look constant.
    return raw if task.modulus is None else raw % task.modulus


def _places(task: Task, operands: Operands) -> int:
    return max(length_of(value, task.base) for value in operands)


def _array(task: Task, problems: list[Operands], places: int) -> Digits:
    return np.array([[digits_le(value, task.base, places) for value in problem] for problem in problems])


def _declared(task: Task, places: int) -> int:
    with told(f"{task.label}: width({task.base}, {places}, {task.operands}) raises"):
        width = task.answer_width(places)
    if isinstance(width, bool) or not isinstance(width, int) or width < 1:
        at = f"operands of length {places}"
        raise Broken(f"{task.label}: the width of answers to {at} is {width!r}, not an integer of at least 1")
    return width


def _determinism(task: Task, examples: int) -> None:
    """Not by ``smallest``, which relies on it: problems are evaluated three times, and the simplest deviant is told."""
    deviants: list[tuple[Operands, int, int]] = []

    def agrees(operands: Operands) -> None:
        first, *others = (_value(task, operands) for _ in range(3))
        deviants.extend((operands, first, other) for other in others if other != first)

    smallest(_problems(task), agrees, examples=examples)
    if deviants:
        operands, first, other = min(deviants, key=lambda each: (max(each[0]), each[0]))
        raise Broken(f"{task.label} is not deterministic: {applied(operands)} = {first}, and then {other}")


def _integers(task: Task, operands: Operands) -> None:
    if _value(task, operands) < 0 and not task.signed:
        raise Broken(
            f"{task.label} returns a negative number, but its operation is not declared signed: "
            f"{applied(operands)} = {_value(task, operands)}"
        )


def _width(task: Task, operands: Operands) -> None:
    value, places = _value(task, operands), _places(task, operands)
    needed, declared = length_of(abs(value), task.base), _declared(task, places)
    if needed > declared:
        raise Broken(
            f"{task.label} does not fit its declared width: {applied(operands)} = {value} has {needed} digits in base "
            f"{task.base}, the width declared for operands of {places} is {declared}"
        )


def _digit_arrays(task: Task, operands: Operands) -> None:
    """Two problems in a batch, so that one cannot pass for the other, and a leading zero."""
    problems = [operands, operands[::-1]]
    places = _places(task, operands) + 1
    expected = [_value(task, problem) for problem in problems]
    with told(f"{task.label}: the answer to the digit arrays of {applied(operands)} raises"):
        answer = task.answer(_array(task, problems, places))
    if answer.digits.shape != (2, _declared(task, places)) or answer.digits.max() >= task.base:
        raise Broken(f"{task.label}: digit arrays of {applied(operands)} are not digits in the declared width")
    for problem, value, digits, negative in zip(problems, expected, answer.digits, answer.negative, strict=True):
        found = value_of(digits, task.base) * (-1 if negative else 1)
        if found != value:
            raise Broken(
                f"{task.label}: digit arrays and integers disagree: "
                f"{applied(problem)} = {value}, digit by digit it is {found}"
            )


def _commutativity(task: Task, operands: Operands) -> None:
    value = _value(task, operands)
    for turn in range(1, task.operands):  # exchanging the first operand with each other one generates every order
        swapped = list(operands)
        swapped[0], swapped[turn] = swapped[turn], swapped[0]
        other = _value(task, tuple(swapped))
        if other != value:
            raise Broken(
                f"{task.label} is not commutative: {applied(operands)} = {value}, {applied(tuple(swapped))} = {other}"
            )


def _shift(shifted: tuple[int, ...], task: Task, operands: Operands) -> None:
    base, value = task.base, _value(task, operands)
    moved = _value(task, tuple(each * base if index in shifted else each for index, each in enumerate(operands)))
    if moved != base * value:
        raise Broken(shift_refutation(task.label, base, shifted, operands, moved, base * value))


def _base_compatibility(decisive: int, task: Task, operands: Operands) -> None:
    last = tuple(value % task.base**decisive for value in operands)
    value, found = _value(task, operands), _value(task, last)
    if value != found:
        kept = "the last digit" if decisive == 1 else f"the last {decisive} digits"
        raise Broken(
            f"{task.label} is not decided by {kept} in base {task.base}: "
            f"{applied(operands)} = {value}, {applied(last)} = {found}"
        )


def _digit_locality(task: Task, operands: Operands) -> None:
    value = _value(task, operands)
    for place in range(_places(task, operands)):
        low = task.base ** (place + 1)
        last = tuple(each % low for each in operands)
        found = _value(task, last)
        if abs(value) % low * task.base // low != abs(found) % low * task.base // low:
            raise Broken(
                f"{task.label} is not digit-local in base {task.base}: digit {place} of {applied(operands)} = {value} "
                f"is not that of {applied(last)} = {found}"
            )


def _text(task: Task, example: tuple[Operands, Format]) -> None:
    """What is read from a text is what was written."""
    operands, form = example
    if len(task.operation.symbol) != 1 or task.operation.symbol not in OPERATORS:
        allowed = ", ".join(OPERATORS)
        raise Broken(f"{task.label}: the symbol {task.operation.symbol!r} has no token; allowed: {allowed}")
    value, digits = _value(task, operands), _array(task, [operands], _places(task, operands))
    with told(f"{task.label}: writing {applied(operands)} in the format {form} raises"):
        text = render(task, form.write(task, digits).tokens[0])
    with told(f"{task.label}: reading {text!r} in the format {form} raises"):
        read, answer = form.read(task, text)
    if (read, answer) != (operands, value):
        raise Broken(
            f"{task.label}: the text {text!r} in the format {form} reads {applied(read)} = {answer}, "
            f"it was written for {applied(operands)} = {value}"
        )
