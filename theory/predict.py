"""The verdict on every test length, decided by named conditions before any training.

Excluded: training says nothing about something the answer needs, under the rule the encoding lets a model learn.
Permitted: a generalizing rule exists, but training need not find it. Forced: every model that is right in range is
right. Silent: no law here decides. The conditions are those of Xu et al., arXiv 2407.17963, made exact and conditional.

>>> from carryproof.theory import TrainingRange, formats, tasks
>>> question = Question(task=tasks.modular_addition(101), format=formats.padded(9), encoding="absolute",
...                     train=TrainingRange(lengths=(4,)))
>>> cell = predict(question, [6]).cells[0]
>>> cell.verdict, str(cell.accuracy), cell.surrogate
('excluded', '41/4050', '((a mod 10^4) + (b mod 10^4)) mod 101')
"""

from collections.abc import Iterable
from fractions import Fraction

from carryproof.theory import visibility
from carryproof.theory.accuracy import surrogate_accuracy
from carryproof.theory.compatibility import base_compatibility
from carryproof.theory.errors import bad
from carryproof.theory.prediction import Cell, Prediction, Question, Reason, Verdict
from carryproof.theory.ranges import OperandLaw, require_law, require_lengths, write_lengths
from carryproof.theory.shift import shift_law
from carryproof.theory.tasks import OPERATIONS, Task

Decision = tuple[Verdict, Fraction | None, str | None, tuple[Reason, ...]]


def predict(question: Question, test_digits: Iterable[int], laws: Iterable[OperandLaw] = ("exact",)) -> Prediction:
    """Predict every test length under every operand law; needs no torch and never trains.

    Raises ``ValueError`` if a length is below 1 or longer than a padded format can hold.
    """
    lengths = require_lengths("test_digits", test_digits)
    question.format.require_room(lengths[-1])
    cells = []
    for law in (require_law("law", law) for law in laws):
        for length in lengths:
            if law == "unequal" and length == 1:
                continue  # no shorter operand exists
            verdict, accuracy, surrogate, reasons = _decide(question, length, law)
            cells.append(
                Cell(
                    test_digits=length,
                    law=law,
                    verdict=verdict,
                    accuracy=accuracy,
                    surrogate=surrogate,
                    reasons=reasons,
                )
            )
    if not cells:
        raise bad(
            "test_digits", write_lengths(lengths), "lengths above 1 under the law 'unequal', and at least one law"
        )
    return Prediction(question=question, cells=tuple(cells))


def surrogate_text(task: Task, trained: int | None) -> str:
    """The surrogate of ``trained`` digits as a formula, or the truth itself where nothing is dropped.

    >>> from carryproof.theory import tasks
    >>> surrogate_text(tasks.multiplication(), 3)
    '(a mod 10^3) * (b mod 10^3)'
    """
    names = [chr(ord("a") + index) if task.operands <= 26 else f"a{index + 1}" for index in range(task.operands)]
    terms = names if trained is None else [f"({name} mod {task.base}^{trained})" for name in names]
    formula = f" {task.operation.symbol} ".join(terms)
    return formula if task.modulus is None else f"({formula}) mod {task.modulus}"


def _decide(question: Question, length: int, law: OperandLaw) -> Decision:
    train, task = question.train, question.task
    if length in train.lengths and law == train.law:
        reason = Reason(
            law="D1",
            condition="the test problems follow the training range",
            holds=True,
            why=f"{length} digits under the law {law!r} were trained; accuracy in range is the precondition of "
            "every other verdict, measured on problems held out of training",
        )
        return "in-range", Fraction(1), surrogate_text(task, None), (reason,)
    if task.operation not in OPERATIONS.values():
        why = f"the laws here are about {', '.join(OPERATIONS)}; of {task.operation.name} they know nothing"
        unknown = Reason(law="D2", condition="the operation is one the laws are about", holds=False, why=why)
        return "silent", None, None, (unknown,)
    seen = visibility.shared(question)
    if seen.holds:
        return _shared_rule(question, length, law, seen)
    return _rule_per_place(question, length, law, seen)


