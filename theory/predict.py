"""The verdict on every test length, decided by named conditions before any training.

Excluded: training says nothing about something the answer needs, under the rule the encoding lets a model learn.
Permitted: a generalizing rule exists, but training need not find it. Forced: every model that is right in range is
right. Silent: no law here decides. The conditions are those of Xu et al., arXiv 2407.17963, made exact and conditional.

>>> from carryproof.theory import formats, tasks
>>> question = Question(task=tasks.modular_addition(101), format=formats.padded(9), encoding="absolute",
...                     train=TrainingRange(lengths=(4,)))
>>> cell = predict(question, [6]).cells[0]
>>> cell.verdict, str(cell.accuracy), cell.surrogate
('excluded', '41/4050', '((a mod 10^4) + (b mod 10^4)) mod 101')
"""

from collections.abc import Iterable
from fractions import Fraction

from carryproof.theory import encodings
from carryproof.theory.accuracy import surrogate_accuracy
from carryproof.theory.alignment import Alignment, alignment
from carryproof.theory.compatibility import base_compatibility
from carryproof.theory.errors import bad
from carryproof.theory.prediction import Cell, Prediction, Question, Reason, Verdict
from carryproof.theory.ranges import OperandLaw, TrainingRange, require_law, require_lengths, write_lengths
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
    invariance = encodings.get(question.encoding).shift_invariance()
    seen = Reason(
        law="E1",
        condition="attention scores are invariant under a shift of all positions",
        holds=invariance.holds,
        why=invariance.statement,
    )
    if invariance.holds:
        return _shared_rule(question, length, law, seen)
    return _rule_per_place(question, length, law, seen)


def _rule_per_place(question: Question, length: int, law: OperandLaw, seen: Reason) -> Decision:
    """Absolute ids: the rule of each place is learned at that place (claim 2 of arXiv 2407.17963)."""
    task, train, form = question.task, question.train, question.format
    trained = train.longest
    fixed = Reason(
        law="L10",
        condition="every place stands at the same position in all problems",
        holds=form.width is not None,
        why="padded widths fix the position of every place"
        if form.width is not None
        else "free widths move places with the operands' lengths, so no truncation by place describes the model",
    )
    own = Reason(
        law="E3",
        condition="every position has parameters of its own, so that its rule is learned apart from the others",
        holds=bool(encodings.get(question.encoding).tables),
        why="positions are rows of a learned table"
        if encodings.get(question.encoding).tables
        else "positions are fixed functions of their index, whose products also hold differences",
    )
    if form.width is None or not own.holds:
        return "silent", None, None, (seen, fixed, own)
    covered = _coverage(train, length, law, form.width)
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
        reasons.append(_coverage(train, length, law, form.width))
    if task.modulus is not None:
        compatible, reason = _compatible(task, train.longest)
        reasons.append(reason)
        if compatible and form.width is not None:
            return _permitted(truth, [*reasons, _resolution(question, alignment(task, form))])
        if not compatible:
            reasons.append(_residue_rule(task))
        return "silent", None, None, tuple(reasons)
    shift = shift_law(task)
    reasons.append(
        Reason(
            law="L1",
            condition="the task is equivariant under a joint shift of its operands",
            holds=shift.status == "proved",
            why=shift.statement,
        )
    )
    window = _window(question)
    aligned = alignment(task, form)
    reasons += [
        window,
        Reason(
            law="L10",
            condition="the digits an answer digit needs stand at constant offsets",
            holds=aligned.constant,
            why=aligned.statement,
        ),
    ]
    if aligned.constant:
        reasons.append(_resolution(question, aligned))
    verdict, accuracy, surrogate, reasons_given = _permitted(truth, reasons)
    if verdict == "permitted" and task.operands == 2:
        reasons_given = (*reasons_given, _window_coverage(train))
    return verdict, accuracy, surrogate, reasons_given


def _permitted(truth: str, reasons: list[Reason]) -> Decision:
    """Permitted if every condition holds, else silent."""
    if not all(reason.holds for reason in reasons):
        return "silent", None, None, tuple(reasons)
    anchors = Reason(
        law="L11",
        condition="nothing but differences is available to attention",
        holds=False,
        why="separators at fixed places and the causal mask let a model recover absolute positions, so training need "
        "not find the shared rule; no registered P(success) exists for this cell",
    )
    return "permitted", Fraction(1), truth, (*reasons, anchors)


