"""Hypothesis strategies for the values of this package: bases, moduli, tasks, formats, ranges, operands, questions.

They are written as hypothesis writes its own: plural names, keyword-only options with defaults, examples that shrink
towards the simplest value; a bad argument is a ``ValueError`` at the call. ``operands_with_chain`` gives additions
whose longest carry chain has a length that random operands hardly ever reach. Needs ``carryproof[testing]``.

>>> from hypothesis import find
>>> find(moduli(base=10, compatible=True), lambda p: p > 20)
25
>>> find(operands_with_chain(10, 3, chain=2), lambda pair: True)  # the carry of 1 + 9 runs on through 0 + 9
(101, 199)
"""

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, get_args

from hypothesis import strategies as st

from carryproof.theory import encodings
from carryproof.theory.compatibility import decisive_digits
from carryproof.theory.digits import require_base
from carryproof.theory.errors import bad, require_integer
from carryproof.theory.formats import Format, Order, Slot
from carryproof.theory.prediction import Question
from carryproof.theory.ranges import OperandLaw, TrainingRange, require_law
from carryproof.theory.tasks import OPERATIONS, Operation, Task

LONGEST = 6  # digits of an operand unless told: enough for carries to run, small enough to read
LARGEST_MODULUS = 1_000
LARGEST_BASE = 36

Pair = tuple[int, int]
Draw = Callable[..., Any]  # hypothesis's DrawFn, which a type checker at run time cannot check


def bases(*, smallest: int = 2, largest: int = LARGEST_BASE) -> st.SearchStrategy[int]:
    """Bases from ``smallest`` to ``largest``, 2 to 36 at most."""
    require_base(smallest)
    require_integer("largest", largest, smallest, LARGEST_BASE)
    return st.integers(smallest, largest)


def moduli(
    *, base: int | None = None, compatible: bool | None = None, largest: int = LARGEST_MODULUS
) -> st.SearchStrategy[int]:
    """Moduli up to ``largest``: any, or only those whose residues the last digits in ``base`` decide, or the others."""
    require_integer("largest", largest, 2)
    if compatible is None:
        if base is not None:
            require_base(base)
        return st.integers(2, largest)
    if base is None:
        raise bad("base", None, "an integer from 2 to 36, which `compatible` refers to")
    require_base(base)
    if compatible:
        smooth = [modulus for modulus in _smooth(base, largest) if modulus > 1]
        if not smooth:
            raise bad("largest", largest, f"at least the smallest prime that divides {base}")
        return st.sampled_from(smooth)
    # Unless every number is compatible, the first alien prime is within reach; powers of the base's primes are rare.
    if all(decisive_digits(modulus, base) is not None for modulus in range(2, min(largest, LARGEST_BASE) + 1)):
        raise bad("largest", largest, f"at least the smallest prime that does not divide {base}")
    return st.integers(2, largest).filter(lambda modulus: decisive_digits(modulus, base) is None)


def _smooth(base: int, largest: int) -> list[int]:
    """The numbers up to ``largest`` with no prime but those of ``base``, in rising order."""
    primes = [q for q in range(2, base + 1) if base % q == 0 and all(q % r for r in range(2, q))]
    found = [1]
    for prime in primes:
        for number in found:  # grows while it is read, so that every power of the prime comes about
            if number * prime <= largest:
                found.append(number * prime)
    return sorted(found)


def operations(*, names: Iterable[str] | None = None) -> st.SearchStrategy[Operation]:
    """Registered operations, all or those named."""
    wanted = list(OPERATIONS) if names is None else list(names)
    for name in wanted:
        if name not in OPERATIONS:
            raise bad("names", name, ", ".join(OPERATIONS))
    return st.sampled_from([OPERATIONS[name] for name in wanted])


def tasks(
    *,
    operation: st.SearchStrategy[Operation] | None = None,
    base: st.SearchStrategy[int] | None = None,
    modulus: st.SearchStrategy[int | None] | None = None,
    most_operands: int = 3,
) -> st.SearchStrategy[Task]:
    """Tasks of the registered operations, or of ``operation``; ``modulus=st.none()`` leaves out the modular ones."""
    require_integer("most_operands", most_operands, 2)
    return _tasks(
        operations() if operation is None else operation,
        bases() if base is None else base,
        st.none() | moduli() if modulus is None else modulus,
        most_operands,
    )


@st.composite
def _tasks(
    draw: Draw,
    operation: st.SearchStrategy[Operation],
    base: st.SearchStrategy[int],
    modulus: st.SearchStrategy[int | None],
    most_operands: int,
) -> Task:
    chosen = draw(operation)
    low, high = chosen.operands
    operands = draw(st.integers(low, max(low, most_operands if high is None else min(high, most_operands))))
    return Task(operation=chosen, operands=operands, base=draw(base), modulus=draw(modulus))


def orders() -> st.SearchStrategy[Order]:
    """The digit orders of a text."""
    return st.sampled_from(get_args(Order))


def formats(*, room: int = LONGEST, padded: bool | None = None) -> st.SearchStrategy[Format]:
    """Formats with room for operands of ``room`` digits: padded ones, free ones, or both."""
    require_integer("room", room, 1)
    widths: st.SearchStrategy[int | None] = st.integers(room, room + 3)
    if padded is not True:
        widths = st.none() if padded is False else st.none() | widths
    return st.builds(Format, width=widths, operands=orders(), answer=orders())


def layouts(task: Task, *, room: int = LONGEST) -> st.SearchStrategy[tuple[Slot, ...]]:
    """The slots of a question and its answer, in every order of digits, for operands of 1 to ``room`` places."""
    return st.builds(lambda form, width: form.layout(task, width), formats(room=room), lengths(longest=room))


