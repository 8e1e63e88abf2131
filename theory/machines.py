"""Machines: which columns and written tokens determine the next token, decided for all lengths.

Two problems that agree on what is visible can still leave a machine in two states: follow every such pair of states.
The last r columns and tokens decide iff no pair left after r steps writes two different tokens, and the pairs only
shrink, so that some r decides or none does (pair graph of D. A. Huffman, 1959, and S. Even, 1965).

>>> from carryproof.theory import tasks
>>> from carryproof.theory.cases import process_of
>>> [machine_radius(process_of(tasks.addition(count, base=2)).machine) for count in (2, 3, 4, 5, 8, 9)]
[1, 2, 2, 3, 3, 4]
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from carryproof.theory.errors import bad
from carryproof.theory.processes import Machine, State

STATES_LIMIT = 1_000
Rows = NDArray[np.int64]


def determines(machine: Machine, *, inputs: set[int], outputs: set[int]) -> bool:
    """Whether the columns ``inputs`` steps back and the tokens ``outputs`` steps back decide the token, always.

    >>> from carryproof.theory import tasks
    >>> from carryproof.theory.cases import process_of
    >>> machine = process_of(tasks.addition()).machine
    >>> determines(machine, inputs={0, 1}, outputs={1}), determines(machine, inputs={0, 1, 2}, outputs=set())
    (True, False)
    """
    after, written, pairs = tables(machine)
    for back in range(max([0, *inputs, *outputs]), 0, -1):
        pairs = _advance(pairs, after, written, see_input=back in inputs, see_output=back in outputs)
    if 0 in inputs:
        return not any((pairs & (token[:, None] != token[None, :])).any() for token in written.T)
    reached = pairs.any(axis=1)
    constant = (written == written[:, :1]).all(axis=1)
    differ = pairs & (written[:, 0, None] != written[None, :, 0])
    return bool(constant[reached].all() and not differ.any())


def machine_radius(machine: Machine) -> int | None:
    """The least r for which the present column and the last r columns and tokens decide; None if no r does."""
    after, written, pairs = tables(machine)
    radius = 0
    while any((pairs & (token[:, None] != token[None, :])).any() for token in written.T):
        following = _advance(pairs, after, written, see_input=True, see_output=True)
        if (following == pairs).all():
            return None  # the pairs never shrink again
        pairs, radius = following, radius + 1
    return radius


@cache
def tables(machine: Machine) -> tuple[Rows, Rows, NDArray[np.bool_]]:
    """Next state and token ``[state, letter]``, and which states two problems can be in after the same start."""
    rows, members = _explored(machine)
    index = {state: at for at, state in enumerate(rows)}
    after = [[index[following] for following, _ in row] for row in rows.values()]
    written = [[token for _, token in row] for row in rows.values()]
    pairs = np.zeros((len(rows), len(rows)), dtype=bool)
    for group in members:
        at = [index[state] for state in group]
        pairs[np.ix_(at, at)] = True
    return np.array(after, dtype=np.int64), np.array(written, dtype=np.int64), pairs


def states(machine: Machine) -> tuple[State, ...]:
    """The states that can be reached, in the order of ``tables``."""
    return tuple(_explored(machine)[0])


@cache
def _explored(machine: Machine) -> tuple[dict[State, list[tuple[State, int]]], list[list[State]]]:
    """The steps from every state, by letter, and the states that each start leads to."""
    rows: dict[State, list[tuple[State, int]]] = {}
    members = []
    for start in machine.starts:
        reached = [start]
        known = {start}
        for state in reached:
            rows[state] = [machine.step(state, letter) for letter in range(machine.letters)]
            for following, _ in rows[state]:
                if following not in known:
                    known.add(following)
                    reached.append(following)
            if len(rows.keys() | known) > STATES_LIMIT:
                raise bad("states of the machine", len(rows.keys() | known), f"at most {STATES_LIMIT:,}")
        members.append(reached)
    return rows, members


def _advance(
    pairs: NDArray[np.bool_], after: Rows, written: Rows, *, see_input: bool, see_output: bool
) -> NDArray[np.bool_]:
    """The pairs of states one column on, if only what is seen has to agree."""
    result = np.zeros_like(pairs)
    if see_input:
        for target, token in zip(after.T, written.T, strict=True):
            first, second = np.nonzero(pairs & (token[:, None] == token[None, :]) if see_output else pairs)
            result[target[first], target[second]] = True
            if result.all():  # the other letters can add nothing
                break
        return result
    order = np.argsort(written, axis=None, kind="stable") if see_output else np.arange(written.size)
    tokens = written.ravel()[order]
    for moved in np.split(order, np.flatnonzero(np.diff(tokens)) + 1) if see_output else [order]:
        # only the states that this token leaves and enters: few where a token tells the state
        leaves, leave = np.unique(moved // written.shape[1], return_inverse=True)
        enters, enter = np.unique(after.ravel()[moved], return_inverse=True)
        moves = np.zeros((len(leaves), len(enters)))
        moves[leave, enter] = 1
        result[np.ix_(enters, enters)] |= (moves.T @ pairs[np.ix_(leaves, leaves)] @ moves) > 0
    return result
