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
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from carryproof.benchmarks.configuration import Recipe
from carryproof.benchmarks.draws import DRAWS
from carryproof.benchmarks.engine import Engine, small_products
from carryproof.benchmarks.optimizer import Optimizer
from carryproof.benchmarks.train import LOGGED_POINTS, LossPoint
from carryproof.models.config import DecoderConfig
from carryproof.models.decoder import Decoder
from carryproof.models.quick_window import QuickWindow
from carryproof.models.windowed import RowViews
from carryproof.theory import content_hash
from carryproof.theory.digits import Digits
from carryproof.theory.errors import bad, require_integer, unknown
from carryproof.theory.fixed import FIXED
from carryproof.theory.processes import ABSENT, END, Process, Values
from carryproof.theory.ranges import require_lengths
from carryproof.theory.readers import distinct
from carryproof.theory.scripts import Script, script_of
from carryproof.theory.subjects import build

PROBLEMS_AT_ONCE = 20_000
ROWS_ALIKE = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class ScriptRun:
    """One training on scripts: the subject (name, base, operands, modulus), the lengths, the recipe and the seed.

    ``draw`` names the law of the operands, an entry of ``DRAWS``. With ``problems`` so many of each length are drawn
    once, and a batch holds rows in place of problems: of all that these problems show the different ones, each as
    likely as any other. Rare ones are then as frequent as common ones. ``engine`` has the number format; its device
    is the processor.
    """

    subject: Mapping[str, Any]
    lengths: tuple[int, ...]
    recipe: Recipe
    seed: int
    draw: str = "digits"
    problems: int = 0
    engine: Engine = field(default_factory=Engine)

    def __post_init__(self) -> None:
        object.__setattr__(self, "lengths", require_lengths("lengths", self.lengths))
        require_integer("seed", self.seed, 0)
        if self.draw not in DRAWS:
            raise unknown("draw", self.draw, DRAWS)
        require_integer("problems", self.problems, 0)
        if self.engine.device != "cpu":
            raise bad("engine device", self.engine.device, "cpu: models of scripts are too small for another")
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
        """All that changes numbers, as plain data; what older runs had no choice of is named only where it differs."""
        every = {
            "subject": dict(self.subject),
            "lengths": list(self.lengths),
            "recipe": asdict(self.recipe),
            "seed": self.seed,
        }
        law = {} if self.draw == "digits" else {"draw": self.draw}
        rows = {"problems": self.problems} if self.problems else {}
        return every | law | rows | ({"dtype": self.engine.dtype} if self.engine.dtype != "float32" else {})

    @property
    def run_id(self) -> str:
        """The name of the run."""
        return content_hash(self.to_dict())[:16]


def process_named(subject: Mapping[str, Any]) -> Process:
    """The process of a subject given as plain data; the first way to write it, or the one that ``view`` names.

    The names ``times`` and ``divided-by`` take a ``number``.
    """
    for key, value in subject.items():
        kind = str if key in ("name", "view") else int
        if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
            raise bad(f"subject {key}", value, "a word" if kind is str else "an integer")
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


