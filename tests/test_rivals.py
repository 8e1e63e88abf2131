"""Every rule decides as brute force does, is silent where its source is, and is scored seed by seed as registered."""

import json
import shutil
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from itertools import combinations, product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carryproof.benchmarks.compare import StudyResult, compare, score_study
from carryproof.benchmarks.registry import Plan, read_registry, register, registry_hash
from carryproof.benchmarks.report import write_report
from carryproof.benchmarks.suites import build
from carryproof.benchmarks.theories import TheoryScore, claim_words, score_theories, scored_forecasts
from carryproof.theory import Format, Question, Task, TrainingRange, encodings, formats, predict, tasks
from carryproof.theory.accuracy import surrogate_accuracy
from carryproof.theory.cases import copy, parity, process_of, running_parity, unsigned_subtraction
from carryproof.theory.catalogue import ASKED, questions
from carryproof.theory.processes import Process
from carryproof.theory.rivals import THEORIES, Forecast, forecasts
from carryproof.theory.tasks import Operation
from carryproof.theory.texts import half_split_rows, interval_clash, token_offsets
from carryproof.theory.windows import column_window, dependency_window

SHIFTING = [name for name, twin in encodings.ENCODINGS.items() if twin.shift_invariance().holds]
MOST_FIRST = formats.padded(9, operands="most-first")


def ask(
    task: Task, encoding: str = "rope", trained: tuple[int, ...] = (1, 2, 3), form: Format | None = None
) -> Question:
    train = TrainingRange(lengths=trained)
    return Question(task=task, format=form or formats.padded(9), encoding=encoding, train=train)


def said(question: Question, length: int = 6, law: Any = "exact") -> dict[str, str]:
    return {each.theory: each.claim for each in forecasts(predict(question, [length], [law]))}


def number(question: Question, theory: str, length: int) -> Fraction | None:
    (found,) = (each.accuracy for each in forecasts(predict(question, [length])) if each.theory == theory)
    return found


# Half-split rows


def rows_by_hand(process: Process, size: int) -> int:
    """Distinct answer tables of the first halves, with Python tuples and one problem at a time."""
    import numpy as np

    widths = process.widths(size)
    half = sum(widths) // 2
    tables = set()
    for first in product(range(process.base), repeat=half):
        table = []
        for second in product(range(process.base), repeat=sum(widths) - half):
            digits, operands = [*first, *second], []
            for width in widths:
                operands.append(np.array([digits[:width]], dtype=np.uint8))
                digits = digits[width:]
            if process.domain is not None and not process.domain(operands)[0]:
                table.append(None)
            else:
                table.append(tuple(int(values[0]) for _, values in process.write(operands)))
        tables.add(tuple(table))
    return len(tables)


@pytest.mark.parametrize(
    "process",
    [
        process_of(tasks.addition(base=2)),
        process_of(tasks.addition(3, base=2)),
        process_of(tasks.subtraction(base=3), "most-first"),
        process_of(tasks.multiplication(base=2)),
        process_of(tasks.modular_addition(5, base=2)),
        process_of(tasks.modular_multiplication(6, base=2)),
        unsigned_subtraction(2),
        copy(2),
        parity(3),
        running_parity(2),
    ],
    ids=lambda process: process.name,
)
def test_rows_are_those_of_brute_force(process: Process) -> None:
    for size in (1, 2, 3):
        assert half_split_rows(process, size) == rows_by_hand(process, size)


