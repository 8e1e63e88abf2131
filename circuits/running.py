"""Training and testing many rows of the family: what is not done yet, one single-threaded process a core.

A row that starts from an addition model waits for it, and every other row starts as soon as a process is free, the
longest first. What happens is reported as events, so that the command line can draw it and tests can listen. Finished
rows are left as they are, so the same command goes on after an interrupt.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from carryproof.benchmarks.runner import describe
from carryproof.benchmarks.store import require_folder
from carryproof.benchmarks.workers import interrupts_ignored, reported, send, usable_cores, workers
from carryproof.circuits.accuracy import PROBLEMS
from carryproof.circuits.curve import Point
from carryproof.circuits.texts import context
from carryproof.circuits.training import CircuitRun, execute, finished, measure, measured
from carryproof.theory.errors import require_integer

STEP = 3  # what a problem costs in a training step, in units of what it costs in a test


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """Something that happened to a run: it moved on (``point``), or it is done (``record`` and ``accuracy``).

    ``left`` is what it still has to do, as ``work_of`` measures it.
    """

    run: CircuitRun
    left: float
    point: Point | None = None
    record: dict[str, Any] | None = None
    accuracy: dict[str, Any] | None = None


def work_of(run: CircuitRun, out: Path, problems: int) -> float:
    """What a run has left to do in ``out``, in tokens that pass a layer forward."""
    row, work = run.row, 0.0
    if finished(run, out) is None:
        work += training_work(run, run.recipe.steps)
    if problems and measured(run, out, problems) is None:
        work += 2 * problems * len(row.operations) * context(row.digits) * row.layers
    return work


def training_work(run: CircuitRun, steps: int) -> float:
    """What the first steps of a training take, in tokens that pass a layer forward."""
    trained = run.recipe.batch * steps
    only_read = run.problems_before(steps) - trained
    return float(STEP * trained + only_read) * context(run.row.digits) * run.row.layers


def train_family(
    runs: Sequence[CircuitRun],
    out: Path,
    *,
    problems: int = PROBLEMS,
    jobs: int | None = None,
    on_start: Callable[[dict[str, float], int], None] = lambda work, done: None,
    on_event: Callable[[Event], None] = lambda event: None,
) -> None:
    """Train every run that is not trained in ``out``, and test it on ``problems`` problems of each set (0: not now).

    A run's source must be among the runs or in ``out``. ``on_start`` is told the work of every run that has some, by
    name, and how many have none. No more ``jobs`` are started than there are cores. Raises ``ValueError`` if ``out``
    cannot be used or holds other configurations; ``KeyboardInterrupt`` passes through after the workers were stopped.
    """
    cores = usable_cores()
    jobs = cores if jobs is None else min(require_integer("jobs", jobs, 1), cores)
    require_integer("problems", problems, 0)
    out = require_folder(out)
    every = {run.name: work_of(run, out, problems) for run in runs}
    work = {name: amount for name, amount in every.items() if amount}
    on_start(work, len(runs) - len(work))
    if not work:
        return
    describe(out, "circuits", "Forty-four models of addition and subtraction", {"dtype": runs[0].engine.dtype})
    by_name = {run.name: run for run in runs if run.name in work}
    waiting = sorted(by_name.values(), key=lambda run: -work[run.name])
    futures: dict[Any, CircuitRun] = {}
    with workers(min(jobs, len(waiting))) as (pool, queue):
        while waiting or futures:
            ready = [run for run in waiting if run.row.source not in by_name]
            waiting = [run for run in waiting if run not in ready]
            with interrupts_ignored():
                futures |= {pool.submit(_work, run, out, problems): run for run in ready}
            done, _ = wait(futures, timeout=0.2, return_when=FIRST_COMPLETED)
            for name, point in reported(queue):
                run = by_name[name]
                left = work[name] - training_work(run, point.step)
                on_event(Event(run=run, point=point, left=left))
            for future in done:
                run = futures.pop(future)
                del by_name[run.name]
                record, accuracy = future.result()
                on_event(Event(run=run, record=record, accuracy=accuracy, left=0.0))


def _work(run: CircuitRun, out: Path, problems: int) -> tuple[dict[str, Any], dict[str, Any] | None]:
    record = execute(run, out, lambda point: send((run.name, point)))
    return record, measure(run, out, problems) if problems else None
