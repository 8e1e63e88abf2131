"""Position ids: what a format tells the encoding about where a token stands, which need not be its place in the text.

``index`` counts tokens. ``coupled`` gives every digit one more than its place, so that digits of equal significance
share an id, and 0 to all else (position coupling, Cho et al., arXiv 2405.20671). ``abacus`` counts digits from the
first written one of each number, and gives 0 to all else (McLeish et al., arXiv 2405.17399). ``random`` keeps the order
of the text and draws the ids (Ruoss et al., arXiv 2305.16843). With a span training starts the ids anywhere in it, so
that those of longer numbers occur; tests start at the first.

>>> from carryproof.theory import formats, tasks
>>> text = formats.padded(2).write(tasks.addition(), np.array([[[7, 5], [8, 0]]], dtype=np.uint8))    # 75+80=560;
>>> for scheme in ("index", "coupled", "abacus"):
...     print(Positions(scheme=scheme).ids(text.layout, text.slots)[0].tolist())
[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
[1, 2, 0, 1, 2, 0, 1, 2, 3, 0]
[1, 2, 0, 1, 2, 0, 1, 2, 3, 0]
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from carryproof.theory.errors import bad, require_integer, unknown

if TYPE_CHECKING:
    from carryproof.theory.formats import Slot

Scheme = Literal["index", "coupled", "abacus", "random"]
Ids = NDArray[np.int64]
LARGEST_SPAN = 1_000_000
_DIGITS = ("operand", "answer")
_DRAW_KEY = 0x1D5  # fixed, so that ids are drawn apart from the problems of a seed


@dataclass(frozen=True, kw_only=True, slots=True)
class Positions:
    """A scheme, and the number of ids that training draws from; without a span nothing is drawn."""

    scheme: Scheme = "index"
    span: int | None = None

    def __post_init__(self) -> None:
        if self.scheme not in get_args(Scheme):
            raise unknown("format ids", self.scheme, get_args(Scheme))
        if self.span is not None:
            require_integer("format ids span", self.span, 1, LARGEST_SPAN)
        elif self.scheme == "random":
            raise bad("format ids", self.scheme, "random:S, with the number S of ids to draw from")

    def __str__(self) -> str:
        return self.scheme if self.span is None else f"{self.scheme}:{self.span}"

    def ids(self, layout: Sequence["Slot"], slots: Ids) -> Ids:
        """The id of every token ``[#problem, token]`` as tests have it; ``slots`` index the layout, -1 is padding."""
        tokens = slots.shape[1]
        match self.scheme:
            case "index":
                return np.arange(tokens)[None]
            case "random":  # the middle of each of as many equal parts of the span
                assert self.span is not None
                return ((2 * np.arange(tokens) + 1) * self.span // (2 * tokens))[None]
            case "coupled":
                known = [1 + slot.place if slot.role in _DIGITS else 0 for slot in layout]
                return np.array([*known, 0])[slots]  # the last stands for padding
            case "abacus":
                digit = np.array([*(slot.role in _DIGITS for slot in layout), False])[slots]
                index = np.arange(1, tokens + 1)
                return np.where(digit, index - np.maximum.accumulate(np.where(digit, 0, index), axis=1), 0)

    def draw(self, ids: Ids, count: int, *, seed: int, first: int) -> Ids:
        """The ids of problems ``first`` to ``first + count - 1`` of a seed's training stream ``[#problem, token]``.

        ``ids`` are those that ``ids`` gives for their texts.
        """
        if self.span is None:
            return ids
        if self.scheme == "random":
            words, tokens = self._words(count, self.span, seed, first), ids.shape[1]
            return np.sort(np.argpartition(words, tokens - 1, axis=1)[:, :tokens], axis=1)
        needed = 1 + ids.max(axis=1)
        starts = self._words(count, 1, seed, first)[:, 0] % (self.span + 1 - needed).astype(np.uint64)
        moved = ids + starts.astype(np.int64)[:, None]
        return np.where(ids > 0, moved, 0) if self.scheme == "abacus" else moved

    def needed(self, layout: Sequence["Slot"]) -> int:
        """How many ids a text of this layout has, from 0 to its largest."""
        if self.scheme == "random":
            return len(layout)
        return 1 + int(self.ids(layout, np.arange(len(layout))[None]).max())

    def require_room(self, layout: Sequence["Slot"]) -> None:
        """Refuse a span that does not hold the ids of a training text."""
        if self.span is not None and self.needed(layout) > self.span:
            raise bad("format ids span", self.span, f"at least {self.needed(layout)}, the ids of the longest text")

    def rows(self, layout: Sequence["Slot"]) -> int:
        """How many ids a learned table needs, in training and for texts of this layout."""
        return max(self.needed(layout), self.span or 0)

    def _words(self, count: int, each: int, seed: int, first: int) -> NDArray[np.uint64]:
        wide = -(-each // 4) * 4  # Philox steps are four words long
        generator = np.random.Philox(key=[seed, _DRAW_KEY])
        generator.advance(first * wide // 4)
        return generator.random_raw(count * wide).reshape(count, wide)[:, :each]


def parse_positions(text: str) -> Positions:
    """Read ``index``, ``coupled``, ``abacus`` or ``random``, with ``:SPAN`` after it as needed.

    >>> parse_positions("coupled:64")
    Positions(scheme='coupled', span=64)
    """
    name, colon, span = text.partition(":")
    if colon and not span.isdecimal():
        raise bad("format ids", text, "a scheme and a positive integer, as in coupled:64")
    for scheme in get_args(Scheme):
        if name == scheme:
            return Positions(scheme=scheme, span=int(span) if span else None)
    raise unknown("format ids", name, get_args(Scheme))
