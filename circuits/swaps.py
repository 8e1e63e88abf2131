"""Swaps: pairs of problems, a value that moves from the one to the other, and what the answer must then become.

A swap says for every pair which tokens of the base problem's answer must change, to what, and that the others must stay
as they are; a node that carries the value passes if it is given what it wrote for the source problem and the model then
answers so. A swap that expects no change is refused, because a test must be able to fail. The expected answers come
from a causal graph, or are given by hand. Source: interchange interventions, Geiger et al. 2106.02997.

>>> from carryproof.circuits.algorithms import addition
>>> plus = np.array([False])
>>> problem = lambda *operands: Problems(operands=np.array([operands], dtype=np.uint8), subtract=plus)
>>> carry = by_graph(addition(2), ("A0.SV",), base=problem([5, 4], [2, 1]), source=problem([9, 0], [9, 3]))
>>> carry.expected.tolist()                # 45 + 12 = 57, and 67 had the units carried, as they do in 09 + 39
[[10, 0, 6, 7]]
>>> by_graph(addition(2), ("A0.SV",), base=problem([5, 4], [2, 1]), source=problem([1, 0], [1, 3]))
Traceback (most recent call last):
    ...
ValueError: swap of A0.SV: got no pair whose answer changes; allowed: at least one, for a test must be able to fail
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from carryproof.circuits.algorithms import Algorithm
from carryproof.circuits.texts import MINUS, PLUS, Problems, prompt_length, write
from carryproof.theory.errors import bad, require_integer

ROUNDS_AT_MOST = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Swap:
    """Problems in pairs, and the tokens [pair, n + 2] of the answer to ``base`` once it has the value of ``source``."""

    name: str
    base: Problems
    source: Problems
    expected: NDArray[np.int64]

    def __post_init__(self) -> None:
        name = f"swap of {self.name}"
        if not len(self.base):
            raise bad(name, "no pairs", "one or more")
        if (len(self.source), self.source.digits) != (len(self.base), self.base.digits):
            got = f"{len(self.source)} sources of {self.source.digits} digits"
            raise bad(name, got, f"{len(self.base)} of {self.base.digits}, one for each base")
        if self.expected.shape != (len(self.base), self.base.digits + 2):
            raise bad(
                name, f"expected answers {list(self.expected.shape)}", str([len(self.base), self.base.digits + 2])
            )
        if not self.changes.any():
            raise ValueError(
                f"{name}: got no pair whose answer changes; allowed: at least one, for a test must be able to fail"
            )

    def at(self, index: NDArray[np.generic] | slice) -> "Swap":
        """Some of the pairs, which must still expect a change."""
        return Swap(
            name=self.name, base=self.base.at(index), source=self.source.at(index), expected=self.expected[index]
        )

    @property
    def changes(self) -> NDArray[np.bool_]:
        """Which tokens of the answers must change, ``[pair, n + 2]``; all others must not."""
        return np.asarray(self.expected != _answers(self.base))


def by_hand(name: str, lines: Sequence[tuple[str, str, str]]) -> Swap:
    """A swap from texts: base, source, and what the answer to the base must become.

    Raises ``ValueError`` for what is no problem or answer of the size of the first line.

    >>> by_hand("the units carry", [("45+12", "09+39", "+067"), ("81+17", "09+39", "+108")]).changes.tolist()
    [[False, False, True, False], [False, True, True, False]]
    """
    texts = [(base, source) for base, source, _ in lines]
    parts = [re.fullmatch(r"(\d+)([+-])(\d+)", text) for pair in texts for text in pair]
    size = len(parts[0][1]) if parts and parts[0] else 0
    for text, part in zip((text for pair in texts for text in pair), parts, strict=True):
        if part is None or {len(part[1]), len(part[3])} != {size}:
            raise bad(f"swap of {name}", text, f"two numbers of {size or 'equally many'} digits, such as 45+12")
    for _, _, answer in lines:
        if not re.fullmatch(rf"[+-]\d{{{size + 1}}}", answer):
            raise bad(f"swap of {name}", answer, f"a sign and {size + 1} digits, such as +{'0' * size}7")
    operands = np.array([[[*map(int, reversed(part[side]))] for side in (1, 3)] for part in parts if part])
    problems = Problems(
        operands=operands.astype(np.uint8).reshape(-1, 2, size),
        subtract=np.array([part[2] == "-" for part in parts if part], dtype=bool),
    )
    expected = np.array([[MINUS if text[0] == "-" else PLUS, *map(int, text[1:])] for *_, text in lines])
    return Swap(
        name=name, base=problems.at(slice(0, None, 2)), source=problems.at(slice(1, None, 2)), expected=expected
    )


def by_graph(algorithm: Algorithm, variables: Sequence[str], *, base: Problems, source: Problems) -> Swap:
    """What an algorithm says happens when some of its variables have the values that they have in the source.

    Raises ``ValueError`` for problems that the algorithm is not for, unknown variables, and if nothing is to change.
    """
    values = algorithm.graph.interchange(algorithm.inputs(base), algorithm.inputs(source), variables)
    return Swap(name=", ".join(variables), base=base, source=source, expected=algorithm.tokens(values))


def contrasting(
    algorithm: Algorithm,
    variables: Sequence[str],
    problems: Problems,
    generator: torch.Generator,
    *,
    count: int,
    alike: Sequence[str] = (),
) -> Swap:
    """At most ``count`` pairs of the problems where the swap must change the answer, drawn until there are so many.

    Pairs where it becomes something else than the source's own at a token that changes come first, so that a node which
    carries the finished digit is told apart; a pair has the same values of the variables ``alike``. Raises
    ``ValueError`` if there is no pair.
    """
    require_integer("count", count, 1)
    given = algorithm.inputs(problems)
    values = algorithm.graph.run(given)
    answers = _answers(problems)
    found: list[tuple[bool, int, int]] = []  # whether it is like its source's answer, then base and source
    seen: set[tuple[int, int]] = set()
    for _ in range(ROUNDS_AT_MOST):
        source = torch.randint(len(problems), (len(problems),), generator=generator).numpy()
        moved = {name: values[name][source] for name in variables}
        expected = algorithm.tokens(algorithm.graph.run(given, moved))
        changes = expected != answers
        fits = changes.any(axis=1)
        for name in alike:
            fits &= values[name] == values[name][source]
        finished = ((expected == answers[source]) | ~changes).all(axis=1)
        for base in np.flatnonzero(fits).tolist():
            pair = (base, int(source[base]))
            if pair not in seen:
                seen.add(pair)
                found.append((bool(finished[base]), *pair))
        if sum(not each[0] for each in found) >= count:
            break
    chosen = sorted(found, key=lambda each: each[0])[:count]
    bases, sources = (np.array([each[side] for each in chosen], dtype=np.int64) for side in (1, 2))
    if not chosen:
        raise ValueError(
            f"swap of {', '.join(variables)}: got no pair whose answer changes; allowed: problems with at least one"
        )
    return by_graph(algorithm, variables, base=problems.at(bases), source=problems.at(sources))


def _answers(problems: Problems) -> NDArray[np.int64]:
    return write(problems)[:, prompt_length(problems.digits) :]