def lengths(*, shortest: int = 1, longest: int = LONGEST) -> st.SearchStrategy[int]:
    """Operand lengths in digits."""
    require_integer("shortest", shortest, 1)
    require_integer("longest", longest, shortest)
    return st.integers(shortest, longest)


def operand_laws() -> st.SearchStrategy[OperandLaw]:
    """The laws by which operands of a length are drawn."""
    return st.sampled_from(get_args(OperandLaw))


def training_ranges(
    *, longest: int = LONGEST, law: st.SearchStrategy[OperandLaw] | None = None
) -> st.SearchStrategy[TrainingRange]:
    """Sets of trained lengths up to ``longest``, not only intervals, with an operand law."""
    require_integer("longest", longest, 1)
    laws = operand_laws() if law is None else law

    def ranges(law: OperandLaw) -> st.SearchStrategy[TrainingRange]:
        some = st.sets(lengths(shortest=_shortest(law), longest=longest), min_size=1)
        return st.builds(TrainingRange, lengths=some.map(lambda found: tuple(sorted(found))), law=st.just(law))

    return laws.filter(lambda law: _shortest(law) <= longest).flatmap(ranges)


def _shortest(law: OperandLaw) -> int:
    return 2 if law == "unequal" else 1  # nothing is shorter than one digit


def encoding_names() -> st.SearchStrategy[str]:
    """The names of registered positional encodings."""
    return st.sampled_from(list(encodings.ENCODINGS))


def questions(
    *,
    task: st.SearchStrategy[Task] | None = None,
    encoding: st.SearchStrategy[str] | None = None,
    longest: int = LONGEST,
) -> st.SearchStrategy[Question]:
    """Questions to predict: a task in a format with room for operands of ``longest`` digits, and what is trained."""
    return st.builds(
        Question,
        task=tasks() if task is None else task,
        format=formats(room=longest),
        encoding=encoding_names() if encoding is None else encoding,
        train=training_ranges(longest=longest),
    )


def operands(
    task: Task, *, length: int | st.SearchStrategy[int] | None = None, law: OperandLaw = "exact"
) -> st.SearchStrategy[tuple[int, ...]]:
    """Operands of a problem as Python integers, of one length (or of lengths drawn) under an operand law.

    Under ``unequal``, lengths start at 2, since nothing is shorter than one digit.
    """
    require_law("law", law)
    shortest = _shortest(law)
    if isinstance(length, st.SearchStrategy):
        drawn = length
    else:
        drawn = lengths(shortest=shortest) if length is None else st.just(require_integer("length", length, shortest))
    return drawn.flatmap(lambda digits: _operands(task, require_integer("length", digits, shortest), law))


def _operands(task: Task, length: int, law: OperandLaw) -> st.SearchStrategy[tuple[int, ...]]:
    def numbers(shortest: int, longest: int) -> st.SearchStrategy[int]:
        return st.integers(task.base ** (shortest - 1) if shortest > 1 else 0, task.base**longest - 1)

    every, full = range(task.operands), numbers(length, length)
    if law == "exact":
        return st.tuples(*(full for _ in every))
    others = numbers(1, length if law == "longest" else length - 1)
    return st.sampled_from(every).flatmap(lambda long: st.tuples(*(full if at == long else others for at in every)))


def operands_with_chain(base: int, length: int, *, chain: int) -> st.SearchStrategy[Pair]:
    """Two numbers of exactly ``length`` digits whose addition has a longest carry chain of exactly ``chain`` columns.

    A chain is a column that reaches the base and the columns above it that sum to base - 1, as in the strata of a
    study. Some chains do not exist: in base 2 both top digits are 1, so the top column always starts a carry.
    """
    require_base(base)
    require_integer("length", length, 1)
    require_integer("chain", chain, 0, length)
    top = _columns(base, 1 if length > 1 else 0)

    def possible(start: int) -> bool:
        return start + chain < length or ("start" if chain == 1 else "through") in top

    starts = [start for start in range(length - chain + 1) if possible(start)]
    if not starts or (chain == 0 and top.keys() == {"start"}):
        raise bad("chain", chain, f"one that two numbers of {length} digits in base {base} can have")
    return _chained(base, length, chain, st.sampled_from(starts))


@cache
def _columns(base: int, smallest: int) -> dict[str, st.SearchStrategy[Pair]]:
    """Pairs of digits by what they do to a carry: stop it, let it through, start one; only what some pair does."""
    pairs = sorted(((x, y) for x in range(smallest, base) for y in range(smallest, base)), key=lambda p: (sum(p), p))
    kinds = {
        "stop": [pair for pair in pairs if sum(pair) < base - 1],
        "through": [pair for pair in pairs if sum(pair) == base - 1],
        "start": [pair for pair in pairs if sum(pair) >= base],
    }
    return {kind: st.sampled_from(found) for kind, found in kinds.items() if found}


@st.composite
def _chained(draw: Draw, base: int, length: int, chain: int, begins: st.SearchStrategy[int]) -> Pair:
    begin = draw(begins)
    running = left = right = 0
    for place in range(length):
        kinds = _columns(base, 1 if place == length - 1 and length > 1 else 0)
        if chain and begin <= place < begin + chain:
            kind = "start" if place == begin else "through"
        else:
            barred = {"start"} if chain == 0 else {"through"} if running == chain else set()
            kind = draw(st.sampled_from([name for name in kinds if name not in barred]))
        running = 1 if kind == "start" else running + 1 if kind == "through" and running else 0
        upper, lower = draw(kinds[kind])
        left, right = left + upper * base**place, right + lower * base**place
    return left, right
