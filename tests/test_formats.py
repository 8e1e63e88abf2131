"""Texts hold what was written into them, in the order and at the places that the layout says."""

import numpy as np
import pytest
from cases import FORMATS, TASKS
from hypothesis import given
from hypothesis import strategies as st

from carryproof.theory import Format, Task, formats, tasks
from carryproof.theory.alignment import alignment
from carryproof.theory.digits import digits_le, value_of

ALL = [(task, form) for task in TASKS for form in FORMATS]


def read_back(task: Task, form: Format, rendered: str) -> tuple[list[int], int]:
    """An independent reader: split at the symbols, reverse least-first numbers, let Python parse the digits."""

    def number(text: str, order: str) -> int:
        return int(text[::-1] if order == "least-first" else text, task.base)

    prompt, answer = rendered.rstrip(";").split("=")
    operands = [number(text, form.operands) for text in prompt.split(task.operation.symbol)]
    negative = "-" in answer
    return operands, (-1 if negative else 1) * number(answer.strip("+-"), form.answer)


@given(st.data(), st.sampled_from(ALL))
def test_what_is_written_reads_back(data: st.DataObject, case: tuple[Task, Format]) -> None:
    task, form = case
    values = data.draw(st.tuples(*[st.integers(0, task.base**6 - 1)] * task.operands))
    text = form.write(task, np.array([[digits_le(value, task.base, 6) for value in values]]))
    rendered = formats.render(task, text.tokens[0])
    assert read_back(task, form, rendered) == (list(values), task(*values))
    assert form.read(task, rendered) == (values, task(*values))


@pytest.mark.parametrize("text", ["", "12", "1+2", "1+2=", "1+2+3=6;", "1-2=3;", "1+=3;", "1+g=3;", "1=2=3;"])
def test_what_is_no_problem_is_not_read(text: str) -> None:
    with pytest.raises(ValueError, match=r"^text: got .*; allowed: 2 numbers joined by '\+', then '=' and one more$"):
        formats.free().read(tasks.addition(), text)


@pytest.mark.parametrize(("task", "form"), ALL, ids=str)
def test_tokens_stand_in_their_slots(task: Task, form: Format) -> None:
    generator = np.random.Generator(np.random.Philox(5))
    operands = generator.integers(0, task.base, (50, task.operands, 6)).astype(np.uint8)
    operands[:20, :, 3:] = 0
    text, answer = form.write(task, operands), task.answer(operands)
    for row in range(50):
        for token, index, scored in zip(text.tokens[row], text.slots[row], text.scored[row], strict=True):
            if index < 0:
                assert token == formats.token_of(task, "_") and not scored
                continue
            slot = text.layout[index]
            assert scored == (slot.role in ("sign", "answer", "end"))
            if slot.role == "operand":
                assert token == operands[row, slot.operand, slot.place]
            if slot.role == "answer":
                assert token == answer.digits[row, slot.place]
        assert formats.token_of(task, ";") in text.tokens[row][text.scored[row]]


def test_free_texts_have_no_leading_zeros_and_one_digit_for_zero() -> None:
    task = tasks.addition()
    text = formats.free().write(task, np.zeros((1, 2, 4), dtype=np.uint8))
    assert formats.render(task, text.tokens[0]) == "0+0=0;"


def test_the_sign_is_scored_and_stands_where_the_top_digits_decide_it() -> None:
    task = tasks.subtraction()
    problem = np.array([[[3, 0], [5, 1]]], dtype=np.uint8)
    assert formats.render(task, formats.padded(2).write(task, problem).tokens[0]) == "30-51=21-;"
    most = formats.padded(2, operands="most-first", answer="most-first")
    assert formats.render(task, most.write(task, problem).tokens[0]) == "03-15=-12;"


@given(st.integers(1, 12))
def test_offsets_follow_law_l10(width: int) -> None:
    least = alignment(tasks.addition(), formats.padded(width))
    most = alignment(tasks.addition(), formats.padded(width, operands="most-first", answer="most-first"))
    assert {row[0] for row in least.offsets} == {2 * width + 2, width + 1} and least.constant
    assert {row[0] for row in most.offsets} == {2 * width + 3, width + 2} and most.constant
    mixed = alignment(tasks.addition(), formats.padded(width, operands="most-first"))
    assert mixed.offsets == (
        tuple(width + 3 + 2 * i for i in range(width)),
        tuple(2 + 2 * i for i in range(width)),
    )
    assert mixed.constant == (width == 1)
    assert not alignment(tasks.addition(), formats.free()).constant


@pytest.mark.parametrize("form", FORMATS, ids=str)
def test_format_names_parse_back(form: Format) -> None:
    assert formats.parse(str(form)) == form


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pading:3", "did you mean 'padded:W'"),
        ("padded:0", "format width: got 0"),
        ("padded:-3", "format width: got '-3'"),
        ("padded:4,operands=least", "did you mean 'least-first'"),
        ("padded:4,operand=least-first", "did you mean 'operands'"),
    ],
)
def test_bad_formats_are_named_in_one_line(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(")) as error:
        formats.parse(text)
    assert "\n" not in str(error.value)


def test_operands_longer_than_the_width_are_refused() -> None:
    with pytest.raises(ValueError, match="format width: got 2; allowed: at least 3"):
        formats.padded(2).write(tasks.addition(), np.ones((1, 2, 3), dtype=np.uint8))


def test_an_answer_of_ones_own_is_written() -> None:
    task = tasks.addition()
    operands = np.array([[[5, 3], [0, 0]]], dtype=np.uint8)
    answer = task.answer(np.array([[[5, 0], [0, 0]]], dtype=np.uint8))
    assert formats.render(task, formats.padded(2).write(task, operands, answer).tokens[0]) == "53+00=500;"
    assert value_of(answer.digits[0], 10) == 5
