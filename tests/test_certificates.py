"""Derived encodings, window attention and certificates: what is certified is right, and what is broken is refuted."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from carryproof.benchmarks.certify import certify, check_certificate, decode, window_views
from carryproof.benchmarks.configuration import Recipe
from carryproof.benchmarks.draws import draw_digits
from carryproof.benchmarks.scripted import ScriptRun, process_named, train_script
from carryproof.models import Decoder, DecoderConfig
from carryproof.models.rounding import rounding_bound
from carryproof.models.windowed import RowViews, generate, require_windowed, rows_of, windowed_logits
from carryproof.theory import cases, tasks
from carryproof.theory.cases import process_of
from carryproof.theory.column_rows import column_rows
from carryproof.theory.coverage import shortest_problem, windows_of_views
from carryproof.theory.derivation import Derivation, Obstruction, derive
from carryproof.theory.readers import reader_of
from carryproof.theory.scripts import NOTHING, Script, script_of

ROOT = Path(__file__).parent.parent
SMALL = Recipe(n_layers=1, n_heads=2, d_model=32, d_mlp=128, steps=600, batch=128, learning_rate=5e-3, warmup_steps=30)
DERIVED = [
    process_of(tasks.addition(base=3)),
    process_of(tasks.addition(3, base=3)),
    cases.unsigned_subtraction(3),
    cases.copy(3),
    cases.reversal(3, counted_from_the_other_end=True),
    cases.running_parity(2),
    cases.running_comparison(2),
    cases.running_comparison(2, "most-first"),
    cases.horner(5, 2, base=3),
    cases.times_one_digit(3),
]
LISTED = [  # views of these are listed, and looked for at places that are not beside the token
    column_rows(2),
    column_rows(3),
    process_of(tasks.modular_addition(4, base=2)),
    process_of(tasks.modular_multiplication(9, base=3), "most-first"),
]
every_derived = pytest.mark.parametrize("process", DERIVED, ids=lambda each: f"{each.name}, {each.order}")
every_script = pytest.mark.parametrize("process", DERIVED + LISTED, ids=lambda each: f"{each.name}, {each.order}")


@pytest.fixture(scope="module")
def binary() -> tuple[Decoder, ScriptRun]:
    """Addition in base 2, trained on one to three digits."""
    run = ScriptRun(subject={"name": "addition", "base": 2}, lengths=(1, 2, 3), recipe=SMALL, seed=0)
    return train_script(run)[0], run


def random_model(script: Script, seed: int = 0, heads: int = 2) -> Decoder:
    config = DecoderConfig(
        d_vocab=script.vocabulary,
        n_ctx=40,
        d_model=16,
        n_heads=heads,
        n_layers=1,
        encoding=script.derivation.encoding,
        activation="gelu",
    )
    model = Decoder.init(config, torch.Generator().manual_seed(seed))
    with torch.no_grad():
        for weight in model.parameters():  # biases and norms too
            weight += 0.3 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(seed + 1))
    return model


@every_script
def test_the_ids_show_exactly_the_keys_of_the_window(process) -> None:
    """The encoding's mask, which sees ids only, is the table of keys that the linear-time form uses."""
    script = script_of(process)
    for size in (1, 2, 4):
        ids, keys, start = torch.from_numpy(script.ids(size))[None], script.keys(size), script.prompt_length(size)
        visible = require_windowed(random_model(script)).visible(ids, ids)[0].numpy()
        for row, at in enumerate(keys):
            query = start - 1 + row
            seen = {int(key) for key in np.flatnonzero(visible[query]) if key <= query}
            assert seen == {int(key) for key in at if key != NOTHING}, (size, row)


@every_script
def test_the_slots_of_a_script_determine_its_tokens(process) -> None:
    script = script_of(process)
    rules: dict = {}
    for size in (1, 2, 3):
        for seed in range(3):
            tokens = script.write(draw_digits(process, size, 200, np.random.default_rng([seed, size])))
            start = script.prompt_length(size)
            for text in tokens.tolist():
                for row, at in enumerate(script.keys(size).tolist()):
                    view = tuple(text[key] if key != NOTHING else None for key in at)
                    assert rules.setdefault(view, text[start + row]) == text[start + row]


