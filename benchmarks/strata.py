"""Strata of addition problems by their longest carry chain.

A chain is one column whose sum reaches the base, together with the columns directly above it whose sum is one less
than the base, through which the carry runs on. Long chains are what a random test hardly ever shows: at 100 decimal
digits 0.43 % of problems have a chain of five or more.

>>> problem = np.array([[[7, 9, 0], [5, 0, 0]]], dtype=np.uint8)   # 97 + 5: a carry, and a nine above it
>>> longest_chain(problem, base=10).tolist()
[2]
"""

import numpy as np
from numpy.typing import NDArray

from carryproof.theory.digits import Digits
from carryproof.theory.tasks import Task


def longest_chain(operands: Digits, base: int) -> NDArray[np.int64]:
    """The longest carry chain of two-operand additions ``[problem, operand, place]``, in columns."""
    sums = operands.sum(axis=1, dtype=np.int64)
    running = np.zeros(len(sums), dtype=np.int64)
    longest = running.copy()
    for column in sums.T:
        running = np.where(column >= base, 1, np.where((column == base - 1) & (running > 0), running + 1, 0))
        longest = np.maximum(longest, running)
    return longest


def strata(task: Task, operands: Digits) -> dict[str, NDArray[np.bool_]]:
    """Named subsets of a batch: ``all``, and ``chain=0`` .. ``chain=4+`` where two numbers are added."""
    whole = {"all": np.ones(len(operands), dtype=bool)}
    if task.operation.name != "addition" or task.operands != 2:
        return whole
    chains = longest_chain(operands, task.base)
    short = {f"chain={length}": chains == length for length in range(4)}
    return {name: mask for name, mask in (whole | short | {"chain=4+": chains >= 4}).items() if mask.any()}