def _window_coverage(train: TrainingRange) -> Reason:
    """Law L19 for two numbers: a carry into place i-1 needs i >= 2, and without leading zeros i must not be the top."""
    needed = 4 if train.law == "exact" else 3
    holds = train.longest >= needed
    shown = "every interior window occurs in training" if holds else "training does not show every interior window"
    why = f"{shown}, which takes {needed} digits and has {train.longest}; a rule for windows never shown is a guess"
    return Reason(law="L19", condition="training shows every window of the shared rule", holds=holds, why=why)


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


def carry_radius(operands: int, base: int) -> int:
    """How many columns below its own a digit of a least-first sum depends on: max(1, ceil(log_B k)) for k numbers.

    The digits below determine the carry modulo B one column down, modulo B^2 two columns down, and it is below k (L2).

    >>> carry_radius(2, 10), carry_radius(3, 2), carry_radius(100, 10)
    (1, 2, 2)
    """
    radius = 1
    while base**radius < operands:
        radius += 1
    return radius


def _window(question: Question) -> Reason:
    """Law L2: least-first addition has a bounded window; nothing else is claimed here."""
    task, form = question.task, question.format
    if task.operation.name != "addition":
        holds, why = False, f"no bounded window is known for {task.label} in this format"
    elif form.answer != "least-first":
        holds, why = False, "an answer written from the top needs the carry from below, through runs of any length"
    else:
        radius = carry_radius(task.operands, task.base)
        earlier = "i-1" if radius == 1 else f"i-1 .. i-{radius}"
        holds = True
        why = f"answer digit i is a function of the operand digits at i and {earlier} and of answer digits {earlier}"
    return Reason(law="L2", condition="each answer digit depends on a bounded window", holds=holds, why=why)


def _resolution(question: Question, aligned: Alignment) -> Reason:
    """Law E2: needed offsets have scores of their own; the query of answer digit i stands one token before it."""
    twin = encodings.get(question.encoding)
    condition = "attention can tell the needed offsets from their neighbours"
    if twin.shift_invariance().sees == "nothing":
        why = (
            "no offset is told, but a causal decoder can recover positions from its mask (arXiv 2305.19466, theorem 1)"
        )
        return Reason(law="N1", condition=condition, holds=True, why=why)
    below = carry_radius(question.task.operands, question.task.base)
    needed = sorted({offset - 1 + back for row in aligned.offsets for offset in row for back in range(below + 1)})
    merged = next((offset for offset in needed if not twin.resolves(offset)), None)
    if merged is None:
        why = f"every offset in {write_lengths(tuple(needed))} has a score of its own"
    else:
        why = f"offset {merged}, which the window needs, shares its score with a neighbour"
    return Reason(law="E2", condition=condition, holds=merged is None, why=why)


def _coverage(train: TrainingRange, length: int, law: OperandLaw, width: int) -> Reason:
    """Law L9, its necessary half: which (digit, place) pairs of the test problems were seen in training."""
    trained: set[tuple[str, int]] = set()
    for each in train.lengths:
        trained |= _digit_places(each, train.law, width)
    missing = _digit_places(length, law, width) - trained
    if not missing:
        why = "every (digit, place) pair of the test problems occurs in training"
    else:
        kind, place = min(missing)  # a non-zero digit where there was none says more than a zero that was always there
        why = f"a {kind} digit at place {place + 1} never occurs when training on {write_lengths(train.lengths)} digits"
    return Reason(law="L9", condition="the test problems' digits were seen at their places", holds=not missing, why=why)


def _digit_places(length: int, law: OperandLaw, width: int) -> set[tuple[str, int]]:
    """Which kinds of digit (zero, non-zero) operands of a length show at each place of a padded text."""
    pairs = {("non-zero", place) for place in range(length)} | {("zero", place) for place in range(length - 1)}
    pairs |= {("zero", place) for place in range(length, width)}
    if length == 1 or law != "exact":
        pairs.add(("zero", length - 1))
    return pairs
