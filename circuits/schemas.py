"""What the files of an analysis hold, as JSON Schemas: ``search.json``, ``test.json`` and ``transfer.json``.

Each is plain data that says of every value what is allowed, in words too, so that a reader in any language can check a
file and a refusal can be read. Nodes are named as in ``nodes``, shares lie between 0 and 1 and come with an interval,
and nothing may stand where it has no meaning. Source of the language: JSON Schema, draft 2020-12.

>>> SCHEMAS["search"]["properties"]["nodes"]["propertyNames"]["description"]
'the name of a node, such as P18L0H1, P18L1M or P18L1N37'
>>> sorted(SCHEMAS["search"]["properties"]["right"]["properties"])
['add', 'sub_negative', 'sub_positive']
"""

from collections.abc import Collection, Mapping
from typing import Any

from carryproof.benchmarks.store import SCHEMA_VERSION
from carryproof.circuits.assignment import CARRIED, NOTHING, PARTLY
from carryproof.circuits.claims import FAILS, HOLDS, OPEN, UNTESTED
from carryproof.circuits.classes import BEHAVIOURS
from carryproof.circuits.insertion import PLACEMENTS
from carryproof.circuits.roles import ROLES
from carryproof.circuits.texts import DIGITS_AT_MOST, OPERATIONS

Schema = dict[str, Any]
DIALECT = "https://json-schema.org/draft/2020-12/schema"
ALTERNATIVES = ("resample", "resample_within", "mean", "zero")

_NUMBER = "(0|[1-9][0-9]*)"
NODE = f"P{_NUMBER}L{_NUMBER}(M|[HN]{_NUMBER})"
SITE = f"P{_NUMBER}L{_NUMBER}(M|R|[HN]{_NUMBER})"


def text(allowed: str, pattern: str = "") -> Schema:
    """A string that a pattern matches as a whole."""
    return {"type": "string", "pattern": f"^{pattern}$" if pattern else ".", "description": allowed}


def count(low: int, high: int | None = None) -> Schema:
    """An integer of a range that includes its ends."""
    if high is None:
        return {"type": "integer", "minimum": low, "description": f"an integer of at least {low}"}
    return {"type": "integer", "minimum": low, "maximum": high, "description": f"an integer from {low} to {high}"}


def real(low: float | None = None, high: float | None = None) -> Schema:
    """A finite number, of a range that includes its ends."""
    bounds = {name: bound for name, bound in (("minimum", low), ("maximum", high)) if bound is not None}
    words = [f"{name} {bound}" for name, bound in (("at least", low), ("at most", high)) if bound is not None]
    return {"type": "number", **bounds, "description": " ".join(["a number", ", ".join(words)]).strip()}


def one_of(values: Collection[Any]) -> Schema:
    """One of some values."""
    return {"enum": list(values), "description": ", ".join(map(str, values))}


def record(required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None) -> Schema:
    """An object of these fields and no others."""
    fields = {**required, **(optional or {})}
    return {
        "type": "object",
        "properties": fields,
        "required": list(required),
        "additionalProperties": False,
        "description": f"an object of {', '.join(fields)}",
    }


def table(values: Schema, keys: Schema) -> Schema:
    """An object that gives a value to each of some names."""
    allowed = f"an object: for {keys['description']}, {values['description']}"
    return {"type": "object", "propertyNames": keys, "additionalProperties": values, "description": allowed}


def row(items: Schema, at_least: int = 0) -> Schema:
    """An array."""
    allowed = f"an array of {at_least or 'any number'} or more: {items['description']}"
    return {"type": "array", "items": items, "minItems": at_least, "description": allowed}


def settings(required: Mapping[str, Schema]) -> Schema:
    """An object of these fields and, as settings grow, others."""
    return {**record(required), "additionalProperties": True}


def of_some(names: Collection[str], values: Schema) -> Schema:
    """An object that gives a value to one or more of these names."""
    return {**record({}, dict.fromkeys(names, values)), "minProperties": 1}


