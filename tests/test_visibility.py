"""What an encoding can see: conditions read off twins, layouts and windows, held against written texts and numbers."""

from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carryproof.theory import Question, Task, TrainingRange, formats, predict, tasks
from carryproof.theory.catalogue import questions
from carryproof.theory.encodings import ENCODINGS, SymbolicEncoding
from carryproof.theory.visibility import digit_places, far_scores, needed_offsets, visibility

LAWS = st.sampled_from(["exact", "longest", "unequal"])


def ask(task: Task, encoding: str, form: str = "padded:9", train: tuple[int, ...] = (1, 2)) -> Question:
    return Question(task=task, format=formats.parse(form), encoding=encoding, train=TrainingRange(lengths=train))


def why(question: Question, law: str, length: int = 5) -> list[tuple[bool, str]]:
    return [(reason.holds, reason.why) for reason in visibility(question, length) if reason.law == law]


@pytest.mark.parametrize("name", sorted(ENCODINGS))
def test_far_scores_as_numbers(name: str) -> None:
    twin = ENCODINGS[name]
    tables = {table: (lambda x: float(np.sin(1 + x))) for table in twin.tables}
    score = twin.evaluator({**dict.fromkeys(twin.scalars, 0.1), **tables})
    far = [score((1.0, -0.5), (0.3, 2.0), 3 + d, 3) for d in range(200, 3000)]
    found = far_scores(twin)
    if found in ("fades", "slow"):
        assert all(later < earlier for earlier, later in pairwise(far))
        assert (max(far) < -15) == (found == "fades")
    else:
        assert max(map(abs, far)) < 10
        assert (found == "constant") == (max(far) - min(far) < 1e-12)


def test_far_scores_fade_only_if_all_far_keys_together_stay_light() -> None:
    """The weight of 3,000 to 30,000 keys against that of as many tenths of them, for rates small and large."""
    grown = {}
    for name, rates in (("alibi", {"m": 0.01}), ("kerple", {"r1": 0.5, "r2": 1.0}), ("kerple", {"r1": 3.0, "r2": 1.0})):
        score = ENCODINGS[name].evaluator(rates)
        near, far = (sum(np.exp(score((0, 0), (0, 0), d, 0)) for d in range(n, 10 * n)) for n in (300, 3000))
        grown[name, *rates.values()] = far / near
    assert grown["alibi", 0.01] < 1e-6 and grown["kerple", 0.5, 1.0] > 3 and grown["kerple", 3.0, 1.0] < 0.02
    assert far_scores(ENCODINGS["alibi"]) == "fades" and far_scores(ENCODINGS["kerple"]) == "slow"


def _power(rate: int) -> SymbolicEncoding:
    import sympy

    weight = SymbolicEncoding(name="power", title="power", told="", source="here", sees="differences")
    return replace(weight, bias=lambda query, i, j: -rate * sympy.log(1 + sympy.Abs(i - j)))


def test_powers_of_the_distance_are_summable_from_beyond_one() -> None:
    assert [far_scores(_power(rate)) for rate in (1, 2, 3)] == ["slow", "fades", "fades"]


def test_only_rows_of_their_own_make_rules_of_their_own() -> None:
    holds = {}
    for name in ("absolute", "sinusoidal", "fire"):
        ((holds[name], text),) = why(ask(tasks.addition(), name), "E3")
        assert ("rows of a learned table" in text) == (name == "absolute")
    assert holds == {"absolute": True, "sinusoidal": False, "fire": False}  # FIRE's function is shared by all positions


def test_slow_penalties_say_that_they_may_dilute() -> None:
    ((holds, text),) = why(ask(tasks.addition(), "kerple", "free"), "L12", 3)
    assert not holds and "so slowly that, for some parameters, far keys together have unbounded weight" in text


@pytest.mark.parametrize(
    ("task", "form"),
    [
        (tasks.addition(base=2), "padded:3"),
        (tasks.addition(3, base=2), "padded:3"),
        (tasks.addition(base=3), "padded:2"),
        (tasks.modular_addition(4, base=2), "padded:3"),
        (tasks.modular_addition(4, base=2), "padded:3,operands=most-first"),
        (tasks.modular_multiplication(9, base=3), "padded:2,answer=most-first"),
        (tasks.modular_subtraction(2, base=6), "padded:1"),
    ],
    ids=str,
)
def test_the_needed_offsets_decide_every_answer_token_of_every_text(task: Task, form: str) -> None:
    """Tokens at the needed offsets before the query, with the query's own, are a key for the next token."""
    layout = formats.parse(form)
    needed = needed_offsets(task, layout)
    assert needed is not None and layout.width is not None
    digits = np.array(list(product(range(task.base), repeat=task.operands * layout.width)), dtype=np.uint8)
    text = layout.write(task, digits.reshape(len(digits), task.operands, layout.width))
    answers = [at for at, slot in enumerate(text.layout) if slot.role == "answer"]

    def clashes(seen: tuple[int, ...]) -> bool:
        rules: dict = {}
        for tokens in text.tokens.tolist():
            for at in answers:
                key = tuple(tokens[at - 1 - offset] if at - 1 >= offset else None for offset in (0, *seen))
                key = (key, at if task.modulus else None)  # a residue has a rule of its own for each place
                if rules.setdefault(key, tokens[at]) != tokens[at]:
                    return True
        return False

    assert not clashes(needed)
    if task.modulus is None:
        assert all(clashes(tuple(o for o in needed if o != offset)) for offset in needed)


