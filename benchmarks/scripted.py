"""Training on scripts: one layer with the encoding that theory derives for a process, on a few short lengths.

Only the answer's rows are computed, each from the keys that it sees. Batch t is a function of (seed, t): a trained
length, then digits, leading zeros allowed: each uniform, or columns such that what the machine reads is uniform (so
that the extreme sums of many digits are not rare). Nothing here looks at lengths beyond the trained ones.

>>> from carryproof.theory import tasks
>>> from carryproof.theory.cases import process_of
>>> from carryproof.theory.scripts import script_of
>>> run = ScriptRun(subject={"name": "addition"}, lengths=(1, 2, 3), recipe=Recipe(steps=3, n_layers=1), seed=0)
>>> run.script().derivation.encoding, train_script(run)[0].config.d_vocab
('window:0+0,0-1', 13)
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from carryproof.benchmarks.configuration import Recipe
from carryproof.benchmarks.optimizer import Optimizer
from carryproof.models.config import DecoderConfig
from carryproof.models.decoder import Decoder
from carryproof.models.windowed import rows_of, windowed_logits
from carryproof.theory import content_hash
from carryproof.theory.digits import Digits
from carryproof.theory.errors import bad, require_integer, unknown
from carryproof.theory.fixed import FIXED
from carryproof.theory.multisets import COLUMNS_LIMIT, every_column, exchangeable
from carryproof.theory.processes import Process
from carryproof.theory.ranges import require_lengths
from carryproof.theory.scripts import Script, script_of
from carryproof.theory.subjects import build


@dataclass(frozen=True, kw_only=True, slots=True)
class ScriptRun:
    """One training on scripts: the subject (name, base, operands, modulus), the lengths, the recipe and the seed.

    ``draw`` names the law of the operands, an entry of ``DRAWS``.
    """

    subject: Mapping[str, Any]
    lengths: tuple[int, ...]
    recipe: Recipe
    seed: int
    draw: str = "digits"

    def __post_init__(self) -> None:
        object.__setattr__(self, "lengths", require_lengths("lengths", self.lengths))
        require_integer("seed", self.seed, 0)
        if self.draw not in DRAWS:
            raise unknown("draw", self.draw, DRAWS)
        if self.recipe.n_layers != 1:
            raise bad("recipe n_layers", self.recipe.n_layers, "1: only then is the receptive field one window")

    def script(self) -> Script:
        """The script of the subject."""
        return script_of(process_named(self.subject))

    def decoder(self) -> DecoderConfig:
        """The model's configuration."""
        script, recipe = self.script(), self.recipe
        return DecoderConfig(
            d_vocab=script.vocabulary,
            n_ctx=len(script.ids(self.lengths[-1])),
            d_model=recipe.d_model,
            n_heads=recipe.n_heads,
            n_layers=1,
            d_head=recipe.d_head,
            d_mlp=recipe.d_mlp,
            normalization=recipe.normalization,
            activation=recipe.activation,
            encoding=script.derivation.encoding,
        )

    def to_dict(self) -> dict[str, Any]:
        """All that changes numbers, as plain data; uniform digits are not named, as before there were other laws."""
        return {
            "subject": dict(self.subject),
            "lengths": list(self.lengths),
            "recipe": asdict(self.recipe),
            "seed": self.seed,
        } | ({} if self.draw == "digits" else {"draw": self.draw})

    @property
    def run_id(self) -> str:
        """The name of the run."""
        return content_hash(self.to_dict())[:16]


def process_named(subject: Mapping[str, Any]) -> Process:
    """The process of a subject given as plain data; the first way to write it, or the one that ``view`` names.

    The names ``times`` and ``divided-by`` take a ``number``.
    """
    for field, value in subject.items():
        kind = str if field in ("name", "view") else int
        if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
            raise bad(f"subject {field}", value, "a word" if kind is str else "an integer")
    if subject.get("name") in FIXED:
        if "number" not in subject or set(subject) - {"name", "base", "number"}:
            raise bad("subject", dict(subject), "name, number and, as needed, base")
        return FIXED[subject["name"]](subject["number"], base=subject.get("base", 10))
    known = {"name", "base", "operands", "modulus", "view"}
    if "name" not in subject or set(subject) - known:
        raise bad("subject", dict(subject), f"name and, as needed, {', '.join(sorted(known - {'name'}))}")
    found = build(
        subject["name"],
        operands=subject.get("operands"),
        base=subject.get("base", 10),
        modulus=subject.get("modulus"),
    )
    views = {view.label: view.process for view in found.views}
    label = subject.get("view", next(iter(views)))
    if label not in views:
        raise bad("subject view", label, ", ".join(views))
    return views[label]


def draw_digits(process: Process, size: int, count: int, generator: np.random.Generator) -> list[Digits]:
    """Operand digits of ``count`` problems of ``size`` places, uniform over those that the process takes."""

    def uniform() -> list[Digits]:
        return [
            generator.integers(0, process.base, size=(count, places), dtype=np.uint8) for places in process.widths(size)
        ]

    return _within_domain(process, uniform, count)


