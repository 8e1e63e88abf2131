"""Maps of several models laid over each other: which variable sits where in all of them, and which claims hold.

Places are compared by meaning: a variable of column k is found at D'k, or where Ak+1 is decided, whatever k is and
however long the text. A place counts once for every model that has it at some column, and once for every column; heads
of a layer are alike, since models number them as they please, and the last layer is the last however many there are.

>>> carried = {"verdict": "carried", "nodes": ["P7L1H1"]}
>>> search = {"model": {"digits": 2, "layers": 2}, "variables": {"A0.SV": carried}, "nodes": {"P7L1H1": {}}}
>>> (place,) = common_places([search, search])
>>> print(place)
Ak.SV by a head of the last layer where Ak+1 is decided: in 2 of 2 models, 2 of 2 columns
"""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from carryproof.circuits.assignment import CARRIED, PARTLY
from carryproof.circuits.maps import single, useful_nodes
from carryproof.circuits.nodes import HEAD, MLP, NEURON, RESIDUAL, parse
from carryproof.circuits.sites import place_of, relative, where
from carryproof.circuits.texts import context

KINDS = {HEAD: "a head", MLP: "the MLP", NEURON: "a neuron", RESIDUAL: "the stream"}
Search = Mapping[str, Any]
Key = tuple[str, str, str, str]  # variable, place, layer and kind of node


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where variables are carried: in ``models`` of ``of_models`` that have them, at ``columns`` of ``of_columns``.

    ``partly`` counts further columns where they are carried in part; a model with such columns only is not counted.
    """

    variables: tuple[str, ...]
    where: str
    layer: str
    kind: str
    models: int
    of_models: int
    columns: int
    of_columns: int
    partly: int

    def __str__(self) -> str:
        what, share = ", ".join(self.variables), f"{self.columns} of {self.of_columns} columns"
        models = f"in {self.models} of {self.of_models} models"
        return f"{what} by {self.kind} of {self.layer} {self.where}: {models}, {share}"


def common_places(searches: Sequence[Search]) -> tuple[Place, ...]:
    """Where the variables of some models were found, what most models share first.

    Variables that are found at the same place equally often are listed together, as those that move together are.
    """
    asked, asked_columns = Counter[str](), Counter[str]()
    models, columns, partly = Counter[Key](), Counter[Key](), Counter[Key]()
    for search in searches:
        patterns = Counter(
            pattern(name) for name in {each for names in search.get("variables", ()) for each in single(names)}
        )
        asked.update(patterns.keys())
        asked_columns.update(patterns)
        carried, found = set(_found(search, (CARRIED,))), set(_found(search, (CARRIED, PARTLY)))
        columns.update(key for _, key in carried)
        partly.update(key for _, key in found - carried)
        models.update({key for _, key in carried})
    together: dict[tuple[Any, ...], list[str]] = {}
    for key in {**columns, **partly}:
        name, place, layer, kind = key
        counts = (models[key], asked[name], columns[key], asked_columns[name], partly[key])
        together.setdefault((place, layer, kind, *counts), []).append(name)
    places = [
        Place(
            variables=tuple(sorted(names)),
            where=place,
            layer=layer,
            kind=kind,
            models=count,
            of_models=of_models,
            columns=of_key,
            of_columns=of_columns,
            partly=in_part,
        )
        for (place, layer, kind, count, of_models, of_key, of_columns, in_part), names in together.items()
    ]
    return tuple(sorted(places, key=_shared))


def _shared(place: Place) -> tuple[Any, ...]:
    """What most models and columns share comes first."""
    models, columns = place.models / place.of_models, place.columns / place.of_columns
    return -models, -place.of_models, -columns, -place.partly, place.layer, place.variables


def pattern(variable: str) -> str:
    """A variable with its column as k.

    >>> pattern("A3.SA"), pattern("SGN")
    ('Ak.SA', 'SGN')
    """
    place = place_of(variable)
    return variable if place is None else relative(variable, place)


def layer_word(layer: int, layers: int) -> str:
    """A layer by its place among so many.

    >>> [layer_word(layer, 3) for layer in range(3)], layer_word(0, 1)
    (['the first layer', 'layer 1', 'the last layer'], 'the last layer')
    """
    return "the last layer" if layer == layers - 1 else "the first layer" if layer == 0 else f"layer {layer}"


def _found(search: Search, verdicts: Collection[str]) -> Iterator[tuple[str, Key]]:
    """Every variable of a search at every place where it was found, with one of these verdicts."""
    digits, layers = search["model"]["digits"], search["model"]["layers"]
    for names, assigned in search.get("variables", {}).items():
        for variable, node in product(single(names), map(parse, assigned["nodes"])):
            if assigned["verdict"] in verdicts:
                place, text = place_of(variable), where(digits, node.position)
                there = text if place is None else relative(text, place)
                yield variable, (pattern(variable), there, layer_word(node.layer, layers), KINDS[node.kind])


@dataclass(frozen=True, kw_only=True, slots=True)
class Overlay:
    """Useful nodes of several models at once: the share of columns of a site at which a model has a useful node of a
    layer and kind, on average over the models with that layer. ``shares`` is by row and site.
    """

    rows: tuple[str, ...]
    sites: tuple[str, ...]
    shares: Mapping[tuple[str, str], float]


def overlay(searches: Sequence[Search]) -> Overlay:
    """The useful nodes of some models laid over each other by layer, kind and meaning of the position."""
    sums, order, having = dict[tuple[str, bool, str], float](), dict[str, None](), Counter[str]()
    for search in searches:
        digits, layers = search["model"]["digits"], search["model"]["layers"]
        named = [_site_class(digits, index) for index in range(context(digits) - 1)]
        size, order = Counter(named), order | dict.fromkeys(named)
        having.update(layer_word(layer, layers) for layer in range(layers))
        for layer, mlp, position in {(node.layer, node.kind == MLP, node.position) for node in useful_nodes(search)}:
            key = layer_word(layer, layers), mlp, named[position]
            sums[key] = sums.get(key, 0.0) + 1 / size[named[position]]
    ordered = sorted({key[:2] for key in sums}, key=lambda each: (("first" not in each[0]) + ("last" in each[0]), each))
    rows = {each: f"{each[0].removeprefix('the ')}, {'MLP' if each[1] else 'heads'}" for each in ordered}
    return Overlay(
        rows=tuple(rows.values()),
        sites=tuple(site for site in order if any(site == key[2] for key in sums)),
        shares={(rows[layer, mlp], site): total / having[layer] for (layer, mlp, site), total in sums.items()},
    )


def _site_class(digits: int, index: int) -> str:
    """The site of a position with every column alike; the highest digit of the answer is no column."""
    text = where(digits, index).removeprefix("at ").removeprefix("where ")
    if text.startswith(f"A{digits} "):
        return text.replace(f"A{digits}", "An", 1)
    return re.sub(r"(D'?|A)\d+", r"\1k", text, count=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Statement:
    """A claim over models: the names of those for which it has each verdict."""

    statement: str
    verdicts: Mapping[str, tuple[str, ...]]


def statements(tests: Sequence[Mapping[str, Any]]) -> tuple[Statement, ...]:
    """The claims of some tests, each once, with the models of every verdict; sizes of circuits are left out of them.

    >>> claim = {"statement": "26 nodes do add", "verdict": "holds", "reason": "0.99"}
    >>> statements([{"model": {"name": "a"}, "claims": [claim]}])[0]
    Statement(statement='the circuit does add', verdicts={'holds': ('a',)})
    """
    found: dict[str, dict[str, list[str]]] = {}
    for test in tests:
        for claim in test["claims"]:
            text = re.sub(r"^\d+ nodes do ", "the circuit does ", claim["statement"])
            found.setdefault(text, {}).setdefault(claim["verdict"], []).append(test["model"]["name"])
    return tuple(
        Statement(statement=text, verdicts={verdict: tuple(names) for verdict, names in verdicts.items()})
        for text, verdicts in found.items()
    )
