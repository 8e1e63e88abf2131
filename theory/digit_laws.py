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

from carryproof.theory.accuracy import surrogate_accuracy
from carryproof.theory.errors import bad, require_integer
from carryproof.theory.tasks import Task, dropped_share

RESIDUE_LIMIT = 2_000  # largest p' whose residue laws are convolved in fractions

ResidueLaw = tuple[Fraction, ...]  # the probability of each residue


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
    top = (Fraction(0), *[Fraction(1, base - 1)] * (base - 1))
    return DigitLaw(top=top, rest=tuple([Fraction(1, base)] * base))


def digit_law_accuracy(task: Task, *, trained: int, length: int, laws: Sequence[DigitLaw]) -> Fraction:
    """The surrogate's accuracy where each operand has ``length`` digits, drawn independently by its own law (L6).

    For modular addition and subtraction only: products need the low parts too (law L5), plain sums are 0 or settled by
    ``surrogate_accuracy``. Raises ``ValueError`` outside that domain, or if p' is above 2,000.
    """
    if task.modulus is None or task.operation.name not in ("addition", "subtraction"):
        raise bad("task", str(task), "modular addition or subtraction; law L6 holds for these only")
    if len(laws) != task.operands or any(law.base != task.base for law in laws):
        raise bad("laws", len(laws), f"{task.operands} digit laws in base {task.base}, one an operand")
    require_integer("trained", trained, 1)
    require_integer("length", length, 1)
    share = dropped_share(task.modulus, task.base, trained)
    if length <= trained or share == 1:
        return Fraction(1)
    if share > RESIDUE_LIMIT:
        raise bad("modulus", task.modulus, f"p' = p / gcd(p, B^n) of at most {RESIDUE_LIMIT}; here it is {share}")
    total: ResidueLaw = _point(share)
    for index, law in enumerate(laws):
        residues = dropped_residues(law, length - trained, share)
        if task.operation.name == "subtraction" and index == 1:
            residues = (residues[0], *reversed(residues[1:]))
        total = _convolve(total, residues)
    return total[0]


def dropped_residues(law: DigitLaw, places: int, modulus: int) -> ResidueLaw:
    """The law of a number of ``places`` digits modulo ``modulus``; the last of them is the top digit."""
    base = law.base
    block, block_places = _spread(law.rest, modulus), 1  # the law of 1, 2, 4, ... of the lower digits
    result, weight, left = _point(modulus), 1, places - 1
    while left:
        if left & 1:
            result = _convolve(result, _scaled(block, weight, modulus))
            weight = weight * pow(base, block_places, modulus) % modulus
        left >>= 1
        if left:
            block = _convolve(block, _scaled(block, pow(base, block_places, modulus), modulus))
            block_places *= 2
    return _convolve(result, _scaled(_spread(law.top, modulus), weight, modulus))


def _point(modulus: int) -> ResidueLaw:
    return (Fraction(1), *[Fraction(0)] * (modulus - 1))


def _spread(weights: Sequence[Fraction], modulus: int) -> ResidueLaw:
    law = [Fraction(0)] * modulus
    for digit, weight in enumerate(weights):
        law[digit % modulus] += weight
    return tuple(law)


def _scaled(law: ResidueLaw, factor: int, modulus: int) -> ResidueLaw:
    """The law of ``factor`` times a residue."""
    scaled = [Fraction(0)] * modulus
    for residue, weight in enumerate(law):
        scaled[residue * factor % modulus] += weight
    return tuple(scaled)


def _convolve(left: ResidueLaw, right: ResidueLaw) -> ResidueLaw:
    """The law of the sum of two independent residues, on integers over common denominators."""
    modulus = len(left)
    scale_l, scale_r = (math.lcm(*(weight.denominator for weight in law)) for law in (left, right))
    ints_l = [(index, int(weight * scale_l)) for index, weight in enumerate(left) if weight]
    ints_r = [(index, int(weight * scale_r)) for index, weight in enumerate(right) if weight]
    sums = [0] * modulus
    for index_l, weight_l in ints_l:
        for index_r, weight_r in ints_r:
            sums[(index_l + index_r) % modulus] += weight_l * weight_r
    return tuple(Fraction(weight, scale_l * scale_r) for weight in sums)


def limit_accuracy(task: Task, *, trained: int) -> Fraction:
    """What the surrogate's accuracy tends to as the tested length grows, operands uniform of exactly that length.

    1/p' for modular sums. For modular products of two numbers the dropped parts become uniform and the low parts stay
    as they are (law L5). Plain sums, differences and products tend to 0.

    >>> from carryproof.theory import tasks
    >>> str(limit_accuracy(tasks.modular_addition(150), trained=4)), float(ideal_product_limit(150, 10, 3))
    ('1/3', 0.4074074074074074)
    """
    if task.modulus is None:
        return Fraction(0)
    share = dropped_share(task.modulus, task.base, trained)
    if task.operation.name != "multiplication":
        return Fraction(1, share)
    unit = task.base**trained
    cycles, rest = divmod(unit, share)
    counts = [cycles + (residue < rest) for residue in range(share)]
    divisible = {d: sum(counts[::d]) for d in range(1, share + 1) if share % d == 0}
    right = 0
    for high in range(share):
        for low, count in enumerate(counts):
            # Y (X M + u) runs evenly over the multiples of d = gcd(X M + u, p'); X v must be one of them.
            common = math.gcd(high * unit + low, share)
            right += count * common * divisible[common // math.gcd(common, high)]
    return Fraction(right, share**2 * unit**2)


def ideal_product_limit(modulus: int, base: int, trained: int) -> Fraction:
    """(1/p') sum over d | p' of phi(d) / d^2: modular products with high *and* low parts uniform modulo p'."""
    from sympy import divisors, totient

    share = dropped_share(modulus, base, trained)
    return sum((Fraction(int(totient(d)), d * d) for d in divisors(share)), Fraction(0)) / share


def first_possible_length(task: Task, *, trained: int) -> int:
    """The first length above the trained one at which the surrogate of a modular sum can be right at all.

    >>> from carryproof.theory import tasks
    >>> first_possible_length(tasks.modular_addition(101), trained=4)
    6
    """
    if task.modulus is None or task.operation.name == "multiplication":
        raise bad("task", str(task), "modular addition or subtraction")
    length = trained + 1
    while not surrogate_accuracy(task, trained=trained, length=length):
        length += 1  # ends at the latest when the dropped parts run through a whole cycle modulo p'
    return length


def error_bound(task: Task, *, trained: int, length: int) -> Fraction:
    """A bound on |accuracy - 1/p'| for modular sums of two numbers of exactly ``length`` digits: p' / (4 N^2)."""
    if task.modulus is None or task.operation.name == "multiplication" or task.operands != 2:
        raise bad("task", str(task), "modular addition or subtraction of two numbers")
    share = dropped_share(task.modulus, task.base, trained)
    return Fraction(share, 4 * ((task.base - 1) * task.base ** (length - trained - 1)) ** 2)


def digit_accuracy(*, base: int, trained: int, length: int) -> tuple[Fraction, ...]:
    """How often the surrogate of an addition of two numbers has each digit right, from the units up (law L7).

    Both numbers have exactly ``length`` digits; missing digits of the surrogate read as 0; the last entry is the
    overflow digit. Inner places are right in exactly 1/B of cases.

    >>> [str(share) for share in digit_accuracy(base=10, trained=2, length=4)]
    ['1', '1', '1/10', '1889/18000', '889/2250']
    """
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
    return tuple(Fraction(math.gcd(modulus, base**k), modulus) for k in range(places + 1))
