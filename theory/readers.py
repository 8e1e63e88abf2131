"""Readers: the sets of windows that families of problems present, found by following a machine over their columns.

A family is a run of columns, each with the digits that every operand may have there. A row is what the next window can
depend on: the machine's state, the digits of the last columns and the last tokens. The rows after a column are a
function of the rows before it, so all problems of a family are read at once, however many they are; the same walk
with counts in place of sets counts problems (the transfer-matrix method).

>>> from carryproof.theory import tasks
>>> from carryproof.theory.cases import process_of
>>> any_digit, nothing = (tuple(range(10)),) * 2, ((ABSENT,),) * 2
>>> family = Family(runs=((any_digit, 3), (nothing, 1)), tokens=4)   # 000 .. 999 plus 000 .. 999
>>> reader = reader_of(process_of(tasks.addition()))
>>> len(reader.windows(family)[0]), reader.count(family)
(20302, 1000000)
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations_with_replacement, product

import numpy as np
from numpy.typing import NDArray

from carryproof.theory.errors import bad
from carryproof.theory.machines import states, tables
from carryproof.theory.processes import ABSENT, END, Process, WindowSlot
from carryproof.theory.windows import dependency_window

WINDOWS_LIMIT = 2_500_000  # of one step, before repetitions are dropped: about two seconds
Values = NDArray[np.int64]
Keys = NDArray[np.int64]  # windows as integers, rising
Column = tuple[tuple[int, ...], ...]  # the digits that each operand may have at a place; ABSENT alone for none
Packed = tuple[Values, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """Problems by their columns in the order of reading: runs of equal ones, ``tokens`` digits and then the end."""

    runs: tuple[tuple[Column, int], ...]
    tokens: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What a column can hold: its digits ``[option, operand]``, packed as ``codes``, and the letters that they are.

    Each option stands for ``weights`` many columns: for one, or for all orders of a multiset.
    """

    digits: Values
    codes: Values
    letters: Values
    weights: NDArray[np.object_]


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """What slots hold (None where nothing stands) and the token to be written (None for the end)."""

    slots: tuple[WindowSlot, ...]
    values: tuple[int | None, ...]
    token: int | None

    def text(self, process: Process) -> str:
        """The window as mathematics, such as ``a[i]=5 c[i-1]=2 -> 6``; slots that hold nothing are left out."""
        pairs = zip(self.slots, self.values, strict=True)
        held = " ".join(f"{process.text(slot)}={value}" for slot, value in pairs if value is not None)
        return f"{held or 'nothing'} -> {'end' if self.token is None else self.token}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Reader:
    """What is needed to read the columns of a process; ``slots`` are those of its window.

    Rows are integers in the mixed radix ``row_radices``: state, start, the last ``inputs`` columns and ``outputs``
    tokens. Windows are integers in ``window_radices``: one digit a slot, 0 where it is absent, then the token.
    ``final`` marks the states in which a problem may end; None if all are.
    """

    process: Process
    slots: tuple[WindowSlot, ...]
    inputs: int
    outputs: int
    after: Values
    written: Values
    starts: Values
    final: NDArray[np.bool_] | None
    row_radices: tuple[int, ...]
    window_radices: tuple[int, ...]

    def windows(self, family: Family) -> tuple[Keys, bool]:
        """The windows of a family, and whether the rows stopped changing within its columns of any digits."""
        parts, steady = [], False
        for keys, _, settled in self._walk(family, skip=True):
            parts.append(keys)
            steady |= settled
        return distinct(np.concatenate(parts)), steady

    def places(self, family: Family) -> Iterator[tuple[int, Keys]]:
        """The windows of each place of a family; the end stands one beyond the last token."""
        for keys, place, _ in self._walk(family, skip=False):
            yield place, keys

    def count(self, family: Family, known: Mapping[int, Keys] | None = None, *, placed: bool = False) -> int:
        """How many problems of a family have only known windows (of their place, or listed at 0); all without any."""
        rows, counts = self.starts, np.ones(len(self.starts), dtype=object)
        nothing = np.empty(0, dtype=np.int64)
        for place, column, alive in self._columns(family):
            keys, following, possible = self._step(rows, column, alive)
            if known is not None:
                possible &= np.isin(keys, known.get(place if placed else 0, nothing))
            if not possible.any():
                return 0
            source, option = np.nonzero(possible)
            rows, inverse = np.unique(following[possible], return_inverse=True)
            total = np.zeros(len(rows), dtype=object)
            np.add.at(total, inverse, counts[source] * _options(self.process, column).weights[option])
            counts = total
        place, keys = self._end(family, rows)
        if known is not None:
            counts = counts[np.isin(keys, known.get(place if placed else 0, nothing))]
        return int(counts.sum())

    def problem(self, family: Family, key: int) -> list[tuple[int, ...]] | None:
        """Columns, by the place of the token they belong to, of a problem with that window, then the fixed digits.

        None if no problem of the family has the window.
        """
        steps: list[tuple[Column, Values, Values, NDArray[np.bool_]]] = []
        rows, options, reached = self.starts, [], -1  # of the problem, once a column shows the window
        for _, column, alive in self._columns(family):
            keys, following, possible = self._step(rows, column, alive)
            steps.append((column, rows, following, possible))
            shown = np.argwhere(possible & (keys == key))
            if reached >= 0:  # any way on that ends well
                row = int(np.searchsorted(rows, reached))
                options.append(int(np.flatnonzero(possible[row])[0]))
                reached = int(following[row, options[-1]])
            elif len(shown):
                row, option = (int(each) for each in shown[0])
                start, options = _back(steps[:-1], int(rows[row]))
                options.append(option)
                reached = int(following[row, option])
            rows = distinct(following[possible])
        if reached < 0:
            ends = np.flatnonzero(self._end(family, rows)[1] == key)
            if not len(ends):
                return None
            start, options = _back(steps, int(rows[ends[0]]))
        chosen = zip(steps, options, strict=True)
        digits = [tuple(_options(self.process, column).digits[option].tolist()) for (column, *_), option in chosen]
        _, factor, *_ = (int(each[0]) for each in _unpack(np.array([start]), self.row_radices))
        return [*(digits if self.process.order == "least-first" else digits[::-1]), (factor,)]

    def unpack(self, keys: Keys) -> Packed:
        """What each slot holds in each window (ABSENT for nothing), then the tokens (END for the end)."""
        *values, token = _unpack(keys, self.window_radices)
        return (*(value - 1 for value in values), np.where(token == 0, END, token - 1))

    def decode(self, key: int) -> Window:
        """The window of a key."""
        *values, token = (int(each[0]) for each in self.unpack(np.array([key])))
        held = tuple(None if each == ABSENT else each for each in values)
        return Window(slots=self.slots, values=held, token=None if token == END else token)

    def _walk(self, family: Family, *, skip: bool) -> Iterator[tuple[Keys, int, bool]]:
        """Windows column by column, with their place; with ``skip`` columns that bring nothing new are left out."""
        rows = self.starts
        settled: Column | None = None  # what would bring nothing new
        free = tuple(range(self.process.base))
        before = self._possible(family)  # states from which a problem can end well, none of them told apart as None
        for place, column, alive in self._columns(family):
            if skip and column is settled:
                continue
            keys, following, possible = self._step(rows, column, alive)
            reached = distinct(following[possible])
            same = np.array_equal(reached, rows)
            if alive is not None and before is not None:  # and as many ways on as before
                same &= np.array_equal(alive, before)
            before = alive
            # with states that lead nowhere the columns of a run are not all alike, and none is left out
            settled = column if same and self.final is None else None
            yield distinct(keys[possible]), place, same and all(digits == free for digits in column)
            rows = reached
        place, keys = self._end(family, rows)
        yield distinct(keys), place, False

    def _possible(self, family: Family) -> NDArray[np.bool_] | None:
        """The states before the first column from which the problem can still end in a final one; None if from all."""
        if self.final is None:
            return None
        good = self.final
        for column in reversed([column for column, count in family.runs for _ in range(count)]):
            good = np.any(good[self.after[:, _options(self.process, column).letters]], axis=1)
        return good

    def _columns(self, family: Family) -> Iterator[tuple[int, Column, NDArray[np.bool_] | None]]:
        """Place, column, and the states after it from which the problem can still end in a final one."""
        columns = [column for column, count in family.runs for _ in range(count)]
        alive: list[NDArray[np.bool_] | None] = [None] * len(columns)
        if self.final is not None:
            good = self.final
            for at in reversed(range(len(columns))):
                alive[at] = good
                good = np.any(good[self.after[:, _options(self.process, columns[at]).letters]], axis=1)
        rising = self.process.order == "least-first"
        for at, column in enumerate(columns):
            yield at if rising else len(columns) - 1 - at, column, alive[at]

    def _end(self, family: Family, rows: Values) -> tuple[int, Keys]:
        place = family.tokens if self.process.order == "least-first" else -1
        return place, self._windows(rows, np.zeros(1, dtype=np.int64), np.zeros((len(rows), 1), dtype=np.int64))[:, 0]

    def _step(
        self, rows: Values, column: Column, alive: NDArray[np.bool_] | None
    ) -> tuple[Values, Values, NDArray[np.bool_]]:
        """Windows and following rows ``[row, option]``, and which of them lead to the end of a problem."""
        _require_few(self.process, len(rows) * _count(self.process, column))
        options = _options(self.process, column)
        codes, letters = options.codes, options.letters
        state, start, *memory = _unpack(rows, self.row_radices)
        columns, tokens = memory[: self.inputs], memory[self.inputs :]
        following, token = self.after[state][:, letters], self.written[state][:, letters]
        keys = self._windows(rows, codes, token + 1)
        shape = following.shape
        seen = [codes[None, :], *(each[:, None] for each in columns)][: self.inputs]
        wrote = [token + 1, *(each[:, None] for each in tokens)][: self.outputs]
        parts = [following, start[:, None], *seen, *wrote]
        packed = _pack([np.broadcast_to(part, shape) for part in parts], self.row_radices)
        return keys, packed, np.ones(shape, dtype=bool) if alive is None else alive[following]

    def _windows(self, rows: Values, codes: Values, tokens: Values) -> Keys:
        """The windows ``[row, option]`` that ask for tokens, given from 1 with 0 for the end."""
        _, start, *memory = _unpack(rows, self.row_radices)
        columns, written = memory[: self.inputs], memory[self.inputs :]
        fixed = {slot.operand for slot in self.process.fixed}
        values = []
        for slot in self.slots:
            back = abs(slot.offset[-1])
            if slot.role == "answer":
                values.append(written[back - 1][:, None])
            elif slot.operand in fixed:
                values.append(start[:, None] + 1)
            else:
                code = codes[None, :] if back == 0 else columns[back - 1][:, None]
                rank = sum(operand not in fixed for operand in range(slot.operand))
                values.append(code // (self.process.base + 1) ** rank % (self.process.base + 1))
        return _pack([np.broadcast_to(value, tokens.shape) for value in (*values, tokens)], self.window_radices)


@cache
def reader_of(process: Process, more: tuple[WindowSlot, ...] = ()) -> Reader:
    """The reader of a process with a bounded window and a machine that reads its operands' columns.

    Its windows are the dependency window and the slots ``more``. Raises ``ValueError`` for any other process.
    """
    found, machine = dependency_window(process), process.machine
    slots = tuple(dict.fromkeys((*found.slots, *more)))
    if machine is None or machine.read is None or not found.bounded:
        allowed = "one with a bounded window and a machine that reads the columns of its operands"
        raise bad("process", f"{process.name}, {process.order}", allowed)
    after, written, _ = tables(machine)
    moving = len(process.homes) - len(process.fixed)
    letters = int(written.max()) + 2
    backs = {role: [abs(slot.offset[-1]) for slot in slots if slot.role == role] for role in ("operand", "answer")}
    inputs, outputs = (max(backs[role], default=0) for role in ("operand", "answer"))
    radices = {"operand": process.base + 1, "answer": letters}
    row_radices = (
        len(after),
        len(machine.starts),
        *[(process.base + 1) ** moving] * inputs,
        *[letters] * outputs,
    )
    window_radices = (*(radices[slot.role] for slot in slots), letters)
    if max(math.prod(row_radices), math.prod(window_radices)) >= 2**62:
        raise bad("process", process.name, f"one whose windows fit 62 bits; it has {len(slots)} slots")
    index = states(machine)
    starts = [index.index(start) for start in machine.starts]
    final = np.array([state in machine.final for state in index]) if machine.final else None
    memory = [np.zeros(len(starts), dtype=np.int64)] * (inputs + outputs)
    rows = _pack([np.array(starts), np.arange(len(starts)), *memory], row_radices)
    return Reader(
        process=process,
        slots=slots,
        inputs=inputs,
        outputs=outputs,
        after=after,
        written=written,
        starts=np.sort(rows),
        final=final,
        row_radices=row_radices,
        window_radices=window_radices,
    )


def _back(steps: Sequence[tuple[Column, Values, Values, NDArray[np.bool_]]], row: int) -> tuple[int, list[int]]:
    """The first row and the options of the columns on a way to a row."""
    options: list[int] = []
    for _, rows, following, possible in reversed(steps):
        before, option = np.argwhere(possible & (following == row))[0]
        options.insert(0, int(option))
        row = int(rows[before])
    return row, options


@cache
def _options(process: Process, column: Column) -> Options:
    _require_few(process, _count(process, column))
    whole = combinations_with_replacement(column[0], len(column)) if _any_order(process, column) else product(*column)
    digits = np.array(list(whole), dtype=np.int64)
    assert process.machine is not None and process.machine.read is not None
    return Options(
        digits=digits,
        codes=_pack([digit + 1 for digit in reversed(digits.T)], (process.base + 1,) * len(column)),
        letters=process.machine.read(np.maximum(digits, 0)),
        weights=np.array([_orders(each) if process.columns == "multisets" else 1 for each in digits.tolist()], object),
    )


def _any_order(process: Process, column: Column) -> bool:
    """Whether a column is read as a multiset; all its operands must then have the same digits to choose from."""
    if process.columns == "multisets" and len(set(column)) > 1:
        raise bad("law", "operands of several lengths", "exact or spelled, where columns are read as multisets")
    return process.columns == "multisets"


def _count(process: Process, column: Column) -> int:
    """How many options a column has, without listing them."""
    if _any_order(process, column):
        return math.comb(len(column[0]) + len(column) - 1, len(column))
    return math.prod(map(len, column))


def _orders(digits: Sequence[int]) -> int:
    """In how many orders digits can stand."""
    return math.factorial(len(digits)) // math.prod(map(math.factorial, Counter(digits).values()))


def _require_few(process: Process, count: int) -> None:
    if count > WINDOWS_LIMIT:
        raise bad("process", process.name, f"one with at most {WINDOWS_LIMIT:,} windows at a place; here are {count:,}")


def distinct(keys: Keys) -> Keys:
    """The different keys, rising: by sorting, since the hash table of ``np.unique`` takes ten times as long on them."""
    ordered = np.sort(keys)
    return ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])] if len(ordered) else ordered


def _pack(values: Sequence[Values], radices: Sequence[int]) -> Values:
    """Numbers below their radices as one integer, the first of them the most significant."""
    packed = values[0].astype(np.int64)
    for value, radix in zip(values[1:], radices[1:], strict=True):
        packed = packed * radix + value
    return packed


def _unpack(packed: Values, radices: Sequence[int]) -> Packed:
    values = []
    for radix in reversed(radices):
        packed, value = np.divmod(packed, radix)
        values.append(value)
    return tuple(reversed(values))
