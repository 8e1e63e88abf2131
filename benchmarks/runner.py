"""A whole study: register the predictions, then run what is not finished yet, one single-threaded process per core.

Long runs start first, so that no core is left waiting at the end. A second start skips finished runs; an interrupt
leaves them readable. What happens is reported as events, so that the command line can draw it and tests can listen.
"""

import platform
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from carryproof.benchmarks import store
from carryproof.benchmarks.configuration import RunConfig
from carryproof.benchmarks.engine import Engine, fastest_dtype
from carryproof.benchmarks.registry import Plan, read_registry, register
from carryproof.benchmarks.script_runs import ScriptConfig
from carryproof.benchmarks.suites import Suite
from carryproof.benchmarks.train import LossPoint
from carryproof.benchmarks.workers import interrupts_ignored, reported, send, usable_cores, workers
from carryproof.theory.errors import require_integer
from carryproof.theory.rivals import forecasts

Run = RunConfig | ScriptConfig
_PACKAGES = ("carryproof", "torch", "numpy", "scipy", "sympy", "seaborn")


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """Something that happened to a run: it moved on (``point``), or it is finished (``record``)."""

    run: Run
    point: LossPoint | None = None
    record: dict[str, Any] | None = None

    @property
    def label(self) -> str:
        """The run, for people."""
        run = self.run
        return run.label if isinstance(run, ScriptConfig) else f"{run.question.label}, seed {run.seed}"

    @property
    def result(self) -> str:
        """What a finished run came to, for people."""
        if self.record is None:
            return "not finished"
        if isinstance(self.run, ScriptConfig):
            return str(self.record["verdict"])
        in_range = self.record["in_range"]
        return "in range not measured" if in_range is None else f"{in_range:.1%} in range"


def run_suite(
    suite: Suite,
    out: Path,
    *,
    jobs: int | None = None,
    on_start: Callable[[list[Run], int], None] = lambda pending, finished: None,
    on_event: Callable[[Event], None] = lambda event: None,
) -> None:
    """Run every run of a suite that is not finished in ``out``, after registering all predictions and forecasts there.

    ``on_start`` is told the pending runs and how many are finished already. An older registry without scripts is not
    added to, and its study runs none. No more ``jobs`` are started than there are cores. Raises ``ValueError`` if
    ``out`` cannot be used or holds another study; ``KeyboardInterrupt`` passes through after the workers have been
    stopped.
    """
    cores = usable_cores()
    jobs = cores if jobs is None else min(require_integer("jobs", jobs, 1), cores)
    planned: list[Run] = [*suite.runs(), *suite.script_runs()]
    for config in planned:
        config.decoder()  # sizes that do not fit are refused before anything is written
    out = store.require_folder(out)
    predictions = [experiment.prediction() for experiment in suite.experiments]
    plan = Plan(
        runs=tuple(run.run_id for run in suite.runs()),
        margin=suite.margin,
        in_range_threshold=suite.in_range_threshold,
    )
    rivals = {prediction.prediction_id: forecasts(prediction) for prediction in predictions}
    scripts = [script.registered() for script in suite.scripts]
    registered = register(out, predictions, plan, rivals, scripts)
    ids = {
        run.run_id: prediction.prediction_id
        for experiment, prediction in zip(suite.experiments, predictions, strict=True)
        for run in experiment.runs()
    }
    if "scripts" in read_registry(out)[0]:
        ids |= {run_id: script["prediction_id"] for script in scripts for run_id in script["runs"]}
    every = [run for run in planned if run.run_id in ids]  # what was not registered is not run
    chosen = {
        "dtype": suite.experiments[0].engine.dtype if suite.experiments else None,
        "script_dtype": suite.scripts[0].engine.dtype if suite.scripts else None,
    }
    describe(out, suite.name, suite.title, chosen)
    store.sweep(out)
    pending = [run for run in every if not store.is_finished(out, run.run_id)]
    for run in every:
        if run not in pending:  # a damaged run is named now, not after hours
            read = store.read_script_run if isinstance(run, ScriptConfig) else store.read_run
            read(out, run.run_id)
    on_start(pending, len(every) - len(pending))
    tasks = _grouped(every, pending)
    if tasks:
        _run_all(tasks, pending, out, registered, ids, min(jobs, len(tasks)), on_event)


def settled_engine(out: Path, *, device: str = "cpu", dtype: str | None = None) -> Engine:
    """The engine of a study: as asked, or as it was begun in ``out``, or the quicker number format of this machine."""
    dtype = _begun(out, "dtype") if dtype is None else dtype
    return Engine(device=device, dtype=fastest_dtype(device) if dtype is None else dtype)


