"""Exact cyclic convolution of vectors of big integers: the residue of a sum from the residues of its parts.

The numbers of each vector are written side by side as the digits of one long decimal number, with room for the sums
between them; one product of two such numbers is all the products of entries at once (Kronecker substitution). Python's
``decimal`` multiplies long numbers by a number-theoretic transform, so this is exact and nearly linear in the digits.

>>> [int(each) for each in convolve(integers([1, 2, 0]), integers([5, 0, 7]))]
[19, 10, 7]
"""

import functools
from collections.abc import Iterable, Sequence
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal, Inexact

_EXACT = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[Inexact])

Counts = list[Decimal]  # whole numbers, none negative, one a residue


def integers(values: Iterable[int]) -> Counts:
    """Integers of any size as decimal numbers."""
    return [Decimal(value) for value in values]


def point(modulus: int) -> Counts:
    """The residue 0, once."""
    return integers([1] + [0] * (modulus - 1))


def convolve(left: Counts, right: Counts) -> Counts:
    """How many pairs have each sum of residues, modulo the number of residues."""
    modulus = len(left)
    room = len(str(_EXACT.multiply(_sum(left), _sum(right))))
    packed = _pack(left, room)
    # The same object twice is a square, which takes two transforms instead of three.
    text = str(_EXACT.multiply(packed, packed if left is right else _pack(right, room))).zfill(2 * modulus * room)
    slots = [Decimal(text[at : at + room]) for at in range(len(text) - room, -1, -room)]
    return [_EXACT.add(low, high) for low, high in zip(slots[:modulus], slots[modulus:], strict=True)]


def power(counts: Counts, exponent: int) -> Counts:
    """``counts`` convolved with itself, ``exponent`` factors in all."""
    result = point(len(counts))
    for bit in f"{exponent:b}":
        result = convolve(result, result)
        if bit == "1":
            result = convolve(result, counts)
    return result


def meet(left: Counts, right: Counts) -> int:
    """How many pairs have residues that sum to zero."""
    return total(_EXACT.multiply(count, right[-index % len(right)]) for index, count in enumerate(left))


def scale(counts: Counts, factor: int) -> Counts:
    """The counts of ``factor`` times a residue."""
    scaled = [Decimal(0)] * len(counts)
    for residue, count in enumerate(counts):
        place = factor * residue % len(counts)
        scaled[place] = _EXACT.add(scaled[place], count)
    return scaled


def add_digit(counts: Counts, weights: Sequence[int], factor: int) -> Counts:
    """The counts after adding ``factor`` times a digit that comes with integer weights."""
    sums = [Decimal(0)] * len(counts)
    for digit, weight in enumerate(weights):
        if weight:
            for residue, count in enumerate(counts):
                place = (residue + factor * digit) % len(counts)
                sums[place] = _EXACT.fma(count, Decimal(weight), sums[place])
    return sums


def total(counts: Iterable[Decimal]) -> int:
    """The sum of counts as an integer."""
    return int(_sum(counts))


def _sum(counts: Iterable[Decimal]) -> Decimal:
    return functools.reduce(_EXACT.add, counts, Decimal(0))


def _pack(counts: Counts, room: int) -> Decimal:
    return Decimal("".join(str(count).zfill(room) for count in reversed(counts)))
