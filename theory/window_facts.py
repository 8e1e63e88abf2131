"""Window facts: the dependency windows of a subject as sentences, with rules, arguments and counterexamples.

Each view of a subject is decided by ``theory.windows``; two orders that are decided alike share a sentence, and where
they differ the reasons stand side by side (a carry is known least-first and cascades most-first, law L2).

>>> from carryproof.theory import subjects
>>> subject = subjects.build("unsigned-subtraction")
>>> facts = window_facts(subject, view_windows(subject, size=None))
>>> [fact.status for fact in facts]
['proved', 'refuted', 'because']
>>> print(facts[0].statement)
least-first: cᵢ = F(aᵢ, bᵢ, aᵢ₋₁, bᵢ₋₁, cᵢ₋₁); radius 1, one rule for all places, digits outside the problem are 0
"""

from dataclasses import dataclass
from typing import Any

from carryproof.theory import windows
from carryproof.theory.compatibility import base_compatibility
from carryproof.theory.contrasts import Contrast, contrast
from carryproof.theory.facts import Fact
from carryproof.theory.machines import tables
from carryproof.theory.notation import prose, slot_list, slot_name, to_unicode
from carryproof.theory.processes import WindowSlot
from carryproof.theory.subjects import ORDERS, Subject, View
from carryproof.theory.windows import DependencyWindow, dependency_window


@dataclass(frozen=True, kw_only=True, slots=True)
class ViewedWindow:
    """The decision about one view of a subject, and its counterexamples laid out, one for each radius."""

    view: View
    window: DependencyWindow
    contrasts: tuple[Contrast, ...]

    def to_dict(self) -> dict[str, Any]:
        """The window as plain data."""
        window = self.window
        return {
            "view": self.view.label,
            "order": window.process.order,
            "status": window.status,
            "strength": window.strength,
            "bounded": window.bounded,
            "slots": list(window.texts),
            "radius": window.radius,
            "absent": window.absent,
            "position_independent": window.position_independent,
            "checked_size": window.size,
            "rule": [to_unicode(f"${equation}$") for equation in self.view.rule],
            "latex_rule": list(self.view.rule),
            "statement": window.statement,
            "counterexamples": [each.to_dict() for each in self.contrasts],
        }


def view_windows(subject: Subject, size: int | None) -> tuple[ViewedWindow, ...]:
    """Decide the window of each view of a subject."""
    return tuple(_viewed(view, subject, size) for view in subject.views)


def _viewed(view: View, subject: Subject, size: int | None) -> ViewedWindow:
    window = dependency_window(view.process, size)
    signed = subject.task is not None and subject.task.signed
    radii = windows.WITNESSED_RADII if window.status == "refuted" else ()
    found = tuple(
        contrast(view.process, clash, radius=radii[index] if radii else None, signed=signed)
        for index, clash in enumerate(window.counterexamples)
    )
    return ViewedWindow(view=view, window=window, contrasts=found)


def window_facts(subject: Subject, viewed: tuple[ViewedWindow, ...]) -> tuple[Fact, ...]:
    """The facts about the windows, why the orders differ if they do, and what a running state is for."""
    return (*_view_facts(viewed, subject), *_scratchpad_facts(subject))


def _view_facts(viewed: tuple[ViewedWindow, ...], subject: Subject) -> list[Fact]:
    """One fact a view, or one for both orders where they are decided alike."""
    if tuple(each.view.label for each in viewed) == ORDERS:
        least, most = viewed
        alike = (least.window.slots, least.window.status, least.view.process.why, least.contrasts) == (
            most.window.slots,
            most.window.status,
            most.view.process.why,
            most.contrasts,
        )
        if alike:
            return [_window_fact(least, subject, "in either order")]
        return [*(_window_fact(each, subject, each.view.label) for each in viewed), *_order_facts(least, most)]
    return [_window_fact(each, subject, each.view.label) for each in viewed]


def _window_fact(viewed: ViewedWindow, subject: Subject, label: str) -> Fact:
    window, process = viewed.window, viewed.view.process
    reason = _argument(window, subject)
    if not window.bounded:
        shown = viewed.contrasts[0] if viewed.contrasts else None
        found = "no window was found that determines the token"
        if window.status == "refuted":
            earlier = ", not even with all earlier tokens" if shown is not None else ""
            found = f"no window of any radius determines the token{earlier}"
        latex = f"{label}: {found}"
        return Fact(law=subject.law, status=window.strength, latex=latex, reason=reason, contrast=shown)
    token = slot_name(process, WindowSlot("answer", 0, (0,) * len(process.coordinates)))
    function = "F" if window.position_independent else "F_i"
    reach = "one rule for all places" if window.position_independent else "a rule of its own for each place"
    absent = "digits outside the problem are 0" if window.absent == "zero" else "the ends are marked"
    latex = f"{label}: ${token} = {function}({slot_list(process, window.slots)})$"
    about = f"radius ${window.radius}$, {reach}, {absent}"
    return Fact(
        law=subject.law,
        status=window.strength,
        latex=f"{latex}; {about}",
        equations=viewed.view.rule,
        reason=reason,
    )


def _argument(window: DependencyWindow, subject: Subject) -> str:
    process = window.process
    counted = f"every problem of up to {window.size} place{'s' if window.size > 1 else ''} was enumerated"
    if window.status == "checked":
        return counted
    if subject.task is not None and subject.modulus is not None:
        law = base_compatibility(subject.modulus, subject.base)
        if law.decisive is None:
            return f"no number of last digits decides a residue modulo {subject.modulus} (law L3)"
        return f"these digits decide residues modulo {subject.modulus} (law L3)"
    if process.machine is not None and window.bounded:
        states = int(tables(process.machine)[2].sum(axis=1).max())  # of one start: a factor is no state to be guessed
        number = "" if states == 1 else f", one of {states}"
        also = f"; {counted} too" if window.size else ""
        shut = "no two states that the window leaves open write different tokens"
        return f"{prose(process.why)}{number}: {shut}{also}"
    return prose(process.why)


def _order_facts(one: ViewedWindow, other: ViewedWindow) -> list[Fact]:
    """Why the two orders differ, or fail differently; nothing where both have windows."""
    least, most = one.window, other.window
    first, second = prose(least.process.why), prose(most.process.why)
    if least.bounded and most.bounded is False:
        text = (
            f"the orders differ: least-first, {first}, and the token written last reveals it; most-first, {second}, "
            "so that a token can depend on digits that are arbitrarily far from it"
        )
    elif least.bounded is False and most.bounded is False and first != second:
        text = f"both orders fail, for reasons of their own: least-first, {first}; most-first, {second}"
    else:
        return []
    return [Fact(law="L2", status="because", latex=text)]


def _scratchpad_facts(subject: Subject) -> list[Fact]:
    """What the running state is for: the same answer written without it."""
    if subject.without is None:
        return []
    bare = dependency_window(subject.without)
    answer = "there is a window too" if bare.bounded else "there is no window of any radius"
    text = f"written without the running state {answer}: {prose(bare.process.name)}, {bare.process.order}"
    return [Fact(law="L2", status=bare.strength, latex=text)]
