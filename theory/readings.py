"""Readings: what published theories of length generalization say of a cell, each as a rule that computes its answer.

No rule knows a task by name where its source speaks of a property: windows, offsets and rows are decided by proof or by
enumeration. Each docstring says what is taken from the source and where it is simplified; a rule that does not apply is
silent. Sources: arXiv 2407.17963, 2310.16028, 2410.02140, 2502.16792 and 2404.00560.

>>> from carryproof.theory import formats, predict, tasks
>>> from carryproof.theory.ranges import TrainingRange
>>> asked = Question(task=tasks.modular_addition(101), format=formats.padded(9), encoding="absolute",
...                  train=TrainingRange(lengths=(4,)))
>>> [str(modulus_share(asked, cell)[1]) for cell in predict(asked, [5, 6]).cells]
['0', '1/101']
"""

import math
from dataclasses import replace
from fractions import Fraction
from functools import cache
from typing import Literal

from carryproof.theory import encodings
from carryproof.theory.cases import process_of
from carryproof.theory.compatibility import decisive_digits
from carryproof.theory.formats import Format, Order
from carryproof.theory.prediction import Cell, Question
from carryproof.theory.ranges import OperandLaw
from carryproof.theory.tasks import ADDITION, MULTIPLICATION, Task, dropped_share
from carryproof.theory.texts import half_split_rows, interval_clash, token_offsets
from carryproof.theory.windows import DependencyWindow, dependency_window

Claim = Literal["generalizes", "fails", "silent"]
Answer = tuple[Claim, Fraction | None, str]  # with the exact match it names, if it names one, and the reason

HALF_SPLIT_PROBLEMS = 70_000
LINEAR_GROWTH = Fraction(7, 4)  # of log rows when the size doubles: 2 where it grows linearly, towards 1 like log n
INTERVALS, INTERVAL_PROBLEMS = 4, 5_000
SHORTER = "it speaks of problems longer than those in training"
A_FEW_PLACES = 4  # layouts at least this wide show how offsets grow


def translation_invariance(question: Question, cell: Cell) -> Answer:
    """The claims of arXiv 2407.17963 as they are stated, for two numbers in base 10 and texts of fixed width.

    Absolute ids: addition and multiplication fail above n, the longest trained length. Relative ones: addition
    generalizes, multiplication does not. Modulo p: generalizes if p divides 10^n, else fails, whatever the encoding.
    Downward: generalizes if training covers the support of the truth, here taken as: all its (digit, place) pairs.
    Silent on what the paper does not treat: subtraction, other bases, more numbers, no encoding, free widths, and
    scores that are not shift-invariant although no position has a vector.
    """
    task, trained = question.task, question.train.longest
    if task.base != 10 or task.operands != 2 or task.operation not in (ADDITION, MULTIPLICATION):
        return "silent", None, "it treats addition and multiplication of two numbers in base 10"
    if question.format.width is None:
        return "silent", None, "it treats numbers padded to a fixed width"
    if cell.test_digits <= trained:
        if _shown(question, cell):
            return "generalizes", None, f"training shows every digit of shorter problems at its place, up to {trained}"
        return "silent", None, "training does not show every digit of these problems at its place"
    if task.modulus is not None:
        divides = dropped_share(task.modulus, 10, trained) == 1
        why = f"{task.modulus} {'divides' if divides else 'does not divide'} 10^{trained}, whatever the encoding"
        return "generalizes" if divides else "fails", None, why
    twin = encodings.get(question.encoding)
    sees = twin.shift_invariance().sees
    if sees == "nothing" or (sees == "absolute ids" and twin.embeds() == "nothing"):
        return "silent", None, "it compares absolute with relative encodings"
    if sees == "absolute ids":
        return "fails", None, f"absolute ids learn the rules of places up to {trained} only"
    if task.operation is ADDITION:
        return "generalizes", None, "addition is translation invariant, which relative encodings share"
    return "fails", None, "multiplication is not translation invariant"


def _shown(question: Question, cell: Cell) -> bool:
    """Whether training shows 0 and other digits at every place where the test problems have them."""

    def pairs(places: int, drawn: OperandLaw) -> set[tuple[bool, int]]:
        nonzero = {(True, place) for place in range(places)}
        zero = {(False, place) for place in range(places if drawn != "exact" or places == 1 else places - 1)}
        return nonzero | zero | {(False, place) for place in range(places, question.format.width or places)}

    train = question.train
    return pairs(cell.test_digits, cell.law) <= set().union(*(pairs(each, train.law) for each in train.lengths))