@pytest.mark.parametrize("size", [2, 4, 6, 8])
def test_known_rows(size: int) -> None:
    assert half_split_rows(parity(2), size) == 2
    assert half_split_rows(copy(2), size) == 2 ** (size // 2)
    assert half_split_rows(process_of(tasks.addition(base=2)), size) == 2**size
    assert half_split_rows(process_of(tasks.multiplication(base=2)), size) == 2**size
    assert half_split_rows(process_of(tasks.modular_addition(5, base=2)), size) == min(5, 2**size)


def test_absurd_sizes_are_refused() -> None:
    for process, size in ((copy(2), 40), (copy(36), 1_000_000), (process_of(tasks.addition()), 3)):
        with pytest.raises(ValueError, match="300,000 problems"):
            half_split_rows(process, size)
    with pytest.raises(ValueError, match="an odd number"):
        interval_clash(tasks.addition(), formats.free(), count=2, length=4, width=2)
    with pytest.raises(ValueError, match="fit an integer"):
        interval_clash(tasks.addition(base=36), formats.free(), count=2, length=13, width=2)


# Intervals


def clashes_by_hand(task: Task, form: Format, count: int, length: int, width: int) -> bool:
    """The definition on strings: every choice of count - 1 runs of the text so far, as a set of multisets."""
    shown: dict[Any, str] = {}
    for places in range(1, width + 1):
        sized = form if form.width is None else replace(form, width=places)
        for digits in product((0, task.base - 1), repeat=places * task.operands):
            import numpy as np

            operands = np.array(digits, dtype=np.uint8).reshape(1, task.operands, places)
            text = formats.render(task, sized.write(task, operands).tokens[0]).rstrip(";")
            for position in range(text.index("=") + 1, len(text)):
                before = "_" * length + text[:position]
                runs = [before[at : at + length] for at in range(1, len(before) - length + 1)]
                picks = {tuple(sorted(pick)) for size in range(count) for pick in combinations(runs, size)}
                view = (before[len(before) - length // 2 :], frozenset(picks))
                if shown.setdefault(view, text[position]) != text[position]:
                    return True
    return False


@settings(max_examples=25)
@given(
    operation=st.sampled_from(list(tasks.OPERATIONS.values())),
    base=st.sampled_from([2, 3]),
    modulus=st.sampled_from([None, 2, 3, 4]),
    form=st.sampled_from([formats.free(), formats.padded(1), formats.padded(1, operands="most-first")]),
    count=st.sampled_from([2, 3]),
    length=st.sampled_from([1, 3]),
)
def test_intervals_clash_as_by_hand(
    operation: Operation, base: int, modulus: int | None, form: Format, count: int, length: int
) -> None:
    task = Task(operation=operation, base=base, modulus=modulus)
    found = interval_clash(task, form, count=count, length=length, width=3)
    assert (found is not None) == clashes_by_hand(task, form, count, length, 3)


@given(count=st.sampled_from([2, 3, 4]), length=st.sampled_from([1, 3]), modulus=st.sampled_from([None, 9, 10]))
@settings(max_examples=10)
def test_seeing_more_never_adds_a_clash(count: int, length: int, modulus: int | None) -> None:
    task = Task(operation=tasks.ADDITION, modulus=modulus)
    if interval_clash(task, MOST_FIRST, count=count, length=length, width=4) is None:
        for more in ((count + 1, length), (count, length + 2)):
            assert interval_clash(task, MOST_FIRST, count=more[0], length=more[1], width=4) is None


# Offsets


@given(
    width=st.integers(2, 7),
    operands=st.sampled_from(["least-first", "most-first"]),
    answer=st.sampled_from(["least-first", "most-first"]),
)
def test_offsets_point_at_the_tokens_of_the_window(width: int, operands: Any, answer: Any) -> None:
    """Writing a mark at one operand digit moves exactly one token, and its distance to c[i] is among the offsets."""
    import numpy as np

    task = tasks.addition(base=7)
    form = Format(width=width, operands=operands, answer=answer)
    process = process_of(task, answer)
    offsets = token_offsets(process, form.layout(task, width), column_window(process, 0))
    blank = form.write(task, np.zeros((1, 2, width), dtype=np.uint8)).tokens[0]
    expected = set()
    for operand, place in product((0, 1), range(width)):
        digits = np.zeros((1, 2, width), dtype=np.uint8)
        digits[0, operand, place] = 3
        moved = np.flatnonzero(form.write(task, digits).tokens[0] != blank)
        assert len(moved) == 2  # the digit and, without a carry, the same digit of the sum
        expected.add(int(moved[1] - moved[0]))
    assert offsets == expected
    assert (len(offsets) == 2) == (operands == answer or width == 1)


# What each theory says


def test_every_registered_question_gets_a_forecast_from_every_theory() -> None:
    asked = [predict(question, ASKED[:2], ("exact", "unequal")) for question in list(questions())[::11]]
    asked += [experiment.prediction() for name in ("smoke", "demo") for experiment in build(name).experiments]
    for prediction in asked:
        outside = [cell for cell in prediction.cells if cell.verdict != "in-range"]
        found = forecasts(prediction)
        assert Counter(each.theory for each in found) == dict.fromkeys(THEORIES, len(outside))
        assert all(each.why and "\n" not in each.why for each in found)


@pytest.mark.parametrize("encoding", encodings.ENCODINGS)
def test_only_longer_problems_are_a_matter_of_length_generalization(encoding: str) -> None:
    for task in (tasks.addition(), tasks.multiplication(), tasks.modular_addition(101)):
        longer, within = said(ask(task, encoding)), said(ask(task, encoding), 3, "unequal")
        assert (longer["never"], longer["always"]) == ("fails", "generalizes")
        assert longer == said(ask(task, encoding), 9)
        assert {claim for name, claim in within.items() if name != "xu"} == {"silent"}


def test_translation_invariance_as_stated() -> None:
    add, times, hundred, other = (
        tasks.addition(), tasks.multiplication(), tasks.modular_addition(100), tasks.modular_multiplication(101)
    )  # fmt: skip # read as a table
    assert [said(ask(task, "absolute"))["xu"] for task in (add, times, hundred, other)] == [
        "fails", "fails", "generalizes", "fails"
    ]  # fmt: skip # read as a table
    for encoding in ("rope", "alibi", "kerple", "relative-t5", "relative-clipped", "relative-shaw"):
        assert [said(ask(task, encoding))["xu"] for task in (add, times, hundred, other)] == [
            "generalizes", "fails", "generalizes", "fails"
        ]  # fmt: skip # read as a table
    for neither in ("none", "fire"):
        assert [said(ask(task, neither))["xu"] for task in (add, times, hundred, other)] == [
            "silent", "silent", "generalizes", "fails"
        ]  # fmt: skip # read as a table
    for outside in (tasks.subtraction(), tasks.addition(3), tasks.addition(base=2), tasks.modular_addition(8, base=2)):
        assert said(ask(outside))["xu"] == said(ask(outside))["xu-gcd"] == "silent"
    assert said(ask(add, form=formats.free()))["xu"] == "silent"
    assert said(ask(tasks.modular_addition(1000), trained=(1, 2)))["xu"] == "fails"  # 1000 does not divide 10^2


def test_shorter_problems_need_training_that_covers_them() -> None:
    gap, covered = (TrainingRange(lengths=(4,)), TrainingRange(lengths=(2, 4), law="longest"))
    assert said(replace(ask(tasks.addition()), train=gap), 3)["xu"] == "silent"  # no zero at place 4 was shown
    assert said(replace(ask(tasks.addition()), train=covered), 3)["xu"] == "generalizes"
    assert forecasts(predict(ask(tasks.addition()), [1, 2, 3])) == ()  # in range: the precondition, not a forecast


@given(modulus=st.integers(2, 400), trained=st.integers(1, 4), beyond=st.integers(1, 5))
def test_the_gcd_number_is_the_limit_and_never_names_the_impossible(modulus: int, trained: int, beyond: int) -> None:
    task = tasks.modular_addition(modulus)
    question = ask(task, "absolute", trained=(trained,))
    named = number(question, "xu-gcd", trained + beyond)
    exact = surrogate_accuracy(task, trained=trained, length=trained + beyond, law="exact")
    far = surrogate_accuracy(task, trained=trained, length=trained + 9, law="exact")
    assert named is not None and exact is not None and far is not None
    if named == 0:
        assert exact == 0
    else:
        assert abs(far - named) < Fraction(1, 10**6)
    assert said(question, trained + beyond)["xu-gcd"] == ("generalizes" if named == 1 else "fails")


def test_the_gcd_number_is_silent_beyond_its_formula() -> None:
    times = ask(tasks.modular_multiplication(51), "absolute")
    assert number(times, "xu-gcd", 6) is None and said(times)["xu-gcd"] == "silent"
    assert number(ask(tasks.modular_multiplication(50), "absolute"), "xu-gcd", 6) == 1
    assert said(ask(tasks.modular_addition(51)), law="unequal")["xu-gcd"] == "silent"
    assert said(ask(tasks.addition()))["xu-gcd"] == "silent"


@pytest.mark.parametrize("encoding", SHIFTING)
def test_programs_need_a_window_at_constant_offsets(encoding: str) -> None:
    def says(task: Task, form: Format | None = None) -> str:
        return said(ask(task, encoding, form=form))["rasp-l"]

    assert says(tasks.addition()) == says(tasks.addition(3)) == says(tasks.addition(base=2)) == "generalizes"
    assert says(tasks.addition(), MOST_FIRST) == says(tasks.addition(), formats.free()) == "fails"
    assert says(tasks.addition(), formats.padded(9, answer="most-first")) == "fails"  # carries from below
    assert says(tasks.multiplication()) == says(tasks.subtraction()) == says(tasks.modular_addition(101)) == "fails"
    assert says(tasks.modular_addition(100)) == says(tasks.modular_addition(100), MOST_FIRST) == "generalizes"
    assert says(tasks.modular_addition(100), formats.free()) == "fails"


@pytest.mark.parametrize("encoding", SHIFTING)
def test_sparsity_needs_few_tokens_but_not_constant_offsets(encoding: str) -> None:
    def says(task: Task, form: Format | None = None) -> str:
        return said(ask(task, encoding, form=form))["sparsity"]

    assert says(tasks.addition()) == says(tasks.addition(), MOST_FIRST) == "generalizes"
    assert says(tasks.addition(), formats.free()) == says(tasks.multiplication()) == "silent"
    assert says(tasks.modular_addition(101)) == "silent"


def test_consistency_and_its_intervals() -> None:
    assert said(ask(tasks.modular_addition(100)))["n-r"] == "generalizes"
    for task in (tasks.addition(), tasks.multiplication(), tasks.subtraction(), tasks.modular_addition(101)):
        assert said(ask(task))["n-r"] == "fails"
    assert said(ask(tasks.modular_addition(10**6)))["n-r"] == "silent"  # intervals of 11 tokens


def test_the_half_split_bound_only_excludes() -> None:
    for encoding in ("absolute", "none"):
        for task in (tasks.addition(), tasks.addition(3), tasks.subtraction(), tasks.multiplication(base=3)):
            assert said(ask(task, encoding))["c-rasp"] == "fails"
        for modulus in (100, 101, 10**9 + 7):
            assert said(ask(tasks.modular_addition(modulus), encoding))["c-rasp"] == "silent"
    assert {each.claim for each in forecasts(predict(ask(tasks.addition()), [7])) if each.theory == "c-rasp"} == {
        "silent"
    }


@pytest.mark.parametrize("encoding", sorted(set(encodings.ENCODINGS) - set(SHIFTING)))
def test_absolute_positions_are_outside_three_settings(encoding: str) -> None:
    claims = said(ask(tasks.addition(), encoding))
    assert claims["rasp-l"] == claims["sparsity"] == claims["n-r"] == "silent"
    assert claims["c-rasp"] == ("fails" if encoding == "absolute" else "silent")


def _exclusive_or(*values: Any) -> Any:
    return values[0] ^ values[1]


def _as_wide(base: int, places: int, operands: int) -> int:
    return places


def _unlike_digits(digits: Any) -> Any:
    import numpy as np

    return (digits[:, 0] ^ digits[:, 1]).astype(np.int64), np.zeros(len(digits), dtype=bool)


def test_operations_of_ones_own_get_forecasts_too() -> None:
    unlike = Operation(name="exclusive or", symbol="+", apply=_exclusive_or, width=_as_wide, columns=_unlike_digits)
    claims = said(ask(Task(operation=unlike, base=2), "none"))
    assert set(claims) == set(THEORIES)
    assert claims["xu"] == claims["ours"] == "silent"
    assert claims["rasp-l"] == claims["sparsity"] == "generalizes"  # each digit takes two, one place of each operand
    assert claims["c-rasp"] == "fails"  # it takes all of a to say a xor b
    assert said(ask(tasks.addition(40, base=36), "none"))["c-rasp"] == "silent"  # too many to enumerate: no error


@pytest.mark.parametrize("name", ["smoke", "demo"])
def test_ours_is_the_prediction(name: str) -> None:
    for experiment in build(name).experiments:
        prediction = experiment.prediction()
        for each in forecasts(prediction):
            if each.theory != "ours":
                continue
            cell = prediction.cell(each.test_digits, each.law)
            assert each.claim == {"excluded": "fails", "forced": "generalizes"}.get(cell.verdict, "silent")
            assert each.accuracy == (None if each.claim == "silent" else cell.accuracy)


def test_what_programs_rest_on_is_proved() -> None:
    assert dependency_window(process_of(tasks.addition())).strength == "proved"
    assert dependency_window(process_of(tasks.multiplication())).strength == "refuted"


# Scoring


def made_up(claims: dict[str, tuple[str, Fraction | None]], shares: list[tuple[float, float]]) -> StudyResult:
    """One cell, the given claims, and one seed for each (accuracy, in-range accuracy)."""
    question = ask(tasks.addition(), trained=(1,))
    plain = dict(predict(question, [2]).to_dict())
    runs = [
        {
            "run_id": f"run{seed}",
            "prediction_id": plain["prediction_id"],
            "config": {"seed": seed},
            "in_range": in_range,
            "records": [
                {
                    "test_digits": 2, "law": "exact", "stratum": "all", "problems": 1000, "agree": 0,
                    "correct": round(1000 * share), "exhaustive": False, "selection": "random",
                }
            ],
        }
        for seed, (share, in_range) in enumerate(shares)
    ]  # fmt: skip # read as a table
    own = [
        Forecast(theory=name, test_digits=2, law="exact", claim=claim, accuracy=named, why="made up").to_dict()
        for name, (claim, named) in claims.items()
    ]
    registry = {"forecasts": [{"prediction_id": plain["prediction_id"], "forecasts": own}]}
    return StudyResult(
        study={}, registry=registry, runs=tuple(runs), comparisons=tuple(compare([plain], runs, 0.02, 0.99))
    )


def scored(result: StudyResult) -> dict[str, TheoryScore]:
    return {each.name: each for each in score_theories(scored_forecasts(result))}


def test_a_cell_is_right_if_every_eligible_seed_agrees() -> None:
    claims = {
        "ours": ("fails", Fraction(1, 2)),
        "xu": ("generalizes", None),
        "c-rasp": ("silent", None),
        "new": ("fails", None),
    }
    scores = scored(made_up(claims, [(0.4, 1.0), (0.6, 0.995), (1.0, 0.5)]))  # the last is not right in range
    ours, xu, silent = scores["ours"], scores["xu"], scores["c-rasp"]
    assert (ours.cells, ours.decided, ours.right, ours.seed_share, ours.numbers) == (1, 1, 1, 1.0, 1)
    assert ours.error == pytest.approx(0.1)
    assert (xu.right, xu.seed_share, xu.numbers, xu.error) == (0, 0.0, 0, None)
    assert (silent.decided, silent.silent, silent.seed_share) == (0, 1, None)
    assert scores["new"].title == "new"  # a theory that this version does not know
    mixed = scored(made_up(claims, [(0.4, 1.0), (0.99, 1.0)]))
    assert (mixed["ours"].right, mixed["ours"].seed_share) == (0, 0.5)
    assert (mixed["xu"].right, mixed["xu"].seed_share) == (0, 0.5)


def test_cells_without_a_seed_right_in_range_are_not_scored() -> None:
    for shares in ([(0.0, 0.7)], []):
        result = made_up({"ours": ("fails", Fraction(0))}, shares)
        score = scored(result)["ours"]
        assert (score.cells, score.untested, score.decided, score.numbers) == (0, 1, 0, 0)
        assert claim_words(scored_forecasts(result)) == ("fails", "untested")
    assert claim_words(scored_forecasts(made_up({"xu": ("silent", None)}, [(1.0, 1.0)]))) == ("–", "")


@given(shares=st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_the_two_baselines_are_each_others_opposite(shares: list[float]) -> None:
    claims = {"never": ("fails", None), "always": ("generalizes", None)}
    scores = scored(made_up(claims, [(share, 1.0) for share in shares]))
    assert scores["never"].seed_share == pytest.approx(1 - (scores["always"].seed_share or 0))
    assert scores["never"].right + scores["always"].right <= 1


# The registry

PLAN = Plan(runs=(), margin=0.02, in_range_threshold=0.99)


def test_forecasts_are_registered_under_the_hash(tmp_path: Path) -> None:
    question = ask(tasks.addition())
    prediction = predict(question, [5])
    own = forecasts(prediction)
    sha256 = register(tmp_path, [prediction], PLAN, {prediction.prediction_id: own})
    registry, read = read_registry(tmp_path)
    assert read == sha256
    assert registry["forecasts"][0]["forecasts"] == [each.to_dict() for each in own]
    assert register(tmp_path, [prediction], PLAN, {prediction.prediction_id: own}) == sha256
    changed = (replace(own[0], claim="generalizes"), *own[1:])
    with pytest.raises(ValueError, match="differ from today's"):
        register(tmp_path, [prediction], PLAN, {prediction.prediction_id: changed})
    path = tmp_path / "predictions.json"
    for forge in (lambda value: value["forecasts"][0]["forecasts"].pop(), lambda value: value.pop("forecasts")):
        value = json.loads(path.read_text())
        forge(value)
        (tmp_path / "forged").mkdir(exist_ok=True)
        (tmp_path / "forged" / "predictions.json").write_text(json.dumps(value))
        with pytest.raises(ValueError, match="changed after they were registered"):
            read_registry(tmp_path / "forged")


def test_older_registries_stay_readable_and_are_not_scored(tmp_path: Path) -> None:
    question = ask(tasks.addition())
    prediction = predict(question, [5])
    old = register(tmp_path, [prediction], PLAN)  # what versions before forecasts wrote
    registry, _ = read_registry(tmp_path)
    assert "forecasts" not in registry and old == registry_hash(registry)
    assert register(tmp_path, [prediction], PLAN, {prediction.prediction_id: forecasts(prediction)}) == old
    result = StudyResult(study={}, registry=registry, runs=(), comparisons=())
    assert scored_forecasts(result) == [] and score_theories([]) == []


def test_the_report_shows_registered_theories(tmp_path: Path) -> None:
    """A study whose runs are made up, right through the registry, the comparison and the report."""
    suite = build("smoke")
    predictions = [experiment.prediction() for experiment in suite.experiments]
    own = {prediction.prediction_id: forecasts(prediction) for prediction in predictions}
    register(tmp_path, predictions, PLAN, own)
    description = {"suite": "smoke", "title": "Made up", "versions": {}, "commit": None, "machine": "none"}
    (tmp_path / "study.json").write_text(json.dumps({"schema_version": 1, **description}))
    result = score_study(tmp_path)
    page = write_report(result, tmp_path / "report").read_text()
    assert all(theory.title in page for theory in THEORIES.values())
    assert (tmp_path / "report" / "tables" / "theories.tex").is_file()
    rows = (tmp_path / "report" / "forecasts.csv").read_text().splitlines()
    assert len(rows) == 1 + sum(map(len, own.values()))
    unregistered = replace(result, registry={**result.registry})
    del unregistered.registry["forecasts"]
    shutil.rmtree(tmp_path / "report")
    page = write_report(unregistered, tmp_path / "report").read_text()
    assert "Not registered" in page
    assert not (tmp_path / "report" / "forecasts.csv").exists()
    assert not (tmp_path / "report" / "tables" / "theories.tex").exists()