def settled_script_engine(out: Path, *, dtype: str | None = None) -> Engine:
    """The engine of a study's scripts: as asked, or as it was begun in ``out``, or the processor in single precision,
    since at their sizes half precision was measured to be no quicker.
    """
    dtype = _begun(out, "script_dtype") if dtype is None else dtype
    return Engine() if dtype is None else Engine(dtype=dtype)


def _begun(out: Path, name: str) -> str | None:
    """A number format with which a study was begun, if it was and says so."""
    return store.read_json(out / store.STUDY).get(name) if (out / store.STUDY).is_file() else None


def _grouped(every: list[Run], pending: list[Run]) -> list[list[Run]]:
    """What a worker takes at once: a run, or all runs of a stack, finished or not, of which one is pending."""
    groups: list[list[Run]] = []
    for run in every:
        stack = 1 if isinstance(run, ScriptConfig) else run.stack
        last = groups[-1] if groups else []
        if stack > 1 and last and len(last) < stack and _same_but_seed(last[0], run):
            last.append(run)
        else:
            groups.append([run])
    return [group for group in groups if any(run in pending for run in group)]


def _same_but_seed(one: Run, other: Run) -> bool:
    return isinstance(one, RunConfig) and isinstance(other, RunConfig) and replace(other, seed=one.seed) == one


def _run_all(
    tasks: list[list[Run]],
    pending: list[Run],
    out: Path,
    registered: str,
    ids: dict[str, str],
    jobs: int,
    on_event: Callable[[Event], None],
) -> None:
    longest_first = sorted(
        tasks, key=lambda group: -len(group) * group[0].recipe.steps * group[0].recipe.batch * group[0].decoder().n_ctx
    )
    by_id = {run.run_id: run for run in pending}
    with workers(jobs) as (pool, queue):
        with interrupts_ignored():
            futures = {
                pool.submit(_work, group, out, registered, ids[group[0].run_id]): group for group in longest_first
            }
        waiting = set(futures)
        while waiting:
            finished, waiting = wait(waiting, timeout=0.2, return_when=FIRST_COMPLETED)
            _forward(queue, by_id, on_event)
            for future in finished:
                for run, record in zip(futures[future], future.result(), strict=True):
                    if run.run_id in by_id:
                        on_event(Event(run=run, record=record))
        _forward(queue, by_id, on_event)


def _forward(queue: Any, by_id: dict[str, Run], on_event: Callable[[Event], None]) -> None:
    for run_id, point in reported(queue):
        if run_id in by_id:
            on_event(Event(run=by_id[run_id], point=point))


def _work(group: Sequence[Run], out: Path, registered: str, prediction_id: str) -> list[dict[str, Any]]:
    from carryproof.benchmarks.run import execute
    from carryproof.benchmarks.script_runs import execute_script

    def report(index: int, point: LossPoint) -> None:
        send((group[index].run_id, point))

    about = {"registry_sha256": registered, "prediction_id": prediction_id}
    first = group[0]
    if isinstance(first, ScriptConfig):
        return [execute_script(first, out, **about, progress=lambda point: report(0, point))]
    stack = [run for run in group if isinstance(run, RunConfig)]
    return execute(stack, out, **about, progress=report)


def describe(out: Path, name: str, title: str, chosen: Mapping[str, str | None]) -> None:
    """Write what a study is, what was ``chosen`` for it and where it runs, ``study.json``.

    A resumed study keeps the first description.
    """
    path = out / store.STUDY
    if path.exists():
        store.read_json(path)
        return
    store.write_json(
        path,
        {
            "suite": name,
            "title": title,
            "versions": {"python": platform.python_version()} | _versions(_PACKAGES),
            "commit": _commit(),
            **chosen,
            "machine": f"{platform.machine()}, {usable_cores()} cores",
        },
    )


def _versions(packages: Iterable[str]) -> dict[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _commit() -> str | None:
    """The commit of the source tree this runs from, with a + if it was changed; None outside a checkout."""
    here = Path(__file__).resolve().parent
    try:  # a copy installed inside some other repository is not of that repository's commit
        tracked = ["git", "-C", str(here), "ls-files", "--error-unmatch", Path(__file__).name]
        subprocess.run(tracked, capture_output=True, check=True)
        head = subprocess.run(
            ["git", "-C", str(here), "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip()
        dirty = subprocess.run(
            ["git", "-C", str(here), "status", "--porcelain", "--untracked-files=no"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+" if dirty else "")
