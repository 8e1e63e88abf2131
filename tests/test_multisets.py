"""Windows as multisets: those of all problems with the digits of each column sorted, with the counts kept right."""

import math
from collections import Counter
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from carryproof.benchmarks.certify import margins, window_views
from carryproof.benchmarks.right_windows import share_right
from carryproof.models import Decoder, DecoderConfig
from carryproof.models.windowed import RowViews, windowed_logits
from carryproof.theory import cases, tasks
from carryproof.theory.averaging import same_mean, ties
from carryproof.theory.cases import process_of
from carryproof.theory.coverage import families, shortest_problem, shortest_training, windows_of_views, windows_shown
from carryproof.theory.derivation import Derivation, derive
from carryproof.theory.multisets import as_multisets, exchangeable
from carryproof.theory.processes import Process, WindowSlot
from carryproof.theory.readers import reader_of
from carryproof.theory.scripts import Script, script_of

SUMS = [process_of(tasks.addition(k, base=base)) for k, base in ((3, 2), (3, 3), (3, 4), (4, 2))]
every_sum = pytest.mark.parametrize("process", [*SUMS, cases.horner(5, 3, base=2)], ids=lambda each: each.name)


def in_order(process: Process, slots: tuple[WindowSlot, ...], values) -> tuple:
    """A window's values with the operand digits of each column sorted."""
    found = list(values)
    for offset in {slot.offset for slot in slots if slot.role == "operand"}:
        at = [index for index, slot in enumerate(slots) if slot.role == "operand" and slot.offset == offset]
        for index, value in zip(at, sorted(found[index] for index in at), strict=True):
            found[index] = value
    return tuple(found)


def unpacked(process: Process, keys) -> list[tuple]:
    return list(zip(*(each.tolist() for each in reader_of(process, (process.output_at(1),)).unpack(keys)), strict=True))


@every_sum
def test_multisets_are_the_sorted_windows_of_all_problems(process: Process) -> None:
    sets, before = as_multisets(process), (process.output_at(1),)
    slots = reader_of(process, before).slots
    for law in ("spelled", "exact"):
        for length in (1, 2, 3):
            every = unpacked(process, windows_shown(process, [length], law=law, more=before))
            seen = unpacked(sets, windows_shown(sets, [length], law=law, more=before))
            assert {in_order(process, slots, window) for window in every} == set(seen)
            assert len(set(seen)) == len(seen) < len(every)
        raw, found = (shortest_training(each, law=law, more=before) for each in (process, sets))
        assert (raw.length, raw.interior) == (found.length, found.interior)


def test_how_many_multisets_there_are() -> None:
    """Law L19 for k numbers: all columns below all columns, times the carries into the lower one, in three digits."""
    for operands, base in ((3, 3), (3, 4), (3, 10), (4, 4), (5, 5)):
        process = as_multisets(process_of(tasks.addition(operands, base=base)))
        found = shortest_training(process, law="spelled")
        columns = math.comb(base + operands - 1, operands)
        assert (found.interior, found.interiors[-1]) == (3, columns**2 * operands)


def test_only_operands_that_can_be_exchanged_are_read_as_multisets() -> None:
    three = SUMS[1]
    assert exchangeable(three) and exchangeable(cases.horner(7, 3)) and as_multisets(three).columns == "multisets"
    assert not exchangeable(process_of(tasks.addition()))  # two operands stay as they are
    assert derive(process_of(tasks.addition(base=3))).process.columns == "tuples"
    assert not exchangeable(cases.times_one_digit()) and not exchangeable(cases.unsigned_subtraction())
    assert not exchangeable(process_of(tasks.addition(8)))  # too many columns to be looked at
    assert three.machine is not None
    uneven = replace(three, machine=replace(three.machine, read=lambda columns: columns @ np.array([1, 1, 2])))
    assert not exchangeable(uneven)  # the third number counts twice
    assert as_multisets(uneven) == uneven


