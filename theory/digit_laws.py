"""Exact accuracy under any distribution of digits, and digit by digit (laws L6, L7 and L8).

A modular sum is right iff p' divides the signed sum of the dropped high parts, so its accuracy is the weight at zero
of the convolution of their residue laws; with the discrete Fourier transform this is (1/p') sum_f w^_a(f) w^_b(f). Here
the residue laws are computed exactly, in fractions, by doubling the number of digits. Source: ours; Xu et al., arXiv
2407.17963, give the limit gcd(p, 10^n) / p for uniform decimal digits.

>>> from carryproof.theory import tasks
>>> fair = uniform_digits(10)
>>> str(digit_law_accuracy(tasks.modular_addition(101), trained=4, length=6, laws=[fair, fair]))
'41/4050'
>>> zeros = DigitLaw(top=fair.top, rest=(Fraction(1), *[Fraction(0)] * 9))   # numbers such as 70000
>>> str(digit_law_accuracy(tasks.modular_addition(9), trained=4, length=6, laws=[zeros, zeros]))
'1/9'
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, reduce

import numpy as np
from numpy.typing import NDArray

from carryproof.theory import convolution
from carryproof.theory.accuracy import surrogate_accuracy
from carryproof.theory.digits import require_base
from carryproof.theory.errors import bad, require_integer
from carryproof.theory.products import PRODUCT_LIMIT, product_limit
from carryproof.theory.tasks import OPERATIONS, Task, dropped_share

EXACT_LIMIT = 10_000_000  # most decimal digits in the residue laws that are convolved exactly: about a second
INTERVAL_LIMIT = 1_000_000  # largest p' whose residue laws are transformed in doubles

ResidueLaw = tuple[Fraction, ...]  # the probability of each residue
Waves = NDArray[np.complex128]  # its discrete Fourier transform


@dataclass(frozen=True, kw_only=True, slots=True)
class DigitLaw:
    """Independent digits: the probabilities of 0 .. B-1 at the top place, and at every other place."""

    top: tuple[Fraction, ...]
    rest: tuple[Fraction, ...]

    def __post_init__(self) -> None:
        for argument, weights in (("top", self.top), ("rest", self.rest)):
            if not weights or len(weights) != len(self.rest):
                raise bad(f"digit law {argument}", len(weights), "one probability a digit, as many as the base has")
            if min(weights) < 0 or sum(weights) != 1:
                listed = ", ".join(map(str, weights))
                raise bad(f"digit law {argument}", listed, "probabilities that are not negative and sum to 1 exactly")

    @property
    def base(self) -> int:
        """The base that the digits belong to."""
        return len(self.rest)


def uniform_digits(base: int) -> DigitLaw:
    """Uniform numbers of a given length without a leading zero."""
    require_base(base)
    top = (Fraction(0), *[Fraction(1, base - 1)] * (base - 1))
    return DigitLaw(top=top, rest=tuple([Fraction(1, base)] * base))


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """A number that was not computed exactly: it lies between ``low`` and ``high``, proved."""

    low: Fraction
    high: Fraction


def digit_law_accuracy(task: Task, *, trained: int, length: int | Sequence[int], laws: Sequence[DigitLaw]) -> Fraction:
    """The surrogate's accuracy where each operand has ``length`` digits, drawn independently by its own law (L6).

    ``length`` is one number, or one an operand. For modular addition and subtraction only: products need the low parts
    too (law L5), plain sums are 0 or settled by ``surrogate_accuracy``. Raises ``ValueError`` outside that domain, or
    if p' times the digits of the exact fraction, at least 30, exceeds ten million: there, use ``digit_law_interval``.
    """
    share, places = _dropped(task, trained, length, laws)
    scales = (
        count * math.log10(max(_scale(law.rest), _scale(law.top))) for count, law in zip(places, laws, strict=True)
    )
    digits = 1 + math.ceil(sum(scales))
    if share * max(digits, 30) > EXACT_LIMIT:  # short numbers take room, too
        allowed = f"p' times the digits of the exact accuracy, at least 30, of at most {EXACT_LIMIT:,}"
        raise bad("modulus", task.modulus, f"{allowed}, not {share} * {digits}; beyond it use digit_law_interval")
    counted = cache(dropped_counts)  # operands are often drawn alike
    parts = [counted(law, count, share) for law, count in zip(laws, places, strict=True)]
    counts = [part for part, _ in parts]
    if task.operation.name == "subtraction":
        counts[1] = convolution.scale(counts[1], -1)
    right = convolution.meet(reduce(convolution.convolve, counts[:-1]), counts[-1])  # only the weight at zero is asked
    return Fraction(right, math.prod(scale for _, scale in parts))


def digit_law_interval(task: Task, *, trained: int, length: int | Sequence[int], laws: Sequence[DigitLaw]) -> Interval:
    """Proved bounds on ``digit_law_accuracy``, in floating point: for long numbers and p' up to a million.

    The transform of a digit's law is computed in doubles and multiplied up over the places, (1/p') sum_f prod w^(f).

    >>> from carryproof.theory import tasks
    >>> found = digit_law_interval(tasks.modular_addition(101), trained=4, length=10_000, laws=[uniform_digits(10)] * 2)
    >>> found.low < Fraction(1, 101) < found.high, float(found.high - found.low) < 1e-9
    (True, True)
    """
    share, places = _dropped(task, trained, length, laws)
    if share == 1 or not any(places):
        return Interval(low=Fraction(1), high=Fraction(1))
    if share > INTERVAL_LIMIT:
        raise bad("modulus", task.modulus, f"p' = p / gcd(p, B^n) of at most {INTERVAL_LIMIT:,}; here it is {share}")
    transformed = cache(_dropped_waves)
    parts = [transformed(law, count, share) for law, count in zip(laws, places, strict=True)]
    if task.operation.name == "subtraction":
        parts[1] = parts[1].conj()
    waves = reduce(np.multiply, parts)
    middle = Fraction(math.fsum(waves.real.tolist()) / share)
    # In units of 2^-53: a root of unity is off by at most 39 (angle 19, sine and cosine 8, both parts), the sum over a
    # digit by 3 + 2 B more, a product of numbers of modulus at most 1 by 3. Errors of factors add up, to first order;
    # twice their sum covers the higher orders and the rounding of the mean.
    error = Fraction(2 * (sum(places) + 1) * (45 + 2 * task.base), 2**53)
    return Interval(low=max(Fraction(0), middle - error), high=min(Fraction(1), middle + error))


def _dropped(
    task: Task, trained: int, length: int | Sequence[int], laws: Sequence[DigitLaw]
) -> tuple[int, tuple[int, ...]]:
    """p' and the number of dropped digits of each operand, once the arguments are known to be in the domain."""
    if task.modulus is None or task.operation.name not in ("addition", "subtraction"):
        raise bad("task", str(task), "modular addition or subtraction; law L6 holds for these only")
    if len(laws) != task.operands or any(law.base != task.base for law in laws):
        raise bad("laws", len(laws), f"{task.operands} digit laws in base {task.base}, one an operand")
    require_integer("trained", trained, 1)
    lengths = [length] * task.operands if isinstance(length, int) else list(length)
    if len(lengths) != task.operands:
        raise bad("length", tuple(lengths), f"one number, or {task.operands}, one an operand")
    for each in lengths:
        require_integer("length", each, 1)
    share = dropped_share(task.modulus, task.base, trained)
    return share, tuple(max(0, each - trained) if share > 1 else 0 for each in lengths)


