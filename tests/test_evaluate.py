"""One-pass exact match equals greedy decoding, and measured k of n mean what they say."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from cases import TASKS
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from carryproof.benchmarks.configuration import Evaluation, Recipe, RunConfig
from carryproof.benchmarks.evaluate import (
    TestSet,
    cached_match,
    draw_test_set,
    evaluate,
    exact_match,
    greedy_match,
    problems_at_once,
    truncated,
    whole,
)
from carryproof.benchmarks.run import measure_model, share_seen
from carryproof.benchmarks.streams import Stream, held_out
from carryproof.benchmarks.train import logits_at, train, training_stream
from carryproof.models.decoder import Decoder
from carryproof.theory import Format, Question, Task, TrainingRange, formats, tasks
from carryproof.theory.digits import Digits, value_of
from carryproof.theory.positions import Positions


def writer(task: Task, form: Format, answer: Callable[[Digits], Digits]) -> Callable[[Tensor], Tensor]:
    """A hand-built model that reads padded operands off the text and writes the answer to ``answer(operands)``."""

    def model(tokens: Tensor) -> Tensor:
        layout = form.layout(task, form.width)
        operands = np.zeros((len(tokens), task.operands, form.width), dtype=np.uint8)
        for column, slot in enumerate(layout[: tokens.shape[1]]):
            if slot.role == "operand":
                operands[:, slot.operand, slot.place] = tokens[:, column].numpy()
        said = form.write(task, operands, task.answer(answer(operands))).tokens[:, 1:]
        said = said[:, : tokens.shape[1]]
        return torch.nn.functional.one_hot(torch.from_numpy(said), formats.vocabulary_size(task)).float()

    return model


@pytest.mark.parametrize("task", TASKS, ids=str)
def test_a_model_of_the_truth_and_a_model_of_the_surrogate(task: Task) -> None:
    form, train_range = formats.padded(5), TrainingRange(lengths=(1, 2))
    for length in (2, 4):
        tests = draw_test_set(task, train_range, length, "exact", 300, seed=1)
        truth = evaluate(whole(writer(task, form, lambda operands: operands)), task, form, tests, trained=2)[0]
        assert truth.correct == truth.problems
        shadow = evaluate(whole(writer(task, form, lambda op: truncated(op, 2))), task, form, tests, trained=2)[0]
        assert shadow.agree == shadow.problems
        problems = [[value_of(number, task.base) for number in problem] for problem in tests.operands]
        right = [task(*values) == task(*(value % task.base**2 for value in values)) for values in problems]
        assert shadow.correct == sum(right) == truth.agree


def half_trained(task: Task, form: Format, encoding: str, steps: int) -> tuple[RunConfig, Decoder]:
    config = RunConfig(
        question=Question(task=task, format=form, encoding=encoding, train=TrainingRange(lengths=(1, 2))),
        recipe=Recipe(d_model=32, n_heads=4, n_layers=1, steps=steps, batch=32, learning_rate=1e-2, warmup_steps=10),
        evaluation=Evaluation(test_digits=(1, 2, 3), problems=200),
        seed=0,
    )
    return config, train(config)[0]


@pytest.mark.parametrize(
    ("task", "form"),
    [
        (tasks.modular_addition(10), formats.padded(3)),
        (tasks.modular_addition(10), formats.free()),
        (tasks.modular_addition(10), formats.parse("free,ids=coupled:9")),
        (tasks.modular_addition(10), formats.parse("padded:3,operands=most-first,ids=abacus:9")),
        (tasks.addition(base=2), formats.free(operands="most-first")),
        (tasks.subtraction(base=2), formats.padded(3)),
    ],
    ids=str,
)
def test_one_pass_equals_greedy_decoding_at_intermediate_accuracy(task: Task, form: Format) -> None:
    shares = []
    for steps in (5, 60, 200):
        encoding = "none" if form.width is None and form.positions == Positions() else "absolute"
        _, model = half_trained(task, form, encoding, steps)
        for length in (1, 2, 3):
            operands = Stream(task=task, lengths=(1, length) if length > 1 else (1,), seed=9).block(0, 150)
            text = form.write(task, operands)
            one_pass, greedy = exact_match(logits_at(model), text), greedy_match(logits_at(model), task, text)
            assert (one_pass == greedy).all()
            assert (cached_match(model, task, text) == greedy).all()
            shares.append(one_pass.mean())
    assert any(0.05 < share < 0.95 for share in shares)  # a test at 0 % or 100 % alone would show nothing


def test_ties_are_decided_the_same_way() -> None:
    task, form = tasks.modular_addition(10), formats.padded(2)
    text = form.write(task, Stream(task=task, lengths=(2,), seed=0).block(0, 400))

    def model(tokens: Tensor, ids: Tensor, rows: slice) -> Tensor:
        every = torch.zeros(*tokens.shape, formats.vocabulary_size(task))
        every[..., 5:7] = 1.0  # 5 and 6 tie at the digit; the end token is sure
        every[:, 6:, formats.token_of(task, ";")] = 2.0
        return every[:, rows]

    one_pass = exact_match(model, text)
    assert (one_pass == greedy_match(model, task, text)).all()
    assert (
        one_pass.sum() == (task.answer(Stream(task=task, lengths=(2,), seed=0).block(0, 400)).digits[:, 0] == 5).sum()
    )


@pytest.mark.parametrize("form", [formats.padded(9), formats.free()], ids=str)
def test_tests_are_measured_in_parts_of_bounded_size(form: Format, monkeypatch: pytest.MonkeyPatch) -> None:
    task, seen = tasks.addition(), []
    tests = draw_test_set(task, TrainingRange(lengths=(1, 2)), 9, "exact", 500, seed=1)

    def model(tokens: Tensor, ids: Tensor, rows: slice) -> Tensor:
        """Right in half of the problems, whatever they stand beside."""
        seen.append(tokens.shape)
        text = form.write(task, tests.operands)
        known = {tuple(row[:20].tolist()): row for row in text.tokens if row[0] < 5}
        logits = torch.zeros(len(tokens), text.tokens.shape[1], formats.vocabulary_size(task))
        for problem, row in enumerate(tokens[:, :20].tolist()):
            logits[problem, torch.arange(text.tokens.shape[1]), known.get(tuple(row), text.tokens[0])] = 1.0
        return logits[:, 1 : tokens.shape[1] + 1][:, rows]

    whole_set = evaluate(model, task, form, tests, trained=2)
    assert 0.3 < whole_set[0].correct / 500 < 0.7
    monkeypatch.setattr("carryproof.benchmarks.evaluate.TOKENS_AT_ONCE", 2_000)
    monkeypatch.setattr("carryproof.benchmarks.evaluate.problems_at_once", lambda tokens: 17)
    seen.clear()
    assert evaluate(model, task, form, tests, trained=2) == whole_set
    assert max(problems for problems, _ in seen) == 17 and len(seen) > 500 // 17


@given(st.integers(1, 100_000))
def test_attention_is_bounded_at_any_length(tokens: int) -> None:
    assert problems_at_once(tokens) == 1 or problems_at_once(tokens) * tokens**2 <= 2**20


def test_the_end_token_is_scored() -> None:
    task, form = tasks.addition(), formats.free()
    text = form.write(task, np.array([[[2, 0], [3, 0]]], dtype=np.uint8))  # 2+3=5;
    said = torch.from_numpy(text.tokens[:, 1:]).clone()
    said[:, -1] = 0  # goes on with a digit where the answer ends
    model = whole(lambda tokens: torch.nn.functional.one_hot(said[:, : tokens.shape[1]], 16).float())
    assert not exact_match(model, text).any()


def test_in_range_problems_are_held_out_and_small_sets_are_whole() -> None:
    task, train_range = tasks.addition(), TrainingRange(lengths=(1, 2))
    assert held_out(draw_test_set(task, train_range, 2, "exact", 300, seed=4).operands).all()
    whole_set = draw_test_set(task, train_range, 1, "exact", 300, seed=4)
    assert whole_set.exhaustive and len(whole_set.operands) == 100
    beyond = draw_test_set(task, train_range, 3, "exact", 300, seed=4)
    assert isinstance(beyond, TestSet) and not beyond.exhaustive and beyond.selection == "random"


def test_the_share_seen_is_counted_by_replay() -> None:
    config, _ = half_trained(tasks.addition(base=3), formats.padded(3), "none", 3)
    drawn = training_stream(config).block(0, 3 * 32)
    assert share_seen(config) == pytest.approx(len(np.unique(drawn, axis=0)) / (3**2 + 6**2))


def test_training_is_a_function_of_its_configuration() -> None:
    (config, _), task = half_trained(tasks.modular_addition(7), formats.padded(3), "rope", 4), tasks.modular_addition(7)
    first, again = train(config)[0], train(config)[0]
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert measure_model(config, first) == measure_model(config, again)
    assert config.question.task == task


def test_gap_and_unequal_lengths_are_measured() -> None:
    question = Question(
        task=tasks.addition(), format=formats.padded(5), encoding="rope", train=TrainingRange(lengths=(1, 3))
    )
    evaluation = Evaluation(test_digits=(1, 2, 3, 5), laws=("exact", "unequal"), problems=50)
    config = RunConfig(question=question, recipe=Recipe(steps=1, d_model=16), evaluation=evaluation, seed=0)
    records = measure_model(config, train(config)[0])
    cells = {(record.test_digits, record.law) for record in records}
    assert cells == {
        (1, "exact"),
        (2, "exact"),
        (3, "exact"),
        (5, "exact"),
        (2, "unequal"),
        (3, "unequal"),
        (5, "unequal"),
    }
    assert {record.stratum for record in records} > {"all", "chain=0"}
