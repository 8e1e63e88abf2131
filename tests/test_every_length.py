"""What is forced at every length: exactly where the trained lengths show all windows, and never raised as an error."""

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from carryproof.benchmarks.scripted import process_named
from carryproof.theory import content_hash, tasks
from carryproof.theory.cases import process_of
from carryproof.theory.column_rows import column_rows
from carryproof.theory.column_sums import column_sums
from carryproof.theory.coverage import shortest_training, windows_of_views
from carryproof.theory.every_length import predict_every_length
from carryproof.theory.multisets import as_multisets

SUBJECTS = (
    {"name": "addition", "base": 2},
    {"name": "addition", "base": 3},
    {"name": "copy", "base": 2},
    {"name": "running-parity", "base": 2},
    {"name": "horner", "base": 3, "modulus": 5},
    {"name": "horner", "base": 2, "modulus": 4},
    {"name": "divided-by", "base": 3, "number": 2},
)


@pytest.mark.parametrize("subject", SUBJECTS, ids=str)
def test_it_is_forced_from_the_shortest_training_on(subject: dict) -> None:
    process = process_named(subject)
    needed = shortest_training(process, law="spelled", more=(process.output_at(1),))
    assert needed.length > 1
    for longest in range(1, needed.length + 2):
        found = predict_every_length(process, range(1, longest + 1))
        assert found.verdict == ("forced" if longest >= needed.length else "permitted")
        assert found.windows == needed.windows[-1]
        assert found.shown == needed.windows[min(longest, needed.length) - 1]
        assert [reason.law for reason in found.reasons] == ["L2", "L16", "L13", "L19"]
        assert [reason.holds for reason in found.reasons] == [True, True, True, longest >= needed.length]


@settings(max_examples=20)
@given(st.sets(st.integers(1, 6), min_size=1), st.integers(1, 6))
def test_more_lengths_never_show_less(lengths: set[int], more: int) -> None:
    adding = process_of(tasks.addition(base=2))
    few, many = predict_every_length(adding, sorted(lengths)), predict_every_length(adding, sorted(lengths | {more}))
    assert few.shown <= many.shown <= many.windows == few.windows
    assert (few.verdict == "forced") == (max(lengths) >= 3)  # longer sums hold the windows of shorter ones


def test_without_a_bounded_window_the_theory_is_silent() -> None:
    found = predict_every_length(process_of(tasks.addition(), "most-first"), (1, 2, 3))
    assert (found.verdict, found.encoding, found.windows, found.shown) == ("silent", None, 0, 0)
    (reason,) = found.reasons
    assert reason.law == "L2" and not reason.holds and "no window of any radius" in reason.why
    assert found.to_dict()["accuracy"] is None


def test_the_identifier_covers_what_is_predicted() -> None:
    adding = process_of(tasks.addition(base=2))
    every = [predict_every_length(adding, lengths) for lengths in ((1, 2, 3), (1, 2, 3, 4), (1, 2))]
    assert len({found.prediction_id for found in every}) == 3
    plain = every[0].to_dict()
    assert plain.pop("prediction_id") == content_hash(plain)
    assert (plain["train_digits"], plain["test_digits"], plain["accuracy"]) == ("1-3", "every length", "1")
    assert "all 46 windows" in plain["premise"]


def test_listed_windows_are_enumerated() -> None:
    binary = column_rows(2)
    for lengths, shown in (((1, 2), 34), (range(1, 7), 77)):
        found = predict_every_length(binary, lengths)
        assert (found.windows, found.shown) == (77, shown)
        assert found.verdict == ("forced" if shown == 77 else "permitted")
        assert [reason.holds for reason in found.reasons] == [True, True, True, shown == 77]
    residues = process_of(tasks.modular_addition(4, base=2))
    assert [predict_every_length(residues, (most,)).verdict for most in (1, 2)] == ["permitted", "permitted"]
    assert predict_every_length(residues, (1, 2)).verdict == "forced"
    with pytest.raises(ValueError, match=r"^lengths: got 9; allowed: at most "):
        predict_every_length(column_rows(10), (1, 9))


def test_several_numbers_are_seen_as_multisets() -> None:
    adding = process_of(tasks.addition(3, base=3))
    three, raw = predict_every_length(adding, (1, 2, 3)), windows_of_views(adding)
    assert (three.verdict, three.windows) == ("forced", len(windows_of_views(as_multisets(adding))))
    assert three.windows < len(raw) / 6
    assert predict_every_length(column_sums(3, base=3), (1, 2)).verdict == "permitted"
