"""Ranges of lengths, and the laws by which operands of a length are drawn.

A training range is a set of lengths with an operand law. Under ``exact`` every operand has exactly m digits (no leading
zero; 0 counts as a one-digit number); under ``longest`` the longest has m digits and the others at most m, uniformly
over all such tuples; under ``unequal`` one operand, any of them, has exactly m digits and each other a shorter length,
uniform on 1..m-1. Source: D~_m and D_m of Xu et al., arXiv 2407.17963; ``unequal`` is ours.

>>> parse_lengths("1-3,5"), TrainingRange(lengths=(1, 2)).longest
((1, 2, 3, 5), 2)
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from carryproof.theory.errors import bad, require_integer, unknown

LONGEST = 1_000_000
OperandLaw = Literal["exact", "longest", "unequal"]


def require_law(argument: str, law: str) -> OperandLaw:
    """A registered operand law, or a one-line ``ValueError``."""
    for known in get_args(OperandLaw):
        if law == known:
            return known
    raise unknown(argument, law, get_args(OperandLaw))


def require_lengths(argument: str, lengths: Iterable[int]) -> tuple[int, ...]:
    """Lengths in rising order, each once and at least 1; an empty set is refused."""
    unique = tuple(sorted({require_integer(argument, length, 1, LONGEST) for length in lengths}))
    if not unique:
        raise bad(argument, (), "at least one length")
    return unique


def parse_lengths(text: str, argument: str = "digits") -> tuple[int, ...]:
    """Read ``4``, ``1-4`` or ``1-2,5`` as lengths in rising order."""
    lengths: list[int] = []
    for part in text.split(","):
        low, dash, high = part.strip().partition("-")
        if not low.isdecimal() or (dash and not high.isdecimal()):
            raise bad(argument, text, "positive lengths such as 4, 1-4 or 1-2,5")
        if max(len(low), len(high)) > len(str(LONGEST)):
            raise bad(argument, text, f"lengths of at most {LONGEST:,} digits")
        first, last = int(low), int(high or low)
        if first > last:
            raise bad(argument, text, f"a range that rises; {part.strip()} holds no length")
        lengths += range(first, last + 1)
    return require_lengths(argument, lengths)


def write_lengths(lengths: tuple[int, ...]) -> str:
    """The shortest text that ``parse_lengths`` reads back.

    >>> write_lengths((1, 2, 3, 5))
    '1-3,5'
    """
    runs: list[list[int]] = []
    for length in lengths:
        if runs and length == runs[-1][1] + 1:
            runs[-1][1] = length
        else:
            runs.append([length, length])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in runs)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingRange:
    """The lengths seen in training and the law of the operands at each length."""

    lengths: tuple[int, ...]
    law: OperandLaw = "exact"

    def __post_init__(self) -> None:
        object.__setattr__(self, "lengths", require_lengths("train_digits", self.lengths))
        if require_law("train_law", self.law) == "unequal" and self.lengths[0] == 1:
            raise bad("train_digits", write_lengths(self.lengths), "lengths above 1, as the law 'unequal' asks")

    @property
    def longest(self) -> int:
        """n, the longest trained length."""
        return self.lengths[-1]

    def to_dict(self) -> dict[str, Any]:
        """The range as plain data, the form that is hashed and stored."""
        return {"lengths": list(self.lengths), "law": self.law}
