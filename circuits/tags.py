"""Tags: what the published tools write about a node in one word each, and what it says, as numbers and names.

``Fail%:6`` is how many problems of a hundred fail without the node, ``Impact:A72`` which tokens of the answer then do
(the highest index is the sign), ``Math.Sub:M012`` problems of which classes, ``Attn:P4=50`` a key and its share of the
attention, ``Math.Add:A0.SP`` that its outputs form the clusters of a tri-state, ``Algo:A4.SA`` a sub-task, and
``Algo:A5.ND.A5`` one for which only the place of the change was seen. The published text of an impact is the digits of
all its indices, sorted, so from ten indices on it can have several readings: ``A21`` may be A2 and A1, or A12. Where it
has, it is not read, and ours ends every index with a dot. Source: Quirke et al. 2402.02619 and their tools.

>>> finding, unread = parse_tags(["Fail%:6", "Impact:A72", "Math.Sub:M01", "Attn:P4=50", "Algo:A2.SA", "Posn:A2"], 6)
>>> finding.tokens, finding.classes, finding.attention, finding.variables, unread
(('SGN', 'A2'), ('M0', 'M1'), ((4, 50),), ('A2.SA',), ('Posn:A2',))
>>> behaviour_tags(finding, 6), feature_tags(finding)
(('Fail%:6', 'Impact:A72', 'Math.Sub:M01', 'Attn:P4=50'), ('Algo:A2.SA',))
>>> impact_text(("A12", "A0"), 13), impact_tokens("A21", 13)
('A12.A0.', None)
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from carryproof.circuits.ablation import token_names
from carryproof.circuits.texts import context
from carryproof.theory.errors import bad

MAJORS = {"S": "Math.Add", "M": "Math.Sub", "N": "Math.Neg"}  # of a class's letter
MOST = {"S": 5, "M": 4, "N": 4}  # the highest class that has a name of its own: it stands for all above it too
ALGORITHM = "Algo"

_PART = r"[A-Za-z][A-Za-z0-9']*"
_VARIABLE = re.compile(rf"{_PART}(\.{_PART})?")
_PLACE = re.compile(r"A\d+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What is known of a node. ``failed_percent`` is cut down to a whole number; ``tokens`` are those of the answer,
    ``classes`` those of problems, that go wrong without it; ``attention`` has keys with their percent; ``clusters`` are
    tri-states such as ``A0.SP`` or ``A0.SP.Weak``; ``weak`` has sub-tasks with the place that changed, as written.
    """

    failed_percent: int | None = None
    tokens: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    attention: tuple[tuple[int, int], ...] = ()
    clusters: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    weak: tuple[tuple[str, str], ...] = ()


def parse_tags(tags: Iterable[str], digits: int) -> tuple[Finding, tuple[str, ...]]:
    """What the tags of a node of a model of so many digits say, and those that are not understood.

    A tag is understood if it would be written again as it is, and says nothing for a second time.
    """
    whole, unread = Finding(), []
    for tag in dict.fromkeys(tags):
        said = _said(tag, digits)
        if said is None or (*behaviour_tags(said, digits), *feature_tags(said)) != (tag,) or _again(whole, said):
            unread.append(tag)
        else:
            whole = _joined(whole, said)
    return whole, tuple(unread)


def behaviour_tags(finding: Finding, digits: int) -> tuple[str, ...]:
    """The tags for ``behaviors.json``: all but sub-tasks. Raises ``ValueError`` for tokens that no such answer has."""
    tags = [] if finding.failed_percent is None else [f"Fail%:{finding.failed_percent}"]
    if finding.tokens:
        tags.append(f"Impact:{impact_text(finding.tokens, digits)}")
    for letter, major in MAJORS.items():
        lengths = {min(int(name[1:]), MOST[letter]) for name in finding.classes if name[0] == letter}
        if lengths:
            tags.append(f"{major}:{letter}{''.join(map(str, sorted(lengths)))}")
    tags += [f"Attn:P{key}={percent}" for key, percent in finding.attention]
    tags += [f"{MAJORS[name.partition('.')[2][0]]}:{name}" for name in finding.clusters]
    return tuple(tags)