def test_no_constant_offset_serves_where_the_orders_differ_or_the_window_is_unbounded() -> None:
    for task, form in (
        (tasks.addition(), "padded:5,operands=most-first"),
        (tasks.addition(), "padded:5,answer=most-first"),
        (tasks.addition(), "free"),
        (tasks.multiplication(), "padded:5"),
        (tasks.modular_addition(101), "padded:5"),
    ):
        assert needed_offsets(task, formats.parse(form)) is None


def test_padded_texts_show_no_new_position_and_no_more_keys() -> None:
    for name in ENCODINGS:
        question = ask(tasks.addition(), name)
        assert (True, "every text has 30 tokens, so that no more keys compete than in training") in why(question, "L12")
        assert all(holds for holds, text in why(question, "L9") if "tokens" in text)


def test_longer_free_texts_dilute_unless_scores_fade() -> None:
    for name, twin in ENCODINGS.items():
        question = ask(tasks.addition(), name, "free")
        assert why(question, "L9", 2)[0][0] and not why(question, "L9", 3)[0][0]  # ids and offsets
        ((holds, text),) = why(question, "L12", 3)
        assert holds == (far_scores(twin) == "fades") == (name == "alibi")
        assert text.startswith("12 tokens where training had 9")  # 123+456=0579 and 12+34=046


def test_every_registered_question_has_its_conditions() -> None:
    for question in questions():
        reasons = visibility(question, 7)
        assert reasons[0].law == "E1" and {"L9", "L10", "L12"} <= {reason.law for reason in reasons}
        assert reasons[0].holds == any(reason.law == "L11" for reason in reasons)


@given(st.sets(st.integers(1, 6), min_size=1), st.integers(1, 8), LAWS, LAWS)
def test_digits_never_seen_at_their_place_by_listing_all(lengths: set[int], length: int, law: str, asked: str) -> None:
    width = 9

    def pairs(places: int, drawn: str) -> set[tuple[str, int]]:
        found = {("non-zero", place) for place in range(places)} | {("zero", place) for place in range(places - 1)}
        found |= {("zero", place) for place in range(places, width)}
        return found | ({("zero", places - 1)} if places == 1 or drawn != "exact" else set())

    if law == "unequal":
        lengths = {each + 1 for each in lengths}
    train = TrainingRange(lengths=tuple(lengths), law=law)
    missing = pairs(length, asked) - set().union(*(pairs(each, law) for each in train.lengths))
    reason = digit_places(train, length, asked)
    assert reason.holds == (not missing)
    if missing:
        assert f"a {min(missing)[0]} digit at place {min(missing)[1] + 1} never" in reason.why


def test_ids_that_the_format_gives() -> None:
    adding = tasks.addition()
    free = ask(adding, "relative-shaw", "free,ids=coupled")
    assert why(free, "L10")[0][0] and needed_offsets(adding, free.format) == (-1, 0)  # a[i] and b[i] lie one id ahead
    assert why(free, "E2") == [(True, "every offset in -1, 0 has a score of its own")]
    assert not why(ask(adding, "alibi", "free,ids=coupled"), "E2")[0][0]  # it knows distances, not directions
    assert not why(free, "L12")[0][0] and not why(free, "L9")[0][0]
    assert why(ask(adding, "absolute", "free,ids=coupled:9"), "E4")[0][0]
    spanned = [why(ask(adding, "absolute", "free,ids=coupled:9"), "L9", length)[0] for length in (2, 7, 8)]
    assert [holds for holds, _ in spanned] == [True, False, False]
    assert (
        spanned[1][1] == "texts have ids up to 8, and training draws from 9; but it has none that lie more than 3 apart"
    )
    assert why(ask(adding, "absolute", "padded:9,ids=coupled:12"), "L9", 8)[0][0]
    assert not why(ask(adding, "rope", "padded:9,ids=random:99"), "L10")[0][0]
    mixed = "padded:9,operands=most-first,ids="
    assert why(ask(adding, "rope", mixed + "coupled"), "L10")[0][0]
    assert not why(ask(adding, "rope", mixed + "abacus"), "L10")[0][0]
    assert not why(ask(adding, "rope", "free,operands=most-first,answer=most-first,ids=abacus"), "L10")[0][0]
    assert why(ask(adding, "rope", "free,ids=abacus"), "L10")[0][0]


@pytest.mark.parametrize("encoding", ["absolute", "rope"])
def test_coupled_ids_permit_what_free_widths_forbid(encoding: str) -> None:
    def cell(form: str) -> tuple[str, set[str]]:
        found = predict(ask(tasks.addition(), encoding, form, (1, 2, 3, 4)), [3, 6], ["unequal"]).cells
        return found[0].verdict, {reason.law for reason in found[1].reasons if not reason.holds}

    assert cell("free")[0] == "silent"
    shared = cell("free,ids=coupled:40" if encoding == "absolute" else "free,ids=coupled")
    assert shared[0] == "permitted" and {"L12"} <= shared[1] <= {"L9", "L12"}  # longer texts still dilute
