"""Digit weights: what one unit at place i is worth modulo p, and when these numbers repeat (law L15).

Place i weighs B^i mod p. Write p = t p' with p' the part of p prime to B: the weights repeat from place k0(t) on, where
k0 is the exponent of law L3, and from there with the order of B modulo p' as their period (Chinese remainder theorem:
modulo t they are 0 from k0(t) on and not before, modulo p' they are powers of a unit).

>>> weights = digit_weights(12, 10)
>>> weights.coprime, weights.preperiod, weights.period, weights.first
(3, 2, 1, (1, 10, 4, 4, 4, 4, 4, 4))
>>> [digit_weights(modulus, 10).period for modulus in (3, 11, 101, 51, 100)]
[1, 2, 4, 16, 1]
"""

import math
from dataclasses import dataclass

from carryproof.theory.compatibility import decisive_digits
from carryproof.theory.digits import require_base
from carryproof.theory.errors import require_integer

SHOWN = 8
PERIOD_LIMIT = 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class DigitWeights:
    """B^i mod p for i = 0, 1, 2, ...: the ``first`` few, where they start to repeat, and after how many places.

    ``coprime`` is p', the largest divisor of p that is prime to B. ``period`` is None where it exceeds 1,000,000.
    """

    modulus: int
    base: int
    coprime: int
    preperiod: int
    period: int | None
    first: tuple[int, ...]


def digit_weights(modulus: int, base: int) -> DigitWeights:
    """The weights of the places of a number modulo ``modulus``."""
    require_integer("modulus", modulus, 2)
    require_base(base)
    coprime = modulus
    while (shared := math.gcd(coprime, base)) > 1:
        coprime //= shared
    rest = modulus // coprime
    preperiod = 0 if rest == 1 else decisive_digits(rest, base)
    assert preperiod is not None  # every prime of the rest divides the base
    return DigitWeights(
        modulus=modulus,
        base=base,
        coprime=coprime,
        preperiod=preperiod,
        period=_order(base, coprime),
        first=tuple(pow(base, place, modulus) for place in range(SHOWN)),
    )


def _order(base: int, modulus: int) -> int | None:
    power = 1 % modulus
    for exponent in range(1, PERIOD_LIMIT + 1):
        power = power * base % modulus
        if power == 1 % modulus:
            return exponent
    return None
