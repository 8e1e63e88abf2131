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

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from carryproof.circuits.bootstrap import Estimate
from carryproof.circuits.faithfulness import Faithfulness
from carryproof.circuits.interchange import Interchange
from carryproof.theory.errors import bad

HOLDS, FAILS, OPEN, UNTESTED = "holds", "fails", "open", "not testable"


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


def graph_claim(
    name: str, measured: Interchange, *, right: int, at_least: float, controls: Sequence[Interchange]
) -> Claim:
    """That a model computes a causal graph, by interchange; ``right`` is how many problems it answers right."""
    statement = f"computes {name}"
    if not right:
        return _untested(statement)
    return judge(statement, measured.accuracy, at_least=at_least, controls=[control.accuracy for control in controls])


def circuit_claim(name: str, measured: Faithfulness, *, right: int, at_least: float) -> Claim:
    """That a circuit does what its model does, kept alone; the controls are the random circuits."""
    statement = f"{len(measured.nodes)} nodes do {name}"
    if not right:
        return _untested(statement)
    return judge(statement, measured.kept.whole, at_least=at_least, controls=measured.controls)


def _untested(statement: str) -> Claim:
    return Claim(statement=statement, verdict=UNTESTED, reason="the model answers nothing right")
