"""What the processes of a bench do when it is their turn: training steps, evaluations, drawing, commands, products.

Each function builds one kind of work from plain arguments, so that it can be sent to a process; the work takes none.
Trainers of every package get the same batches, those of our own trainer: texts of additions of numbers of one length,
scored on the answer.

>>> SHAPES["b"].config("float32", 0).decoder().n_ctx, SHAPES["c"].config("float32", 0).decoder().n_ctx
(64, 22)
>>> needed_flops(SHAPES["a"]) / 1e9 > 10    # of a step, the way back included
True
"""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, cycle
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from carryproof.benchmarks import peers
from carryproof.benchmarks.baselines import PlainTraining, copy_of, generate
from carryproof.benchmarks.certify import certify
from carryproof.benchmarks.configuration import Evaluation, Recipe, RunConfig
from carryproof.benchmarks.engine import DTYPES, Engine, fastest_dtype
from carryproof.benchmarks.evaluate import LogitsAt, draw_test_set, exact_match
from carryproof.benchmarks.train import STEPS_PER_BLOCK, UNSCORED, Training, batches, train, training_stream
from carryproof.benchmarks.turns import Work
from carryproof.models import checkpoints
from carryproof.models.decoder import Decoder
from carryproof.models.library import load
from carryproof.models.stack import Stack
from carryproof.theory import Question, TrainingRange, formats, tasks
from carryproof.theory.formats import Text

TRAINED_STEPS = 4  # batches that trainers go round
DRAWN_STEPS = STEPS_PER_BLOCK  # batches that are drawn and written at once, as the trainer does
DRAWN_TEXTS = 16_384  # problems that are drawn at once, where nothing is written
PRODUCT = 2_048  # rows, inner and columns of the products that show a machine's peak
PRODUCT_FLOPS = 2.0 * PRODUCT**3


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """Sizes of a model and its batches. Texts are additions of numbers of exactly ``digits`` digits, zero-padded to
    ``places``, the answer's units first.
    """

    name: str
    n_layers: int
    d_model: int
    n_heads: int
    digits: int
    places: int
    batch: int

    @property
    def tokens(self) -> int:
        """The tokens of a text; all but the last are inputs."""
        return 3 * self.places + 4

    @property
    def rows(self) -> int:
        """The tokens that are scored: those of the answer and the end."""
        return self.places + 2

    def __str__(self) -> str:
        sizes = f"{self.n_layers} layers, width {self.d_model}, {self.n_heads} heads"
        return f"{self.name} ({sizes}, {self.tokens} tokens, batch {self.batch})"

    def config(self, dtype: str, seed: int, **recipe: Any) -> RunConfig:
        """The run that trains this shape."""
        sizes = {name: getattr(self, name) for name in ("n_layers", "d_model", "n_heads", "batch")}
        return RunConfig(
            question=Question(
                task=tasks.addition(),
                format=formats.padded(self.places, operands="most-first"),
                encoding="absolute",
                train=TrainingRange(lengths=(self.digits,)),
            ),
            recipe=Recipe(**sizes, **recipe),
            evaluation=Evaluation(test_digits=(self.digits,)),
            seed=seed,
            engine=Engine(dtype=dtype),
        )


SHAPES = {
    "a": Shape(name="a", n_layers=2, d_model=128, n_heads=4, digits=9, places=9, batch=256),
    "b": Shape(name="b", n_layers=6, d_model=384, n_heads=6, digits=20, places=20, batch=64),
    "c": Shape(name="c", n_layers=2, d_model=510, n_heads=3, digits=6, places=6, batch=64),
}
# Four digits in twenty places, as they were published: what can be learnt in a minute, in texts of 64 tokens.
RACED = Shape(name="20 places", n_layers=2, d_model=128, n_heads=4, digits=4, places=20, batch=64)
QUICK_RECIPE: dict[str, Any] = {
    "learning_rate": 6e-3, "muon_rate": 0.02, "muon_decay": 0.1, "weight_decay": 0.0, "beta2": 0.99,
    "warmup_steps": 25, "final_share": 0.1,
}  # fmt: skip # read as a table


def needed_flops(shape: Shape) -> float:
    """Floating-point operations that the products of a training step need, forwards and, twice that, backwards.

    In the last layer queries, MLP and logits are needed at scored rows alone; attention is counted over all keys.
    """
    model = shape.config("float32", 0).decoder()
    tokens, width = shape.tokens - 1, model.d_model
    keys_and_values = 2 * width * width
    rest_of_a_row = 2 * width * width + 2 * tokens * width + 2 * width * model.mlp_size
    rows = (shape.n_layers - 1) * tokens + shape.rows
    forward = shape.n_layers * tokens * keys_and_values + rows * rest_of_a_row + shape.rows * width * model.d_vocab
    return 3.0 * 2.0 * shape.batch * forward


