"""How a problem is written as tokens: digit order, zero-padded or free width, sign, separators and position ids.

A format lays a problem out as slots (role, operand, place) and writes digit arrays into them. Padded texts have the
same layout for every problem; free texts are the padded ones with the unused places left out. An answer is followed by
an end token, which is scored, so nothing tells the model how long its answer must be.

>>> from carryproof.theory import tasks
>>> task = tasks.addition()
>>> problem = np.array([[[7, 0, 0], [5, 1, 0]]], dtype=np.uint8)  # 7 and 15, least significant digit first
>>> render(task, padded(3).write(task, problem).tokens[0])
'700+510=2200;'
>>> render(task, free(operands="most-first", answer="most-first").write(task, problem).tokens[0])
'7+15=22;'
"""

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from carryproof.theory.digits import DIGIT_SYMBOLS, Digits, lengths, significant
from carryproof.theory.errors import bad, require_integer, unknown
from carryproof.theory.positions import Positions, parse_positions
from carryproof.theory.ranges import LONGEST
from carryproof.theory.tasks import Answer, Task

Order = Literal["least-first", "most-first"]
Role = Literal["operand", "operator", "equals", "sign", "answer", "end"]
SPECIAL_SYMBOLS = "+-*=;_"  # token ids base, base + 1, ...: three operators (also signs), equals, end, padding
_FIXED = {"equals": "=", "end": ";"}


def vocabulary_size(task: Task) -> int:
    """How many token ids a text of the task can hold: the digits, then the special symbols."""
    return task.base + len(SPECIAL_SYMBOLS)


def token_of(task: Task, symbol: str) -> int:
    """The token id of a special symbol."""
    return task.base + SPECIAL_SYMBOLS.index(symbol)