def modulus_share(question: Question, cell: Cell) -> Answer:
    """The number in arXiv 2407.17963 for modular addition: gcd(p, 10^n) / p, to which accuracy tends in test length.

    The limit is taken at every length from m >= n + log10(p'/2 + 1) on, p' = p / gcd(p, 10^n). The authors' published
    code computes that bound; below it no two dropped parts of m - n digits add up to p', so the number is 0 there.
    It is stated for operands of exactly m digits. For modular multiplication there is no such formula (their code
    counts), so a number is named only where p divides 10^n: 1.
    """
    task, trained = question.task, question.train.longest
    treated = task.base == 10 and task.operands == 2 and task.operation in (ADDITION, MULTIPLICATION)
    if task.modulus is None or not treated or question.format.width is None:
        return "silent", None, "it names a number for modular addition of two padded numbers in base 10"
    length = cell.test_digits
    if cell.law != "exact" or length <= trained:
        return "silent", None, f"its number is for two numbers of equally many digits, more than {trained}"
    share = dropped_share(task.modulus, 10, trained)
    if share == 1:
        return "generalizes", Fraction(1), f"gcd(p, 10^{trained}) / p = 1"
    if task.operation is MULTIPLICATION:
        return "silent", None, "for multiplication it names no number unless p divides 10^n"
    if 2 * (10 ** (length - trained) - 1) < share:
        return "fails", Fraction(0), f"two dropped parts of {length - trained} digits add up to less than {share}"
    return "fails", Fraction(1, share), f"gcd(p, 10^{trained}) / p = 1/{share}"


def is_longer(question: Question, cell: Cell) -> bool:
    """Whether the cell's problems are longer than any in training: what theories of length generalization speak of."""
    return cell.test_digits > question.train.longest


def _beyond(question: Question, cell: Cell) -> Answer | None:
    """Silence where problems are no longer, or where scores change when a text is moved; None elsewhere."""
    if not is_longer(question, cell):
        return "silent", None, SHORTER
    if not encodings.get(question.encoding).shift_invariance().holds:
        return "silent", None, "scores that change when all ids shift are outside its setting"
    return None


def short_program(question: Question, cell: Cell) -> Answer:
    """The conjecture of arXiv 2310.16028: it generalizes if a short RASP-L program for all lengths exists.

    Searched is one family of programs: shifts of the text by constant numbers of tokens and a look-up. One exists iff a
    bounded dependency window determines each digit and its slots stand at offsets that are the same at every place and
    in every problem. The paper finds the converse in its experiments, so without a program it is taken to say "fails";
    that counting, sorting and induction, which RASP-L has too, do not help is our assumption. Texts are placed at
    random positions there; encodings without shift invariance are outside that setting.
    """
    silence = _beyond(question, cell)
    if silence is not None:
        return silence
    form = question.format
    window = _window(question.task, form.answer)
    if window is None or window.bounded is None:
        return "silent", None, "no window was decided"
    if not window.bounded:
        return "fails", None, f"no look-up after shifts is a program: {window.process.why}"
    constant, reach = _offsets(question.task, form)
    if constant:
        return "generalizes", None, f"a look-up of the tokens at {len(reach)} constant offsets is a program"
    return "fails", None, "the tokens that a digit needs stand at offsets that change with place or length"


def sparse_dependencies(question: Question, cell: Cell) -> Answer:
    """The sufficient condition of arXiv 2502.16792: each token depends on a fixed small number of earlier ones, nearby.

    Read as: the dependency window is bounded, and no test problem has a slot of it further away than training problems
    do (the locality that their theorem asks for without position coupling). Where that fails the paper promises
    nothing, hence silent. Attention is idealised there; encodings without shift invariance are left out here.
    """
    silence = _beyond(question, cell)
    if silence is not None:
        return silence
    task, form = question.task, question.format
    window = _window(task, form.answer)
    if window is None or not window.bounded:
        return "silent", None, "the number of tokens that a digit depends on is not bounded"
    trained, tested = (_reach(task, form, places) for places in (question.train.longest, cell.test_digits))
    if tested > trained:
        return "silent", None, f"a needed token is {tested} tokens away, and at most {trained} in training"
    return "generalizes", None, f"each digit depends on {len(window.slots)} tokens, at most {tested} away"


