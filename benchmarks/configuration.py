"""The configuration of a run: question, recipe, evaluation and seed, named by a hash over all that changes numbers.

A recipe says how a model is built and trained; an evaluation says which lengths and operand laws are measured on how
many problems. Two runs with equal hashes compute the same thing, so a finished one is never repeated.

>>> [round(Recipe(steps=100, warmup_steps=10).scale_at(step), 2) for step in (0, 9, 55, 99)]
[0.1, 1.0, 0.51, 0.02]
"""

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from carryproof import __version__
from carryproof.benchmarks.engine import Engine
from carryproof.models.config import DecoderConfig
from carryproof.theory import Question, content_hash
from carryproof.theory.errors import bad, require_integer
from carryproof.theory.formats import vocabulary_size
from carryproof.theory.ranges import OperandLaw, require_law, require_lengths

SCHEMA_VERSION = 1
ENGINE = "stack-2"
FIRST_TEST_SEED = 10_000_000  # training seeds lie below, so that no run trains on the stream it is tested on


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """How a model is built and trained: linear warm-up, cosine decay, loss on the answer's tokens only.

    With ``muon_rate`` above 0 the matrices inside the blocks are trained by Muon at that rate; all else, and everything
    without it, by AdamW (weight decay on matrices only).
    """

    d_model: int = 64
    n_heads: int = 4
    n_layers: int = 2
    d_head: int | None = None
    d_mlp: int | None = None
    normalization: str = "LN"
    activation: str = "gelu"
    steps: int = 1_000
    batch: int = 128
    learning_rate: float = 2e-3
    final_share: float = 0.02
    warmup_steps: int = 100
    weight_decay: float = 0.01
    beta1: float = 0.9
    beta2: float = 0.98
    clip: float = 1.0
    muon_rate: float = 0.0
    muon_decay: float = 0.3
    muon_momentum: float = 0.9

    def __post_init__(self) -> None:
        for name in ("steps", "batch"):
            require_integer(f"recipe {name}", getattr(self, name), 1)
        require_integer("recipe warmup_steps", self.warmup_steps, 0)
        for name in ("learning_rate", "clip"):
            if not 0 < getattr(self, name) < math.inf:
                raise bad(f"recipe {name}", getattr(self, name), "a positive number")
        for name in ("muon_rate", "muon_decay", "weight_decay"):
            if not 0 <= getattr(self, name) < math.inf:
                raise bad(f"recipe {name}", getattr(self, name), "a number that is not negative")
        for name in ("beta1", "beta2", "muon_momentum", "final_share"):
            if not 0 <= getattr(self, name) < 1:
                raise bad(f"recipe {name}", getattr(self, name), "a number from 0 up to, not including, 1")

    def scale_at(self, step: int) -> float:
        """The learning rate at a step, as a share of its peak: linear warm-up, cosine decay to ``final_share``."""
        warm = min(1.0, (step + 1) / max(1, self.warmup_steps))
        done = min(1.0, max(0, step - self.warmup_steps) / max(1, self.steps - self.warmup_steps))
        return warm * (self.final_share + (1 - self.final_share) * 0.5 * (1 + math.cos(math.pi * done)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """What is measured: every length under every operand law, on at most ``problems`` problems each."""

    test_digits: tuple[int, ...]
    laws: tuple[OperandLaw, ...] = ("exact",)
    problems: int = 1_000
    seed: int = 20_261_121  # of the test streams: the same problems for every run

    def __post_init__(self) -> None:
        object.__setattr__(self, "test_digits", require_lengths("test_digits", self.test_digits))
        for law in self.laws:
            require_law("law", law)
        require_integer("problems", self.problems, 1)
        require_integer("evaluation seed", self.seed, FIRST_TEST_SEED)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """One training and its measurement; ``run_id`` names it. ``stack`` runs of it are trained together."""

    question: Question
    recipe: Recipe
    evaluation: Evaluation
    seed: int
    engine: Engine = field(default_factory=Engine)
    stack: int = 1

    def __post_init__(self) -> None:
        require_integer("seed", self.seed, 0, FIRST_TEST_SEED - 1)
        require_integer("stack", self.stack, 1)
        self.question.format.require_room(self.evaluation.test_digits[-1])

    def decoder(self) -> DecoderConfig:
        """The model's configuration; raises ``ValueError`` where its sizes do not fit."""
        question, recipe = self.question, self.recipe
        width = question.format.width or max(self.evaluation.test_digits[-1], question.train.longest)
        return DecoderConfig(
            d_vocab=vocabulary_size(question.task),
            n_ctx=question.format.positions.rows(question.format.layout(question.task, width)),
            d_model=recipe.d_model,
            n_heads=recipe.n_heads,
            n_layers=recipe.n_layers,
            d_head=recipe.d_head,
            d_mlp=recipe.d_mlp,
            normalization=recipe.normalization,
            activation=recipe.activation,
            encoding=question.encoding,
        )

    def to_dict(self) -> dict[str, Any]:
        """All that changes numbers, as plain data."""
        evaluation = asdict(self.evaluation)
        return {
            "schema_version": SCHEMA_VERSION,
            "version": __version__,
            "engine": ENGINE,
            "device": self.engine.device.partition(":")[0],
            "dtype": self.engine.dtype,
            "stack": self.stack,
            "question": self.question.to_dict(),
            "recipe": asdict(self.recipe),
            "evaluation": evaluation | {key: list(evaluation[key]) for key in ("test_digits", "laws")},
            "seed": self.seed,
        }

    @property
    def run_id(self) -> str:
        """The name of the run: the first 16 hexadecimal digits of the hash of its configuration."""
        return content_hash(self.to_dict())[:16]
