"""What an encoding can see: the conditions under which attention can follow a shared rule to longer numbers.

Each is a ``Reason``: the law, whether it holds for a question at a test length, and why. They are read off the symbolic
twin (scores, offsets told apart, what distance does), the layout of the text (offsets, ids) and the dependency window
(slots, coverage). Sources: Xu et al., arXiv 2407.17963, for E1 to E3 in other words; the rest are ours.

>>> from carryproof.theory import formats, tasks
>>> question = Question(task=tasks.addition(), format=formats.padded(9), encoding="relative-t5",
...                     train=TrainingRange(lengths=(1, 2)))
>>> for reason in visibility(question, 5):
...     print(reason.law, reason.holds, reason.why[:88].rstrip())
E1 True relative bias (T5 buckets): a score depends on the contents and on the difference of the
L10 True offsets from an answer digit to the same digit of each operand are constant: 20, 10
L2 True addition of 2 numbers in base 10, least-first: at every length c[i] is one function of a
E2 False offset 19, which the window needs, shares its score with another
L9 True every text has 30 tokens, so that each id and each offset occurs in training
L12 True every text has 30 tokens, so that no more keys compete than in training
L19 False training on 1-2 digits never shows 11,718 of the 20,102 windows that the tested problems
L11 False '+', '=' stand at the same place in every text and the causal mask counts tokens: attent
"""

from functools import cache
from typing import Literal

import numpy as np

from carryproof.theory import encodings
from carryproof.theory.alignment import FREE_EXAMPLE_WIDTH, alignment
from carryproof.theory.cases import process_of
from carryproof.theory.coverage import window_coverage
from carryproof.theory.encodings import SymbolicEncoding
from carryproof.theory.formats import Format
from carryproof.theory.prediction import Question, Reason
from carryproof.theory.ranges import OperandLaw, TrainingRange, write_lengths
from carryproof.theory.tasks import OPERATIONS, Task
from carryproof.theory.texts import token_pairs
from carryproof.theory.windows import DependencyWindow, dependency_window

Reach = Literal["fades", "slow", "constant", "bounded"]


def visibility(question: Question, test_digits: int, law: OperandLaw = "exact") -> tuple[Reason, ...]:
    """Every condition that is about what attention can see, for one test length; theory decides nothing here."""
    reasons = [shared(question)]
    if reasons[0].holds:
        reasons.append(offsets(question))
    else:
        reasons += [fixed_places(question), own_rules(question)]
    if question.task.operation in OPERATIONS.values():
        reasons += [window(question), *resolution(question)]
    reasons += [positions(question, test_digits), competition(question, test_digits)]
    reasons += windows_seen(question, test_digits, law)
    if reasons[0].holds:
        reasons.append(anchors(question))
    elif question.format.width is not None:
        reasons.append(digit_places(question.train, test_digits, law))
    return tuple(reasons)


def invariance(question: Question) -> Reason:
    """E1: scores survive a common shift of all ids."""
    found = encodings.get(question.encoding).shift_invariance()
    condition = "attention scores are invariant under a shift of all positions"
    return Reason(law="E1", condition=condition, holds=found.holds, why=found.statement)


def shared(question: Question) -> Reason:
    """E1, or where it fails and training draws the ids, E4: whether one rule serves all ids."""
    found, span = invariance(question), question.format.positions.span
    if found.holds or span is None:
        return found
    condition = "training meets every rule at every id, since the ids are drawn"
    why = f"{found.why}, but training draws the ids from {span}, so that no id has a rule of its own"
    return Reason(law="E4", condition=condition, holds=True, why=why)


def own_rules(question: Question) -> Reason:
    """E3: positions have parameters of their own, so that the rule of each is learned apart from the others."""
    added = encodings.get(question.encoding).embeds()
    return Reason(
        law="E3",
        condition="every position has parameters of its own, so that its rule is learned apart from the others",
        holds=added == "learned rows",
        why={
            "learned rows": "positions are rows of a learned table",
            "fixed vectors": "positions are fixed functions of their index, whose products also hold differences",
            "nothing": "positions have no vectors: ids enter the scores, by functions that all positions share",
        }[added],
    )


def fixed_places(question: Question) -> Reason:
    """L10 for absolute ids: each place stands at one position."""
    form = question.format
    if form.width is not None:
        holds, why = True, "padded widths fix the position of every place"
    elif form.positions.scheme == "index":
        why = "free widths move places with the operands' lengths, so no truncation by place describes the model"
        holds = False
    else:
        holds, why = False, "free widths leave out the digits of high places, so truncation does not describe the model"
    return Reason(law="L10", condition="every place stands at the same position in all problems", holds=holds, why=why)


