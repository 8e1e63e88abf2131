"""Claims: what is said of a model's algorithm, with a verdict that a measurement gives, and its reason.

A claim holds if the whole interval of its measure is at or above what was asked, and above that of every control; it
fails if the interval is below, or a control does as well; between those it is open. Where a model answers nothing right
there is nothing to explain, and no claim can be tested. Verdicts are data, as those of ``theory`` are. Source: ours.

>>> sure, chance = Estimate(value=0.98, low=0.97, high=0.99), Estimate(value=0.1, low=0.05, high=0.15)
>>> print(judge("the addition graph", sure, at_least=0.95, controls=[chance]))
the addition graph: holds (0.980 [0.970, 0.990], at least 0.95 asked)
>>> print(judge("the addition graph", sure, at_least=0.95, controls=[chance, sure]))
the addition graph: fails (0.980 [0.970, 0.990], and a control reaches 0.990)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from carryproof.circuits.bootstrap import Estimate
from carryproof.theory.errors import bad

HOLDS, FAILS, OPEN, UNTESTED = "holds", "fails", "open", "not testable"
GRAPH_AT_LEAST = {"addition": 0.95, "subtraction": 0.9, "mixed": 0.9, "complement": 0.9}
CIRCUIT_AT_LEAST = {"add": 0.9, "sub_positive": 0.8, "sub_negative": 0.8}
ABLATED = {"resample": "resampled", "mean": "at its mean"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """A statement, its verdict (``holds``, ``fails``, ``open`` or ``not testable``) and the reason for that."""

    statement: str
    verdict: str
    reason: str

    def __str__(self) -> str:
        return f"{self.statement}: {self.verdict} ({self.reason})"

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {"statement": self.statement, "verdict": self.verdict, "reason": self.reason}


def judge(statement: str, measured: Estimate, *, at_least: float, controls: Sequence[Estimate]) -> Claim:
    """The verdict on a share. Raises ``ValueError`` without a control, and for a bound outside 0 to 1."""
    if not controls:
        raise bad("controls", "none", "one or more")
    if not 0 < at_least <= 1:
        raise bad("at_least", at_least, "a share above 0, at most 1")
    found = f"{measured.value:.3f} [{measured.low:.3f}, {measured.high:.3f}]"
    best = max(each.high for each in controls)
    if measured.low <= best:
        verdict, reason = FAILS, f"{found}, and a control reaches {best:.3f}"
    elif measured.low >= at_least:
        verdict, reason = HOLDS, f"{found}, at least {at_least} asked"
    elif measured.high < at_least:
        verdict, reason = FAILS, f"{found}, below the {at_least} asked"
    else:
        verdict, reason = OPEN, f"{found}, on both sides of the {at_least} asked"
    return Claim(statement=statement, verdict=verdict, reason=reason)


def claims(found: Mapping[str, Any], tested: Mapping[str, Any]) -> list[Claim]:
    """What the contents of ``search.json`` and ``test.json`` of one model say about its algorithm."""
    graph, pieces = tested["graph"], found["variables"]
    if not any(share["value"] for share in found["right"].values()):
        return [Claim(statement=f"computes the {graph} graph", verdict=UNTESTED, reason="it answers nothing right")]
    groups = tested["groups"]
    stated, placed = [_placed(graph, pieces, groups)], sum(set(group) <= set(tested["alignment"]) for group in groups)
    if not placed:
        statement, reason = (
            f"computes the {graph} graph",
            f"none of {len(groups)} groups of variables is carried anywhere",
        )
        stated.append(Claim(statement=statement, verdict=FAILS, reason=reason))
    for behaviour, whole in tested["whole"].items():
        controls = [_accuracy(each) for each in (*whole["random"], whole["untrained"])]
        name = f"computes the {graph} graph" + ("" if len(tested["whole"]) == 1 else f", {behaviour}")
        claim = judge(name, _accuracy(whole["result"]), at_least=GRAPH_AT_LEAST[graph], controls=controls)
        stated.append(replace(claim, reason=f"{claim.reason}; {placed} of {len(groups)} groups of variables moved"))
    for each in tested["circuits"]:
        result, behaviour = each["result"], each["behaviour"]
        name = f"{len(result['nodes'])} nodes do {behaviour}, all else {ABLATED[each['alternative']]}"
        controls = [Estimate(**control) for control in result["controls"]]
        kept = Estimate(**result["kept"]["whole"])
        stated.append(judge(name, kept, at_least=CIRCUIT_AT_LEAST[behaviour], controls=controls))
    return stated


def _placed(graph: str, pieces: Mapping[str, Any], groups: Sequence[Sequence[str]]) -> Claim:
    """Whether all variables that can change an answer were found somewhere."""
    names = [", ".join(group) for group in groups]
    missing = [name for name in names if not pieces.get(name, {"nodes": []})["nodes"]]
    partly = [name for name in names if name not in missing and pieces[name]["verdict"] != "carried"]
    statement = f"every variable of the {graph} graph has a place"
    if missing:
        return Claim(statement=statement, verdict=FAILS, reason=f"nowhere: {'; '.join(missing)}")
    if partly:
        return Claim(statement=statement, verdict=OPEN, reason=f"only partly: {'; '.join(partly)}")
    return Claim(statement=statement, verdict=HOLDS, reason=f"{len(names)} of {len(names)} groups of variables")


def _accuracy(result: Mapping[str, Any]) -> Estimate:
    return Estimate(**result["accuracy"])
