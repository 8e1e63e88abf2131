"""Laws by which the operands of scripts are drawn: uniform digits, or columns that hold rare sums more often.

Of many digits extreme sums are rare: three nines come once in a thousand columns, and a carry of two into them more
rarely still. Leading zeros are allowed throughout. Nothing here looks at lengths beyond the asked one.

>>> from carryproof.theory import tasks
>>> from carryproof.theory.cases import process_of
>>> sums = sum(draw_letters(process_of(tasks.addition(3)), 1, 28_000, np.random.default_rng(0)))
>>> bool((abs(np.bincount(sums[:, 0]) - 1_000) < 150).all())    # 0 to 27, each as often
True
"""

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from carryproof.theory.digits import Digits
from carryproof.theory.errors import bad
from carryproof.theory.multisets import COLUMNS_LIMIT, every_column, exchangeable
from carryproof.theory.processes import Process


def draw_digits(process: Process, size: int, count: int, generator: np.random.Generator) -> list[Digits]:
    """Operand digits of ``count`` problems of ``size`` places, uniform over those that the process takes."""

    def uniform() -> list[Digits]:
        return [
            generator.integers(0, process.base, size=(count, places), dtype=np.uint8) for places in process.widths(size)
        ]

    return _within_domain(process, uniform, count)


def draw_letters(process: Process, size: int, count: int, generator: np.random.Generator) -> list[Digits]:
    """Operand digits of problems whose columns are read as uniform letters, such as the sum of the digits in a column.

    Of the columns that are read alike each is as likely. Problems that the process does not take are drawn again.
    """
    columns, firsts = _by_letter(process)

    def uniform() -> list[Digits]:
        return _split(_of_letters(columns, firsts, (count, size), generator))

    return _within_domain(process, uniform, count)


def draw_multisets(process: Process, size: int, count: int, generator: np.random.Generator) -> list[Digits]:
    """As ``draw_letters``, but of the multisets of digits that are read alike each is as likely, in any order.

    Columns of equal digits, which stand in one order only, are then no rarer than others.
    """
    if not exchangeable(process):
        raise bad("draw", "multisets", f"digits for {process.name}: no three operands can be exchanged in it")
    columns, firsts = _by_letter(process)
    rising = (np.diff(columns.astype(np.int64), axis=1) >= 0).all(axis=1)
    before = np.concatenate([[0], np.cumsum(rising)])

    def uniform() -> list[Digits]:
        digits = _of_letters(columns[rising], before[firsts], (count, size), generator)
        return _split(generator.permuted(digits, axis=-1))

    return _within_domain(process, uniform, count)


def _of_letters(
    columns: Digits, firsts: NDArray[np.int64], shape: tuple[int, int], generator: np.random.Generator
) -> NDArray[np.uint8]:
    """Columns ``[problem, place, operand]``: a letter, then one of its columns, which begin at ``firsts``."""
    letters = generator.integers(0, len(firsts) - 1, size=shape)
    shares = generator.random(shape)
    return columns[firsts[letters] + (shares * np.diff(firsts)[letters]).astype(np.int64)]


def _split(digits: NDArray[np.uint8]) -> list[Digits]:
    return [np.ascontiguousarray(digits[..., operand]) for operand in range(digits.shape[-1])]


@cache
def _by_letter(process: Process) -> tuple[Digits, NDArray[np.int64]]:
    """All columns ``[column, operand]`` in the order of their letters, and where each letter that occurs begins."""
    machine, operands = process.machine, len(process.homes)
    if machine is None or machine.read is None or process.fixed or len(set(process.homes)) > 1:
        raise bad("draw", "letters", f"digits for {process.name}: no machine reads its operands column by column")
    if process.base**operands > COLUMNS_LIMIT:
        raise bad("draw", "letters", f"digits for {process.name}: its columns are more than {COLUMNS_LIMIT:,}")
    columns = every_column(process.base, operands)
    letters = machine.read(columns)
    order = np.argsort(letters, kind="stable")
    firsts = np.unique(letters[order], return_index=True)[1]
    return columns[order].astype(np.uint8), np.append(firsts, len(columns))


def _within_domain(process: Process, draw: Callable[[], list[Digits]], count: int) -> list[Digits]:
    """The first ``count`` of the problems drawn that the process takes."""
    kept: list[list[Digits]] = []
    missing = count
    while missing > 0:
        digits = draw()
        if process.domain is not None:
            inside = process.domain(digits)
            digits = [each[inside] for each in digits]
        kept.append(digits)
        missing -= len(digits[0])
    return [np.concatenate(parts)[:count] for parts in zip(*kept, strict=True)]


DRAWS: dict[str, Callable[[Process, int, int, np.random.Generator], list[Digits]]] = {
    "digits": draw_digits,
    "letters": draw_letters,
    "multisets": draw_multisets,
}
