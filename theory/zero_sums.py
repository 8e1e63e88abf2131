"""How many tuples of numbers, each from its own run of consecutive integers, have a sum that a modulus divides.

A run of c p + s numbers is c full cycles modulo p and s more, and a tuple with a part in full cycles hits every residue
equally often. So only tuples of remainders are counted: those with sum T are the coefficient of x^T in the product of
(1 - x^s) / (1 - x), found by inclusion and exclusion for any modulus. Source: L4, sharpening arXiv 2407.17963.

>>> digit = Run(start=1, size=9)   # of 9 * 9 pairs of digits 1 .. 9, one in 7 and a bit has a sum that 7 divides
>>> excess(7, [digit, digit]), sum((a + b) % 7 == 0 for a in range(1, 10) for b in range(1, 10))
(-4, 11)
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """The integers start, start + 1, ..., ``size`` of them."""

    start: int
    size: int

    def remainder(self, modulus: int) -> "Run":
        """What is left, as residues, when full cycles are taken off the end."""
        return Run(start=self.start % modulus, size=self.size % modulus)

    def negative(self) -> "Run":
        """The negatives of the run."""
        return Run(start=-(self.start + self.size - 1), size=self.size)


def excess(modulus: int, runs: Sequence[Run]) -> int:
    """``modulus`` times the number of tuples whose sum it divides, less the number of all tuples.

    It depends on the remainders of the runs alone, and is 0 as soon as one of them is whole cycles.
    """
    rests = [run.remainder(modulus) for run in runs]
    tuples = math.prod(rest.size for rest in rests)
    if tuples == 0:
        return 0
    wanted = -sum(rest.start for rest in rests) % modulus  # for offsets into the runs, modulo p
    found = _pairs(modulus, wanted, rests) if len(rests) == 2 else _tuples(modulus, wanted, rests)
    return modulus * found - tuples


def _pairs(modulus: int, wanted: int, rests: list[Run]) -> int:
    """Offsets i, j into two remainders with i + j = ``wanted`` modulo p: for each total, an interval of i."""
    left, right = rests[0].size, rests[1].size
    return sum(max(0, min(left, total + 1) - max(0, total + 1 - right)) for total in (wanted, wanted + modulus))


def _tuples(modulus: int, wanted: int, rests: list[Run]) -> int:
    """The same for any number of remainders; the product of (1 - x^s) is expanded over the distinct sizes s."""
    signed = {0: 1}
    for size, times in Counter(rest.size for rest in rests).items():
        expanded: dict[int, int] = {}
        for shift, sign in signed.items():
            for chosen in range(times + 1):
                moved = shift + chosen * size
                expanded[moved] = expanded.get(moved, 0) + sign * (-1) ** chosen * math.comb(times, chosen)
        signed = expanded
    below = len(rests) - 1
    largest = sum(rest.size - 1 for rest in rests)
    return sum(
        sign * math.comb(total - shift + below, below)
        for total in range(wanted, largest + 1, modulus)
        for shift, sign in signed.items()
        if shift <= total
    )
