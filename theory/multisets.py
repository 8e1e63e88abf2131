"""Multisets: one window for all orders of the digits in a column, where no head can tell the operands apart.

A softmax head forms sums over its keys of what depends on a key's token and class. Where all operand digits of a place
share one class, exchanging them permutes the terms of these sums, so that the logits of a row stay as they are (in
floating point up to rounding, which the bound of ``models.rounding`` covers in any order of summation). Where the
machine reads a column alike in every order too, tokens and states stay as they are, so that any window of any problem
is one of a problem whose columns rise, with digits exchanged. Those alone are looked at: C(B + k - 1, k) columns in
place of B^k. Source: ours.

>>> from carryproof.theory import tasks
>>> from carryproof.theory.cases import process_of
>>> from carryproof.theory.coverage import shortest_training
>>> three = process_of(tasks.addition(3, base=3))
>>> [shortest_training(each, law="spelled").windows[-1] for each in (three, as_multisets(three))]
[2298, 343]
"""

from dataclasses import replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from carryproof.theory.processes import Process

FEWEST = 3  # two operands have few windows, which stay as they are written
COLUMNS_LIMIT = 1_000_000  # looked at to see whether their order matters


@cache
def as_multisets(process: Process) -> Process:
    """The process with its columns read as multisets, if it has three operands at least that can be exchanged."""
    return replace(process, columns="multisets") if exchangeable(process) else process


@cache
def exchangeable(process: Process) -> bool:
    """Whether there are three operands at least, written alike, and the machine reads their digits alike in any order.

    Decided by reading every column. Not so where there are more than a million of them, or no machine to read them.
    """
    fixed = {slot.operand for slot in process.fixed}
    homes = [home for operand, home in enumerate(process.homes) if operand not in fixed]
    if len(homes) < FEWEST or len(set(homes)) > 1 or process.machine is None or process.machine.read is None:
        return False
    if process.base ** len(homes) > COLUMNS_LIMIT:
        return False
    columns = every_column(process.base, len(homes))
    return np.array_equal(process.machine.read(columns), process.machine.read(np.sort(columns, axis=1)))


def every_column(base: int, operands: int) -> NDArray[np.int64]:
    """All columns of digits ``[column, operand]``.

    >>> every_column(2, 2).tolist()
    [[0, 0], [0, 1], [1, 0], [1, 1]]
    """
    return np.indices((base,) * operands).reshape(operands, -1).T
