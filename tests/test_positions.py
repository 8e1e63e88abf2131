"""Position ids of the format: what shares an id, what training draws, and what tests see."""

import numpy as np
import pytest
from cases import FORMATS, TASKS
from hypothesis import given
from hypothesis import strategies as st

from carryproof.theory import Format, Question, Task, TrainingRange, formats, tasks
from carryproof.theory.formats import parse
from carryproof.theory.positions import Positions

SCHEMES = st.sampled_from(["index:90", "coupled", "coupled:40", "abacus", "abacus:30", "random:120"])


def problems(task: Task, count: int = 20, places: int = 6) -> np.ndarray:
    generator = np.random.Generator(np.random.Philox(3))
    operands = generator.integers(0, task.base, (count, task.operands, places)).astype(np.uint8)
    operands[::2, :, places // 2 :] = 0
    operands[::3, 0, 2:] = 0
    return operands


def with_ids(form: Format, scheme: str) -> Format | None:
    """The format with these ids, or None where they would tell the answer's length."""
    try:
        return parse(f"{form},ids={scheme}")
    except ValueError as error:
        assert "tell" in str(error) and form.width is None
        return None


@given(st.sampled_from(TASKS), st.sampled_from(FORMATS), SCHEMES)
def test_digits_share_ids_as_the_scheme_says(task: Task, plain: Format, scheme: str) -> None:
    form = with_ids(plain, scheme)
    if form is None:
        return
    assert parse(str(form)) == form and str(form.positions) == scheme
    text = form.write(task, problems(task))
    assert np.array_equal(text.tokens, plain.write(task, problems(task)).tokens)
    ids = np.broadcast_to(text.ids, text.tokens.shape)
    for row in range(len(ids)):
        in_number = 0
        for at, slot in enumerate(text.layout[index] if index >= 0 else None for index in text.slots[row]):
            digit = slot is not None and slot.role in ("operand", "answer")
            in_number = in_number + 1 if digit else 0
            match form.positions.scheme:
                case "index":
                    assert ids[row, at] == at
                case "coupled":
                    assert ids[row, at] == (slot.place + 1 if digit else 0)
                case "abacus":
                    assert ids[row, at] == in_number
                case "random":
                    assert 0 <= ids[row, at] < 120 and (at == 0 or ids[row, at - 1] < ids[row, at])
    assert ids.max() < form.positions.rows(text.layout)


@given(st.sampled_from(TASKS), SCHEMES, st.integers(0, 2**31), st.integers(0, 1000))
def test_training_draws_ids_in_the_span_by_seed_and_problem(task: Task, scheme: str, seed: int, first: int) -> None:
    form = parse(f"padded:6,ids={scheme}")
    text = form.write(task, problems(task))
    drawn = form.positions.draw(text.ids, 20, seed=seed, first=first)
    span = form.positions.span
    if span is None:
        assert drawn is text.ids
        return
    if form.positions.needed(text.layout) > span:  # a question refuses such a span, see below
        return
    assert drawn.shape == text.tokens.shape and drawn.min() >= 0 and drawn.max() < span
    again = form.positions.draw(text.ids, 5, seed=seed, first=first + 7)
    assert np.array_equal(again, drawn[7:12])  # problem i is a function of (seed, i)
    moved = drawn - text.ids
    if scheme.startswith("random"):
        assert (np.diff(drawn, axis=1) > 0).all()
    elif scheme.startswith("abacus"):
        assert (drawn[:, text.ids[0] == 0] == 0).all() and (np.ptp(moved[:, text.ids[0] > 0], axis=1) == 0).all()
    else:
        assert (np.ptp(moved, axis=1) == 0).all()


def test_every_id_of_the_span_is_trained_on() -> None:
    form = parse("padded:3,ids=coupled:12")
    task = tasks.addition()
    text = form.write(task, problems(task, 500, 3))
    assert set(np.unique(form.positions.draw(text.ids, 500, seed=0, first=0))) == set(range(12))
    form = parse("padded:3,ids=random:16")
    text = form.write(task, problems(task, 500, 3))
    drawn = form.positions.draw(text.ids, 500, seed=0, first=0)
    assert [set(column) for column in drawn.T] == [set(range(at, at + 4)) for at in range(13)]  # 13 of 16, in order


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("free,ids=couple", r"^format ids: unknown value 'couple'; did you mean 'coupled'\?"),
        ("free,ids=coupled:x", r"^format ids: got 'coupled:x'; allowed: a scheme and a positive integer"),
        ("free,ids=coupled:0", r"^format ids span: got 0; allowed: "),
        ("padded:3,ids=random", r"^format ids: got 'random'; allowed: random:S, with the number S"),
        ("free,ids=random:50", r"^format ids: got .*; allowed: random ids in padded texts"),
        ("free,answer=most-first,ids=coupled", r"^format answer: got 'most-first'; allowed: least-first with coupled"),
    ],
)
def test_ids_that_make_no_sense_are_one_clear_error(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse(text)


@pytest.mark.parametrize(("scheme", "least"), [("index", 13), ("coupled", 5), ("abacus", 5), ("random", 13)])
def test_a_span_holds_the_training_texts(scheme: str, least: int) -> None:
    form = formats.padded(3)
    for span in (1, least, 30):
        written = parse(f"padded:3,ids={scheme}:{span}")
        needed = Positions(scheme=scheme, span=30).needed(form.layout(tasks.addition(), 3))
        make = {
            "task": tasks.addition(),
            "format": written,
            "encoding": "absolute",
            "train": TrainingRange(lengths=(1, 2)),
        }
        if needed <= span:
            assert Question(**make).format == written
        else:
            with pytest.raises(ValueError, match=rf"^format ids span: got {span}; allowed: at least {needed}"):
                Question(**make)
    assert needed == least