def dropped_residues(law: DigitLaw, places: int, modulus: int) -> ResidueLaw:
    """The law of a number of ``places`` digits modulo ``modulus``; the last of them is the top digit."""
    counts, scale = dropped_counts(law, places, modulus)
    return tuple(Fraction(int(count), scale) for count in counts)


def dropped_counts(law: DigitLaw, places: int, modulus: int) -> tuple[convolution.Counts, int]:
    """The same as whole numbers, and what they sum to."""
    if places == 0:
        return convolution.point(modulus), 1
    rest, top = _whole(law.rest), _whole(law.top)

    def lower(count: int) -> convolution.Counts:
        """The lower places, half of them from the other half."""
        if count == 0:
            return convolution.point(modulus)
        half = lower(count // 2)
        both = convolution.convolve(half, convolution.scale(half, pow(law.base, count // 2, modulus)))
        return convolution.add_digit(both, rest, pow(law.base, count - 1, modulus)) if count % 2 else both

    counts = convolution.add_digit(lower(places - 1), top, pow(law.base, places - 1, modulus))
    return counts, _scale(law.rest) ** (places - 1) * _scale(law.top)


def _scale(weights: Sequence[Fraction]) -> int:
    """The least common denominator."""
    return math.lcm(*(weight.denominator for weight in weights))


def _whole(weights: Sequence[Fraction]) -> list[int]:
    return [int(weight * _scale(weights)) for weight in weights]


def _dropped_waves(law: DigitLaw, places: int, modulus: int) -> Waves:
    """The discrete Fourier transform of the law of a number of ``places`` digits modulo ``modulus``, in doubles."""
    frequencies = np.arange(modulus)
    angles = 2 * np.pi * frequencies / modulus
    roots = np.cos(angles) - 1j * np.sin(angles)

    def one(weights: Sequence[Fraction]) -> Waves:
        wave = np.zeros(modulus, dtype=np.complex128)
        for digit, weight in enumerate(weights):
            wave += float(weight) * roots[digit * frequencies % modulus]
        return wave

    def at(wave: Waves, place: int) -> Waves:
        return wave[pow(law.base, place, modulus) * frequencies % modulus]

    def lower(count: int) -> Waves:
        if count == 0:
            return np.ones(modulus, dtype=np.complex128)
        half = lower(count // 2)
        both = half * at(half, count // 2)
        return both * at(rest, count - 1) if count % 2 else both

    if places == 0:
        return np.ones(modulus, dtype=np.complex128)
    rest = one(law.rest)
    return lower(places - 1) * at(one(law.top), places - 1)


def limit_accuracy(task: Task, *, trained: int) -> Fraction:
    """What the surrogate's accuracy tends to as the tested length grows, operands uniform of exactly that length.

    1/p' for modular sums. For modular products of two numbers the dropped parts become uniform and the low parts stay
    as they are (law L5). Plain sums, differences and products tend to 0. Raises ``ValueError`` for other operations,
    and for modular products with p' above 5,000.

    >>> from carryproof.theory import tasks
    >>> str(limit_accuracy(tasks.modular_addition(150), trained=4)), float(ideal_product_limit(150, 10, 3))
    ('1/3', 0.4074074074074074)
    """
    require_integer("trained", trained, 1)
    if task.operation not in OPERATIONS.values():
        raise bad("task", str(task), f"a task of {', '.join(OPERATIONS)}; limits are known for these only")
    if task.modulus is None:
        return Fraction(0)
    share = dropped_share(task.modulus, task.base, trained)
    if task.operation.name != "multiplication":
        return Fraction(1, share)
    if share > PRODUCT_LIMIT:
        raise bad("modulus", task.modulus, f"p' = p / gcd(p, B^n) of at most {PRODUCT_LIMIT:,}; here it is {share}")
    return product_limit(share, task.base**trained)


def ideal_product_limit(modulus: int, base: int, trained: int) -> Fraction:
    """(1/p') sum over d | p' of phi(d) / d^2: modular products with high *and* low parts uniform modulo p'."""
    from sympy import divisors, totient

    require_integer("modulus", modulus, 2)
    require_base(base)
    require_integer("trained", trained, 1)
    share = dropped_share(modulus, base, trained)
    return sum((Fraction(int(totient(d)), d * d) for d in divisors(share)), Fraction(0)) / share


def first_possible_length(task: Task, *, trained: int) -> int:
    """The first length above the trained one at which the surrogate of a modular sum can be right at all.

    >>> from carryproof.theory import tasks
    >>> first_possible_length(tasks.modular_addition(101), trained=4)
    6
    """
    if task.modulus is None or task.operation.name not in ("addition", "subtraction"):
        raise bad("task", str(task), "modular addition or subtraction")
    require_integer("trained", trained, 1)
    length = trained + 1
    while not surrogate_accuracy(task, trained=trained, length=length):
        length += 1  # ends at the latest when the dropped parts run through a whole cycle modulo p'
    return length


def error_bound(task: Task, *, trained: int, length: int) -> Fraction:
    """A bound on |accuracy - 1/p'| for modular sums of two numbers of exactly ``length`` digits: p' / (4 N^2)."""
    if task.modulus is None or task.operation.name not in ("addition", "subtraction") or task.operands != 2:
        raise bad("task", str(task), "modular addition or subtraction of two numbers")
    require_integer("trained", trained, 1)
    require_integer("length", length, trained + 1)
    share = dropped_share(task.modulus, task.base, trained)
    return Fraction(share, 4 * ((task.base - 1) * task.base ** (length - trained - 1)) ** 2)


def digit_accuracy(*, base: int, trained: int, length: int) -> tuple[Fraction, ...]:
    """How often the surrogate of an addition of two numbers has each digit right, from the units up (law L7).

    Both numbers have exactly ``length`` digits; missing digits of the surrogate read as 0; the last entry is the
    overflow digit. Inner places are right in exactly 1/B of cases.

    >>> [str(share) for share in digit_accuracy(base=10, trained=2, length=4)]
    ['1', '1', '1/10', '1889/18000', '889/2250']
    """
    require_base(base)
    require_integer("trained", trained, 1)
    require_integer("length", length, trained + 1)
    carry = Fraction(base ** (length - 1) - 1, 2 * base ** (length - 1))  # into the top place
    pairs = (base - 1) ** 2
    top_zero = ((base - 1) * (1 - carry) + (base - 2) * carry) / pairs
    no_overflow = Fraction((base - 1) * (base - 2), 2) * (1 - carry) + Fraction((base - 2) * (base - 3), 2) * carry
    beyond = [Fraction(1, base)] * (length - trained - 1) + [top_zero]
    if length == trained + 1:
        beyond = [Fraction(1, base - 1)]
    return (*[Fraction(1)] * trained, *beyond, no_overflow / pairs)


def plateaus(modulus: int, base: int, places: int) -> tuple[Fraction, ...]:
    """gcd(p, B^k) / p for k = 0 .. ``places``: the best guess of a sum modulo p from its last k digits (law L8).

    In-range accuracy passes these levels while training, where the remaining digits are nearly uniform.

    >>> [str(level) for level in plateaus(100, 10, 2)]
    ['1/100', '1/10', '1']
    """
    require_integer("modulus", modulus, 2)
    require_base(base)
    require_integer("places", places, 0)
    return tuple(Fraction(math.gcd(modulus, base**k), modulus) for k in range(places + 1))
