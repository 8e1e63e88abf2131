"""Verdicts: the published contrast, the strengths, the conditions that decide, and hashes that notice every change."""

import json
from fractions import Fraction

import pytest
from cases import TASKS
from hypothesis import given
from hypothesis import strategies as st

from carryproof.theory import Question, Task, TrainingRange, canonical_json, formats, predict, surrogate_accuracy, tasks
from carryproof.theory.catalogue import predictions
from carryproof.theory.encodings import ENCODINGS
from carryproof.theory.prediction import Prediction, Verdict
from carryproof.theory.ranges import parse_lengths, write_lengths


def ask(task: Task, encoding: str, form: str = "padded:9", train: tuple[int, ...] = (4,)) -> Question:
    return Question(task=task, format=formats.parse(form), encoding=encoding, train=TrainingRange(lengths=train))


def verdicts(prediction: Prediction) -> list[Verdict]:
    return [cell.verdict for cell in prediction.cells]


def test_modulo_100_and_101_under_absolute_positions() -> None:
    compatible = predict(ask(tasks.modular_addition(100), "absolute"), range(5, 10))
    assert {(cell.verdict, cell.accuracy) for cell in compatible.cells} == {("permitted", Fraction(1))}
    alien = predict(ask(tasks.modular_addition(101), "absolute"), range(5, 10))
    assert verdicts(alien) == ["excluded"] * 5
    exact = ["0", "41/4050", "99/10000", "40099/4050000", "990099/100000000"]
    assert [cell.accuracy for cell in alien.cells] == [Fraction(text) for text in exact]
    assert alien.cells[0].surrogate == "((a mod 10^4) + (b mod 10^4)) mod 101"


@pytest.mark.parametrize("task", [tasks.addition(), tasks.multiplication()], ids=str)
def test_learned_positions_exclude_sums_and_products_above_training(task: Task) -> None:
    for cell in predict(ask(task, "absolute"), range(5, 10)).cells:
        assert (cell.verdict, cell.accuracy) == ("excluded", 0)
    for cell in predict(ask(task, "sinusoidal"), range(5, 10)).cells:  # its products hold differences too
        assert cell.verdict == "silent" and [r.law for r in cell.reasons if not r.holds] == ["E1", "E3"]


@pytest.mark.parametrize(("law", "shortest"), [("exact", 4), ("longest", 3), ("unequal", 4)])
def test_a_permitted_cell_says_whether_training_showed_every_window(law: str, shortest: int) -> None:
    for longest in (2, 3, 4, 5):
        train = TrainingRange(lengths=tuple(range(2, longest + 1)), law=law)
        question = Question(task=tasks.addition(), format=formats.padded(9), encoding="rope", train=train)
        (reason,) = [r for r in predict(question, [6], [law]).cells[0].reasons if r.law == "L19"]
        assert reason.holds == (longest >= shortest), reason.why


@pytest.mark.parametrize("encoding", ["none", "relative-t5", "relative-shaw", "rope", "alibi", "kerple"])
def test_shift_invariant_scores_permit_addition_and_are_silent_where_the_shift_law_fails(encoding: str) -> None:
    for task, verdict in [
        (tasks.addition(), "permitted"),
        (tasks.multiplication(), "silent"),
        (tasks.modular_addition(100), "permitted"),
        (tasks.modular_addition(101), "silent"),
    ]:
        assert verdicts(predict(ask(task, encoding, "padded:6"), [5, 6])) == [verdict] * 2


def test_offsets_that_an_encoding_merges_are_not_permitted() -> None:
    """T5 merges 16 with 17 and 18, clipping everything from 8 or 64 on; the padded width W needs offset 2W + 2."""
    clipped = ENCODINGS["relative-clipped"]
    assert clipped.resolves(7) and not clipped.resolves(8)
    for encoding, last in (("relative-t5", 6), ("relative-shaw", 30)):
        twin = ENCODINGS[encoding]
        assert verdicts(predict(ask(tasks.addition(), encoding, f"padded:{last}"), [5])) == ["permitted"]
        beyond = predict(ask(tasks.addition(), encoding, f"padded:{last + 1}"), [5]).cells[0]
        assert beyond.verdict == "silent" and [r.law for r in beyond.reasons if not r.holds] == ["E2"]
        assert twin.resolves(2 * last + 2) and not twin.resolves(2 * (last + 1) + 2)
    assert verdicts(predict(ask(tasks.addition(), "rope", "padded:300"), [299])) == ["permitted"]


def test_addition_is_permitted_only_where_the_window_is_bounded_and_aligned() -> None:
    permitted = predict(ask(tasks.addition(), "rope"), [5]).cells[0]
    assert {reason.law for reason in permitted.reasons} >= {"E1", "L1", "L2", "L10", "L11"}
    for form in ("padded:9,answer=most-first", "padded:9,operands=most-first", "free"):
        cell = predict(ask(tasks.addition(), "rope", form), [5]).cells[0]
        assert cell.verdict == "silent" and not all(reason.holds for reason in cell.reasons)
    many = predict(ask(tasks.addition(3, base=2), "rope"), [5]).cells[0]  # a window of two columns below its own
    assert many.verdict == "permitted" and any("a1[i-2]" in reason.why for reason in many.reasons)


def test_the_theory_is_silent_about_operations_it_does_not_know() -> None:
    own = tasks.Operation(
        name="both", symbol="+", apply=lambda a, b: a & b, width=lambda base, places, operands: places
    )
    for modulus in (None, 100):
        for encoding in ENCODINGS:
            cells = predict(ask(Task(operation=own, modulus=modulus), encoding), [4, 5]).cells
            assert [cell.verdict for cell in cells] == ["in-range", "silent"]
            assert cells[1].reasons[0].law == "D2"


