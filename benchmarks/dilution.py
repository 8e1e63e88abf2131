"""Dilution, measured: from the trained lengths, the length at which far keys swamp a soft attention (law L12).

On problems of the longest trained length n the far keys, digits outside a row's dependency window, are made as heavy as
they are at length m: *counted*, by how many more there are, or *scored*, by what the model's own scores give them at
new differences of ids. What the model then writes is its forecast at m. It is the accuracy at m if far keys are all
that changes; what the model writes at m is not looked at. Source: ours, after L12.

``python -m carryproof.benchmarks.dilution DIR`` reads a finished study ``soft``, writes ``dilution.json`` and a figure
into its folder and prints a table.
"""

import argparse
import copy
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from carryproof.benchmarks import store
from carryproof.benchmarks.configuration import RunConfig
from carryproof.benchmarks.evaluate import draw_test_set
from carryproof.benchmarks.measure import IN_RANGE_THRESHOLD
from carryproof.models import checkpoints
from carryproof.models.decoder import Decoder
from carryproof.positional import Encoding
from carryproof.theory.cases import process_of
from carryproof.theory.errors import bad
from carryproof.theory.formats import Text
from carryproof.theory.texts import token_pairs
from carryproof.theory.windows import dependency_window

PROBLEMS = 500
AT_ONCE = 50  # problems whose scores are held at once
FACTOR = 1.25  # within which a forecast half length counts as the measured one


class Diluted(Encoding):
    """An encoding with something added to the score of every pair ``[#batch, #head, query, key]``."""

    def __init__(self, inner: Encoding, more: Float[Tensor, "#batch #head query key"]) -> None:
        super().__init__()
        self.inner, self.more = inner, more

    def embed(
        self, residual: Float[Tensor, "batch token d_model"], ids: Int[Tensor, "#batch token *id"]
    ) -> Float[Tensor, "batch token d_model"]:
        return self.inner.embed(residual, ids)

    def rotate(
        self, heads: Float[Tensor, "batch head token d_head"], ids: Int[Tensor, "#batch token *id"]
    ) -> Float[Tensor, "batch head token d_head"]:
        return self.inner.rotate(heads, ids)

    def bias(
        self,
        query: Float[Tensor, "batch head query d_head"],
        query_ids: Int[Tensor, "#batch query *id"],
        key_ids: Int[Tensor, "#batch key *id"],
    ) -> Float[Tensor, "#batch #head query key"]:
        own = self.inner.bias(query, query_ids, key_ids)
        return self.more if own is None else own + self.more


@dataclass(frozen=True, kw_only=True, slots=True)
class Virtual:
    """The share of rows written right at a virtual length, by kind of row, and the accuracy of whole problems."""

    length: int
    interior: float
    first: float
    ends: float
    accuracy: float