def offsets(question: Question) -> Reason:
    """L10 for differences: equal places of operands and answer stand at constant offsets."""
    found = _alignment(question.task, question.format)
    condition = "the digits an answer digit needs stand at constant offsets"
    return Reason(law="L10", condition=condition, holds=found[0], why=found[1])


@cache
def _alignment(task: Task, form: Format) -> tuple[bool, str]:
    found = alignment(task, form)
    return found.constant, found.statement


def window(question: Question) -> Reason:
    """L2: finitely many slots determine each answer digit by one rule for all places."""
    found = _window(question)
    holds = bool(found.bounded and found.position_independent)
    condition = "each answer digit depends on a bounded window, the same at every place"
    return Reason(law="L2", condition=condition, holds=holds, why=found.statement)


def _window(question: Question) -> DependencyWindow:
    return dependency_window(process_of(question.task, question.format.answer))


def resolution(question: Question) -> tuple[Reason, ...]:
    """E2: the offsets that the window needs have scores of their own; nothing where no constant ones are needed."""
    needed = needed_offsets(question.task, question.format)
    if needed is None:
        return ()
    twin = encodings.get(question.encoding)
    condition = "attention can tell the needed offsets from their neighbours"
    match twin.shift_invariance().sees:
        case "absolute ids":
            return ()
        case "nothing":
            why = "no offset is told, but a causal decoder can count by its mask (arXiv 2305.19466, theorem 1)"
            return (Reason(law="N1", condition=condition, holds=True, why=why),)
    signed = question.format.positions.scheme != "index"  # else no key has a larger id than its query
    merged = next((offset for offset in needed if not _told(twin, offset, signed)), None)
    if merged is None:
        listed = write_lengths(needed) if needed[0] >= 0 else ", ".join(map(str, needed))
        why = f"every offset in {listed} has a score of its own"
    else:
        why = f"offset {merged}, which the window needs, shares its score with another"
    return (Reason(law="E2", condition=condition, holds=merged is None, why=why),)


@cache
def _told(twin: SymbolicEncoding, offset: int, signed: bool) -> bool:
    """Whether an offset has a score of its own; with signed ids also apart from the same one backwards."""
    mirrored = signed and offset != 0 and twin.score(offset, 0) == twin.score(-offset, 0)
    return twin.resolves(offset) and not mirrored


@cache
def needed_offsets(task: Task, form: Format) -> tuple[int, ...] | None:
    """The differences, id of the token that predicts an answer digit less id of a slot of the window, if constant."""
    process = process_of(task, form.answer)
    found = dependency_window(process)
    if not found.bounded or (found.position_independent and not _alignment(task, form)[0]):
        return None
    if form.width is None and not found.position_independent:
        return None
    layout = form.layout(task, form.width or FREE_EXAMPLE_WIDTH)
    ids = form.positions.ids(layout, np.arange(len(layout))[None])[0]
    return tuple(sorted({int(ids[query] - ids[key]) for query, key in token_pairs(process, layout, found.slots)}))


def positions(question: Question, length: int) -> Reason:
    """L9 for ids and offsets: texts no longer than those of training show nothing new."""
    form = question.format
    condition = "every id and every offset met was seen in training"
    if form.positions.span is not None:
        fitting = form.positions.needed(form.layout(question.task, form.width or length))
        usual = form.positions.needed(form.layout(question.task, form.width or question.train.longest))
        why = f"texts have ids up to {fitting - 1}, and training draws from {form.positions.span}"
        if fitting > usual:
            why += f"; but it has none that lie more than {usual - 1} apart"
        holds = fitting <= min(form.positions.span, usual)
        return Reason(law="L9", condition=condition, holds=holds, why=why)
    trained, tested = (_tokens(question, each) for each in (question.train.longest, length))
    holds = tested <= trained
    if form.width is not None:
        why = f"every text has {tested} tokens, so that each id and each offset occurs in training"
    elif holds:
        why = f"texts have up to {tested} tokens, and in training up to {trained}"
    else:
        why = (
            f"ids and offsets from {trained} up occur in texts of {tested} tokens only; training ends at {trained - 1}"
        )
    return Reason(law="L9", condition=condition, holds=holds, why=why)