@every_sum
def test_problems_are_counted_with_all_orders_of_their_columns(process: Process) -> None:
    sets = as_multisets(process)
    for size in (1, 2, 3, 6):
        for law in ("spelled", "exact"):
            (family,) = families(sets, size, law, None)
            assert reader_of(sets).count(family) == reader_of(process).count(family)
    moving = len(process.homes)
    assert reader_of(sets).count(family) == (process.base - 1) ** moving * process.base ** (5 * moving)


@settings(max_examples=10)
@given(st.data())
def test_shares_of_right_problems_are_those_of_single_windows(data: st.DataObject) -> None:
    process = data.draw(st.sampled_from(SUMS))
    sets, before = as_multisets(process), (process.output_at(1),)
    keys, every = windows_of_views(sets), windows_of_views(process)
    kept = np.random.default_rng(data.draw(st.integers(0, 99))).random(len(keys)) < 0.97
    known = set(unpacked(sets, keys[kept]))
    slots = reader_of(process, before).slots
    right = every[[in_order(process, slots, window) in known for window in unpacked(process, every)]]
    size = data.draw(st.integers(1, 3))
    assert share_right(sets, keys[kept], size) == share_right(process, right, size)


@every_sum
def test_a_shortest_problem_shows_the_multiset(process: Process) -> None:
    sets, before = as_multisets(process), (process.output_at(1),)
    for key in windows_of_views(sets)[::17].tolist():
        operands = shortest_problem(sets, key, more=before)
        size = len(operands[0])
        tokens = [int(values[0]) for _, values in process.write([np.array([each], np.uint8) for each in operands])]
        rising = process.order == "least-first"
        shown = []
        for row in range(len(tokens) + 1):
            place = row if rising else size - 1 - row
            values = []
            for slot in reader_of(sets, before).slots:
                at = place + slot.offset[-1]
                if slot.role == "operand":
                    values.append(operands[slot.operand][at] if 0 <= at < size else None)
                else:
                    values.append(tokens[row - 1] if row else None)  # radius one
            shown.append((tuple(values), tokens[row] if row < len(tokens) else None))
        window = reader_of(sets, before).decode(key)
        slots_one_back = all(abs(slot.offset[-1]) <= 1 for slot in window.slots)
        assert not slots_one_back or (window.values, window.token) in shown


def random_model(script: Script, seed: int) -> Decoder:
    encoding = script.derivation.encoding
    sizes = {"d_vocab": script.vocabulary, "n_ctx": 40, "d_model": 16, "n_heads": 2, "n_layers": 1}
    model = Decoder.init(DecoderConfig(**sizes, encoding=encoding), torch.Generator().manual_seed(seed))
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.3 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(seed + 1))
    return model


@pytest.mark.parametrize("process", SUMS[1:3], ids=lambda each: each.name)
@torch.no_grad()
def test_margins_of_multisets_are_those_of_all_windows(process: Process) -> None:
    script = script_of(process)
    assert script.process.columns == "multisets" and script.derivation.told == "equal significance, equal id"
    model = random_model(script, 3)
    slots = reader_of(process, (process.output_at(1),)).slots
    every, sets = windows_of_views(process), windows_of_views(script.process)
    margin, slack = margins(model, script, every)  # keys of both readers mean the same
    found = dict(zip(unpacked(process, sets), zip(*margins(model, script, sets), strict=True), strict=True))
    for window, one, left in zip(unpacked(process, every), margin, slack, strict=True):
        again = found[in_order(process, slots, window)]
        assert again == pytest.approx((one, left), abs=1e-9)


@torch.no_grad()
def test_exchanging_digits_of_a_column_does_not_move_the_logits() -> None:
    script = script_of(SUMS[2])
    model = random_model(script, 5).double()
    views, _ = window_views(script, windows_of_views(script.process)[::40])
    classes = script.derivation.slot_classes
    logits = windowed_logits(model, views, classes)
    same = [index for index, kind in enumerate(classes) if kind == classes[0] and index < 3]
    assert len(same) == 3
    for order in permutations(same):
        keys, seen = views.keys.clone(), views.seen.clone()
        keys[:, same], seen[:, same] = views.keys[:, order], views.seen[:, order]
        exchanged = windowed_logits(model, RowViews(query=views.query, keys=keys, seen=seen), classes)
        assert torch.allclose(exchanged, logits, rtol=0, atol=1e-12)


