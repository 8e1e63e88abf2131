"""Proofs: everything the laws say about one subject, as data, each fact with its law, its status and its reason.

Shift laws (L1) belong to arithmetic tasks, base compatibility with the digit weights (L3, L15) to whatever has a
modulus, dependency windows (L2, L3, L17, L18) to every subject, and what training shows of bounded ones and averaging
confuses (L19, L16). ``theory.typeset`` lays the facts out.

>>> from carryproof.theory import subjects
>>> proof = prove(subjects.build("modular-addition", modulus=100))
>>> [(section.title, [fact.status for fact in section.facts]) for section in proof.sections[1:]]
[('Base compatibility', ['finite', 'proved']), ('Dependency windows', ['proved'])]
>>> print(proof.sections[1].facts[0].statement)
100 = 2²·5² and 10 = 2·5, so that k₀(100) = max(2, 2) = 2: the last 2 digits decide x mod 100
"""

from dataclasses import asdict, dataclass
from typing import Any

from carryproof.theory.compatibility import BaseCompatibility, base_compatibility
from carryproof.theory.facts import Fact, residue_facts, shift_facts
from carryproof.theory.learning_facts import learning_facts
from carryproof.theory.notation import to_unicode
from carryproof.theory.shift import ShiftLaw, shift_law
from carryproof.theory.subjects import Subject
from carryproof.theory.weights import DigitWeights, digit_weights
from carryproof.theory.window_facts import ViewedWindow, view_windows, window_facts


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """Facts of one kind."""

    title: str
    facts: tuple[Fact, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Proof:
    """What is known of a subject: the decisions themselves, and the facts that say them."""

    subject: Subject
    shift_laws: tuple[ShiftLaw, ...]
    compatibility: BaseCompatibility | None
    weights: DigitWeights | None
    windows: tuple[ViewedWindow, ...]
    sections: tuple[Section, ...]

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data: the decisions, and the facts in unicode and in LaTeX."""
        formula, compatible, weights = self.subject.formula, self.compatibility, self.weights
        return {
            "task": self.subject.to_dict(),
            "title": self.subject.title,
            "formula": {"text": to_unicode(f"${formula}$"), "latex": formula},
            "shift_laws": [
                {
                    "shifted": list(law.shifted),
                    "status": law.status,
                    "statement": law.statement,
                    "counterexample": None if law.counterexample is None else list(law.counterexample),
                }
                for law in self.shift_laws
            ],
            "base_compatibility": None
            if compatible is None
            else {
                "decisive_digits": compatible.decisive,
                "exponents": [asdict(each) for each in compatible.exponents],
                "statement": compatible.statement,
            },
            "digit_weights": None if weights is None else asdict(weights) | {"first": list(weights.first)},
            "windows": [each.to_dict() for each in self.windows],
            "facts": [
                {"section": section.title} | fact.to_dict() for section in self.sections for fact in section.facts
            ],
        }


def prove(subject: Subject, size: int | None = None) -> Proof:
    """Decide all laws about a subject; windows also by enumeration of all problems of up to ``size`` places.

    Without ``size`` as many places are enumerated as 20,000 problems allow; a size that would not finish is refused.
    """
    task, modulus = subject.task, subject.modulus
    viewed = view_windows(subject, size)
    laws = () if task is None else (shift_law(task), *(shift_law(task, operand) for operand in range(task.operands)))
    compatible = None if modulus is None else base_compatibility(modulus, subject.base)
    weights = None if modulus is None else digit_weights(modulus, subject.base)
    sections = []
    if task is not None:
        sections.append(Section(title="Shift laws", facts=shift_facts(task)))
    if compatible is not None and weights is not None:
        sections.append(Section(title="Base compatibility", facts=residue_facts(compatible, weights)))
    sections.append(Section(title="Dependency windows", facts=window_facts(subject, viewed)))
    if learned := learning_facts(subject):
        sections.append(Section(title="Training and averaging", facts=learned))
    return Proof(
        subject=subject,
        shift_laws=laws,
        compatibility=compatible,
        weights=weights,
        windows=viewed,
        sections=tuple(sections),
    )
