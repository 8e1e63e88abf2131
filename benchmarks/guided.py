"""Counterexample-guided training: windows that a model still gets wrong flow back into its batches as short problems.

Every so many steps all windows that the trained lengths present are looked at. For some of the wrong ones a shortest
problem that presents the window joins the batches that follow, until all shown windows are right beyond rounding (where
training shows all there are, until the certificate closes) or the steps run out. Windows that only longer problems
present are never asked about, so nothing beyond the trained lengths flows back, nor decides when to stop. Feeding back
need not be faster than the control, ``at_once=0``: report both.
Source: ours; the loop is that of counterexample-guided synthesis (Solar-Lezama et al., ASPLOS 2006).

>>> from carryproof.benchmarks.configuration import Recipe
>>> recipe = Recipe(steps=1_200, n_layers=1, n_heads=2, learning_rate=5e-3)
>>> run = ScriptRun(subject={"name": "addition", "base": 2}, lengths=(1, 2, 3), recipe=recipe, seed=0)
>>> found = train_guided(run, every=50)
>>> found.closed, found.wrong[-1], found.steps < 1_200
(True, 0, True)
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from carryproof.benchmarks.draws import DRAWS
from carryproof.benchmarks.engine import small_products
from carryproof.benchmarks.right_windows import beyond_rounding, shown_windows, wrong_windows
from carryproof.benchmarks.scripted import ScriptRun, ScriptTraining
from carryproof.models.decoder import Decoder
from carryproof.theory.coverage import shortest_problem
from carryproof.theory.digits import Digits
from carryproof.theory.errors import bad, require_integer
from carryproof.theory.processes import Process
from carryproof.theory.readers import Keys

EVERY = 100  # steps between two looks at the windows
FED_AT_ONCE = 64  # wrong windows that flow back after one look


@dataclass(frozen=True, kw_only=True, slots=True)
class GuidedTraining:
    """A model, the steps it took, how many shown windows were wrong at each look, and how many flowed back.

    ``closed`` says that all shown windows are right beyond rounding; ``problems_fed`` are the rows of batches that were
    such problems.
    """

    model: Decoder
    steps: int
    wrong: tuple[int, ...]
    windows_fed: int
    problems_fed: int
    closed: bool
    seconds: float


def train_guided(run: ScriptRun, *, every: int = EVERY, at_once: int = FED_AT_ONCE) -> GuidedTraining:
    """Train a run on the batches of ``train_script``, up to a half of each replaced by the problems that flow back.

    After each look at most ``at_once`` windows flow back; with 0 of them, the control, training only stops in time.
    Lengths must be 1 .. n. Raises ``ValueError`` otherwise.
    """
    require_integer("every", every, 1)
    require_integer("at_once", at_once, 0)
    if run.lengths != tuple(range(1, run.lengths[-1] + 1)):
        raise bad("lengths", run.lengths, "1 to n, all of them: wrong windows flow back as shortest problems")
    script, recipe = run.script(), run.recipe
    process = script.process
    training = ScriptTraining(run)
    model = training.model
    shown = shown_windows(process, run.lengths)
    fed: set[int] = set()
    pool: dict[int, list[Digits]] = {}
    wrong: list[int] = []
    problems_fed = steps = 0
    closed = False
    began = time.perf_counter()
    while True:
        if steps and (steps % every == 0 or steps == recipe.steps):
            failing = wrong_windows(model, script, shown)
            wrong.append(len(failing))
            closed = not len(failing) and beyond_rounding(model, script, shown)
            if closed or steps == recipe.steps:
                break
            chosen = np.random.default_rng([run.seed, steps, 1]).permutation(failing)[:at_once]
            fed |= set(chosen.tolist())
            pool = problems_by_size(process, chosen)
        generator = np.random.default_rng([run.seed, steps])
        size = int(generator.choice(run.lengths))
        operands = DRAWS[run.draw](process, size, recipe.batch, generator)
        if size in pool:
            rows = generator.integers(len(pool[size][0]), size=min(recipe.batch // 2, len(pool[size][0])))
            operands = [
                np.concatenate([again[rows], fresh[len(rows) :]])
                for again, fresh in zip(pool[size], operands, strict=True)
            ]
            problems_fed += len(rows)
        with run.engine.at_work(), small_products(recipe.d_model):
            training.on_problems(operands, recipe.scale_at(steps))
        steps += 1
    return GuidedTraining(
        model=model,
        steps=steps,
        wrong=tuple(wrong),
        windows_fed=len(fed),
        problems_fed=problems_fed,
        closed=closed,
        seconds=time.perf_counter() - began,
    )


def problems_by_size(process: Process, windows: Keys | Sequence[int]) -> dict[int, list[Digits]]:
    """A shortest problem for each window (with the token before), as operand digits ``[problem, place]`` by size."""
    found: dict[int, list[list[tuple[int, ...]]]] = {}
    for key in windows:
        operands = shortest_problem(process, int(key), more=(process.output_at(1),))
        found.setdefault(len(operands[0]), []).append(operands)
    return {
        size: [np.array(digits, dtype=np.uint8) for digits in zip(*problems, strict=True)]
        for size, problems in found.items()
    }
