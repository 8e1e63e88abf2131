"""Shrinking: a small part of a list that still has a property, by leaving out halves, quarters, at last single items.

Whatever can be left out is; the result has the property, and loses it without any one of its items. It is a smallest
part if more items never hurt, and in general one of several. Source: Zeller and Hildebrandt 2002 (ddmin).

>>> shrunk(range(100), lambda part: {7, 60, 61} <= set(part))
[7, 60, 61]
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

Item = TypeVar("Item")


def shrunk(items: Iterable[Item], holds: Callable[[Sequence[Item]], bool]) -> list[Item]:
    """A part of the items, in their order, for which ``holds``; the earlier ones are left out first.

    All items together must have the property, which is not checked.
    """
    kept = list(items)
    size = len(kept)
    while size:
        before, low = len(kept), 0
        while low < len(kept):
            fewer = kept[:low] + kept[low + size :]
            if holds(fewer):
                kept = fewer
            else:
                low += size
        if size > 1 or len(kept) == before:  # single items again, until all are needed
            size //= 2
    return kept
