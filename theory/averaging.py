"""Averaging cannot count: which windows a softmax head confuses, whatever its weights (law L16), and dilution (L12).

A head returns a weighted mean of what it sees. Let a key's weight depend on its token and on its class (the difference
of ids), its value on the token alone. Then two views with the same query give the same output for all weights and
values iff both hold one and the same token only, or one holds every (token, class) the same multiple as often: output
is a point of the simplex with masses sum_class n(token, class) w(token, class), two of which are proportional for all
w only if n is, unless a single mass is left. So {0, 0, 0} and {0} look the same. (Where w is a factor of the token
times one of the class, views may tie besides whose tokens all have proportional counts by class; an anchor in a class
of its own excludes that.) Source: ours.

>>> from carryproof.theory import tasks
>>> from carryproof.theory.cases import process_of
>>> adding = process_of(tasks.addition())
>>> [len(ties(adding, anchor=anchor)) for anchor in (False, True)]
[2, 0]
>>> print(ties(adding, anchor=False)[0])
c[i-1]=0 -> end looks like a[i-1]=0 b[i-1]=0 c[i-1]=0 -> 0
"""

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from carryproof.theory.coverage import Law, windows_of_views
from carryproof.theory.errors import bad
from carryproof.theory.processes import ABSENT, Process, WindowSlot
from carryproof.theory.readers import Keys, Reader, Window, reader_of

TIES_LIMIT = 2_500_000  # windows looked at
PAIRED_LIMIT = 100_000  # confused windows that are paired one by one
LARGEST_SPREAD = 700  # exp of more overflows
START = "="  # the token before the first digit
Token = int | str
Seen = tuple[tuple[Token, Hashable], ...]  # (token, class) of every key


@dataclass(frozen=True, kw_only=True, slots=True)
class Tie:
    """Two windows with the same query that ask for different tokens and that no averaging head tells apart.

    They are ``equal`` where the window itself does not say which token follows, as at the end of some answers.
    """

    process: Process
    windows: tuple[Window, Window]

    @property
    def equal(self) -> bool:
        """Whether the two windows hold the same, so that no attention of any kind tells them apart."""
        return self.windows[0].values == self.windows[1].values

    def __str__(self) -> str:
        return " looks like ".join(window.text(self.process) for window in self.windows)


def same_mean(first: Seen, second: Seen) -> bool:
    """Whether two views give every averaging head the same output, whatever its weights and values.

    >>> same_mean((("0", 0), ("0", 1)), (("0", 0),)), same_mean((("0", 0), ("1", 1)), (("0", 1), ("1", 0)))
    (True, False)
    """
    return _signature(first) == _signature(second)


