"""Operands of any shorter length: sums over all lengths of what the dropped parts of each length contribute.

A number of n + 1 + j digits drops a part that is uniform on the (B - 1) B^j integers from B^j on. Modulo p' the starts
B^j repeat, so what a length contributes is a small integer over (B - 1) B^j, and a sum over thousands of lengths is one
long number in base B. Source: ours, for the operand law ``unequal``.

>>> run_starts(10, 7, 4), in_base(10, [1, 3, 2, 6])    # the sum of start / B^j, in units of 1 / B^3
([1, 3, 2, 6], 1326)
"""

from itertools import accumulate

from carryproof.theory.zero_sums import Run


def dropped_run(base: int, trained: int, length: int) -> Run:
    """The high parts floor(a / B^n) of the numbers of exactly ``length`` > n digits."""
    start = base ** (length - trained - 1)
    return Run(start=start, size=(base - 1) * start)


def run_starts(base: int, modulus: int, lengths: int) -> list[int]:
    """Where the dropped parts of n + 1, n + 2, ... digits begin: B^0, B^1, ... modulo ``modulus``."""
    starts, start = [], 1 % modulus
    for _ in range(lengths):
        starts.append(start)
        start = start * base % modulus
    return starts


def in_base(base: int, digits: list[int]) -> int:
    """Integers as digits, most significant first; halves first, so that few products are long."""
    if len(digits) <= 32:
        total = 0
        for digit in digits:
            total = total * base + digit
        return total
    half = len(digits) // 2
    return in_base(base, digits[:half]) * base ** (len(digits) - half) + in_base(base, digits[half:])


def mixture(base: int, modulus: int, trained: int, lengths: int) -> list[int]:
    """How the residues of dropped parts share out, for a length uniform on 1 .. n + ``lengths``.

    In units of 1 / (n + ``lengths``) and 1 / ((B - 1) B^(``lengths`` - 1)); lengths up to n drop the number 0.

    >>> mixture(10, 7, 2, 1)    # out of 3 * 9: lengths 1 and 2 drop 0, length 3 drops 1 .. 9
    [19, 2, 2, 1, 1, 1, 1]
    """
    if lengths == 0:
        return [trained] + [0] * (modulus - 1)
    steps = [0] * (2 * modulus)  # differences of the counts, on the circle laid out twice
    cycles, power = 0, 1
    for start in reversed(run_starts(base, modulus, lengths)):  # the longest first: it has weight 1, the next one B
        size = (base - 1) * start % modulus
        steps[start] += power
        steps[start + size] -= power
        cycles -= size * power
        power *= base
    scale = (base - 1) * power // base
    each, left = divmod(cycles + lengths * scale, modulus)
    assert left == 0  # full cycles are whole
    counts = list(accumulate(steps))
    shares = [low + high + each for low, high in zip(counts[:modulus], counts[modulus:], strict=True)]
    shares[0] += trained * scale
    return shares