@every_script
def test_window_attention_decides_as_the_whole_decoder(process) -> None:
    script = script_of(process)
    model = random_model(script).double()
    for size in (1, 3, 7):
        tokens = torch.from_numpy(script.write(draw_digits(process, size, 20, np.random.default_rng(size))))
        start, ids = script.prompt_length(size), torch.from_numpy(script.ids(size))[None]
        whole = model(tokens[:, :-1], ids[:, :-1], rows=slice(start - 1, None)).flatten(0, 1)
        (rows,) = rows_of(tokens, torch.from_numpy(script.keys(size)), start)
        found = windowed_logits(model, rows, script.derivation.slot_classes)
        assert torch.allclose(whole, found, rtol=0, atol=1e-9)
        single = windowed_logits(model.float(), rows, script.derivation.slot_classes)
        assert torch.equal(single.argmax(-1), found.argmax(-1))
        model.double()


@every_script
def test_window_attention_and_the_decoder_have_the_same_gradients(process) -> None:
    script = script_of(process)
    size, gradients = 3, []
    tokens = torch.from_numpy(script.write(draw_digits(process, size, 8, np.random.default_rng(0))))
    start, ids = script.prompt_length(size), torch.from_numpy(script.ids(size))[None]
    for dense in (True, False):
        model = random_model(script).double()
        if dense:
            logits = model(tokens[:, :-1], ids[:, :-1], rows=slice(start - 1, None)).flatten(0, 1)
        else:
            (rows,) = rows_of(tokens, torch.from_numpy(script.keys(size)), start)
            logits = windowed_logits(model, rows, script.derivation.slot_classes)
        torch.nn.functional.cross_entropy(logits, tokens[:, start:].flatten()).backward()
        gradients.append({name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        assert torch.allclose(gradient, gradients[1][name], rtol=0, atol=1e-10), name


@every_derived
def test_views_of_all_windows_are_those_of_problems(process) -> None:
    """Every window that a problem presents is enumerated, with the token that follows it there."""
    script = script_of(process)
    views, targets = window_views(script, windows_of_views(process))
    known = {}
    for query, keys, seen, target in zip(
        views.query.tolist(), views.keys.tolist(), views.seen.tolist(), targets.tolist(), strict=True
    ):
        shown = tuple(key if there else None for key, there in zip(keys, seen, strict=True))
        assert known.setdefault((query, shown), target) == target
    for size in (1, 2, 5, 9):
        tokens = script.write(draw_digits(process, size, 50, np.random.default_rng(size)))
        start = script.prompt_length(size)
        for text in tokens.tolist():
            for row, at in enumerate(script.keys(size).tolist()):
                shown = tuple(text[key] if key != NOTHING else None for key in at)
                assert known[text[start - 1 + row], shown] == text[start + row]


@every_derived
@settings(max_examples=10)
@given(data=st.data())
def test_the_shortest_problem_presents_its_window(process, data: st.DataObject) -> None:
    script = script_of(process)
    slots = script.derivation.slots
    keys = windows_of_views(process)
    key = int(data.draw(st.sampled_from(keys.tolist())))
    operands = [np.array([each], dtype=np.uint8) for each in shortest_problem(process, key, more=slots)]
    window, size = reader_of(process, slots).decode(key), operands[0].shape[1]
    text, start = script.write(operands)[0].tolist(), script.prompt_length(size)
    shown = []
    for row, at in enumerate(script.keys(size).tolist()):
        held = tuple(text[each] if each != NOTHING else None for each in at[:-1])
        shown.append((held, None if text[start + row] == script.end else text[start + row]))
    assert (window.values, window.token) in shown


def test_obstructions_are_given_where_nothing_can_be_derived() -> None:
    for process in (process_of(tasks.multiplication()), process_of(tasks.addition(), "most-first"), cases.reversal()):
        found = derive(process)
        assert isinstance(found, Obstruction) and "no window of any radius" in str(found)
    assert isinstance(derive(process_of(tasks.modular_addition(101))), Obstruction)
    with pytest.raises(ValueError, match="here is an obstruction: parity"):
        script_of(cases.parity())


def test_no_operand_is_told_apart_without_need() -> None:
    apart = {process.name: found.apart for process in DERIVED if isinstance(found := derive(process), Derivation)}
    assert apart["addition of 2 numbers in base 3"] == "nothing"
    assert apart["copy in base 3"] == "answer"
    assert apart["subtraction of the smaller number in base 3"] == "operands"


def test_addition_in_base_2_is_certified_and_right_on_long_numbers(binary: tuple[Decoder, ScriptRun]) -> None:
    model, run = binary
    found = certify(model, run.subject, trained={"lengths": list(run.lengths)})
    assert found.holds and found.windows == 46 and found.slack > 0, str(found)
    script = run.script()
    adversarial = [np.ones((1, 5000), dtype=np.uint8), np.eye(1, 5000, dtype=np.uint8)]  # a carry through all places
    for operands in (draw_digits(script.process, 5000, 2, np.random.default_rng(1)), adversarial):
        tokens = torch.from_numpy(script.write(operands))
        start = script.prompt_length(5000)
        rows = list(rows_of(tokens, torch.from_numpy(script.keys(5000)), start))
        with torch.inference_mode():
            logits = torch.cat([windowed_logits(model, each, script.derivation.slot_classes) for each in rows])
        assert torch.equal(logits.argmax(-1), tokens[:, start:].flatten())
    assert check_certificate(json.loads(json.dumps(found.to_dict())), model).holds


@settings(max_examples=15)
@given(data=st.data())
def test_a_broken_model_is_refuted_by_a_problem_that_it_gets_wrong(binary, data: st.DataObject) -> None:
    model, run = binary
    broken = Decoder(model.config)
    broken.load_state_dict(model.state_dict())
    name = data.draw(st.sampled_from(["unembed.b_U", "embed.W_E", "blocks.0.mlp.b_out"]))
    with torch.no_grad():
        weight = dict(broken.named_parameters())[name]
        flat = weight.view(-1)
        flat[data.draw(st.integers(0, len(flat) - 1))] += data.draw(st.sampled_from([-80.0, 80.0]))
    found = certify(broken, run.subject, trained={})
    script = run.script()
    wrong = []
    for size in (1, 2, 3, 4):  # every window occurs by three digits: the verdict is that of all short problems
        values = np.array(list(product((0, 1), repeat=2 * size)), dtype=np.uint8)
        tokens = torch.from_numpy(script.write([values[:, :size], values[:, size:]]))
        (rows,) = rows_of(tokens, torch.from_numpy(script.keys(size)), script.prompt_length(size))
        logits = windowed_logits(broken, rows, script.derivation.slot_classes)
        wrong.append(not torch.equal(logits.argmax(-1), tokens[:, script.prompt_length(size) :].flatten()))
    assert (found.wrong > 0) == any(wrong)
    assert not any(wrong) or not found.holds
    for failure in found.failures:
        assert failure.expected != failure.written


def test_a_certificate_belongs_to_its_weights(binary: tuple[Decoder, ScriptRun]) -> None:
    model, _ = binary
    stored = certify(model).to_dict()
    assert stored["trained"] == {"lengths": [1, 2, 3]}
    other = Decoder(model.config)
    other.load_state_dict(model.state_dict())
    with torch.no_grad():
        other.unembed.b_U[0] += 1e-6
    with pytest.raises(ValueError, match="SHA-256 of the model differs"):
        check_certificate(stored, other)
    switched = Decoder(replace(model.config, activation="relu"))
    switched.load_state_dict(model.state_dict())
    with pytest.raises(ValueError, match="SHA-256 of the model differs"):
        check_certificate(stored, switched)
    for field, told in (("trained", {"lengths": [1]}), ("margin", 99.0), ("failures", [{}]), ("parameters", 7)):
        with pytest.raises(ValueError, match=f"certificate {field}: got"):
            check_certificate(stored | {field: told}, model)
    with pytest.raises(ValueError, match="certificate windows: got 47"):
        check_certificate(stored | {"windows": 47}, model)
    with pytest.raises(ValueError, match="schema_version of the certificate: got 2"):
        check_certificate(stored | {"schema_version": 2}, model)
    with pytest.raises(ValueError, match="d_vocab: got 5; allowed: 13"):
        check_certificate(stored | {"subject": {"name": "addition"}}, model)


def copied(model: Decoder) -> Decoder:
    again = Decoder(model.config)
    again.load_state_dict(model.state_dict())
    again.about = dict(model.about)
    return again


def test_what_single_precision_cannot_hold_is_not_certified(binary: tuple[Decoder, ScriptRun]) -> None:
    """Scaling the residual stream leaves double precision nearly as it was, and overflows or underflows single."""
    for factor in (2.0**70, 2.0**-140):
        model = copied(binary[0])
        block = model.blocks[0]
        with torch.no_grad():
            for weight in (model.embed.W_E, block.attn.W_O, block.attn.b_O, block.mlp.W_out, block.mlp.b_out):
                weight *= factor
        found = certify(model)
        assert not found.holds and json.loads(json.dumps(found.to_dict()))["verdict"] != "certified", factor


def test_models_that_are_not_what_their_weights_say_are_refused(binary: tuple[Decoder, ScriptRun]) -> None:
    with pytest.raises(ValueError, match=r"got 'torch.bfloat16'; allowed: torch.float32 or torch.float64"):
        certify(copied(binary[0]).to(torch.bfloat16))
    model = copied(binary[0])
    model.blocks[0].mlp.activation = torch.tanh
    with pytest.raises(ValueError, match="model: got 'another activation'; allowed: gelu"):
        certify(model)
    model = copied(binary[0])
    model.blocks[0].hook_attn_out.register_forward_hook(lambda point, inputs, output: output * 0)
    with pytest.raises(ValueError, match=r"model: got 'a hook at blocks\.0\.hook_attn_out'"):
        certify(model)


def test_a_tie_that_decoding_happens_to_get_right_is_no_failure(binary: tuple[Decoder, ScriptRun]) -> None:
    model = copied(binary[0])
    with torch.no_grad():  # the separator, which is never right, ties with 1 everywhere; the lower token is taken
        model.unembed.W_U[:, 2] = model.unembed.W_U[:, 1]
        model.unembed.b_U[2] = model.unembed.b_U[1]
    found = certify(model)
    assert found.wrong and not found.failures and not found.holds
    assert found.to_dict()["verdict"] == "undecided" and "undecided" in str(found)


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({}, "subject: got None"),
        ({"subject": [1]}, r"subject: got \[1\]"),
        ({"subject": {"name": ["addition"]}}, r"subject name: got \['addition'\]; allowed: a word"),
        ({"subject": {"name": "addition", "base": "2"}}, "subject base: got '2'; allowed: an integer"),
        ({"subject": {"name": "addition", "base": 2}, "trained": [1]}, r"trained: got \[1\]"),
        ({"subject": {"name": "addition", "base": 2}, "trained": {"lengths": "abc"}}, "trained lengths: got 'abc'"),
    ],
)
def test_checkpoints_that_say_nonsense_are_refused_in_one_line(binary, about: dict, message: str) -> None:
    model = copied(binary[0])
    model.about = about
    with pytest.raises(ValueError, match=message):
        certify(model)


