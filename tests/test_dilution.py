"""Forecasts of dilution: which keys are far, what their number and their scores are worth, and half lengths."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from carryproof.benchmarks import dilution, store, suites
from carryproof.benchmarks.configuration import Evaluation, Recipe, RunConfig
from carryproof.benchmarks.dilution import (
    Dilution,
    agreement,
    counted_odds,
    dilution_of,
    far_keys,
    half_length,
    paired,
    sample,
    scored_odds,
    virtual,
)
from carryproof.benchmarks.run import execute
from carryproof.models import checkpoints
from carryproof.models.decoder import Decoder
from carryproof.theory import Question, TrainingRange, formats, tasks

RECIPE = Recipe(d_model=16, n_heads=2, n_layers=1, steps=3, batch=8)


def config(encoding: str = "relative-clipped", ids: str = "coupled", longest: int = 4) -> RunConfig:
    return RunConfig(
        question=Question(
            task=tasks.addition(),
            format=formats.parse(f"free,ids={ids}"),
            encoding=encoding,
            train=TrainingRange(lengths=tuple(range(1, longest + 1))),
        ),
        recipe=RECIPE,
        evaluation=Evaluation(test_digits=(longest, longest + 2, 2 * longest), problems=40),
        seed=0,
    )


def test_far_keys_by_hand() -> None:
    asked = config(longest=2)
    text = asked.question.format.write(tasks.addition(), np.array([[[7, 5], [8, 1]]], dtype=np.uint8))  # 57 + 18 = 75
    assert formats.render(tasks.addition(), text.tokens[0]) == "75+81=57;"
    far = far_keys(asked, text)[0]
    named = {query: set(np.flatnonzero(far[query])) for query in range(len(far) - 1)}
    # '=' writes c[0] and needs a[0], b[0]; c[0] writes c[1] and needs both digits of both; c[1] writes the end
    assert named == {key: set() for key in range(5)} | {5: {1, 4}, 6: set(), 7: {0, 3, 6}}


@given(st.integers(5, 30))
def test_equal_scores_weigh_as_many_as_they_are(length: int) -> None:
    asked = config(longest=5)
    blank = Decoder(asked.decoder())  # every score is 0, so that a weight is a number
    short, long = sample(asked, 5, 30), sample(asked, length, 30)
    rows = slice(short.text.answer_start, short.text.answer_start + 3)  # c[1] to c[3], which all problems have
    counted = counted_odds(short, length).expand(-1, 2, -1, -1)[:, :, rows]
    scored = scored_odds(blank, short, long)[:, :, rows]
    assert (counted - scored).abs().max() < 0.26  # rows of the two stand at the same share of the number, but rounded
    if length == 5:
        assert counted.abs().max() < 1e-6 and scored.abs().max() < 1e-6


def test_problems_are_paired_by_the_length_of_their_answers() -> None:
    asked = config(longest=5)
    short, long = sample(asked, 5, 60), sample(asked, 9, 50)
    pairs = paired(short, long)
    few, many = short.text.scored.sum(axis=1) - 5, long.text.scored.sum(axis=1) - 9
    assert set(few) == {1, 2} and (few == many[pairs]).all()


def test_without_odds_the_forecast_is_the_accuracy_of_its_parts() -> None:
    asked = config()
    model = Decoder.init(asked.decoder(), torch.Generator().manual_seed(3))
    short = sample(asked, 4, 60)
    inputs, start = short.inputs, short.text.answer_start
    plain = model(*inputs)[:, start - 1 :].argmax(dim=-1).numpy() == short.text.tokens[:, start:]
    found = virtual(model, short, torch.zeros(1, 1, 1, 1), 4)
    right = plain | ~short.text.scored[:, start:]
    assert found.first == pytest.approx(right[:, 0].mean()) and found.interior == pytest.approx(right[:, 1:4].mean())
    assert found.accuracy == pytest.approx(found.first * found.interior**3 * found.ends)
    heavy = virtual(model, short, torch.full((1, 1, 1, 1), 60.0), 4)
    assert (heavy.first, heavy.interior) != (found.first, found.interior)  # only far keys are left
    assert isinstance(model.pos_embed, torch.nn.Module) and "Diluted" not in type(model.pos_embed).__name__


@given(st.lists(st.floats(0, 1), min_size=2, max_size=9))
def test_half_lengths_lie_between_the_lengths_around_one_half(curve: list[float]) -> None:
    lengths = range(10, 10 + len(curve))
    found = half_length(lengths, curve)
    falls = [at for at in range(len(curve) - 1) if curve[at] >= 0.5 > curve[at + 1]]
    if curve[0] < 0.5:
        assert found == 10
        return
    assert (found is None) == (not falls)
    if found is not None:
        assert lengths[falls[0]] <= found <= lengths[falls[0] + 1]


def test_a_record_holds_forecasts_and_measurements(tmp_path) -> None:
    asked = config()
    (run,) = execute([asked], tmp_path, registry_sha256="0" * 64, prediction_id="0" * 64)
    model = checkpoints.load(tmp_path / "runs" / asked.run_id / "model.safetensors")
    found = dilution_of(run, asked, model, problems=20)
    assert found.lengths == (4, 6, 8) and found.scored is not None
    plain = found.to_dict()
    assert plain["half_lengths"] == dict.fromkeys(("counted", "scored", "measured"), 4.0)  # never right at all
    store.write_json(tmp_path / "x.json", {"runs": [plain]})
    assert asked.question.encoding in dilution.table([found])


def test_the_study_is_what_it_says(tmp_path, capsys) -> None:
    suite = suites.build("soft")
    assert len(suite.runs()) == 15 and {run.question.train.longest for run in suite.runs()} == {10}
    assert dilution.main([str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("dilution: DIR: got ")


def test_agreement_counts_runs_that_are_right_in_range() -> None:
    curves = {"falls": (1.0, 0.9, 0.1), "stays": (1.0, 1.0, 0.9), "late": (1.0, 0.6, 0.4)}

    def run(forecast: str, measured: str, in_range: float = 1.0) -> Dilution:
        return Dilution(
            run_id="x",
            label="x",
            seed=0,
            in_range=in_range,
            lengths=(10, 20, 80),
            counted=curves[forecast],
            scored=None,
            measured=curves[measured],
        )

    pairs = [("falls", "falls"), ("stays", "stays"), ("falls", "late"), ("stays", "falls"), ("falls", "stays")]
    records = [*(run(*pair) for pair in pairs), run("falls", "falls", in_range=0.5)]
    assert agreement(records[:2], "counted") == (2, 2) and agreement(records[3:], "counted") == (0, 2)
    assert agreement(records, "counted")[1] == 5 and agreement(records, "scored") == (0, 0)