def far_keys(config: RunConfig, text: Text) -> Bool[np.ndarray, "problem query key"]:
    """The digits before a row that predicts an answer token and outside its window; none for other rows."""
    question, layout = config.question, text.layout
    process = process_of(question.task, question.format.answer)
    near = np.eye(len(layout) + 1, dtype=bool)  # a query is near itself; the last slot stands for padding
    for query, key in token_pairs(process, layout, dependency_window(process).slots):
        near[query, key] = True
    digit = np.array([*(slot.role in ("operand", "answer") for slot in layout), False])
    order = np.arange(text.slots.shape[1])
    answering = order >= text.answer_start - 1
    before = (order[None, :] <= order[:, None]) & answering[:, None]
    return before & digit[text.slots][:, None, :] & ~near[text.slots[:, :, None], text.slots[:, None, :]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """Problems of one length under the training law, as they are written, with their far keys."""

    length: int
    text: Text
    far: Bool[np.ndarray, "problem query key"]

    @property
    def inputs(self) -> tuple[Int[Tensor, "problem token"], Int[Tensor, "#problem token"]]:
        """Tokens and position ids, without the last token, which is no input."""
        return torch.from_numpy(self.text.tokens[:, :-1]), torch.from_numpy(self.text.ids[:, :-1])


def sample(config: RunConfig, length: int, problems: int) -> Sample:
    """Test problems of a length; at the longest trained one they are held out of training."""
    question = config.question
    tests = draw_test_set(
        question.task, question.train, length, question.train.law, problems, config.evaluation.seed + length
    )
    text = question.format.write(question.task, tests.operands)
    return Sample(length=length, text=text, far=far_keys(config, text)[:, :-1, :-1])


def counted_odds(short: Sample, length: int) -> Float[Tensor, "#problem 1 query 1"]:
    """How the number of far keys of each row grows from a sample's length to another, as a logarithm.

    A row's place keeps its share of the number, so that all keys but a fixed few near ones grow with the length.
    """
    far = short.far.sum(axis=2)
    digits = np.array([slot.role in ("operand", "answer") for slot in short.text.layout] + [False])
    seen = np.cumsum(digits[short.text.slots[:, :-1]], axis=1)
    near = seen - far
    there = seen * (length / short.length) - near
    ratio = np.where(far > 0, np.maximum(there, 1e-9) / np.maximum(far, 1), 1.0)
    return torch.from_numpy(np.log(ratio)).float()[:, None, :, None]


@torch.inference_mode()
def far_weight(model: Decoder, texts: Sample) -> Float[Tensor, "problem head row"]:
    """The logarithm of the total weight exp(score) of the far keys of each answer row in the first layer."""
    name, answers = "blocks.0.attn.hook_attn_scores", slice(texts.text.answer_start - 1, None)
    found = []
    tokens, ids = texts.inputs
    for first in range(0, len(tokens), AT_ONCE):
        part = slice(first, first + AT_ONCE)
        _, cache = model.run_with_cache(tokens[part], ids if len(ids) == 1 else ids[part], names=[name])
        far = torch.from_numpy(texts.far[part, answers])[:, None]
        found.append(cache[name][:, :, answers].masked_fill(~far, -torch.inf).logsumexp(dim=-1))
    return torch.cat(found)


def paired(short: Sample, long: Sample) -> Int[np.ndarray, " problem"]:
    """For each problem of a sample one of the other, in turn, whose answer is as many tokens longer than its operands.

    Where the other sample has none, any.
    """
    few, many = (each.text.scored.sum(axis=1) - each.length for each in (short, long))
    found = np.arange(len(few)) % len(many)
    for more in np.unique(few):
        mine, others = np.flatnonzero(few == more), np.flatnonzero(many == more)
        if len(others):
            found[mine] = others[np.arange(len(mine)) % len(others)]
    return found


def scored_odds(model: Decoder, short: Sample, long: Sample) -> Float[Tensor, "problem head query 1"]:
    """How the weight of a row's far keys grows between two samples of as many problems, by the model's own scores.

    Of what the model writes on the long sample nothing is looked at. Problems are paired whose answers have as many
    digits more than their operands.
    """
    before, after = far_weight(model, short), far_weight(model, long)[paired(short, long)]
    rows = short.text.tokens.shape[1] - 1 - (short.text.answer_start - 1)
    places = np.arange(rows)
    inside = np.round(1 + (places - 1) * (long.length - 2) / max(1, short.length - 2))
    ends = places + long.length - short.length
    there = np.where(places == 0, 0, np.where(places < short.length, inside, ends)).astype(np.int64)
    there = np.minimum(there, after.shape[2] - 1)
    grown = (after[:, :, there] - before).nan_to_num(0.0)  # rows without far keys have no weight to compare
    odds = torch.zeros(*before.shape[:2], short.far.shape[1], 1)
    odds[:, :, short.text.answer_start - 1 :, 0] = grown
    return odds


@torch.inference_mode()
def virtual(model: Decoder, short: Sample, odds: Float[Tensor, "#problem #head query 1"], length: int) -> Virtual:
    """What a model writes on a sample if the far keys of every row weigh more by these odds, read as that length."""
    diluted = copy.copy(model)
    more = torch.where(torch.from_numpy(short.far)[:, None], odds, 0.0)
    diluted._modules = {**model._modules, "pos_embed": Diluted(model.pos_embed, more)}
    text, start, places = short.text, short.text.answer_start, short.length
    guesses = diluted(*short.inputs)[:, start - 1 :].argmax(dim=-1)
    hits = (guesses.numpy() == text.tokens[:, start:]) | ~text.scored[:, start:]
    first, interior, ends = hits[:, 0].mean(), hits[:, 1:places].mean(), hits[:, places:].all(axis=1).mean()
    return Virtual(
        length=length,
        interior=float(interior),
        first=float(first),
        ends=float(ends),
        accuracy=float(first * interior ** (length - 1) * ends),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Dilution:
    """What is forecast for a run at every tested length beyond the trained ones, and what was measured there.

    ``counted`` grows the number of far keys only, ``scored`` their weight by the model's own scores (None for more than
    one layer). The half length is where accuracy falls below one half, between two tested lengths on a geometric scale;
    None where it does not.
    """

    run_id: str
    label: str
    seed: int
    in_range: float | None
    lengths: tuple[int, ...]
    counted: tuple[float, ...]
    scored: tuple[float, ...] | None
    measured: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """The record as plain data."""
        return {
            **{name: getattr(self, name) for name in ("run_id", "label", "seed", "in_range")},
            **{name: None if (found := getattr(self, name)) is None else list(found) for name in _BY_LENGTH},
            "half_lengths": {name: self.half(name) for name in ("counted", "scored", "measured")},
        }

    @property
    def eligible(self) -> bool:
        """Whether the run is right in range, without which nothing is claimed of it."""
        return self.in_range is not None and self.in_range >= IN_RANGE_THRESHOLD

    def half(self, name: str) -> float | None:
        """The half length of one of the curves."""
        curve = getattr(self, name)
        return None if curve is None else half_length(self.lengths, curve)


_BY_LENGTH = ("lengths", "counted", "scored", "measured")


def half_length(lengths: Sequence[int], accuracies: Sequence[float]) -> float | None:
    """Where a curve first falls below one half; its first length where it starts there, None where it never does.

    >>> half_length((10, 20, 40), (1.0, 0.75, 0.25)), half_length((10, 20), (1.0, 0.9))
    (28.284271247461902, None)
    """
    if accuracies[0] < 0.5:
        return float(lengths[0])
    for (left, above), (right, below) in pairwise(zip(lengths, accuracies, strict=True)):
        if above >= 0.5 > below:
            return float(left * (right / left) ** ((above - 0.5) / (above - below)))
    return None


def dilution_of(run: Mapping[str, Any], config: RunConfig, model: Decoder, *, problems: int = PROBLEMS) -> Dilution:
    """Forecast the lengths beyond training from a checkpoint, and put beside them what its run measured."""
    train, law = config.question.train, config.question.train.law
    lengths = tuple(each for each in config.evaluation.test_digits if each >= train.longest)
    short = sample(config, train.longest, problems)
    counted = tuple(virtual(model, short, counted_odds(short, each), each).accuracy for each in lengths)
    scored = None
    if model.config.n_layers == 1:
        long = ((each, sample(config, each, problems)) for each in lengths)
        scored = tuple(virtual(model, short, scored_odds(model, short, text), each).accuracy for each, text in long)
    shares = {
        record["test_digits"]: record["correct"] / record["problems"]
        for record in run["records"]
        if record["stratum"] == "all" and record["law"] == law
    }
    return Dilution(
        run_id=run["run_id"],
        label=f"{config.question.encoding}, ids={config.question.format.positions}",
        seed=config.seed,
        in_range=run["in_range"],
        lengths=lengths,
        counted=counted,
        scored=scored,
        measured=tuple(shares[each] for each in lengths),
    )


def table(records: Sequence[Dilution]) -> str:
    """Half lengths, forecast and measured, a line a run; none for a run that is not right in range."""

    def told(name: str, record: Dilution) -> str:
        if getattr(record, name) is None or not record.eligible:
            return "-"
        value = record.half(name)
        return f"> {record.lengths[-1]}" if value is None else f"{value:.1f}"

    lines = [f"{'encoding':34}{'seed':>5}{'in range':>10}{'counted':>10}{'scored':>10}{'measured':>10}"]
    for record in records:
        halves = [told(name, record) for name in ("counted", "scored", "measured")]
        lines.append(
            f"{record.label:34}{record.seed:5}{record.in_range or 0:10.3f}" + "".join(f"{half:>10}" for half in halves)
        )
    for name in ("counted", "scored"):
        good, judged = agreement(records, name)
        lines.append(f"{name}: within a factor of {FACTOR} in {good} of {judged} runs that are right in range")
    return "\n".join(lines)


def agreement(records: Sequence[Dilution], name: str) -> tuple[int, int]:
    """In how many runs a forecast half length is the measured one, and of how many: those right in range that have it.

    Two curves that do not fall below one half agree; one that does and one that does not disagree.
    """
    pairs = [(each.half(name), each.half("measured")) for each in records if each.eligible and getattr(each, name)]
    return sum(_close(forecast, measured) for forecast, measured in pairs), len(pairs)


def _close(forecast: float | None, measured: float | None) -> bool:
    if forecast is None or measured is None:
        return forecast is measured
    return max(forecast / measured, measured / forecast) <= FACTOR


def main(arguments: Sequence[str]) -> int:
    """Forecast and compare the finished runs of the suite ``soft`` in a folder; return the exit status."""
    from carryproof.benchmarks.dilution_figure import draw_dilution
    from carryproof.benchmarks.runner import settled_engine
    from carryproof.benchmarks.suites import build

    parser = argparse.ArgumentParser(prog="dilution", description="Half lengths of soft encodings, from trained ones.")
    parser.add_argument("dir", type=Path, metavar="DIR", help="where `carryproof run soft --out DIR` has written")
    folder = parser.parse_args(arguments).dir
    torch.set_num_threads(1)
    try:
        records = []
        for config in build("soft").on(settled_engine(folder)).runs():
            if store.is_finished(folder, config.run_id):
                run = store.read_run(folder, config.run_id)
                model = checkpoints.load(store.runs_folder(folder) / config.run_id / "model.safetensors")
                records.append(dilution_of(run, config, model))
        if not records:
            raise bad("DIR", str(folder), "a folder with finished runs of the suite 'soft'")
        store.write_json(folder / "dilution.json", {"runs": [record.to_dict() for record in records]})
        draw_dilution(records, folder)
        print(table(records))
    except ValueError as error:
        print(f"dilution: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