NAMES_NODE = text("the name of a node, such as P18L0H1, P18L1M or P18L1N37", NODE)
NAMES_SITE = text("the name of a node or residual stream, such as P18L0H1, P18L1M or P18L0R", SITE)
NAMES_POSITION = text("the index of a token, such as 18", _NUMBER)
NAMES_TOKEN = text("a token of the answer: SGN, A0, A1, ...", f"(SGN|A{_NUMBER})")
NAMES_CLASS = text("a complexity class, such as S2, M0 or N1", f"[{''.join(BEHAVIOURS)}]{_NUMBER}")
NAMES_VARIABLE = text("the name of a variable, such as A2.SA", r"\S+")
NAMES_GROUP = text("one variable or several that move together, such as A2.SA or A2.SA, A2.ST", r"\S+(, \S+)*")
ANYTHING = text("any text")
FLAG: Schema = {"type": "boolean", "description": "true or false"}
EITHER: Schema = {"type": ["boolean", "null"], "description": "true, false, or null for either"}
SHARE = {**real(0, 1), "description": "a number from 0 to 1"}
ESTIMATE = record({"value": SHARE, "low": SHARE, "high": SHARE})
BROKEN = table(ESTIMATE, one_of(BEHAVIOURS.values()))  # behaviours, as far as they are
SECONDS = table(real(0), ANYTHING)

MODEL = record(
    {
        "name": ANYTHING,
        "sha256": text("64 hexadecimal digits", "[0-9a-f]{64}"),
        "digits": count(1, DIGITS_AT_MOST),
        "operations": row(one_of(OPERATIONS), at_least=1),
        "layers": count(1),
        "heads": count(1),
        "parameters": count(1),
    }
)
SETTINGS = settings({"alternative": one_of(ALTERNATIVES), "problems": count(1), "seed": count(0)})
IMPACT = record(
    {"whole": ESTIMATE, "tokens": table(ESTIMATE, NAMES_TOKEN), "classes": table(ESTIMATE, NAMES_CLASS)},
    {"behaviours": BROKEN},
)
ATTENTION = record({"key": count(0), "mean": SHARE, "low": SHARE, "high": SHARE})
INTERCHANGE = record(
    {"pairs": count(0), **dict.fromkeys(("accuracy", "moved", "kept", "unmoved"), ESTIMATE)},
)
ASSIGNMENT = record(
    {
        "verdict": one_of((CARRIED, PARTLY, NOTHING)),
        "reason": ANYTHING,
        "nodes": row(NAMES_SITE),
        "result": INTERCHANGE,
        "random": row(INTERCHANGE),
        "untrained": INTERCHANGE,
    },
    {"variable": NAMES_GROUP},
)
LEFT = record(
    {"whole": ESTIMATE, "tokens": table(ESTIMATE, NAMES_TOKEN), "classes": table(ESTIMATE, NAMES_CLASS)},
    {"behaviours": BROKEN},
)
FAITHFULNESS = record(
    {
        "nodes": row(NAMES_NODE, at_least=1),
        "kept": LEFT,
        "dropped": LEFT,
        "gaps": row(real(-1, 1)),
        "missed": table(real(-1, 1), NAMES_NODE),
        "minimal": FLAG,
        "controls": row(ESTIMATE),
    }
)
WHOLE = record({"result": INTERCHANGE, "random": row(INTERCHANGE), "untrained": INTERCHANGE})
CLAIM = record({"statement": ANYTHING, "verdict": one_of((HOLDS, FAILS, OPEN, UNTESTED)), "reason": ANYTHING})
EDGE = text("two nodes, such as P9L0M -> P13L1H0.v", rf"{NODE} -> {NODE}(\.[a-z]+)?")