def _signature(seen: Seen) -> object:
    """The same for two views iff they have the same mean for all weights."""
    tokens = {token for token, _ in seen}
    if len(tokens) < 2:
        return frozenset(tokens)
    counts = Counter(seen)
    common = math.gcd(*counts.values())
    return frozenset((key, count // common) for key, count in counts.items())


@cache
def ties(process: Process, *, anchor: bool, operands_apart: bool = False, law: Law = "spelled") -> tuple[Tie, ...]:
    """Pairs of windows that one averaging layer cannot tell apart although different tokens follow: one for each view.

    A query, the token before (``=`` before the first), sees the slots of the window and itself. The class of a slot is
    its place relative to the token's, so that digits of equal significance share one, as coupled ids have it;
    ``operands_apart`` gives each operand classes of its own. With ``anchor`` the token ``=`` is always visible. All
    lengths are looked at. Raises ``ValueError`` outside the domain of ``coverage.windows_shown``, or where more than
    100,000 windows would have to be paired.
    """
    keys = confused_windows(process, anchor=anchor, operands_apart=operands_apart, law=law)
    if len(keys) > PAIRED_LIMIT:
        raise bad("process", process.name, f"one with at most {PAIRED_LIMIT:,} confused windows; it has {len(keys):,}")
    reader = reader_of(process, (process.output_at(1),))
    groups: dict[object, dict[int | None, Window]] = {}
    for key in keys.tolist():
        window = reader.decode(key)
        query, seen = _view(process, window, anchor=anchor, operands_apart=operands_apart)
        groups.setdefault((query, _signature(seen)), {}).setdefault(window.token, window)
    found = []
    for group in groups.values():
        first, *others = sorted(group.values(), key=lambda window: sum(value is not None for value in window.values))
        found += [Tie(process=process, windows=(first, other)) for other in others]
    return tuple(found)


@cache
def confused_windows(process: Process, *, anchor: bool, operands_apart: bool = False, law: Law = "spelled") -> Keys:
    """The windows, keys of ``coverage.windows_of_views``, that ``ties`` pairs; none iff no head confuses any two.

    Raises ``ValueError`` as ``ties`` does, or beyond 2,500,000 windows.
    """
    if operands_apart and process.columns == "multisets":
        raise bad("operands_apart", operands_apart, "False where the digits of a column are read as a multiset")
    keys = windows_of_views(process, law=law)
    if len(keys) > TIES_LIMIT:
        raise bad("process", process.name, f"one with at most {TIES_LIMIT:,} windows; it has {len(keys):,}")
    reader = reader_of(process, (process.output_at(1),))
    return _suspects(reader, keys, anchor=anchor, operands_apart=operands_apart)


def _view(process: Process, window: Window, *, anchor: bool, operands_apart: bool) -> tuple[Token, Seen]:
    """The query's token, and the token and class of every key that it sees."""
    before = process.output_at(1)
    held = [(slot, value) for slot, value in zip(window.slots, window.values, strict=True) if value is not None]
    seen: list[tuple[Token, Hashable]] = [(value, _kind(process, slot, operands_apart)) for slot, value in held]
    query: Token = dict(held).get(before, START)
    if anchor or query == START:
        seen.append((START, START))
    return query, tuple(seen)


def _kind(process: Process, slot: WindowSlot, operands_apart: bool) -> Hashable:
    """The class of a slot."""
    place = process.homes[slot.operand].text if slot.role == "operand" else process.coordinates[-1]
    return place, slot.offset[-1], (slot.role, slot.operand) if operands_apart else None


def _suspects(reader: Reader, keys: Keys, *, anchor: bool, operands_apart: bool) -> Keys:
    """The windows whose view, up to a common multiple, is that of a window with another token: ``_view`` for arrays."""
    *held, token = reader.unpack(keys)
    kinds: dict[Hashable, int] = {}
    classes = [kinds.setdefault(_kind(reader.process, slot, operands_apart), len(kinds)) for slot in reader.slots]
    width, start = len(kinds) + 1, max(reader.window_radices)  # the anchor has a class and a token of its own
    nothing = (start + 1) * width  # sorted behind all keys
    codes = [
        np.where(value == ABSENT, nothing, value * width + kind) for value, kind in zip(held, classes, strict=True)
    ]
    before = held[reader.slots.index(reader.process.output_at(1))]
    query = np.where(before == ABSENT, start, before)
    codes.append(np.where(anchor | (query == start), nothing - 1, nothing))
    views = _labels([query, *_means(np.stack(codes, axis=1), width, nothing).T], nothing + 1)
    order = np.lexsort((token, views))
    views, token = views[order], token[order]
    confused = (views[1:] == views[:-1]) & (token[1:] != token[:-1])
    return np.sort(keys[order][np.isin(views, views[1:][confused])])


def _means(codes: NDArray[np.int64], width: int, nothing: int) -> NDArray[np.int64]:
    """Rows that are equal iff their ``_signature`` is; an entry is token * width + class, or ``nothing``."""
    rows = np.sort(codes, axis=1)
    held = (rows != nothing).sum(axis=1)
    done = np.zeros(len(rows), dtype=bool)
    for common in range(rows.shape[1], 1, -1):  # all counts are multiples of it iff all blocks of such a size are even
        whole = rows.shape[1] // common * common
        even = (rows[:, :whole:common] == rows[:, common - 1 : whole : common]).all(axis=1)
        found = ~done & even & (held % common == 0)
        kept = rows[found][:, :whole:common]
        rows[found] = nothing
        rows[found, : kept.shape[1]] = kept
        done |= found
    tokens = rows // width
    single = ((tokens == tokens[:, :1]) | (rows == nothing)).all(axis=1)
    rows[single, 0] = tokens[single, 0] * width  # of a single token the class is no matter
    rows[single, 1:] = nothing
    return rows


def _labels(columns: Sequence[NDArray[np.int64]], radix: int) -> NDArray[np.int64]:
    """One number for each row of columns of numbers below ``radix``, equal for equal rows only."""
    labels, size = columns[0], radix
    for column in columns[1:]:
        if size * radix >= 2**62:
            values, labels = np.unique(labels, return_inverse=True)
            size = len(values)
        labels, size = labels * radix + column, size * radix
    return labels


def dilution(spread: float, attended: int, keys: int) -> float:
    """The most weight that ``attended`` of ``keys`` keys can have if scores differ by at most ``spread`` (law L12).

    Softmax gives each of w keys at the highest score and each of N - w at the lowest exp(spread) to 1, so the weight
    is w e^s / (w e^s + N - w) and falls to 0 as N grows.

    >>> round(dilution(5.0, 5, 50), 3), round(dilution(5.0, 5, 5000), 3)
    (0.943, 0.129)
    """
    if not 1 <= attended <= keys:
        raise bad("attended", attended, f"an integer from 1 to keys = {keys}")
    if not spread >= 0:
        raise bad("spread", spread, "a number that is not negative")
    return 1 / (1 + (keys - attended) / attended * math.exp(-spread))


def diluted_from(spread: float, attended: int, *, weight: float = 0.5) -> int:
    """The least number of keys at which no head with that spread gives ``attended`` keys the weight any more.

    >>> diluted_from(5.0, 5), dilution(5.0, 5, 747) >= 0.5, dilution(5.0, 5, 748) < 0.5
    (748, True, True)
    """
    if not 0 < weight < 1:
        raise bad("weight", weight, "a number between 0 and 1")
    if not 0 <= spread <= LARGEST_SPREAD:
        raise bad("spread", spread, f"a number from 0 to {LARGEST_SPREAD}")
    keys = math.floor(attended * (1 + math.exp(spread) * (1 - weight) / weight)) + 1
    return keys
