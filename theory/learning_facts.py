"""Learning facts: which training shows every window, and which windows an averaging head confuses (laws L19, L16).

They follow the windows of a subject whose columns can be read one after the other; of all others nothing is said.

>>> from carryproof.theory import subjects
>>> subject = subjects.build("addition")
>>> for fact in learning_facts(subject):
...     print(fact.law, fact.status, fact.statement)
L19 proved least-first: digits 1 to 3 long show all 20,302 windows of every length; without leading zeros, 1 to 4
L16 proved least-first, without a token that every query sees: 2 pairs of views have the same mean and go on differently
L16 proved least-first, with "=" always visible: no two views are confused; equal significance, equal id
"""

from carryproof.theory.averaging import Tie, ties
from carryproof.theory.coverage import shortest_training
from carryproof.theory.derivation import Derivation, derive
from carryproof.theory.facts import Fact
from carryproof.theory.multisets import as_multisets
from carryproof.theory.notation import slot_name
from carryproof.theory.processes import Process
from carryproof.theory.readers import Window
from carryproof.theory.subjects import Subject

WINDOWS_LIMIT = 200_000  # of a process whose facts are worth the wait
SHOWN_TIES = 3
MANY = 8  # equal digits are written out up to here


def learning_facts(subject: Subject) -> tuple[Fact, ...]:
    """The facts of every view whose windows can be followed through its columns."""
    return tuple(fact for view in subject.views for fact in _facts(view.label, view.process))


def _facts(label: str, process: Process) -> list[Fact]:
    try:
        before = (process.output_at(1),)  # which a decoder's query always is
        read = as_multisets(process)
        spelled = shortest_training(read, law="spelled", more=before)
        if spelled.windows[-1] > WINDOWS_LIMIT:
            return []
        exact = shortest_training(read, law="exact", more=before)
        loose = ties(read, anchor=False)
        derived = derive(process)
    except ValueError:  # no bounded window, no columns of digits, or too many windows to follow
        return []
    shown = f"{label}: digits 1 to {spelled.length} long show all {spelled.windows[-1]:,} windows of every length"
    if read.columns == "multisets":
        shown += ", the digits of a column in any order"
    facts = [Fact(law="L19", status="proved", latex=f"{shown}; without leading zeros, 1 to {exact.length}")]
    pairs = f"{len(loose):,} pairs of views have the same mean and go on differently"
    facts.append(
        Fact(
            law="L16",
            status="proved",
            latex=f"{label}, without a token that every query sees: {pairs if loose else 'no two views are confused'}",
            equations=tuple(line for tie in loose[:SHOWN_TIES] for line in _tie(process, tie)),
        )
    )
    if isinstance(derived, Derivation):
        text = f'{label}, with "=" always visible: no two views are confused; {derived.told}'
        facts.append(Fact(law="L16", status="proved", latex=text))
    else:
        confused = ties(process, anchor=True, operands_apart=True)
        equal = [tie for tie in confused if tie.equal]
        text = f'{label}, with "=" always visible: still {len(confused):,} pairs of views are confused'
        if equal:
            text = f"{label}: the window does not say where the answer ends, in {len(equal):,} of its values"
        lines = _tie(process, (equal or confused)[0])
        facts.append(Fact(law="L2" if equal else "L16", status="proved", latex=text, equations=lines))
    return facts


def _tie(process: Process, tie: Tie) -> tuple[str, str]:
    first, second = (_view(process, window) for window in tie.windows)
    return first, rf"\text{{looks like }} {second}"


def _view(process: Process, window: Window) -> str:
    """What is seen and what follows, as LaTeX; equal digits in one equation, long ones with dots."""
    held = [(slot_name(process, s), v) for s, v in zip(window.slots, window.values, strict=True) if v is not None]
    groups: dict[int, list[str]] = {}
    for name, value in held:
        groups.setdefault(value, []).append(name)
    shorter = {v: names if len(names) <= MANY else [*names[:2], r"\dots", names[-1]] for v, names in groups.items()}
    seen = ", ".join(" = ".join([*names, str(value)]) for value, names in shorter.items())
    follows = r"\text{end}" if window.token is None else str(window.token)
    return rf"{seen} \to {follows}" if seen else rf"\text{{nothing}} \to {follows}"
