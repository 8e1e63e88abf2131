"""Numbers as digit arrays, least significant digit first, in any base from 2 to 36.

A batch of problems is an array of digits ``[problem, operand, place]``, so that no length overflows an integer type:
columns are added or multiplied place by place and the carries moved up afterwards. Residues are taken by Horner's
rule from the top digit down.

>>> digits_le(905, base=10).tolist(), value_of([5, 0, 9], base=10)
([5, 0, 9], 905)
"""

import math
from collections.abc import Iterable
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from carryproof.theory.errors import require_integer

DIGIT_SYMBOLS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
Digits = NDArray[np.uint8]
_INT64_SAFE = 2**62


def require_base(base: object) -> int:
    """A base from 2 to 36, or a one-line ``ValueError``."""
    return require_integer("base", base, 2, len(DIGIT_SYMBOLS))


def length_of(value: int, base: int) -> int:
    """How many digits a non-negative integer has; zero has one.

    >>> length_of(0, 10), length_of(999, 10), length_of(1000, 10)
    (1, 3, 4)
    """
    length = max(1, int(value.bit_length() / math.log2(base)) - 1)
    power = base**length
    while power <= value:
        length, power = length + 1, power * base
    return length


def digits_le(value: int, base: int, width: int | None = None) -> Digits:
    """The digits of a non-negative integer, least significant first, zero-padded to ``width`` places."""
    places = []
    while value:
        value, digit = divmod(value, base)
        places.append(digit)
    size = max(len(places), 1) if width is None else width
    if len(places) > size:
        raise ValueError(f"width: got {size}; allowed: at least {len(places)}, the length of the number")
    return np.array(places + [0] * (size - len(places)), dtype=np.uint8)


def value_of(digits: Iterable[SupportsIndex], base: int) -> int:
    """The integer whose digits, least significant first, are given."""
    value = 0
    for digit in reversed(list(digits)):
        value = value * base + int(digit)
    return value


def carry_up(columns: NDArray[Any], base: int, width: int) -> Digits:
    """Turn column sums ``[problem, place]`` (any sign) into ``width`` proper digits by moving carries up.

    Their type, a signed integer or Python's, must hold them with a carry.

    >>> carry_up(np.array([[15, 9]]), base=10, width=3).tolist()
    [[5, 0, 1]]
    """
    digits = np.zeros((columns.shape[0], width), dtype=np.uint8, order="F")
    carry = np.zeros(columns.shape[0], dtype=columns.dtype)
    for place in range(width):
        total = carry + columns[:, place] if place < columns.shape[1] else carry
        carry = total // base  # dividing by one number is many times faster than divmod
        digits[:, place] = total - carry * base
    return digits


def residues(digits: Digits, base: int, modulus: int) -> NDArray[np.generic]:
    """Numbers ``[..., place]`` modulo ``modulus``: int64 where that cannot overflow, Python integers beyond.

    >>> residues(np.array([[1, 0, 2]], dtype=np.uint8), base=10, modulus=101).tolist()
    [100]
    """
    exact = np.int64 if modulus * base < _INT64_SAFE and modulus**2 < _INT64_SAFE else object
    rest = np.zeros(digits.shape[:-1], dtype=exact)
    bound = modulus  # that the rest stays below
    for place in reversed(range(digits.shape[-1])):
        if bound * base > _INT64_SAFE:
            rest, bound = rest % modulus, modulus
        rest, bound = rest * base + digits[..., place].astype(exact), bound * base
    return rest % modulus


def significant(digits: Digits) -> NDArray[np.bool_]:
    """Which places ``[..., place]`` a number is written with: those up to its highest digit that is not 0, or one.

    >>> significant(np.array([[0, 7, 0], [0, 0, 0]], dtype=np.uint8)).tolist()
    [[True, True, False], [True, False, False]]
    """
    kept = digits != 0
    for place in reversed(range(1, digits.shape[-1])):
        kept[..., place - 1] |= kept[..., place]
    kept[..., :1] = True
    return kept


def lengths(digits: Digits) -> NDArray[np.int64]:
    """The number of significant digits along the last axis; zero has one."""
    return np.maximum(1, significant(digits).sum(axis=-1))
