"""Training many rows of the family: what is not finished yet, one single-threaded process a core.

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
from carryproof.benchmarks.train import LossPoint
from carryproof.benchmarks.workers import interrupts_ignored, reported, send, usable_cores, workers
from carryproof.circuits.training import CircuitRun, execute, finished
from carryproof.theory.errors import require_integer


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """Something that happened to a run: it moved on (``point``), or it is finished (``record``)."""

    run: CircuitRun
    point: LossPoint | None = None
    record: dict[str, Any] | None = None


def train_family(
    runs: Sequence[CircuitRun],
    out: Path,
    *,
    jobs: int | None = None,
    on_start: Callable[[Sequence[CircuitRun], int], None] = lambda pending, done: None,
    on_event: Callable[[Event], None] = lambda event: None,
) -> None:
    """Train every run that is not finished in ``out``; a run's source must be among the runs or finished there.

    ``on_start`` is told what is pending and how many runs are finished. No more ``jobs`` are started than there are
    cores. Raises ``ValueError`` if ``out`` cannot be used or holds other configurations; ``KeyboardInterrupt`` passes
    through after the workers have been stopped.
    """
    cores = usable_cores()
    jobs = cores if jobs is None else min(require_integer("jobs", jobs, 1), cores)
    out = require_folder(out)
    pending = [run for run in runs if finished(run, out) is None]
    describe(out, "circuits", "Forty-four models of addition and subtraction", runs[0].engine.dtype if runs else None)
    on_start(pending, len(runs) - len(pending))
    if not pending:
        return
    waiting = sorted(pending, key=lambda run: run.work, reverse=True)
    missing = {run.name for run in pending}
    with workers(min(jobs, len(pending))) as (pool, queue):
        by_name = {run.name: run for run in pending}
        futures: dict[Any, CircuitRun] = {}
        while waiting or futures:
            ready = [run for run in waiting if run.row.source not in missing]
            waiting = [run for run in waiting if run not in ready]
            with interrupts_ignored():
                futures |= {pool.submit(_work, run, out): run for run in ready}
            done, _ = wait(futures, timeout=0.2, return_when=FIRST_COMPLETED)
            for name, point in reported(queue):
                on_event(Event(run=by_name[name], point=point))
            for future in done:
                run = futures.pop(future)
                on_event(Event(run=run, record=future.result()))
                missing.remove(run.name)


def _work(run: CircuitRun, out: Path) -> dict[str, Any]:
    return execute(run, out, lambda point: send((run.name, point)))