def test_nothing_outside_the_window_changes_a_logit(binary: tuple[Decoder, ScriptRun]) -> None:
    model, run = binary
    script = run.script()
    size, row = 12, 7
    tokens = torch.from_numpy(script.write(draw_digits(script.process, size, 1, np.random.default_rng(3))))
    ids, start = torch.from_numpy(script.ids(size))[None], script.prompt_length(size)
    seen = set(script.keys(size)[row].tolist())
    far = [at for at in range(start + row) if at not in seen]
    changed = tokens.clone()
    changed[0, far] = (changed[0, far] + 1) % 2
    one, other = (model(each[:, : start + row], ids[:, : start + row])[0, -1] for each in (tokens, changed))
    assert torch.equal(one, other)


@every_script
def test_the_rounding_bound_holds_in_single_precision(process) -> None:
    script = script_of(process)
    model = random_model(script, seed=5)
    views, _ = window_views(script, windows_of_views(process))
    double = Decoder(model.config).double()
    double.load_state_dict(model.state_dict())
    classes = script.derivation.slot_classes
    with torch.inference_mode():
        bound = rounding_bound(double, views, classes)
        off = (windowed_logits(model, views, classes).double() - windowed_logits(double, views, classes)).abs()
    assert (off.max(dim=1).values < bound).all() and bound.max() < 1


