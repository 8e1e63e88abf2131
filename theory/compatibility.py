"""Base compatibility: which of the last digits of a number decide its residue (law L3).

The last k digits decide x mod p iff p divides B^k. The least such k is the maximum over the primes q of p of
ceil(v_q(p) / v_q(B)), and there is none if some prime of p does not divide B. So modulo 100 two decimal digits decide
and modulo 101 no number of them does (Xu et al., arXiv 2407.17963, for B = 10; the general law is ours).

>>> decisive_digits(100, 10), decisive_digits(32, 10), decisive_digits(101, 10)
(2, 5, None)
"""

from dataclasses import dataclass
from functools import cache

from carryproof.theory.digits import require_base
from carryproof.theory.errors import require_integer


def decisive_digits(modulus: int, base: int) -> int | None:
    """k0(p): how many of the last digits decide a residue modulo ``modulus``, or None if no number of them does."""
    require_integer("modulus", modulus, 2)
    require_base(base)
    power, digits = 1, 0
    # If p divides any power of B it divides B^k with k at most log2 p, since every exponent in p is at most that.
    while digits <= modulus.bit_length():
        if power == 0:
            return digits
        power, digits = (power * base) % modulus, digits + 1
    return None


@dataclass(frozen=True, kw_only=True, slots=True)
class PrimeExponent:
    """One prime q of the modulus, v_q of the modulus and of the base, and the digits that q asks for (None: all).

    A cofactor without primes below 1,000 stands for its primes, none of which divides a base.
    """

    prime: int
    in_modulus: int
    in_base: int
    digits: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class BaseCompatibility:
    """Whether the last ``decisive`` digits decide residues modulo ``modulus``, with the factors that say why."""

    modulus: int
    base: int
    decisive: int | None
    exponents: tuple[PrimeExponent, ...]
    statement: str


@cache
def factors(number: int) -> tuple[tuple[int, int], ...]:
    """The primes of a number, smallest first, each with its exponent; a large cofactor may stay unfactored."""
    from sympy import factorint

    # trial division finds the primes of any base
    found = factorint(number, limit=1_000, use_rho=False, use_pm1=False, use_ecm=False)
    return tuple(sorted((int(factor), int(power)) for factor, power in found.items()))


@cache
def base_compatibility(modulus: int, base: int) -> BaseCompatibility:
    """Decide law L3 for one modulus and base, and state the factorisations that decide it.

    >>> print(base_compatibility(150, 10).statement)
    150 = 2 * 3 * 5^2 divides no power of 10 = 2 * 5 (3 does not divide 10): no number of last digits decides x mod 150
    """

    def written(number: int) -> str:
        parts = (f"{prime}^{power}" if power > 1 else f"{prime}" for prime, power in factors(number))
        joined = " * ".join(parts)
        return str(number) if joined == str(number) else f"{number} = {joined}"

    decisive, in_base = decisive_digits(modulus, base), dict(factors(base))
    exponents = tuple(
        PrimeExponent(
            prime=prime,
            in_modulus=count,
            in_base=in_base.get(prime, 0),
            digits=-(-count // in_base[prime]) if prime in in_base else None,
        )
        for prime, count in factors(modulus)
    )
    if decisive is None:
        alien = next(each.prime for each in exponents if each.digits is None)
        reason = f"divides no power of {written(base)} ({alien} does not divide {base})"
        verdict = f"no number of last digits decides x mod {modulus}"
    else:
        reason = f"divides {base}^{decisive} and no lower power of {written(base)}"
        verdict = f"the last {decisive} digit{'s' if decisive > 1 else ''} decide x mod {modulus}"
    statement = f"{written(modulus)} {reason}: {verdict}"
    return BaseCompatibility(modulus=modulus, base=base, decisive=decisive, exponents=exponents, statement=statement)
