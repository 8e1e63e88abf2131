"""Reading and writing the files of an analysis: what does not keep to its schema is refused in one line.

A refusal names the file, the place in it as a JSON path, what is there and what is allowed. Beyond the schema, every
node and position that a file names must be one of the model that it describes, by its numbers. Files of a schema
version that this one does not know are refused before anything else is read. Source of JSON paths: RFC 9535.

>>> require_valid("search", {"schema_version": 1, "kind": "test"}, "search.json")
Traceback (most recent call last):
ValueError: search.json: $.kind: got 'test'; allowed: search
"""

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

from carryproof.benchmarks.store import SCHEMA_VERSION, read_json, write_json
from carryproof.circuits.nodes import HEAD, parse
from carryproof.circuits.schemas import SCHEMAS, SITE
from carryproof.circuits.texts import context
from carryproof.theory.errors import unknown

SHOWN_AT_MOST = 60  # characters of a value that is refused
_FINITE = Draft202012Validator.TYPE_CHECKER.redefine(
    "number", lambda checker, value: type(value) in (int, float) and math.isfinite(value)
)
_Validator = extend(Draft202012Validator, type_checker=_FINITE)


def read_file(path: Path, kind: str) -> dict[str, Any]:
    """The content of a ``search``, ``test`` or ``transfer`` file.

    Raises a one-line ``ValueError`` with the JSON path of what is not allowed, and for a file that is missing, damaged
    or of an unknown schema version.
    """
    value = read_json(path)
    require_valid(kind, value, str(path))
    return value


def write_file(path: Path, kind: str, value: Mapping[str, Any]) -> None:
    """Write such a file, whole or not at all; ``schema_version`` and ``kind`` are added where they are missing.

    Raises a one-line ``ValueError``, and writes nothing, if the value is not what ``read_file`` would accept.
    """
    whole = {"schema_version": SCHEMA_VERSION, "kind": kind, **value}
    require_valid(kind, whole, str(path))
    write_json(path, whole)


def require_valid(kind: str, value: Mapping[str, Any], name: str) -> None:
    """A one-line ``ValueError`` about the file called ``name`` unless it may hold ``value``."""
    if kind not in SCHEMAS:
        raise unknown("kind", kind, SCHEMAS)
    version = value.get("schema_version")
    if type(version) is not int or not 1 <= version <= SCHEMA_VERSION:
        raise _refused(name, "$.schema_version", version, f"1 to {SCHEMA_VERSION}, what this version reads")
    if value.get("kind") != kind:
        raise _refused(name, "$.kind", value.get("kind"), kind)
    check(SCHEMAS[kind], value, name)
    for path, node in _named(value, "$"):
        _require_inside(value["model"], node, path, name)
    for path, position, last in _positions(value):
        if position > last:
            raise _refused(name, path, position, f"0 to {last}")


def check(schema: Mapping[str, Any], value: Any, name: str) -> None:
    """A one-line ``ValueError`` about the file called ``name`` for the first place where a value breaks a schema.

    >>> check({"type": "integer", "description": "an integer"}, 1.5, "a.json")
    Traceback (most recent call last):
    ValueError: a.json: $: got 1.5; allowed: an integer
    """
    errors = sorted(
        _Validator(schema).iter_errors(value), key=lambda error: ([str(p) for p in error.path], error.message)
    )
    if errors:
        raise _of(errors[0], name)


def _of(error: ValidationError, name: str) -> ValueError:
    """What an error says, in our words."""
    fields, path = error.schema.get("properties", {}), error.json_path
    if error.validator == "required":
        missing = next(each for each in error.validator_value if each not in error.instance)
        return ValueError(f"{name}: {path}.{missing}: missing; allowed: {fields[missing]['description']}")
    if error.validator == "additionalProperties":
        extra = next(each for each in error.instance if each not in fields)
        return _refused(name, path, extra, f"the fields {', '.join(fields)}")
    return _refused(name, path, error.instance, error.schema["description"])


def _refused(name: str, path: str, value: object, allowed: str) -> ValueError:
    shown = repr(value)
    if len(shown) > SHOWN_AT_MOST:
        shown = f"{shown[:SHOWN_AT_MOST]}..."
    return ValueError(f"{name}: {path}: got {shown}; allowed: {allowed}")


def _named(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """The nodes that some plain data names, in keys and texts, with the JSON paths where it does."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            here = f"{path}.{key}" if re.fullmatch(r"[A-Za-z]\w*", key) else f"{path}[{key!r}]"
            yield from _named(key, here)
            yield from _named(each, here)
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _named(each, f"{path}[{index}]")
    elif isinstance(value, str):
        for part in re.split(r" -> |\.", value):
            if re.fullmatch(SITE, part):
                yield path, part


def _positions(value: Mapping[str, Any]) -> Iterator[tuple[str, int, int]]:
    """Where positions and attended keys stand, what they are, and the last that they may be."""
    for position in value.get("positions", ()):
        yield f"$.positions['{position}']", int(position), context(value["model"]["digits"]) - 2
    for node, about in value.get("nodes", {}).items():
        for index, fact in enumerate(about.get("attention", ())):
            yield f"$.nodes.{node}.attention[{index}].key", fact["key"], parse(node).position


def _require_inside(model: Mapping[str, Any], node: str, path: str, name: str) -> None:
    found, last = parse(node), context(model["digits"]) - 2
    heads = model["heads"] if found.kind == HEAD else found.index + 1
    if found.position > last or found.layer >= model["layers"] or found.index >= heads:
        allowed = f"positions 0 to {last}, layers 0 to {model['layers'] - 1}, heads 0 to {model['heads'] - 1}"
        raise _refused(name, path, node, allowed)