def plain_training(peer: str, shape: Shape, seeds: Sequence[int]) -> Work:
    """A step of every seed, one after another, by the plain loop on a peer's model."""
    configs = [shape.config("float32", seed) for seed in seeds]
    trainings, drawn = [], []
    for config in configs:
        model, logits = peers.build(peer, config.decoder(), config.seed)
        trainings.append(PlainTraining(model, logits, config.recipe.learning_rate))
        drawn.append(batches(config, 0, TRAINED_STEPS))
    turns = cycle(range(TRAINED_STEPS))

    def work() -> list[float]:
        step = next(turns)
        losses = [
            training.step(each.tokens[step], whole_targets(each.tokens[step], each.targets[step]))
            for training, each in zip(trainings, drawn, strict=True)
        ]
        return [float(loss) for loss in losses]

    return work


def whole_targets(tokens: Int[Tensor, "batch token"], targets: Int[Tensor, "batch row"]) -> Int[Tensor, "batch token"]:
    """Targets for every token of a batch, for trainers that score whole texts; those of the last rows are given."""
    whole = torch.full_like(tokens, UNSCORED)
    whole[:, tokens.shape[1] - targets.shape[1] :] = targets
    return whole


def own_training(shape: Shape, dtype: str, stacks: Sequence[Sequence[int]]) -> Work:
    """A step of every seed by our trainer: those of a stack together, and one stack after another."""
    trainings, drawn = [], []
    engine = Engine(dtype=dtype)
    for stack in stacks:
        configs = [shape.config(dtype, seed) for seed in stack]
        models = [Decoder.init(each.decoder(), torch.Generator().manual_seed(each.seed)) for each in configs]
        trainings.append(Training(models, configs[0].recipe, engine))
        each = [batches(config, 0, TRAINED_STEPS) for config in configs]
        drawn.append(
            tuple(torch.stack([getattr(b, name) for b in each], dim=1) for name in ("tokens", "ids", "targets"))
        )
    turns = cycle(range(TRAINED_STEPS))

    def work() -> list[float]:
        step = next(turns)
        with engine.at_work():
            losses = [
                training.step(tokens[step], ids[step], targets[step], 1.0)
                for training, (tokens, ids, targets) in zip(trainings, drawn, strict=True)
            ]
        return torch.cat(losses).tolist()

    return work


def drawing(shape: Shape) -> Work:
    """Drawing the operands of ``DRAWN_TEXTS`` problems."""
    stream, blocks = training_stream(shape.config("float32", 0)), count()

    def work() -> None:
        stream.block(next(blocks) * DRAWN_TEXTS, DRAWN_TEXTS)

    return work


def writing(shape: Shape) -> Work:
    """Drawing and writing ``DRAWN_STEPS`` batches."""
    config, blocks = shape.config("float32", 0), count()

    def work() -> None:
        batches(config, next(blocks) * DRAWN_STEPS, DRAWN_STEPS)

    return work


def model_maker(shape: Shape, path: Path, steps: int) -> Work:
    """Training the model that evaluations are timed on, and writing it to a file; its loss in the end."""

    def work() -> float:
        model, points = train(shape.config(fastest_dtype(), 0, steps=steps, **QUICK_RECIPE))
        checkpoints.save(path, model, about={})
        return points[-1].loss

    return work


def held_out_text(shape: Shape, problems: int) -> Text:
    """Written problems held out of training, for evaluations."""
    config = shape.config("float32", 0)
    question = config.question
    tests = draw_test_set(question.task, question.train, shape.digits, "exact", problems, config.evaluation.seed)
    return question.format.write(question.task, tests.operands)


def plain_evaluation(shape: Shape, path: Path, problems: int) -> Work:
    """Whether each problem is right, by writing its answer token by token as the baseline does."""
    model, text = copy_of(load(path)), held_out_text(shape, problems)
    truth = torch.from_numpy(text.tokens)
    start = text.answer_start

    def work() -> list[bool]:
        written = generate(model, truth[:, :start], truth.shape[1] - start)
        return (written == truth).all(dim=1).tolist()

    return work


def own_evaluation(shape: Shape, path: Path, problems: int, dtype: str) -> Work:
    """Whether each problem is right, by one pass over the written answers."""
    engine, text = Engine(dtype=dtype), held_out_text(shape, problems)
    logits = stack_logits(load(path), engine)

    def work() -> list[bool]:
        with engine.at_work():
            return exact_match(logits, text).tolist()

    return work


def stack_logits(model: Decoder, engine: Engine) -> LogitsAt:
    """A decoder as the function that evaluation measures, by the quick path."""
    stack = Stack([model])
    return lambda tokens, ids, rows: stack.logits(tokens[None], ids[None], rows, engine.torch_dtype)[0]


def command(*arguments: str) -> Work:
    """A command of ours in a process of its own, as a person would start it."""
    whole = [sys.executable, "-m", "carryproof", *arguments]

    def work() -> None:
        subprocess.run(whole, stdout=subprocess.DEVNULL, check=True)

    return work


def certification(name: str) -> Work:
    """Certifying a model of the collection."""
    model = load(name)

    def work() -> int:
        return certify(model).windows

    return work


def product(dtype: str) -> Work:
    """A large product of matrices as the plain loop has it (``plain``), or as our engine has it in a number format."""
    engine = Engine(dtype="float32" if dtype == "plain" else dtype)
    left = torch.ones(PRODUCT, PRODUCT, dtype=DTYPES[engine.dtype])

    def work() -> None:
        if dtype == "plain":
            left @ left
        else:
            with engine.at_work():
                left @ left

    return work
