"""The exact accuracy of the truncation surrogate on numbers longer than those of training (laws L4 and L5).

The surrogate f^ computes the task on the last n digits of each operand: f^(a, b) = f(a mod B^n, b mod B^n). With
p' = p / gcd(p, B^n), a modular sum is right iff p' divides the sum of the dropped high parts. Their values are runs of
consecutive integers, a whole number of cycles modulo p' and a remainder, so the share is a fraction found by
arithmetic for numbers of any length; nothing is enumerated but residues. Source: our sharpening of the limit
gcd(p, 10^n) / p of Xu et al., arXiv 2407.17963.

>>> from carryproof.theory import tasks
>>> [str(surrogate_accuracy(tasks.modular_addition(101), trained=4, length=m)) for m in (5, 6, 7)]
['0', '41/4050', '99/10000']
"""

import math
from fractions import Fraction
from functools import cache
from itertools import accumulate, pairwise

from carryproof.theory import convolution
from carryproof.theory.errors import bad, require_integer
from carryproof.theory.mixtures import dropped_run, in_base, mixture, run_starts
from carryproof.theory.products import PRODUCT_LIMIT, by_residue, multiples_by_gcd
from carryproof.theory.ranges import OperandLaw
from carryproof.theory.tasks import Task, dropped_share
from carryproof.theory.zero_sums import Run, excess

MIXTURE_LIMIT = 3_000_000  # most decimal digits convolved, for three operands or more under the law ``unequal``


def surrogate_accuracy(task: Task, *, trained: int, length: int, law: OperandLaw = "exact") -> Fraction | None:
    """The share of problems of ``length`` digits on which the surrogate of ``trained`` digits is right.

    Operands follow ``law`` (see ``carryproof.theory.ranges``). None if the count is out of reach: an operation without
    a law; modular products with p' above 5,000; sums of k > 2 numbers under the law ``unequal`` where (k - 1) p' times
    the digits of the dropped parts exceeds three million.
    """
    require_integer("trained", trained, 1)
    require_integer("length", length, 1)
    if law == "unequal" and length == 1:
        raise bad("length", length, "lengths above 1 under the law 'unequal', where the others are shorter")
    if length <= trained:
        return Fraction(1)
    if task.modulus is None:
        return _plain(task, trained, length, law)
    share = dropped_share(task.modulus, task.base, trained)
    if share == 1 and task.operation.polynomial:
        return Fraction(1)
    match task.operation.name:
        case "addition" | "subtraction":
            gained = _excess(task, share, trained, length, law)
            return None if gained is None else Fraction(1, share) + gained
        case "multiplication" if share <= PRODUCT_LIMIT:
            return _modular_products(task, share, trained, length, law)
        case _:
            return None


def _plain(task: Task, trained: int, length: int, law: OperandLaw) -> Fraction | None:
    """Without a modulus: right iff the dropped parts make no difference at all."""
    base = task.base
    problems = base ** (2 * length) - base ** (2 * length - 2)  # of the law ``longest``, for two operands
    match task.operation.name, law:
        case "addition", _:  # the longest operand drops something, and no operand drops less than nothing
            return Fraction(0)
        case "subtraction", "exact":  # the dropped parts must be equal
            return Fraction(1, dropped_run(base, trained, length).size)
        case "subtraction", "longest":
            return Fraction(dropped_run(base, trained, length).size * base ** (2 * trained), problems)
        case "multiplication", "longest":  # the number beside a dropped part must be 0
            return Fraction(2 * (base - 1) * base ** (length - 1), problems)
        case "multiplication", "unequal":
            return Fraction(1, (length - 1) * base)
        case "subtraction" | "multiplication", _:
            return Fraction(0)
        case _:
            return None


def _excess(task: Task, share: int, trained: int, length: int, law: OperandLaw) -> Fraction | None:
    """By how much the accuracy of a modular sum or difference exceeds 1/p'."""
    count, minus = task.operands, task.operation.name == "subtraction"

    def alike(run: Run) -> int:
        return excess(share, [run, run.negative()] if minus else [run] * count)

    match law:
        case "exact":
            run = dropped_run(task.base, trained, length)
            return Fraction(alike(run), share * run.size**count)
        case "longest":  # all tuples below B^m, less those below B^(m-1); in both, low parts are whole
            outer, inner = task.base ** (length - trained), task.base ** (length - trained - 1)
            gained = alike(Run(start=0, size=outer)) - alike(Run(start=0, size=inner))
            return Fraction(gained, share * (outer**count - inner**count))
        case "unequal" if count == 2:  # a - b and b - a are divisible alike: the order of the lengths does not matter
            return _excess_with_one_shorter(task.base, share, trained, length, minus)
        case _:
            return _excess_with_shorter(task, share, trained, length)