def interval_consistency(question: Question, cell: Cell) -> Answer:
    """(n, r)-consistency of arXiv 2404.00560 and its ICLR 2025 version, with every written token as a reasoning step.

    In our reading n intervals of r tokens decide the next token if any two texts that show the same contents in them go
    on alike, where one interval is centred on that token and the others may lie anywhere; decided by enumeration
    (``interval_clash``) with n = 4 and r = 2 radius + 1 of the dependency window, or 3 where there is none. Consistency
    suffices by their theorem; that inconsistent formulations fail is what they argue and observe, not a theorem.
    """
    silence = _beyond(question, cell)
    if silence is not None:
        return silence
    task, form = question.task, question.format
    return _consistent(task, form if form.width is None else replace(form, width=1))


@cache
def _consistent(task: Task, form: Format) -> Answer:
    window = _window(task, form.answer)
    r = 3 if window is None or not window.radius else 2 * window.radius + 1
    width = int(math.log2(INTERVAL_PROBLEMS)) // task.operands
    if r >= width:
        return "silent", None, f"texts long enough for intervals of {r} tokens are too many to enumerate"
    clash = interval_clash(task, form, count=INTERVALS, length=r, width=width)
    if clash is None:
        return "generalizes", None, f"({INTERVALS}, {r})-consistent on all operands of up to {width} extreme digits"
    return "fails", None, f"not ({INTERVALS}, {r})-consistent: {clash}"


def half_split_bound(question: Question, cell: Cell) -> Answer:
    """A necessary condition of arXiv 2410.02140: the two halves of an input need only O(log n) bits of each other.

    Functions of limit transformers have it, and the paper excludes copying and addition so. Counted are the distinct
    rows of the half-split matrix at sizes s and 2s, in base 2 where the task's own base has too many problems: if their
    logarithm grows by at least 7/4, far from what log n allows, the task is excluded. It is stated for learned absolute
    ids and for none; widths are taken to grow with the problem. It can only exclude.
    """
    if not is_longer(question, cell):
        return "silent", None, SHORTER
    twin = encodings.get(question.encoding)
    if not (twin.shift_invariance().sees == "nothing" or twin.embeds() == "learned rows"):
        return "silent", None, "it treats learned absolute ids and no encoding"
    return _halves(question.task)


@cache
def _halves(task: Task) -> Answer:
    if task.modulus is not None:
        return "silent", None, f"a half need tell no more than a residue: at most {task.modulus} rows at every size"
    sizes = [_affordable(task.base, task.operands), _affordable(2, task.operands)]
    base, largest = (task.base, sizes[0]) if sizes[0] >= 4 else (2, sizes[1])
    if largest < 4:
        return "silent", None, "too many problems to enumerate the half-split matrix"
    process = process_of(replace(task, base=base))
    half, whole = (half_split_rows(process, size) for size in (largest // 2, largest // 2 * 2))
    counted = f"{half} rows at {largest // 2} digits and {whole} at {largest // 2 * 2} (base {base})"
    if half > 1 and math.log(whole) >= LINEAR_GROWTH * math.log(half):
        return "fails", None, f"the halves need more than O(log n) bits: {counted}"
    return "silent", None, f"not excluded: {counted}"


def _affordable(base: int, operands: int) -> int:
    return int(math.log(HALF_SPLIT_PROBLEMS, base)) // operands


@cache
def _window(task: Task, answer: Order) -> DependencyWindow | None:
    """The dependency window of a task, or None where its smallest problems are too many to decide it."""
    try:
        return dependency_window(process_of(task, answer))
    except ValueError:
        return None


@cache
def _offsets(task: Task, form: Format) -> tuple[bool, frozenset[int]]:
    """Whether the offsets of a bounded window do not change with place and length, and the offsets.

    Padded texts have one width; there the offsets must not become more at the next width. Free ones must keep them.
    """
    wide = max(form.width or 0, _deep_enough(task))
    here, wider = (_offsets_at(task, form, width) for width in (wide, wide + 1))
    return (here == wider if form.width is None else len(here) == len(wider)), here


def _reach(task: Task, form: Format, places: int) -> int:
    """How many tokens back the farthest slot of the window stands, for operands of so many places."""
    return max(_offsets_at(task, form, form.width or places), default=0)


@cache
def _offsets_at(task: Task, form: Format, width: int) -> frozenset[int]:
    window = _window(task, form.answer)
    assert window is not None
    return token_offsets(window.process, replace(form, width=None).layout(task, width), window.slots)


def _deep_enough(task: Task) -> int:
    """A width at which every slot of a bounded window is inside."""
    decisive = None if task.modulus is None else decisive_digits(task.modulus, task.base)
    return max(A_FEW_PLACES, 1 + (decisive or 0))