def train_script(run: ScriptRun, progress: Callable[[LossPoint], None] = lambda point: None) -> tuple[Decoder, float]:
    """Train the model of a run; return it with the seconds that training took.

    About twenty times on the way the last batch is reported: its loss, and the share of it that was answered right.
    """
    script, recipe = run.script(), run.recipe
    every = max(1, recipe.steps // LOGGED_POINTS)
    began = time.perf_counter()
    with run.engine.at_work(), small_products(recipe.d_model):
        training = ScriptTraining(run)
        shown = shown_views(run) if run.problems else None
        for step in range(recipe.steps):
            generator = np.random.default_rng([run.seed, step])
            if shown is None:
                size = int(generator.choice(run.lengths))
                operands = DRAWS[run.draw](script.process, size, recipe.batch, generator)
                loss, right = training.on_problems(operands, recipe.scale_at(step))
            else:
                chosen = shown[generator.integers(len(shown), size=recipe.batch)]
                loss, hits = training.on_rows(chosen, recipe.scale_at(step))
                right = float(hits.mean())
            if (step + 1) % every == 0 or step + 1 == recipe.steps:
                progress(LossPoint(step=step + 1, loss=loss, in_range=right))
    return training.model, time.perf_counter() - began


def shown_views(run: ScriptRun) -> Values:
    """The different views that ``problems`` problems of each length show, as ``Script.views`` has them, in order."""
    script, radix = run.script(), run.script().values + 2  # a value, ABSENT or END
    columns = len(script.derivation.slots) + 2
    if radix**columns >= 2**62:
        raise bad("problems", run.problems, f"0 for {script.process.name}, whose views do not fit 62 bits")
    powers = radix ** np.arange(columns)[::-1]
    keys = np.empty(0, dtype=np.int64)
    for length in run.lengths:
        generator = np.random.default_rng([run.seed, length])
        for first in range(0, run.problems, PROBLEMS_AT_ONCE):
            count = min(PROBLEMS_AT_ONCE, run.problems - first)
            views = script.views(DRAWS[run.draw](script.process, length, count, generator))
            keys = distinct(np.concatenate([keys, ((views + 2) @ powers).ravel()]))
    return keys[:, None] // powers % radix - 2


def row_views(script: Script, views: Values) -> tuple[RowViews, Int[Tensor, " row"]]:
    """The rows that see these views, as ``Script.views`` has them, and the tokens they must write."""
    queries, held, token = views[:, 0], views[:, 1:-1], views[:, -1]
    anchor = np.full((len(held), 1), script.equals)
    rows = RowViews(
        query=torch.from_numpy(np.where(queries == ABSENT, script.equals, queries)),
        keys=torch.from_numpy(np.concatenate([np.maximum(held, 0), anchor], axis=1)),
        seen=torch.from_numpy(np.concatenate([held != ABSENT, anchor >= 0], axis=1)),
    )
    return rows, torch.from_numpy(np.where(token == END, script.end, token))


class ScriptTraining:
    """The model of a run, in training on the run's engine."""

    def __init__(self, run: ScriptRun) -> None:
        self.script, self.engine = run.script(), run.engine
        self.model = Decoder.init(run.decoder(), torch.Generator().manual_seed(run.seed))
        self.model.about = {"subject": dict(run.subject), "trained": {"lengths": list(run.lengths)}}
        self.quick = QuickWindow(self.model, self.script.derivation.slot_classes)
        self.optimizer = Optimizer([self.model], run.recipe)

    def on_problems(self, operands: list[Digits], scale: float) -> tuple[float, float]:
        """One step on problems of one size, with the loss on every token of the answer and on its end.

        Gives that loss and the share of the problems that were answered right before the step.
        """
        views = self.script.views(operands)  # [problem row view]
        loss, hits = self.on_rows(views.reshape(-1, views.shape[2]), scale)
        return loss, float(hits.reshape(views.shape[:2]).all(axis=1).mean())

    def on_rows(self, views: Values, scale: float) -> tuple[float, NDArray[np.bool_]]:
        """One step on rows, as ``Script.views`` has them; the mean loss, and which were right before the step.

        Rows that are equal are computed once and counted: in a batch of short problems most of them are.
        """
        different, which = told_apart(views)
        shares = np.bincount(which, minlength=len(different)) / len(views)
        rows, targets = row_views(self.script, different)
        logits = self.quick.logits(rows, self.engine.torch_dtype)
        losses = F.cross_entropy(logits, targets, reduction="none")
        loss = losses @ torch.from_numpy(shares).to(losses)
        loss.backward()
        self.optimizer.step(scale)
        return float(loss.detach()), (logits.argmax(dim=1) == targets).numpy()[which]


def told_apart(views: Values) -> tuple[Values, NDArray[np.int64]]:
    """The different rows ``[different view]``, and for each row which of them it is.

    Behind them rows are repeated up to a multiple of ``ROWS_ALIKE``: oneDNN compiles each new shape of a product.
    """
    order = np.lexsort(views.T)
    ordered = views[order]
    begins = np.concatenate([[True], (ordered[1:] != ordered[:-1]).any(axis=1)])
    which = np.empty(len(views), dtype=np.int64)
    which[order] = np.cumsum(begins) - 1
    different = ordered[begins]
    return np.resize(different, (-(-len(different) // ROWS_ALIKE) * ROWS_ALIKE, views.shape[1])), which