def test_a_function_of_both_ids_that_all_positions_share_decides_nothing() -> None:
    """FIRE is not shift-invariant, yet no position has parameters of its own: nothing is excluded above training."""
    for task in (tasks.addition(), tasks.multiplication(), tasks.modular_addition(101)):
        for cell in predict(ask(task, "fire"), [5, 9]).cells:
            assert cell.verdict == "silent" and [r.law for r in cell.reasons if not r.holds] == ["E1", "E3"]


def test_lengths_in_range_gaps_and_below() -> None:
    question = ask(tasks.addition(), "absolute", train=(1, 2, 4))
    assert verdicts(predict(question, [1, 2, 3, 4, 5])) == ["in-range", "in-range", "permitted", "in-range", "excluded"]
    below = predict(ask(tasks.addition(), "absolute", train=(4,)), [3]).cells[0]
    assert below.verdict == "silent"  # a zero top digit was never seen (law L9)
    assert any(reason.law == "L9" and not reason.holds for reason in below.reasons)
    assert predict(question, [5], ["unequal"]).cells[0].verdict == "excluded"


def test_absolute_positions_in_free_texts_are_left_open() -> None:
    assert verdicts(predict(ask(tasks.addition(), "absolute", "free"), [5])) == ["silent"]


def test_no_verdict_is_forced_by_encodings_that_anchors_can_break() -> None:
    for task in TASKS:
        for name in ENCODINGS:
            question = ask(task, name, "padded:6", train=(1, 2))
            assert "forced" not in verdicts(predict(question, [1, 2, 4, 6], ["exact", "longest", "unequal"]))


@given(st.sampled_from(TASKS), st.sampled_from(sorted(ENCODINGS)), st.integers(1, 3), st.integers(1, 6))
def test_every_cell_is_complete_and_excluded_cells_hold_the_exact_accuracy(
    task: Task, encoding: str, trained: int, length: int
) -> None:
    for cell in predict(ask(task, encoding, "padded:6", train=(trained,)), [length], ["exact", "longest"]).cells:
        assert cell.reasons
        if cell.verdict == "excluded":
            assert cell.accuracy == surrogate_accuracy(task, trained=trained, length=length, law=cell.law)
            assert cell.surrogate is not None
        if cell.verdict == "silent":
            assert cell.accuracy is None


def test_the_hash_covers_question_and_cells_and_is_the_same_everywhere() -> None:
    first = predict(ask(tasks.addition(), "absolute"), [5, 6])
    again = predict(ask(tasks.addition(), "absolute"), [6, 5, 5])
    assert first.prediction_id == again.prediction_id
    others = [
        predict(ask(tasks.addition(base=9), "absolute"), [5, 6]),
        predict(ask(tasks.addition(), "sinusoidal"), [5, 6]),
        predict(ask(tasks.addition(), "absolute", "padded:8"), [5, 6]),
        predict(ask(tasks.addition(), "absolute", train=(3,)), [5, 6]),
        predict(ask(tasks.addition(), "absolute"), [5, 7]),
    ]
    assert len({first.prediction_id, *(other.prediction_id for other in others)}) == 6


def test_predictions_are_plain_data_and_survive_twenty_thousand_digits() -> None:
    question = ask(tasks.modular_addition(101), "absolute", "padded:20000")
    cell = json.loads(canonical_json(predict(question, [20_000]).to_dict()))["cells"][0]
    assert len(cell["accuracy"]) > 40_000 and cell["accuracy_float"] == pytest.approx(1 / 101)


@given(st.sets(st.integers(1, 60), min_size=1))
def test_lengths_round_trip(lengths: set[int]) -> None:
    ordered = tuple(sorted(lengths))
    assert parse_lengths(write_lengths(ordered)) == ordered


@pytest.mark.parametrize("text", ["", "0", "-3", "3-", "5-2", "a", "1,,2", "1-2-3", "2.5"])
def test_bad_lengths_are_one_line(text: str) -> None:
    with pytest.raises(ValueError, match="digits: got"):
        parse_lengths(text)


def test_bad_questions_are_one_line() -> None:
    with pytest.raises(ValueError, match="did you mean 'rope'"):
        ask(tasks.addition(), "rop")
    with pytest.raises(ValueError, match="format width: got 3; allowed: at least 4"):
        ask(tasks.addition(), "rope", "padded:3")
    with pytest.raises(ValueError, match="format width: got 9; allowed: at least 12"):
        predict(ask(tasks.addition(), "rope"), [12])
    with pytest.raises(ValueError, match="test_digits"):
        predict(ask(tasks.addition(), "rope"), [])


def test_every_registered_cell_is_predicted() -> None:
    every = list(predictions())
    assert sum(len(prediction.cells) for prediction in every) > 1_000
    assert len({prediction.prediction_id for prediction in every}) == len(every)
    assert {prediction.question.encoding for prediction in every} == set(ENCODINGS)
    assert {cell.verdict for prediction in every for cell in prediction.cells} == {"excluded", "permitted", "silent"}


@pytest.mark.parametrize("name", sorted(ENCODINGS))
def test_offsets_next_to_a_token_are_resolved_or_not_without_error(name: str) -> None:
    """Offset 0 has the logarithm of 0 in T5's formula for far offsets, which must not be taken."""
    assert ENCODINGS[name].resolves(1) == (ENCODINGS[name].sees != "nothing")