def test_models_without_a_finite_receptive_field_are_refused() -> None:
    config = DecoderConfig(d_vocab=5, n_ctx=9, d_model=8, n_heads=1, n_layers=1, encoding="alibi")
    with pytest.raises(ValueError, match="encoding: got 'alibi'; allowed: a window encoding; the receptive field"):
        certify(Decoder(config), {"name": "addition", "base": 2}, trained={})
    config = DecoderConfig(d_vocab=5, n_ctx=9, d_model=8, n_heads=1, n_layers=2, encoding="window:0+0,0-1")
    with pytest.raises(ValueError, match="n_layers: got 2; allowed: 1"):
        certify(Decoder(config), {"name": "addition", "base": 2}, trained={})
    with pytest.raises(ValueError, match="encoding: got 'window:x'; allowed: window: and classes"):
        DecoderConfig(d_vocab=5, n_ctx=9, d_model=8, n_heads=1, n_layers=1, encoding="window:x")
    script = script_of(process_of(tasks.addition(base=2)))
    model = random_model(script)
    with torch.no_grad():
        model.unembed.b_U[0] = torch.nan
    with pytest.raises(ValueError, match="entries that are not finite"):
        certify(model, {"name": "addition", "base": 2}, trained={})
    with pytest.raises(ValueError, match="subject view: got 'sideways'"):
        process_named({"name": "addition", "view": "sideways"})


