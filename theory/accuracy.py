"""The exact accuracy of the truncation surrogate on numbers longer than those of training (laws L4 and L5).

The surrogate f^ computes the task on the last n digits of each operand: f^(a, b) = f(a mod B^n, b mod B^n). With
p' = p / gcd(p, B^n), a modular sum is right iff p' divides the sum of the dropped high parts. Their values are runs of
consecutive integers, a whole number of cycles modulo p' and a remainder, so the share is a fraction found by
arithmetic for numbers of any length; nothing is enumerated but the remainders. Source: our sharpening of the limit
gcd(p, 10^n) / p of Xu et al., arXiv 2407.17963.

>>> from carryproof.theory import tasks
>>> [str(surrogate_accuracy(tasks.modular_addition(101), trained=4, length=m)) for m in (5, 6, 7)]
['0', '41/4050', '99/10000']
"""

import math
from collections.abc import Iterator
from fractions import Fraction
from itertools import product

import numpy as np
from numpy.typing import NDArray

from carryproof.theory.ranges import OperandLaw
from carryproof.theory.tasks import Task, dropped_share

REMAINDER_LIMIT = 20_000  # largest p' whose remainders are convolved, for three operands or more
BOX_LIMIT = 10_000  # most boxes of operands summed over, under the laws ``longest`` and ``unequal``
PRODUCT_LIMIT = 160  # largest p' whose p'^3 residue triples are summed, for modular multiplication

Run = tuple[int, int]  # the integers low..high - 1


def surrogate_accuracy(task: Task, *, trained: int, length: int, law: OperandLaw = "exact") -> Fraction | None:
    """The share of problems of ``length`` digits on which the surrogate of ``trained`` digits is right.

    Operands follow ``law`` (see ``carryproof.theory.ranges``). None if the count is out of reach: modular
    multiplication with p' above 160 or operands other than two; three or more operands with p' above 20,000 or with
    too many boxes under the laws ``longest`` and ``unequal``.
    """
    if length <= trained:
        return Fraction(1)
    combinations = task.operands * (length - 1) ** (task.operands - 1) if law == "unequal" else 1
    if law != "exact" and combinations * 2**task.operands > BOX_LIMIT:  # a run below and above B^n is two boxes
        return None
    total = Fraction(0)
    for share, runs in _cases(task, length, law):
        if share == 0:
            continue
        correct = _correct(task, trained, runs)
        if correct is None:
            return None
        total += share * Fraction(correct, math.prod(high - low for low, high in runs))
    return total


def _cases(task: Task, length: int, law: OperandLaw) -> Iterator[tuple[Fraction, list[Run]]]:
    """Split a law into boxes of independent uniform operands, with signed shares that sum to one."""
    base, operands = task.base, task.operands
    match law:
        case "exact":
            yield Fraction(1), [_exactly(length, base)] * operands
        case "longest":  # all tuples below B^m, less those below B^(m-1)
            outer, inner = base ** (length * operands), base ** ((length - 1) * operands)
            if length == 1:
                outer, inner = 1, 0
            yield Fraction(outer, outer - inner), [(0, base**length)] * operands
            yield Fraction(-inner, outer - inner), [(0, base ** (length - 1))] * operands
        case "unequal":
            shorter = range(1, length)
            share = Fraction(1, operands * len(shorter) ** (operands - 1))
            for position in range(operands):
                for others in product(shorter, repeat=operands - 1):
                    lengths = [*others[:position], length, *others[position:]]
                    yield share, [_exactly(each, base) for each in lengths]


def _exactly(length: int, base: int) -> Run:
    """The numbers of exactly ``length`` digits; zero has one digit."""
    return (base ** (length - 1) if length > 1 else 0, base**length)


def _correct(task: Task, trained: int, runs: list[Run]) -> int | None:
    """How many operand tuples of the box ``runs`` the surrogate answers correctly."""
    unit = task.base**trained
    if task.modulus is not None:
        share = dropped_share(task.modulus, task.base, trained)
        if share == 1:
            return math.prod(high - low for low, high in runs)
        match task.operation.name:
            case "multiplication":
                return _modular_products(share, unit, runs) if task.operands == 2 and share <= PRODUCT_LIMIT else None
            case "addition" | "subtraction":
                signs = (1, -1) if task.operation.name == "subtraction" else (1,) * task.operands
                return _modular_sums(share, unit, runs, signs)
            case _:
                return None
    match task.operation.name:
        case "addition":  # a dropped part is never negative, so all of them must be zero
            return math.prod(max(0, min(high, unit) - low) for low, high in runs)
        case "subtraction":  # the dropped parts must be equal
            return _equal_high_parts(unit, *runs)
        case "multiplication":
            return _equal_products(unit, *runs)
        case _:
            return None