def feature_tags(finding: Finding) -> tuple[str, ...]:
    """The tags for ``features.json``: the sub-tasks. Raises ``ValueError`` for names that no tag can hold."""
    for name in finding.variables:
        if not _VARIABLE.fullmatch(name) or (_PLACE.fullmatch(name.rpartition(".")[2]) and "." in name):
            raise bad("variable", name, "one or two words with a dot between, such as OPR or A4.SA")
    weak = [f"{ALGORITHM}:{name}.{place}" for name, place in finding.weak]
    return (*(f"{ALGORITHM}:{name}" for name in finding.variables), *weak)


def impact_text(tokens: Sequence[str], digits: int) -> str:
    """The tokens as published, or, where that has another reading, with every index written out."""
    names = token_names(digits)
    for token in tokens:
        if token not in names:
            raise bad("token", token, ", ".join(names))
    indices = [len(names) - 1 - names.index(token) for token in names if token in tokens]  # highest first
    text = "A" + "".join(sorted(set("".join(map(str, indices))), reverse=True))
    if impact_tokens(text, digits) == tuple(token for token in names if token in tokens):
        return text
    return "".join(f"A{index}." for index in indices)


def impact_tokens(text: str, digits: int) -> tuple[str, ...] | None:
    """The tokens that an impact names, the sign first; None if it is none, or has several readings."""
    names = token_names(digits)
    highest = len(names) - 1
    if re.fullmatch(r"(A\d+\.)+", text):
        indices = {int(part[1:]) for part in text.split(".")[:-1]}
    elif re.fullmatch(r"A\d+", text):
        seen = set(text[1:])
        indices = {index for index in range(len(names)) if set(str(index)) <= seen}
        without = [_digits_of(indices - {index}) for index in indices]
        if _digits_of(indices) != seen or seen in without:
            return None
    else:
        return None
    if max(indices) > highest:
        return None
    return tuple(names[highest - index] for index in sorted(indices, reverse=True))


def _digits_of(indices: Iterable[int]) -> set[str]:
    return set("".join(map(str, indices)))


def _said(tag: str, digits: int) -> Finding | None:
    """What one tag says, if it is of a form that we know."""
    major, _, minor = tag.partition(":")
    if major == "Fail%" and re.fullmatch(r"100|\d{1,2}", minor):
        return Finding(failed_percent=int(minor))
    if major == "Impact":
        tokens = impact_tokens(minor, digits)
        return None if tokens is None else Finding(tokens=tokens)
    if major == "Attn" and (found := re.fullmatch(r"P(\d+)=(100|\d{1,2})", minor)):
        return Finding(attention=((int(found[1]), int(found[2])),)) if int(found[1]) <= context(digits) - 2 else None
    for letter in (each for each, of in MAJORS.items() if of == major):
        if re.fullmatch(rf"{letter}[0-{MOST[letter]}]+", minor):
            return Finding(classes=tuple(f"{letter}{length}" for length in minor[1:]))
        if re.fullmatch(rf"A\d+\.{letter}P(\.Weak)?", minor):
            return Finding(clusters=(minor,))
    name, _, place = minor.rpartition(".")
    if major == ALGORITHM and _VARIABLE.fullmatch(name) and _PLACE.fullmatch(place):
        return Finding(weak=((name, place),))
    if major == ALGORITHM and _VARIABLE.fullmatch(minor):
        return Finding(variables=(minor,))
    return None


def _again(whole: Finding, said: Finding) -> bool:
    """Whether what can be said once only is said again."""
    percent = None not in (whole.failed_percent, said.failed_percent)
    letters = {name[0] for name in whole.classes} & {name[0] for name in said.classes}
    return percent or bool(whole.tokens and said.tokens) or bool(letters)


def _joined(whole: Finding, said: Finding) -> Finding:
    order = [*MAJORS]
    return Finding(
        failed_percent=whole.failed_percent if said.failed_percent is None else said.failed_percent,
        tokens=whole.tokens + said.tokens,
        classes=tuple(sorted(whole.classes + said.classes, key=lambda name: (order.index(name[0]), name))),
        attention=whole.attention + said.attention,
        clusters=whole.clusters + said.clusters,
        variables=whole.variables + said.variables,
        weak=whole.weak + said.weak,
    )