def _excess_with_one_shorter(base: int, share: int, trained: int, length: int, minus: bool) -> Fraction:
    """Two operands: the mean over the shorter lengths. Those up to n drop the one number 0."""
    longest = dropped_run(base, trained, length)

    @cache  # the remainder of a run depends on its start modulo p' alone, and starts repeat
    def gained(start: int) -> int:
        shorter = Run(start=start, size=(base - 1) * start % share)
        return excess(share, [rest, shorter.negative() if minus else shorter])

    rest = longest.remainder(share)
    starts = run_starts(base, share, length - 1 - trained)
    scale = (base - 1) * base ** max(0, len(starts) - 1)
    total = trained * excess(share, [rest, Run(start=0, size=1)]) * scale + in_base(base, list(map(gained, starts)))
    return Fraction(total, share * longest.size * scale * (length - 1))


def _excess_with_shorter(task: Task, share: int, trained: int, length: int) -> Fraction | None:
    """Three operands or more: the others are drawn alike, so the law of their sum is a power of a residue law."""
    base, others, lengths = task.base, task.operands - 1, length - 1 - trained
    longest = dropped_run(base, trained, length)
    if longest.start + longest.size + others * base**lengths <= share:
        return Fraction(-1, share)  # the sum is above 0 and below p'
    scale = (length - 1) * (base - 1) * base ** max(0, lengths - 1)  # what the shares of the residues sum to
    if others * share * scale.bit_length() * math.log10(2) > MIXTURE_LIMIT:
        return None
    sums = convolution.power(convolution.integers(mixture(base, share, trained, lengths)), others)
    rest = longest.remainder(share)
    right = convolution.total(sums[-residue % share] for residue in range(rest.start, rest.start + rest.size))
    every = scale**others if lengths else (length - 1) ** others
    return Fraction(share * right - rest.size * every, share * longest.size * every)


def _modular_products(task: Task, share: int, trained: int, length: int, law: OperandLaw) -> Fraction:
    """Law L5: right iff p' divides X Y M + X v + Y u."""
    base = task.base
    unit = base**trained
    match law:
        case "exact":
            run = dropped_run(base, trained, length)
            return Fraction(_right_products(share, unit, run), (run.size * unit) ** 2)
        case "longest":
            outer, inner = (Run(start=0, size=base ** (length - trained - less)) for less in (0, 1))
            right = _right_products(share, unit, outer) - _right_products(share, unit, inner)
            return Fraction(right, (outer.size**2 - inner.size**2) * unit**2)
        case "unequal":  # the condition is the same for a * b and b * a
            return _products_with_one_shorter(base, share, trained, length)


def _right_products(share: int, unit: int, run: Run) -> int:
    """Right (X, Y, u, v) for X and Y in the same run, u and v below ``unit``."""
    rest = run.remainder(share)
    counts = by_residue(share, unit, rest)
    cycles = run.size // share
    window = [residue % share for residue in range(rest.start, rest.start + rest.size)]
    mixed = sum(counts.cycle[residue] for residue in window)  # X in full cycles and Y not, or the other way round
    return cycles * (cycles * sum(counts.cycle) + 2 * mixed) + sum(counts.run[residue] for residue in window)


def _products_with_one_shorter(base: int, share: int, trained: int, length: int) -> Fraction:
    """The mean over the shorter lengths, as one long numerator: many long fractions would be slow to add."""
    longest, unit, lengths = dropped_run(base, trained, length), base**trained, length - 1 - trained
    counts = by_residue(share, unit, longest.remainder(share))
    cycles = longest.size // share
    starts = run_starts(base, share, lengths)
    scale = (base - 1) * base ** max(0, lengths - 1)
    right = 0
    for factor, row in ((cycles, counts.cycle), (1, counts.run)):
        below = list(accumulate([*row, *row], initial=0))  # sums of the counts of the first residues
        gained = {}  # starts repeat
        for start in set(starts):
            size = (base - 1) * start % share
            gained[start] = share * (below[start + size] - below[start]) - size * below[share]
        right += factor * (lengths * below[share] * scale + in_base(base, [gained[start] for start in starts]))
    # A factor of at most n digits drops nothing, and then p' must divide X v.
    for least, numbers in multiples_by_gcd(share, longest).items():
        right += numbers * (share // least) * _multiples(base, trained, least) * unit * scale // (base - 1)
    return Fraction(right, share * unit**2 * scale * longest.size * (length - 1))


def _multiples(base: int, lengths: int, divisor: int) -> int:
    """The shares of multiples of ``divisor`` among the numbers of exactly 1, 2, ..., ``lengths`` digits, summed.

    In units of 1 / divisor and 1 / ((B - 1) B^lengths).
    """
    powers = [-power % divisor for power in run_starts(base, divisor, lengths + 1)]
    extra = [above - below for below, above in pairwise(powers)]  # the first is for 1 .. B - 1, and zero is a multiple
    one_digit = (-base % divisor) * (base - 1) * base ** (lengths - 1)
    return lengths * (base - 1) * base**lengths + one_digit + base * in_base(base, [0, *extra[1:]])