def _blocks(unit: int, run: Run) -> list[tuple[Run, Run]]:
    """A run as boxes of (high parts, low parts): the numbers below B^n, then the whole blocks above them."""
    low, high = run
    boxes: list[tuple[Run, Run]] = []
    if low < unit:
        boxes.append(((0, 1), (low, min(high, unit))))
    if high > unit:
        boxes.append(((max(low, unit) // unit, high // unit), (0, unit)))
    return boxes


def _modular_sums(modulus: int, unit: int, runs: list[Run], signs: tuple[int, ...]) -> int | None:
    """Tuples whose signed high parts sum to 0 modulo ``modulus``.

    A run of N = k * modulus + s high parts is k full cycles and s more. Tuples with at least one part in full cycles
    hit every residue equally often; only the tuples of remainders must be counted.
    """
    total = 0
    for boxes in product(*(_blocks(unit, run) for run in runs)):
        repeats = math.prod(high - low for _, (low, high) in boxes)
        sizes = [high - low for (low, high), _ in boxes]
        rests = [size % modulus for size in sizes]
        count = _zero_sums(modulus, [low for (low, _), _ in boxes], rests, signs)
        if count is None:
            return None
        total += repeats * ((math.prod(sizes) - math.prod(rests)) // modulus + count)
    return total


def _zero_sums(modulus: int, starts: list[int], sizes: list[int], signs: tuple[int, ...]) -> int | None:
    """Tuples from runs shorter than ``modulus`` whose signed sum is 0 modulo ``modulus``."""
    if min(sizes) == 0:
        return 0
    # A run counted with sign -1 is the run of its negatives, from the last one up.
    signed = [
        start if sign > 0 else -(start + size - 1) for start, size, sign in zip(starts, sizes, signs, strict=True)
    ]
    if len(sizes) == 2:  # the overlap of one run with the negatives of the other, on a circle
        gap = (-(signed[1] + sizes[1] - 1) - signed[0]) % modulus
        return sum(max(0, min(sizes[0], turn + sizes[1]) - max(0, turn)) for turn in (gap, gap - modulus))
    if modulus > REMAINDER_LIMIT:
        return None
    counts = np.ones(1, dtype=object)  # how many tuples of the runs so far have each offset from their starts
    for size in sizes:
        heap = np.concatenate([[0], np.cumsum(np.concatenate([counts, np.zeros(size - 1, dtype=object)]))])
        counts = heap[1:] - heap[np.maximum(0, np.arange(1, len(heap)) - size)]  # sums over windows of the run's size
    return int(counts[-sum(signed) % modulus :: modulus].sum())


def _equal_high_parts(unit: int, left: Run, right: Run) -> int:
    """Pairs with equal high parts."""
    count = 0
    for (high_l, low_l), (high_r, low_r) in product(_blocks(unit, left), _blocks(unit, right)):
        shared = max(0, min(high_l[1], high_r[1]) - max(high_l[0], high_r[0]))
        count += shared * (low_l[1] - low_l[0]) * (low_r[1] - low_r[0])
    return count


def _equal_products(unit: int, left: Run, right: Run) -> int:
    """Pairs with a b = (a mod B^n)(b mod B^n): neither has a high part, or the number beside a high part is 0."""
    short_l, short_r = (max(0, min(run[1], unit) - run[0]) for run in (left, right))
    long_l, long_r = (run[1] - max(run[0], unit) if run[1] > unit else 0 for run in (left, right))
    return short_l * short_r + long_l * (right[0] == 0) + long_r * (left[0] == 0)


def _modular_products(modulus: int, unit: int, runs: list[Run]) -> int:
    """Pairs with Y (X M + u) + X v = 0 modulo p' = ``modulus``, for high parts X, Y and low parts u, v (law L5)."""
    tables = []
    for run in runs:  # how often each pair of residues (high part, low part) occurs
        table = np.zeros((modulus, modulus), dtype=object)
        for highs, lows in _blocks(unit, run):
            table += np.outer(_cycle_counts(highs, modulus), _cycle_counts(lows, modulus))
        tables.append(table)
    left, right = tables
    residue = np.arange(modulus)
    total = 0
    for x in np.flatnonzero(left.any(axis=1)):
        by_factor = np.roll(left[x], int(x) * unit % modulus)  # low parts u by the value X M + u
        for y in np.flatnonzero(right.any(axis=1)):
            by_value = np.zeros(modulus, dtype=object)  # low parts v by the value X v
            np.add.at(by_value, (x * residue) % modulus, right[y])
            total += int(np.dot(by_factor, by_value[(-residue * y) % modulus]))
    return total


def _cycle_counts(run: Run, modulus: int) -> NDArray[np.object_]:
    """How many of the integers of a run have each residue."""
    low, high = run
    cycles, rest = divmod(high - low, modulus)
    counts = np.full(modulus, cycles, dtype=object)
    counts[(low % modulus + np.arange(rest)) % modulus] += 1
    return counts
