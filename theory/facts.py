"""Facts: what the laws of shifts and residues say of a task, as sentences with formulas (laws L1, L3, L15).

A fact has a claim, equations and a reason, written once as LaTeX; ``theory.notation`` reads them in unicode. Where many
operands behave alike one sentence speaks for all.

>>> from carryproof.theory import tasks
>>> for fact in shift_facts(tasks.addition()):
...     print(f"{fact.status}: {fact.statement}")
proved: jointly: f(B·a, B·b) = B·a + B·b = B·(a + b) = B·f(a, b)
refuted: in operand 1 alone: f(10·0, 1) = 1 ≠ 10 = 10·f(0, 1)
refuted: in operand 2 alone: f(1, 10·0) = 1 ≠ 10 = 10·f(1, 0)
"""

from dataclasses import dataclass
from typing import Any

from carryproof.theory.compatibility import BaseCompatibility, factors
from carryproof.theory.contrasts import Contrast
from carryproof.theory.notation import FEW, joined, operand_list, power, to_unicode
from carryproof.theory.shift import ShiftLaw, shift_law
from carryproof.theory.subjects import KNOWN, operation_text
from carryproof.theory.tasks import MULTIPLICATION, Task
from carryproof.theory.weights import PERIOD_LIMIT, SHOWN, DigitWeights


@dataclass(frozen=True, kw_only=True, slots=True)
class Fact:
    """One claim about a subject and its reason, written as LaTeX, with ``equations`` to be shown between the two."""

    law: str
    status: str
    latex: str
    equations: tuple[str, ...] = ()
    reason: str = ""
    contrast: Contrast | None = None

    @property
    def statement(self) -> str:
        """The claim in unicode."""
        return to_unicode(self.latex)

    def to_dict(self) -> dict[str, Any]:
        """The fact as plain data, in unicode and in LaTeX."""
        shown = [to_unicode(f"${equation}$") for equation in self.equations]
        return {
            "law": self.law,
            "status": self.status,
            "statement": self.statement,
            "equations": shown,
            "reason": to_unicode(self.reason),
            "latex": self.latex,
            "latex_equations": list(self.equations),
            "latex_reason": self.reason,
        }


def shift_facts(task: Task) -> tuple[Fact, ...]:
    """The joint law, and one for each operand, or one for all where there are many that behave alike."""
    joint, alone = shift_law(task), [shift_law(task, operand) for operand in range(task.operands)]
    facts = [Fact(law="L1", status=joint.status, latex=f"jointly: {_shift_text(task, joint)}")]
    if len(alone) > FEW and len({law.status for law in alone}) == 1:
        text = f"in any operand alone, as in the first: {_shift_text(task, alone[0])}"
        return (*facts, Fact(law="L1", status=alone[0].status, latex=text))
    for law in alone:
        text = f"in operand {law.shifted[0] + 1} alone: {_shift_text(task, law)}"
        facts.append(Fact(law="L1", status=law.status, latex=text))
    return tuple(facts)


def _shift_text(task: Task, law: ShiftLaw) -> str:
    names = operand_list(task.operands)
    moved = operand_list(task.operands, moved=law.shifted, factor="B")
    if law.status == "proved":
        right = rf"B \cdot f({joined(names)})"
        if task.operation not in KNOWN:
            return f"$f({joined(moved)}) = {right}$, since both sides are the same polynomial"
        terms = [f"({name})" if task.operation is MULTIPLICATION and r"\cdot" in name else name for name in moved]
        return (
            f"$f({joined(moved)}) = {operation_text(task, terms)} "
            rf"= B \cdot ({operation_text(task, names)}) = {right}$"
        )
    if law.counterexample is None:
        return "no counterexample among the first 100,000 operand tuples, and no proof"
    base, found = task.base, law.counterexample
    left = [rf"{base} \cdot {value}" if index in law.shifted else str(value) for index, value in enumerate(found)]
    value = task(*(value * base if index in law.shifted else value for index, value in enumerate(found)))
    right = rf"{base} \cdot f({joined(list(map(str, found)))})"
    return rf"$f({joined(left)}) = {value} \ne {base * task(*found)} = {right}$"


