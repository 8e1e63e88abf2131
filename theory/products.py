"""How often the surrogate of a product modulo p is right, for every residue of one of the two dropped parts (law L5).

With a = X M + u, b = Y M + v and M = B^n, it is right iff p' divides X Y M + X v + Y u. Let g = gcd(x, p') and
d = gcd(y, g) for residues x, y of X, Y. Then u is a multiple u' of g / d, and modulo q = p' / g the condition reads
v = -y M - s u' with slope s = (y / d) / (x / g). Prefix counts of s u' answer it for all y at once, so residues take
p'^2 steps on machine integers, and lengths and cycles enter as factors. Source: ours.

>>> teens = by_residue(3, unit=10, run=Run(start=1, size=1))    # 10 .. 19 times numbers whose Y is 0, 1, 2 modulo 3
>>> def right(a, b):
...     return (a * b - (a % 10) * (b % 10)) % 3 == 0
>>> teens.run, [sum(right(a, b) for a in range(10, 20) for b in range(y, y + 10)) for y in (0, 10, 20)]
((40, 33, 33), [40, 33, 33])
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from carryproof.theory.zero_sums import Run

PRODUCT_LIMIT = 5_000  # largest p' whose pairs of residues are counted: about a second
_CHUNK = 1 << 17  # pairs of residues held at a time

Integers = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class RightCounts:
    """For each residue of Y: how many (X, u, v) are right, X in one full cycle modulo p' or X in the given run."""

    cycle: tuple[int, ...]
    run: tuple[int, ...]


@lru_cache(maxsize=64)
def by_residue(modulus: int, unit: int, run: Run) -> RightCounts:
    """Count the right (X, u, v), for u and v below ``unit`` and X in a run shorter than ``modulus``."""
    residues = np.arange(modulus)
    in_run = (residues - run.start) % modulus < run.size
    fits = unit * unit * modulus < 2**62
    cycle, part = (np.zeros(modulus, dtype=np.int64 if fits else object) for _ in range(2))
    for common in _divisors(modulus):  # g = gcd(x, p')
        rest = modulus // common  # q
        units = residues[:rest][np.gcd(residues[:rest], rest) == 1]  # x / g
        chosen = in_run[units * common]
        cycles_v, rest_v = divmod(unit, rest)
        for shared in _divisors(common):  # d = gcd(y, g)
            places = residues[np.gcd(residues, common) == shared]  # y
            scaled = places // shared % rest  # y / d
            cycles_u, rest_u = divmod(-(-unit * shared // common), rest)  # multiples of g / d below the unit
            hits = _hits(rest, units, chosen, rest_u, rest_v, shared * unit % rest)
            # Whole cycles of v hit whatever is asked once each; whole cycles of u' hit the multiples of gcd(y / d, q).
            slope = np.gcd(scaled, rest)
            whole = (cycles_u * rest + rest_u) * cycles_v
            turns = cycles_u * (slope * -(-rest_v // slope)).astype(cycle.dtype)
            cycle[places] += len(units) * (whole + turns) + hits[0][scaled]
            part[places] += int(chosen.sum()) * (whole + turns) + hits[1][scaled]
    return RightCounts(cycle=tuple(map(int, cycle)), run=tuple(map(int, part)))


def _hits(rest: int, units: Integers, chosen: NDArray[np.bool_], count: int, width: int, step: int) -> Integers:
    """For each z modulo q: pairs (x, u') with -``step`` z - (z / x) u' in 0 .. ``width`` - 1 modulo q, u' < ``count``.

    x runs over all ``units`` in row 0 of the result, and over the ``chosen`` ones in row 1.
    """
    found = np.zeros((2, rest), dtype=np.int64)
    if count == 0 or width == 0:
        return found
    wanted = -step * np.arange(rest) % rest
    few = units[chosen]
    height = max(1, _CHUNK // rest)
    for first in range(0, rest, height):
        slopes = np.arange(first, min(rest, first + height))[:, None]
        row = np.arange(len(slopes))[:, None] * rest
        seen = np.bincount((slopes * np.arange(count) % rest + row).ravel(), minlength=row.size * rest)
        prefix = np.zeros((len(slopes), 2 * rest + 1), dtype=np.int64)
        np.cumsum(np.tile(seen.reshape(-1, rest), 2), axis=1, out=prefix[:, 1:])
        # how many of the values s u' lie in the ``width`` residues that end at w, for every w
        window = prefix[:, rest + 1 :] - prefix[:, rest + 1 - width : 2 * rest + 1 - width]
        by_value = window[:, wanted].ravel()
        for result, members in zip(found, (units, few), strict=True):
            values = slopes * members % rest
            # sums of at most p'^3 are exact in the doubles that bincount adds up
            result += np.bincount(values.ravel(), by_value[values + row].ravel(), minlength=rest).astype(np.int64)
    return found


def product_limit(modulus: int, unit: int) -> Fraction:
    """The share of right (X, Y, u, v) for X and Y uniform modulo ``modulus`` and u and v uniform below ``unit``."""
    right = sum(by_residue(modulus, unit, Run(start=0, size=0)).cycle)
    return Fraction(right, (modulus * unit) ** 2)


def multiples_by_gcd(modulus: int, run: Run) -> dict[int, int]:
    """How many numbers X of a run have X v divisible by ``modulus`` just for the multiples v of h, by h."""
    cycles, rest = run.size // modulus, run.remainder(modulus)
    residues = (rest.start + np.arange(rest.size)) % modulus
    found: dict[int, int] = {}
    for least in _divisors(modulus):
        in_cycle = int(np.count_nonzero(np.gcd(np.arange(modulus), modulus) == modulus // least))
        in_rest = int(np.count_nonzero(np.gcd(residues, modulus) == modulus // least))
        found[least] = cycles * in_cycle + in_rest
    return found


def _divisors(number: int) -> list[int]:
    return [each for each in range(1, number + 1) if number % each == 0]
