"""Causal graphs as data: named variables of finite domains, their parents, and the rules that compute them.

A graph is an algorithm that can be run on many problems at once and interfered with: an intervention gives a variable
values of its own instead of those of its rule, and everything below follows. That is a hypothesis about what a model
computes, in the form in which interchange interventions test it (Geiger et al. 2106.02997). A value is the index of
its name in the variable's domain, so the digits are themselves.

>>> larger = Graph(name="the larger of two digits", outputs=("A",), variables=(
...     Variable(name="D", values=DECIMAL), Variable(name="E", values=DECIMAL),
...     Variable(name="LESS", values=FLAG, parents=("D", "E"), rule=np.less),
...     Variable(name="A", values=DECIMAL, parents=("LESS", "E", "D"), rule=np.where)))
>>> problems = {"D": np.array([3, 5]), "E": np.array([4, 1])}
>>> larger.run(problems)["A"].tolist(), larger.run(problems, {"LESS": np.array([0, 1])})["A"].tolist()
([4, 5], [3, 1])
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carryproof.theory.errors import bad, unknown

SCHEMA_VERSION = 1
DECIMAL = tuple("0123456789")
FLAG = ("0", "1")
Values = NDArray[np.int64]  # of a variable, an entry for each problem
Given = NDArray[np.generic]  # likewise, of any type of integers
Rule = Callable[..., Any]  # from the parents' values, int64 [problem], to the variable's; a constant takes none


@dataclass(frozen=True, kw_only=True, slots=True)
class Variable:
    """A named quantity: ``values`` names its domain, ``rule`` computes it from ``parents``; an input has neither."""

    name: str
    values: tuple[str, ...]
    parents: tuple[str, ...] = ()
    rule: Rule | None = None

    def __post_init__(self) -> None:
        if not self.values or len(set(self.values)) < len(self.values):
            raise bad(f"values of {self.name}", self.values, "one or more names, each once")
        if self.parents and self.rule is None:
            raise bad(f"rule of {self.name}", None, "a function of its parents' values; only an input has no rule")


@dataclass(frozen=True, kw_only=True, slots=True)
class Graph:
    """Variables, in any order, and those of them that are the answer.

    Raises a one-line ``ValueError`` for names given twice, parents or outputs that are no variables, cycles, and
    graphs without an input or an output.
    """

    name: str
    variables: tuple[Variable, ...]
    outputs: tuple[str, ...]
    order: tuple[Variable, ...] = field(init=False, repr=False)  # the variables, parents first

    def __post_init__(self) -> None:
        named = {variable.name: variable for variable in self.variables}
        if len(named) < len(self.variables):
            names = [variable.name for variable in self.variables]
            raise bad("variables", next(name for name in names if names.count(name) > 1), "each name once")
        for variable in self.variables:
            for parent in variable.parents:
                if parent not in named:
                    raise unknown(f"parents of {variable.name}", parent, named)
        for output in self.outputs:
            if output not in named:
                raise unknown("outputs", output, named)
        if not self.outputs:
            raise bad("outputs", self.outputs, "one or more variables")
        if not self.inputs:
            raise bad("variables", tuple(named), "at least one input, which has no rule")
        try:
            order = tuple(TopologicalSorter({each.name: each.parents for each in self.variables}).static_order())
        except CycleError as error:
            raise bad("variables", " -> ".join(error.args[1]), "no variable below itself") from None
        object.__setattr__(self, "order", tuple(named[name] for name in order))

    @property
    def inputs(self) -> tuple[str, ...]:
        """The variables without a rule."""
        return tuple(variable.name for variable in self.variables if variable.rule is None)

    def run(self, inputs: Mapping[str, Given], interventions: Mapping[str, Given] | None = None) -> dict[str, Values]:
        """The value of every variable, int64 ``[problem]``, from those of the inputs and of variables interfered with.

        Raises ``ValueError`` for unknown names, inputs that are missing or of different lengths, and values outside a
        domain, those that a rule gives included.
        """
        given = {} if interventions is None else interventions
        for name in inputs:
            if name not in self.inputs:
                raise unknown("inputs", name, self.inputs)
        for name in given:
            self._require(name)
        missing = [name for name in self.inputs if name not in inputs]
        if missing:
            raise bad("inputs", tuple(inputs), f"values of all inputs; {', '.join(missing)} missing")
        shape = inputs[self.inputs[0]].shape
        found: dict[str, Values] = {}
        for variable in self.order:
            if variable.name in given:
                values = given[variable.name]
            elif variable.rule is None:
                values = inputs[variable.name]
            else:
                values = variable.rule(*(found[parent] for parent in variable.parents))
            found[variable.name] = _checked(variable, values, shape)
        return found

    def interchange(
        self, base: Mapping[str, Given], source: Mapping[str, Given], variables: Iterable[str]
    ) -> dict[str, Values]:
        """A run on ``base`` in which some variables have the values that they have in a run on ``source``."""
        names = tuple(variables)
        for name in names:
            self._require(name)
        elsewhere = self.run(source)
        return self.run(base, {name: elsewhere[name] for name in names})

    def below(self, name: str) -> tuple[str, ...]:
        """The variables that an intervention on this one can change, itself first and parents before children."""
        self._require(name)
        reached = {name}
        for variable in self.order:
            if reached.intersection(variable.parents):
                reached.add(variable.name)
        return tuple(variable.name for variable in self.order if variable.name in reached)

    def to_dict(self) -> dict[str, Any]:
        """Names, domains, parents and outputs, for JSON and for drawing; rules are code and stay behind."""
        return {
            "schema_version": SCHEMA_VERSION,
            "name": self.name,
            "variables": [
                {"name": each.name, "values": list(each.values), "parents": list(each.parents)} for each in self.order
            ],
            "inputs": list(self.inputs),
            "outputs": list(self.outputs),
        }

    def _require(self, name: str) -> None:
        names = [variable.name for variable in self.variables]
        if name not in names:
            raise unknown("variable", name, names)


def _checked(variable: Variable, values: object, shape: tuple[int, ...]) -> Values:
    array = np.asarray(values)
    if array.shape not in ((), shape) or array.dtype.kind not in "biu":
        raise bad(
            f"values of {variable.name}", f"{array.dtype} {list(array.shape)}", f"integers {list(shape)}, as the inputs"
        )
    if array.size and (array.min() < 0 or array.max() >= len(variable.values)):
        outside = int(array.min() if array.min() < 0 else array.max())
        raise bad(f"values of {variable.name}", outside, f"0 to {len(variable.values) - 1}")
    return np.broadcast_to(array.astype(np.int64, copy=False), shape)