@dataclass(frozen=True, slots=True)
class Slot:
    """What a token stands for: its role, which operand it belongs to, and its place (0 is the units digit)."""

    role: Role
    operand: int = 0
    place: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Text:
    """A batch of written problems.

    ``tokens`` are token ids ``[problem, token]`` (right-padded), ``slots`` the index into ``layout`` of each, or -1 for
    padding, and ``scored`` marks those that the model must produce: sign, answer and end. ``ids`` are position ids
    ``[#problem, token]``, as tests have them.
    """

    tokens: NDArray[np.int64]
    slots: NDArray[np.int64]
    ids: NDArray[np.int64]
    scored: NDArray[np.bool_]
    layout: tuple[Slot, ...]

    @property
    def answer_start(self) -> int:
        """The first token that is scored in any problem of the batch."""
        return int(np.argmax(self.scored.any(axis=0)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Format:
    """Zero-padded to ``width`` places per operand, or free (``width`` None), with a digit order for either side.

    ``positions`` are the ids that the encoding sees.
    """

    width: int | None
    operands: Order = "least-first"
    answer: Order = "least-first"
    positions: Positions = Positions()  # noqa: RUF009 - frozen

    def __post_init__(self) -> None:
        if self.width is not None:
            require_integer("format width", self.width, 1, LONGEST)
        for argument, order in (("operands", self.operands), ("answer", self.answer)):
            if order not in get_args(Order):
                raise unknown(f"format {argument}", order, get_args(Order))
        if self.width is None and self.positions.scheme == "random":
            raise bad(
                "format ids", self.positions, "random ids in padded texts only: in free ones gaps tell the length"
            )
        if self.width is None and self.positions.scheme == "coupled" and self.answer == "most-first":
            allowed = "least-first with coupled ids, since those of a free answer from the top would tell its length"
            raise bad("format answer", self.answer, allowed)

    def __str__(self) -> str:
        name = "free" if self.width is None else f"padded:{self.width}"
        orders = (("operands", self.operands), ("answer", self.answer))
        options = [f"{side}={order}" for side, order in orders if order != "least-first"]
        options += [f"ids={self.positions}"] if self.positions != Positions() else []
        return ",".join([name, *options])

    def require_room(self, operand_length: int) -> None:
        """Refuse operands that are longer than the width."""
        if self.width is not None and self.width < operand_length:
            raise bad("format width", self.width, f"at least {operand_length}, the longest operand")

    def layout(self, task: Task, width: int) -> tuple[Slot, ...]:
        """The slots of a problem whose operands take ``width`` places each, in text order."""

        def number(role: Role, places: int, order: Order, operand: int = 0) -> list[Slot]:
            rising = range(places)
            return [Slot(role, operand, place) for place in (rising if order == "least-first" else reversed(rising))]

        slots: list[Slot] = []
        for operand in range(task.operands):
            slots += [Slot("operator")] if operand else []
            slots += number("operand", width, self.operands, operand)
        answer = number("answer", task.answer_width(width), self.answer)
        sign = [Slot("sign")] if task.signed else []
        # The sign is decided by the top digits: it comes last where the digits rise and first where they fall.
        answer = answer + sign if self.answer == "least-first" else sign + answer
        return (*slots, Slot("equals"), *answer, Slot("end"))

    def write(self, task: Task, operands: Digits, answer: Answer | None = None) -> Text:
        """Write operand digits ``[problem, operand, place]`` with their true answers, or with the answers given."""
        places = operands.shape[2]
        width = places if self.width is None else self.width
        if width < places:
            self.require_room(int(lengths(operands).max(initial=1)))
        operands = _widen(operands, width)
        answer = task.answer(operands) if answer is None else answer
        digits = _widen(answer.digits, task.answer_width(width))
        layout = self.layout(task, width)
        columns = np.empty((len(layout), len(operands)), dtype=np.uint8)  # [slot, problem], one row after the other
        for column, slot in zip(columns, layout, strict=True):
            match slot.role:
                case "operand":
                    column[:] = operands[:, slot.operand, slot.place]
                case "answer":
                    column[:] = digits[:, slot.place]
                case "sign":
                    column[:] = np.where(answer.negative, token_of(task, "-"), token_of(task, "+"))
                case role:
                    column[:] = token_of(task, _FIXED.get(role, task.operation.symbol))
        if self.width is None:
            kept = _kept(layout, significant(operands), significant(digits))
            tokens, slots = _closed(columns, kept, token_of(task, "_"))
        else:
            tokens = columns.T.astype(np.int64, order="C")
            slots = np.broadcast_to(np.arange(len(layout)), tokens.shape)
        scored = np.array([*(slot.role in ("sign", "answer", "end") for slot in layout), False])  # the last is padding
        ids = self.positions.ids(layout, slots if self.width is None else slots[:1])
        return Text(tokens=tokens, slots=slots, ids=ids, scored=scored[slots], layout=layout)

    def read(self, task: Task, text: str) -> tuple[tuple[int, ...], int]:
        """The operands and the answer of a rendered text, whether or not the answer is true.

        >>> from carryproof.theory import tasks
        >>> padded(2, operands="most-first").read(tasks.subtraction(), "03-15=21-;")
        ((3, 15), -12)
        """
        question, _, answer = text.removesuffix(";").partition("=")
        parts, sign = question.split(task.operation.symbol), -1 if "-" in answer else 1
        try:
            operands = tuple(_number(part, self.operands, task.base) for part in parts)
            value = sign * _number(answer.strip("+-"), self.answer, task.base)
        except ValueError:
            operands, value = (), 0
        if len(operands) != task.operands:
            raise bad(
                "text", text, f"{task.operands} numbers joined by {task.operation.symbol!r}, then '=' and one more"
            )
        return operands, value


def padded(width: int, *, operands: Order = "least-first", answer: Order = "least-first") -> Format:
    """Every operand zero-padded to ``width`` places, every answer to the widest it can then be."""
    return Format(width=width, operands=operands, answer=answer)


def free(*, operands: Order = "least-first", answer: Order = "least-first") -> Format:
    """Numbers written with the digits they have."""
    return Format(width=None, operands=operands, answer=answer)


def parse(text: str, *, default_width: int = 1) -> Format:
    """Read ``padded``, ``padded:W`` or ``free``, with ``,operands=ORDER``, ``,answer=ORDER`` and ``,ids=IDS`` after it.

    >>> str(parse("padded,operands=most-first", default_width=9))
    'padded:9,operands=most-first'
    """
    head, *options = text.split(",")
    name, _, width = head.partition(":")
    if name not in ("padded", "free") or (name == "free" and width):
        raise unknown("format", head, ("padded:W", "free"))
    if width and not width.isdecimal():
        raise bad("format width", width, "a positive integer, as in padded:9")
    form = Format(width=None) if name == "free" else Format(width=int(width) if width else default_width)
    for option in options:
        side, _, order = option.partition("=")
        if side == "ids":
            form = replace(form, positions=parse_positions(order))
            continue
        if side not in ("operands", "answer"):
            raise unknown("format option", side, ("operands", "answer", "ids"))
        if order not in get_args(Order):
            raise unknown(f"format {side}", order, get_args(Order))
        chosen: Order = "least-first" if order == "least-first" else "most-first"
        form = replace(form, operands=chosen) if side == "operands" else replace(form, answer=chosen)
    return form


def render(task: Task, tokens: NDArray[np.int64]) -> str:
    """The tokens of one problem as a string, padding left out."""
    symbols = DIGIT_SYMBOLS[: task.base] + SPECIAL_SYMBOLS
    return "".join(symbols[int(token)] for token in tokens).rstrip("_")


def _kept(layout: tuple[Slot, ...], operands: NDArray[np.bool_], digits: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which slots ``[slot, problem]`` are written without zeros on top, given which digits those are not."""
    kept = np.ones((len(layout), len(operands)), dtype=bool)
    for column, slot in zip(kept, layout, strict=True):
        if slot.role == "operand":
            column[:] = operands[:, slot.operand, slot.place]
        elif slot.role == "answer":
            column[:] = digits[:, slot.place]
    return kept


def _closed(
    columns: NDArray[np.uint8], kept: NDArray[np.bool_], padding: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Tokens and slots ``[problem, token]`` of the kept ones, moved left in order; padding fills the right.

    A mask reads and fills an array row by row, so that the kept tokens of a problem go to its first places.
    """
    rows = np.ascontiguousarray(kept.T)  # [problem, slot]
    written = np.count_nonzero(rows, axis=1)
    filled = np.arange(written.max(initial=0)) < written[:, None]  # [problem, token]
    tokens, slots = np.full(filled.shape, padding, dtype=np.int64), np.full(filled.shape, -1)
    tokens[filled] = columns.T[rows]
    slots[filled] = np.nonzero(rows)[1]
    return tokens, slots


def _number(digits: str, order: Order, base: int) -> int:
    return int(digits if order == "most-first" else digits[::-1], base)


def _widen(digits: Digits, width: int) -> Digits:
    """Add zero places on top, or drop zero places, so that the last axis has ``width`` places."""
    if digits.shape[-1] >= width:
        return digits[..., :width]
    return np.pad(digits, [(0, 0)] * (digits.ndim - 1) + [(0, width - digits.shape[-1])])