def competition(question: Question, length: int) -> Reason:
    """L12: no more keys compete for attention than in training, or far ones fade."""
    trained, tested = (_tokens(question, each) for each in (question.train.longest, length))
    reach = far_scores(encodings.get(question.encoding))
    more = f"{tested} tokens where training had {trained}"
    if question.format.width is not None:
        why = f"every text has {tested} tokens, so that no more keys compete than in training"
    elif tested <= trained:
        why = f"texts have up to {tested} tokens, and in training up to {trained}"
    elif reach == "fades":
        why = f"{more}, but scores fall without bound with the distance, so that all far keys together stay light"
    elif reach == "slow":
        why = f"{more}, and scores fall so slowly that, for some parameters, far keys together have unbounded weight"
    else:
        why = f"{more}, and scores stay bounded at any distance, so that far keys take weight from the needed ones"
    holds = tested <= trained or reach == "fades"
    return Reason(law="L12", condition="far keys do not dilute attention", holds=holds, why=why)


@cache
def far_scores(twin: SymbolicEncoding) -> Reach:
    """What the scores of a twin do with growing distance: fade, fall too slowly for that, end constant, stay bounded.

    To fade is to leave the far keys a bounded weight together, whatever the parameters: the sum of exp(score(d, 0))
    over d converges. By the logarithmic test it does where score / log d has a limit below -1, and not where above.

    >>> [far_scores(encodings.get(name)) for name in ("alibi", "kerple", "relative-t5", "rope")]
    ['fades', 'slow', 'constant', 'bounded']
    """
    import sympy

    d = sympy.Symbol("d", integer=True, positive=True)
    far = twin.score(10**6, 0)
    if far == twin.score(2 * 10**6, 0):
        return "fades" if far == -sympy.oo else "constant"  # barred keys have no weight at all
    score = twin.score(d, 0)
    if score.has(sympy.sin, sympy.cos) or score.atoms(sympy.core.function.AppliedUndef):
        return "bounded"  # waves, and tables with finitely many entries
    if sympy.limit(score, d, sympy.oo) != -sympy.oo:
        return "bounded"
    pace = sympy.limit(score / sympy.log(d), d, sympy.oo)
    return "fades" if (pace < -1) == True else "slow"  # noqa: E712 - a relation of parameters may be undecided


def windows_seen(question: Question, length: int, law: OperandLaw) -> tuple[Reason, ...]:
    """L19: training shows every window of the test problems; nothing where windows cannot be followed."""
    found = _windows_seen(question.task, question.format, question.train, length, law)
    if found is None:
        return ()
    condition = "training shows every window of the shared rule that the test problems meet"
    holds, why = found
    return (Reason(law="L19", condition=condition, holds=holds, why=why),)


@cache
def _windows_seen(
    task: Task, form: Format, train: TrainingRange, length: int, law: OperandLaw
) -> tuple[bool, str] | None:
    if form.width is None or task.operation not in OPERATIONS.values():
        return None
    process = process_of(task, form.answer)
    try:
        found = window_coverage(
            process, trained=train.lengths, tested=(length,), law=train.law, test_law=law, width=form.width
        )
    except ValueError:  # no bounded window, or more windows than are counted
        return None
    return not found.missing, found.statement


def digit_places(train: TrainingRange, length: int, law: OperandLaw) -> Reason:
    """L9, its necessary half: which (digit, place) pairs of the test problems were seen in training."""
    missing = _first_missing(train, length, law)
    if missing is None:
        why = "every (digit, place) pair of the test problems occurs in training"
    else:
        kind, place = missing
        why = f"a {kind} digit at place {place + 1} never occurs when training on {write_lengths(train.lengths)} digits"
    condition = "the test problems' digits were seen at their places"
    return Reason(law="L9", condition=condition, holds=missing is None, why=why)


def _first_missing(train: TrainingRange, length: int, law: OperandLaw) -> tuple[str, int] | None:
    """A kind of digit at a place of a padded text that the test problems have and training never shows.

    Above the longest trained number every digit was zero. Below it a place was never zero only if it is the top of the
    one trained length, and no operand could be shorter.
    """
    longest = train.longest
    if length > longest:
        return "non-zero", longest
    if len(train.lengths) == 1 and train.law == "exact" and longest > 1 and (length < longest or law != "exact"):
        return "zero", longest - 1
    return None


def anchors(question: Question) -> Reason:
    """L11: what lets attention recover absolute positions although scores see differences only."""
    task, form = question.task, question.format
    marks = f"'{task.operation.symbol}', '='"
    where = "stand at the same place in every text" if form.width is not None else "mark the ends of the numbers"
    why = (
        f"{marks} {where} and the causal mask counts tokens: attention can recover absolute positions, so training "
        "need not find the shared rule; no registered P(success) exists for this cell"
    )
    return Reason(law="L11", condition="nothing but differences is available to attention", holds=False, why=why)


def _tokens(question: Question, length: int) -> int:
    """How many tokens a text has at most, the end left out."""
    return len(question.format.layout(question.task, question.format.width or length)) - 1
