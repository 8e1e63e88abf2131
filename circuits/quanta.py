"""The published maps of a model, ``behaviors.json`` and ``features.json``, as findings about nodes, and back.

Both are lists of nodes by position, layer, kind and number, with tags: the first has what happens without a node and
what it attends to, the second the sub-tasks that it is said to do. What the tags say is read into numbers, and what is
not understood is named. A ``search.json`` of ours gives findings too, so that the published tools can show it and the
two can be compared; there a percentage is cut down to a whole number, and classes end at S5, M4 and N4. Classes of N
count the borrows of D' - D here and those of D - D' there. Source: Quirke et al. 2402.02619 and their tools.

>>> import tempfile
>>> node = parse("P18L0H1")
>>> with tempfile.TemporaryDirectory() as folder:
...     write_maps(Path(folder), {node: Finding(failed_percent=44, tokens=("A2",), variables=("A2.SA",))}, digits=6)
...     (Path(folder) / "features.json").read_text()
...     read_maps(Path(folder), digits=6).findings[node].variables
'[{"position": 18, "layer": 0, "is_head": true, "num": 1, "tags": ["Algo:A2.SA"]}]\\n'
('A2.SA',)
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from carryproof.circuits.classes import BEHAVIOURS
from carryproof.circuits.files import check
from carryproof.circuits.nodes import HEAD, MLP, Node, parse
from carryproof.circuits.schemas import count, record, row, text
from carryproof.circuits.tags import MOST, Finding, behaviour_tags, feature_tags, parse_tags
from carryproof.circuits.texts import context, require_digits
from carryproof.models.checkpoints import write_atomically
from carryproof.theory.errors import bad

BEHAVIORS, FEATURES = "behaviors.json", "features.json"  # as published
ATTENTION_AT_MOST = 4  # tags of one head
UNIT = 10_000  # what a share of 1 is written as, to four places

MAP = row(
    record(
        {
            "position": count(0),
            "layer": count(0),
            "is_head": {"type": "boolean", "description": "true or false"},
            "num": count(0),
            "tags": row(text("a tag such as Algo:A4.SA", "[^:]+:[^:]*")),
        }
    )
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Maps:
    """What published files say of each node, in order, and the tags that are not understood."""

    findings: Mapping[Node, Finding]
    unread: Mapping[Node, tuple[str, ...]]


def read_maps(folder: Path, *, digits: int) -> Maps:
    """The maps in a folder, of a model of so many digits; one of the two files may be missing.

    Raises a one-line ``ValueError``, with the JSON path where there is one, if both are, and for damaged files and
    nodes that such a model does not have.
    """
    require_digits("digits", digits)
    paths = [path for path in (folder / BEHAVIORS, folder / FEATURES) if path.is_file()]
    if not paths:
        raise bad("folder", str(folder), f"a folder with {BEHAVIORS} or {FEATURES}")
    tags: dict[Node, list[str]] = {}
    for path in paths:
        for index, entry in enumerate(_entries(path)):
            tags.setdefault(_node(entry, digits, f"{path}: $[{index}]"), []).extend(entry["tags"])
    read = {node: parse_tags(tags[node], digits) for node in sorted(tags)}
    unread = {node: left for node, (_, left) in read.items() if left}
    return Maps(findings={node: finding for node, (finding, _) in read.items()}, unread=unread)


def write_maps(folder: Path, findings: Mapping[Node, Finding], *, digits: int) -> None:
    """Write both files into a folder that exists, each whole or not at all.

    Raises ``ValueError`` for neurons and residual streams, for tokens that no answer of so many digits has, and for
    variables whose names no tag can hold.
    """
    require_digits("digits", digits)
    nodes = sorted(findings)
    behaviours = [_entry(node, behaviour_tags(findings[node], digits)) for node in nodes]
    features = [_entry(node, feature_tags(findings[node])) for node in nodes]
    for name, entries in ((BEHAVIORS, behaviours), (FEATURES, features)):
        write_atomically(folder / name, f"{json.dumps(entries)}\n".encode())


def from_search(search: Mapping[str, Any]) -> dict[Node, Finding]:
    """What a ``search.json`` says of its useful heads and MLPs, as far as tags can; neurons have no published form.

    Variables that move together are said of a node one by one.
    """
    found = {}
    for name, about in search["nodes"].items():
        if parse(name).kind not in (HEAD, MLP):
            continue
        impact = about["impact"]
        classes = {each[0] + str(min(int(each[1:]), MOST[each[0]])) for each in impact["classes"]}
        keys = sorted(about.get("attention", ()), key=lambda each: (-each["mean"], each["key"]))
        shares = [(each["key"], round(100 * each["mean"])) for each in keys[:ATTENTION_AT_MOST]]
        found[parse(name)] = Finding(
            failed_percent=round(UNIT * impact["whole"]["value"]) * 100 // UNIT,
            tokens=tuple(sorted(impact["tokens"], key=_from_left)),
            classes=tuple(sorted(classes, key=lambda each: (list(BEHAVIOURS).index(each[0]), each))),
            attention=tuple((key, percent) for key, percent in shares if percent),
            variables=tuple(dict.fromkeys(each for group in about.get("variables", ()) for each in group.split(", "))),
        )
    return {node: found[node] for node in sorted(found)}


def to_search(findings: Mapping[Node, Finding]) -> dict[str, Any]:
    """The ``nodes`` of a ``search.json`` that says what some findings say.

    A percentage gives the interval of the shares that are cut down or rounded to it. Of tokens, classes and behaviours
    that fail it is only known that they do: theirs goes from 0 to the most that it can be, which is the value too.
    """
    nodes = {}
    for node, finding in sorted(findings.items()):
        percent = finding.failed_percent or 0
        high = min(1.0, (percent + 1) / 100)
        most, some = {"value": high, "low": 0.0, "high": high}, {"value": 1.0, "low": 0.0, "high": 1.0}
        about: dict[str, Any] = {
            "impact": {
                "whole": {"value": percent / 100, "low": percent / 100, "high": high},
                "tokens": dict.fromkeys(finding.tokens, most),
                "classes": dict.fromkeys(finding.classes, some),
            }
        }
        letters = dict.fromkeys(name[0] for name in finding.classes)
        if letters:
            about["behaviours"] = {BEHAVIOURS[letter]: some for letter in letters}
        if finding.attention:
            about["attention"] = [_attention(key, share / 100) for key, share in finding.attention]
        if finding.variables:
            about["variables"] = list(finding.variables)
        nodes[str(node)] = about
    return nodes


def _attention(key: int, share: float) -> dict[str, Any]:
    return {"key": key, "mean": share, "low": max(0.0, share - 0.005), "high": min(1.0, share + 0.005)}


def _from_left(token: str) -> tuple[bool, int]:
    """The order of an answer's tokens: the sign, then the digits, highest first."""
    return (token != "SGN", 0 if token == "SGN" else -int(token[1:]))


def _entries(path: Path) -> list[dict[str, Any]]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: corrupt or truncated JSON ({error})") from None
    check(MAP, entries, str(path))
    return entries


def _node(entry: Mapping[str, Any], digits: int, where: str) -> Node:
    last = context(digits) - 2
    if entry["position"] > last:
        raise ValueError(f"{where}.position: got {entry['position']}; allowed: 0 to {last}, for {digits} digits")
    if not entry["is_head"] and entry["num"]:
        raise ValueError(f"{where}.num: got {entry['num']}; allowed: 0, for the one MLP of a layer")
    kind = HEAD if entry["is_head"] else MLP
    return Node(position=entry["position"], layer=entry["layer"], kind=kind, index=entry["num"])


def _entry(node: Node, tags: Sequence[str]) -> dict[str, Any]:
    if node.kind not in (HEAD, MLP):
        raise bad("node", str(node), "a head or MLP: other nodes have no published form")
    place = {"position": node.position, "layer": node.layer, "is_head": node.kind == HEAD, "num": node.index}
    return {**place, "tags": list(tags)}