SERVED = of_some(tuple(BEHAVIOURS.values()), ESTIMATE)
SERVED_SHARES = of_some(tuple(BEHAVIOURS.values()), SHARE)
PART = record({"nodes": count(0), "share": ESTIMATE})
PARTS = record(
    {"useful": count(0)},
    dict.fromkeys((*BEHAVIOURS.values(), "both_operations", "all_three"), PART),
)
POLYSEMANTICITY = record(
    {
        "at_least": SHARE,
        "problems": count(1),
        "right": SERVED_SHARES,
        "nodes": table(SERVED, NAMES_NODE),
        "shares": PARTS,
        "thresholds": row(record({"at_least": SHARE, "shares": PARTS})),
    }
)
CRITERION = record(
    {"role": one_of(ROLES), **dict.fromkeys(("inserted", "served_source", "serves_add", "serves_sub"), EITHER)}
)
NODE_CHANGES = record(
    {
        "role": one_of(ROLES),
        "support": SHARE,
        "source": {**ESTIMATE, "type": ["object", "null"]},
        "end": SERVED,
        "milestones": row(SERVED_SHARES, at_least=1),
        "serves_since": record({}, dict.fromkeys(BEHAVIOURS.values(), count(0))),
        "likeness": {**row(real(-1, 1)), "type": ["array", "null"]},
    }
)
CHANGES = record(
    {
        "source": MODEL,
        "placement": one_of(PLACEMENTS),
        "at_least": SHARE,
        "criteria": row(CRITERION, at_least=1),
        "steps": row(count(0), at_least=1),
        "right": row(SERVED_SHARES, at_least=1),
        "right_source": SHARE,
        "counts": record(dict.fromkeys(ROLES, record({"nodes": count(0), "low": real(0), "high": real(0)}))),
        "likeness": record({}, dict.fromkeys(ROLES, record(dict.fromkeys(("median", "least", "most"), real(-1, 1))))),
        "nodes": table(NODE_CHANGES, NAMES_NODE),
    }
)


def _file(kind: str, required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None) -> Schema:
    versions = range(1, SCHEMA_VERSION + 1)
    about = {"schema_version": one_of(versions), "kind": one_of((kind,)), "model": MODEL, "settings": SETTINGS}
    return {"$schema": DIALECT, "title": f"{kind}.json", **record({**about, **required}, optional)}


SCHEMAS: dict[str, Schema] = {
    "search": _file(
        "search",
        {
            "right": SERVED,
            "positions": table(IMPACT, NAMES_POSITION),
            "nodes": table(
                record(
                    {"impact": IMPACT},
                    {"behaviours": BROKEN, "attention": row(ATTENTION), "variables": row(NAMES_GROUP)},
                ),
                NAMES_NODE,
            ),
        },
        {
            "redundant": row(record({"nodes": row(NAMES_NODE, at_least=2), "impact": SHARE})),
            "edges": row(record({"edge": EDGE, "impact": SHARE})),
            "variables": table(ASSIGNMENT, NAMES_GROUP),
            "circuit": record({"nodes": row(NAMES_NODE), "kept": ESTIMATE}),
            "attribution": record({"correlation": real(-1, 1), "mean_error": real(0), "worst_error": real(0)}),
            "seconds": SECONDS,
        },
    ),
    "test": _file(
        "test",
        {
            "graph": ANYTHING,
            "alignment": table(row(NAMES_SITE, at_least=1), NAMES_VARIABLE),
            "whole": record({}, dict.fromkeys(BEHAVIOURS.values(), WHOLE)),
            "circuits": row(
                record(
                    {
                        "behaviour": one_of(tuple(BEHAVIOURS.values())),
                        "alternative": one_of(ALTERNATIVES),
                        "result": FAITHFULNESS,
                    }
                )
            ),
            "claims": row(CLAIM),
        },
        {"groups": row(row(NAMES_VARIABLE, at_least=1)), "seconds": SECONDS},
    ),
    "transfer": _file(
        "transfer",
        {"polysemanticity": POLYSEMANTICITY},
        {
            "polysemanticity_within": POLYSEMANTICITY,
            "changes": CHANGES,
            "control": record({"model": MODEL, "changes": CHANGES}),
            "seconds": SECONDS,
        },
    ),
}
