"""Random words and digits of many generators at once, any of them without those before it.

A SplitMix64 generator (Steele, Lea and Flood, OOPSLA 2014) adds a constant to its state and returns a bijection of the
sum, so that word w of the generator that starts at s is a function of s + (w + 1) times the constant alone. An output
of one generator is the state from which another starts, and a word holds several digits of any base.

>>> [hex(word) for word in words(np.array([0], dtype=np.uint64), 0, 2)[:, 0].tolist()]
['0xe220a8397b1dcdaf', '0x6e789e6aa1b965f4']
>>> [round(word / 2**64, 6) for word in words(np.array([0], dtype=np.uint64), 0, 2)[:, 0].tolist()]
[0.883311, 0.431528]
>>> uniform_digits(np.array([0], dtype=np.uint64), 0, 8, base=10)[:, 0].tolist()    # six of the first word
[8, 8, 3, 3, 1, 0, 4, 3]
"""

import numpy as np
from numpy.typing import NDArray

from carryproof.theory.digits import Digits

DIGITS_PER_WORD = 6
WORDS_AT_ONCE = 8_192  # what fits into a core's cache, with the temporary arrays
_FRACTION = 58  # bits: 36 times a fraction still fits into a word
_GAMMA = np.uint64(0x9E3779B97F4A7C15)


def split_mix(states: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The output function of SplitMix64, a bijection of 64-bit words; it works in place."""
    states ^= states >> np.uint64(30)
    states *= np.uint64(0xBF58476D1CE4E5B9)
    states ^= states >> np.uint64(27)
    states *= np.uint64(0x94D049BB133111EB)
    states ^= states >> np.uint64(31)
    return states


def words(states: NDArray[np.uint64], first: int, count: int) -> NDArray[np.uint64]:
    """Outputs first .. first + count - 1 of the SplitMix64 generators that start at ``states``: ``[word, state]``."""
    steps = np.arange(first + 1, first + count + 1).astype(np.uint64) * _GAMMA
    return split_mix(states + steps[:, None])


def word_count(digits: int) -> int:
    """How many words hold that many digits."""
    return -(-digits // DIGITS_PER_WORD)


def uniform_digits(states: NDArray[np.uint64], first: int, count: int, base: int) -> Digits:
    """Digits ``[digit, state]`` below ``base``, from the words ``first`` on, ``DIGITS_PER_WORD`` of each.

    The top 58 bits of a word are a fraction, and each multiplication by the base moves its next digit before the point.
    The chance of every tuple of digits from one word is base^-6 within a factor of 1 +- 36^6 / 2^58 < 1 +- 8e-9.
    """
    needed = word_count(count)
    digits = np.empty((needed, DIGITS_PER_WORD, len(states)), dtype=np.uint8)
    at_once = max(1, WORDS_AT_ONCE // max(1, len(states)))
    for low in range(0, needed, at_once):
        fractions = words(states, first + low, min(at_once, needed - low))
        fractions >>= np.uint64(64 - _FRACTION)
        for digit in range(DIGITS_PER_WORD):
            fractions *= np.uint64(base)
            digits[low : low + at_once, digit] = fractions >> np.uint64(_FRACTION)
            fractions &= np.uint64(2**_FRACTION - 1)
    return digits.reshape(-1, len(states))[:count]