def _rule_per_place(question: Question, length: int, law: OperandLaw, seen: Reason) -> Decision:
    """Absolute ids: the rule of each place is learned at that place (claim 2 of arXiv 2407.17963)."""
    task, train, form = question.task, question.train, question.format
    trained = train.longest
    fixed, own = visibility.fixed_places(question), visibility.own_rules(question)
    if form.width is None or not own.holds:
        return "silent", None, None, (seen, fixed, own)
    covered = visibility.digit_places(train, length, law)
    if length <= trained:
        if covered.holds:
            return "permitted", Fraction(1), surrogate_text(task, None), (seen, fixed, own, covered)
        return "silent", None, None, (seen, fixed, own, covered)
    surrogate = surrogate_text(task, trained)
    leak = Reason(
        law="L14",
        condition="untrained (digit, place) pairs do not leak into the answer",
        holds=False,
        why="nothing in training enforces it; agreement with the surrogate is measured as a curve of its own",
    )
    reasons = [seen, fixed, own, covered]
    if task.modulus is not None:
        compatible, reason = _compatible(task, trained)
        reasons.append(reason)
        if compatible:
            return "permitted", Fraction(1), surrogate, (*reasons, leak)
    exact = surrogate_accuracy(task, trained=trained, length=length, law=law)
    return "excluded", exact, surrogate, (*reasons, _exact_reason(task, exact), leak)


def _shared_rule(question: Question, length: int, law: OperandLaw, seen: Reason) -> Decision:
    """Scores that see only differences, or nothing: one rule can serve every place, but need not (claim 3, L11)."""
    task, train, form = question.task, question.train, question.format
    reasons = [seen]
    truth = surrogate_text(task, None)
    if length <= train.longest and form.width is not None:
        reasons.append(visibility.digit_places(train, length, law))
    if task.modulus is not None:
        compatible, reason = _compatible(task, train.longest)
        reasons.append(reason)
        if compatible and form.width is not None:
            return _permitted(question, truth, [*reasons, *visibility.resolution(question)])
        if not compatible:
            reasons.append(_residue_rule(task))
        return "silent", None, None, tuple(reasons)
    shift = shift_law(task)
    reasons += [
        Reason(
            law="L1",
            condition="the task is equivariant under a joint shift of its operands",
            holds=shift.status == "proved",
            why=shift.statement,
        ),
        visibility.window(question),
        visibility.offsets(question),
        *visibility.resolution(question),
        visibility.positions(question, length),
        visibility.competition(question, length),
    ]
    decision = _permitted(question, truth, reasons)
    if decision[0] == "silent":
        return decision
    verdict, accuracy, surrogate, given = decision
    return verdict, accuracy, surrogate, (*given, *visibility.windows_seen(question, length, law))


def _permitted(question: Question, truth: str, reasons: list[Reason]) -> Decision:
    """Permitted if every condition holds, else silent."""
    if not all(reason.holds for reason in reasons):
        return "silent", None, None, tuple(reasons)
    return "permitted", Fraction(1), truth, (*reasons, visibility.anchors(question))


def _compatible(task: Task, trained: int) -> tuple[bool, Reason]:
    assert task.modulus is not None
    law = base_compatibility(task.modulus, task.base)
    holds = law.decisive is not None and law.decisive <= trained
    late = "" if holds or law.decisive is None else f", more than the {trained} trained"
    condition = "the trained digits decide the residue"
    return holds, Reason(law="L3", condition=condition, holds=holds, why=law.statement + late)


def _residue_rule(task: Task) -> Reason:
    assert task.modulus is not None
    weights = ", ".join(str(pow(task.base, place, task.modulus)) for place in range(5))
    return Reason(
        law="L15",
        condition="a bounded window that is the same at all places computes the residue",
        holds=False,
        why=f"every answer digit needs every operand digit, and those of places 0, 1, 2, ... weigh {weights}, ... "
        f"modulo {task.modulus}; whether anchors let a model find such a rule is an open hypothesis",
    )


def _exact_reason(task: Task, exact: Fraction | None) -> Reason:
    if task.modulus is None:
        law, why = "L4", "the surrogate is compared with the truth on the dropped high parts of the operands"
    elif task.operation.name == "multiplication":
        law, why = "L5", "right iff p' divides X Y M + X v + Y u, for dropped parts X, Y and low parts u, v"
    else:
        law, why = "L4", "right iff p' = p / gcd(p, B^n) divides the signed sum of the dropped high parts"
    condition = "the share of problems on which the surrogate equals the truth is known exactly"
    return Reason(law=law, condition=condition, holds=exact is not None, why=why)