def test_greedy_decoding_through_the_whole_decoder_agrees(binary: tuple[Decoder, ScriptRun]) -> None:
    model, run = binary
    script = run.script()
    for size in (1, 4, 20):
        tokens = script.write(draw_digits(script.process, size, 1, np.random.default_rng(size)))[0]
        start = script.prompt_length(size)
        prompt, classes = torch.from_numpy(tokens[:start]), script.derivation.slot_classes
        assert decode(model, script, prompt, size) == tokens[start:].tolist()
        keys = torch.from_numpy(script.keys(size))
        assert generate(model, prompt, keys, classes, end=script.end).tolist() == tokens[start:].tolist()
        other = random_model(script)  # writes nonsense, and both forms the same nonsense
        assert decode(other, script, prompt, size) == generate(other, prompt, keys, classes, end=script.end).tolist()


def test_rows_come_in_chunks_of_bounded_size() -> None:
    tokens, keys = torch.zeros(2, 30_000, dtype=torch.int64), torch.zeros(20_000, 3, dtype=torch.int64)
    chunks = list(rows_of(tokens, keys, 10_000))
    assert [len(each.query) for each in chunks] == [16_384, 16_384, 7_232]
    assert isinstance(chunks[0], RowViews)


def test_the_page_runs_as_a_test_module(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "certificates.md").read_text(), re.DOTALL)
    page = tmp_path / "test_page.py"
    page.write_text("\n".join(blocks))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(page)]
    run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert run.returncode == 0, run.stdout
    assert f"{len(re.findall('def test_', page.read_text()))} passed" in run.stdout