def _factored(number: int) -> str:
    written = r" \cdot ".join(power(prime, count) for prime, count in factors(number))
    return str(number) if written == str(number) else f"{number} = {written}"


def residue_facts(law: BaseCompatibility, weights: DigitWeights) -> tuple[Fact, ...]:
    """Which last digits decide a residue, prime by prime, and what the digits weigh."""
    return (_compatibility_fact(law), *_weight_facts(weights))


def _compatibility_fact(law: BaseCompatibility) -> Fact:
    modulus, base = law.modulus, law.base
    terms, values = [], []
    for each in law.exponents:
        terms.append(
            rf"\lceil v_{{{each.prime}}}({modulus}) / v_{{{each.prime}}}({base}) \rceil"
            rf" = \lceil {each.in_modulus} / {each.in_base} \rceil = {each.digits}"
            if each.digits is not None
            else rf"{each.prime} \nmid {base}"
        )
        values.append(r"\infty" if each.digits is None else str(each.digits))
    total = r"\infty" if law.decisive is None else str(law.decisive)
    largest = rf"\max({joined(values)}) = {total}" if len(values) > 1 else total
    alien = [rf"${each.prime}$ does not divide ${base}$" for each in law.exponents if each.digits is None]
    plural = "" if law.decisive == 1 else "s"
    said = (
        f"no number of last digits decides $x \\bmod {modulus}$, since {' and '.join(alien)}"
        if law.decisive is None
        else f"the last {law.decisive} digit{plural} decide{'s' if not plural else ''} $x \\bmod {modulus}$"
    )
    status = "infinite" if law.decisive is None else "finite"
    text = f"${_factored(modulus)}$ and ${_factored(base)}$, so that $k_0({modulus}) = {largest}$: {said}"
    shown = tuple(terms) if len(terms) > 1 or law.decisive is not None else ()  # one alien prime is named above
    return Fact(law="L3", status=status, latex=text, equations=shown)


def _weight_facts(weights: DigitWeights) -> tuple[Fact, ...]:
    base, modulus, coprime = weights.base, weights.modulus, weights.coprime
    shared = "" if coprime == modulus else rf" = {modulus} / {modulus // coprime}"
    facts = []
    if coprime > 1:
        period = f"more than {PERIOD_LIMIT:,}" if weights.period is None else f"${weights.period}$"
        text = (
            f"$p' = {coprime}{shared}$ is the part of the modulus that last digits leave open; place $i$ weighs "
            f"${base}^{{i}} \\bmod {coprime} = {_series(0, weights, coprime)}$, "
            f"with period {period}, the order of ${base}$ modulo ${coprime}$"
        )
        facts.append(Fact(law="L15", status="proved", latex=text))
    if coprime < modulus:
        then = "only zeros follow" if coprime == 1 else "then the period above"
        plural = "" if weights.preperiod == 1 else "s"
        text = (
            f"modulo all of ${modulus}$, place $i$ weighs "
            f"${base}^{{i}} \\bmod {modulus} = {_series(weights.preperiod, weights, modulus)}$: "
            f"a pre-period of ${weights.preperiod}$ place{plural}, {then}"
        )
        facts.append(Fact(law="L15", status="proved", latex=text))
    return tuple(facts)


def _series(before: int, weights: DigitWeights, modulus: int) -> str:
    """The weights up to their second period, and no more than a line holds."""
    count = SHOWN if weights.period is None else min(SHOWN, max(3, before + 2 * weights.period))
    values = [str(pow(weights.base, place, modulus)) for place in range(count)]
    return r",\allowbreak ".join([*values, r"\dots"])
