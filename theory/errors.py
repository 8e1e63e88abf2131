"""One-line user errors: the argument, its value, and what is allowed.

Every check that a user's input can fail goes through these helpers, so that the command line can print one line and
exit with status 2, and so that an unknown name always comes with its nearest neighbour.

>>> print(unknown("encoding", "rop", ["rope", "alibi"]))
encoding: unknown value 'rop'; did you mean 'rope'? allowed: alibi, rope
"""

from collections.abc import Iterable
from difflib import get_close_matches


def unknown(argument: str, value: str, allowed: Iterable[str]) -> ValueError:
    """The error for a name that is not registered, with the nearest registered one."""
    names = sorted(allowed)
    close = get_close_matches(value, names, n=1, cutoff=0.4)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return ValueError(f"{argument}: unknown value {value!r}; {hint}allowed: {', '.join(names)}")


def bad(argument: str, value: object, allowed: str) -> ValueError:
    """The error for a value outside its domain.

    >>> print(bad("base", 1, "an integer from 2 to 36"))
    base: got 1; allowed: an integer from 2 to 36
    """
    return ValueError(f"{argument}: got {value!r}; allowed: {allowed}")


def require_integer(argument: str, value: object, low: int, high: int | None = None) -> int:
    """Return ``value`` if it is an integer in ``[low, high]``, else raise a one-line ``ValueError``."""
    span = f"an integer from {low} to {high}" if high is not None else f"an integer of at least {low}"
    if isinstance(value, bool) or not isinstance(value, int) or value < low or (high is not None and value > high):
        raise bad(argument, value, span)
    return value