@pytest.mark.parametrize("anchor", [False, True])
@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize(
    "process",
    [process_of(tasks.addition(base=3)), cases.unsigned_subtraction(2), cases.horner(3, base=2), cases.copy(3)],
    ids=lambda each: each.name,
)
def test_ties_are_the_pairs_of_windows_with_the_same_mean(process: Process, anchor: bool, apart: bool) -> None:
    before = process.output_at(1)
    reader = reader_of(process, (before,))
    views = []
    for key in windows_of_views(process).tolist():
        window = reader.decode(key)
        held = {slot: value for slot, value in zip(window.slots, window.values, strict=True) if value is not None}
        kinds = {slot: (slot.offset, (slot.role, slot.operand) if apart else None) for slot in held}
        seen = [(value, kinds[slot]) for slot, value in held.items()]
        query = held.get(before, "=")
        views.append((query, tuple(seen + [("=", "=")] * (anchor or query == "=")), window))
    confused: list[set] = []  # of tokens that go with one look
    heads: list[tuple] = []
    for query, seen, window in views:
        at = next((i for i, (other, look) in enumerate(heads) if other == query and same_mean(look, seen)), len(heads))
        if at == len(heads):
            heads.append((query, seen))
            confused.append(set())
        confused[at].add(window.token)
    found = ties(process, anchor=anchor, operands_apart=apart)
    assert len(found) == sum(len(tokens) - 1 for tokens in confused)


def test_sums_of_three_and_four_numbers_have_an_encoding() -> None:
    for operands, base, windows in ((3, 10, 146_083), (4, 4, 5_079)):
        found = derive(process_of(tasks.addition(operands, base=base)))
        assert isinstance(found, Derivation) and found.encoding == "window:0+0,0-1"
        assert len(windows_of_views(found.process)) == windows


def test_what_is_too_much_is_refused_with_its_count() -> None:
    with pytest.raises(ValueError, match=r"at most 2,500,000 windows at a place; here are 4,008,004$"):
        derive(process_of(tasks.addition(5)))
    with pytest.raises(ValueError, match=r"at most 2,500,000 windows at a place; here are 10,000,000$"):
        windows_shown(process_of(tasks.addition(7)), [1])
    with pytest.raises(ValueError, match="operands_apart: got True; allowed: False where the digits of a column"):
        ties(as_multisets(SUMS[0]), anchor=True, operands_apart=True)
    with pytest.raises(ValueError, match="law: got 'operands of several lengths'; allowed: exact or spelled"):
        windows_shown(as_multisets(SUMS[0]), [2], law="longest")
    with pytest.raises(ValueError, match="at most 2,500,000 windows at a place; here are 3,000,000"):
        shortest_training(process_of(tasks.addition(3)))


def test_ties_of_views_that_do_not_fit_one_integer() -> None:
    """Five numbers in base 2: 21 keys in a view, and the anchor."""
    process = as_multisets(process_of(tasks.addition(5, base=2)))
    before = process.output_at(1)
    reader = reader_of(process, (before,))
    follow: dict[tuple, set] = {}
    for *values, token in unpacked(process, windows_of_views(process)):
        held = [(slot, value) for slot, value in zip(reader.slots, values, strict=True) if value >= 0]
        seen = frozenset(Counter((value, slot.offset) for slot, value in held).items())
        follow.setdefault((dict(held).get(before), seen), set()).add(token)  # with "=" no two counts share a factor
    found = ties(process, anchor=True)
    assert len(found) == sum(len(tokens) - 1 for tokens in follow.values())
    assert found and len(reader.slots) == 21