def draw_letters(process: Process, size: int, count: int, generator: np.random.Generator) -> list[Digits]:
    """Operand digits of problems whose columns are read as uniform letters, such as the sum of the digits in a column.

    Of the columns that are read alike each is as likely. Problems that the process does not take are drawn again.
    """
    columns, firsts = _by_letter(process)

    def uniform() -> list[Digits]:
        return _split(_of_letters(columns, firsts, (count, size), generator))

    return _within_domain(process, uniform, count)


def draw_multisets(process: Process, size: int, count: int, generator: np.random.Generator) -> list[Digits]:
    """As ``draw_letters``, but of the multisets of digits that are read alike each is as likely, in any order.

    Columns of equal digits, which stand in one order only, are then no rarer than others.
    """
    if not exchangeable(process):
        raise bad("draw", "multisets", f"digits for {process.name}: no three operands can be exchanged in it")
    columns, firsts = _by_letter(process)
    rising = (np.diff(columns.astype(np.int64), axis=1) >= 0).all(axis=1)
    before = np.concatenate([[0], np.cumsum(rising)])

    def uniform() -> list[Digits]:
        digits = _of_letters(columns[rising], before[firsts], (count, size), generator)
        return _split(generator.permuted(digits, axis=-1))

    return _within_domain(process, uniform, count)


def _of_letters(
    columns: Digits, firsts: NDArray[np.int64], shape: tuple[int, int], generator: np.random.Generator
) -> NDArray[np.uint8]:
    """Columns ``[problem, place, operand]``: a letter, then one of its columns, which begin at ``firsts``."""
    letters = generator.integers(0, len(firsts) - 1, size=shape)
    shares = generator.random(shape)
    return columns[firsts[letters] + (shares * np.diff(firsts)[letters]).astype(np.int64)]


def _split(digits: NDArray[np.uint8]) -> list[Digits]:
    return [np.ascontiguousarray(digits[..., operand]) for operand in range(digits.shape[-1])]


@cache
def _by_letter(process: Process) -> tuple[Digits, NDArray[np.int64]]:
    """All columns ``[column, operand]`` in the order of their letters, and where each letter that occurs begins."""
    machine, operands = process.machine, len(process.homes)
    if machine is None or machine.read is None or process.fixed or len(set(process.homes)) > 1:
        raise bad("draw", "letters", f"digits for {process.name}: no machine reads its operands column by column")
    if process.base**operands > COLUMNS_LIMIT:
        raise bad("draw", "letters", f"digits for {process.name}: its columns are more than {COLUMNS_LIMIT:,}")
    columns = every_column(process.base, operands)
    letters = machine.read(columns)
    order = np.argsort(letters, kind="stable")
    firsts = np.unique(letters[order], return_index=True)[1]
    return columns[order].astype(np.uint8), np.append(firsts, len(columns))


def _within_domain(process: Process, draw: Callable[[], list[Digits]], count: int) -> list[Digits]:
    """The first ``count`` of the problems drawn that the process takes."""
    kept: list[list[Digits]] = []
    missing = count
    while missing > 0:
        digits = draw()
        if process.domain is not None:
            inside = process.domain(digits)
            digits = [each[inside] for each in digits]
        kept.append(digits)
        missing -= len(digits[0])
    return [np.concatenate(parts)[:count] for parts in zip(*kept, strict=True)]


DRAWS: dict[str, Callable[[Process, int, int, np.random.Generator], list[Digits]]] = {
    "digits": draw_digits,
    "letters": draw_letters,
    "multisets": draw_multisets,
}


def train_script(run: ScriptRun) -> tuple[Decoder, float]:
    """Train the model of a run; return it with the seconds that training took."""
    script, recipe = run.script(), run.recipe
    model = Decoder.init(run.decoder(), torch.Generator().manual_seed(run.seed))
    model.about = {"subject": dict(run.subject), "trained": {"lengths": list(run.lengths)}}
    optimizer = Optimizer(model, recipe)
    began = time.perf_counter()
    for step in range(recipe.steps):
        generator = np.random.default_rng([run.seed, step])
        size = int(generator.choice(run.lengths))
        operands = DRAWS[run.draw](script.process, size, recipe.batch, generator)
        train_step(model, optimizer, script, operands, recipe.scale_at(step))
    return model, time.perf_counter() - began


def train_step(model: Decoder, optimizer: Optimizer, script: Script, operands: list[Digits], scale: float) -> None:
    """One step on problems of one size, with the loss on every token of the answer and on its end."""
    size = operands[0].shape[1]
    tokens, start = torch.from_numpy(script.write(operands)), script.prompt_length(size)
    (rows,) = rows_of(tokens, torch.from_numpy(script.keys(size)), start)
    logits = windowed_logits(model, rows, script.derivation.slot_classes)
    F.cross_entropy(logits, tokens[:, start:].flatten()).backward()
    optimizer.step(scale)
