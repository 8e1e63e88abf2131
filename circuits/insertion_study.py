"""The controlled study of insertion: every arm under every seed, and what each changes against training from scratch.

Arms of one seed share first weights, data and steps, so effects are differences between pairs: of subtractions failed
at the end, of the share failed on average along the way, and of the logarithms of the steps until 90 %, 99 % and 99.9 %
of both test sets are right, read as a ratio. Intervals and p-values are Student's, over seeds; Holm's rule corrects
each outcome over the arms. A ratio needs every seed of both arms to get there, and says how many did where not.

>>> [plan.name for plan in plans((5,), 1, {"add_d5_l2_h3_s1": "0" * 64}, Engine(), steps=10)][:2]
['d5_scratch_seed0', 'd5_left_seed0']
"""

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from carryproof.benchmarks.engine import Engine
from carryproof.benchmarks.runner import describe
from carryproof.benchmarks.statistics import Effect, holm, paired
from carryproof.benchmarks.store import is_finished, read_json, require_folder, runs_folder, sweep, write_json
from carryproof.benchmarks.workers import interrupts_ignored, reported, send, usable_cores, workers
from carryproof.circuits.arms import (
    ARMS,
    LAST_PROBLEMS,
    RUN,
    SETS,
    ArmRun,
    Point,
    execute,
    load_source,
    sources,
    target,
)
from carryproof.circuits.family import FAMILY, recipe_of
from carryproof.models import checkpoints
from carryproof.theory import content_hash
from carryproof.theory.errors import bad, require_integer

STEPS = 1_000  # a third of the recipe: from scratch nearly all is right at the end, and most of it was learned before
BASELINE = "scratch"
THRESHOLDS = {"steps_to_90": 0.9, "steps_to_99": 0.99, "steps_to_99.9": 0.999}
OUTCOMES = ("failures_per_million", "share_failed_on_the_way", *THRESHOLDS)
RESULT = "insertions.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """Something that happened to a run: it moved on (``point``), or it is done (``record`` and ``accuracy``)."""

    run: ArmRun
    left: float
    point: Point | None = None
    record: dict[str, Any] | None = None
    accuracy: dict[str, Any] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What an arm changes in an outcome, over its seeds; a ratio for steps, a difference for all else.

    ``values`` and ``baseline`` are the outcomes of the seeds, None where a threshold was not reached; ``effect`` is
    None where a pair lacks one, or where there are fewer than two pairs. ``p_holm`` is corrected over the arms.
    """

    digits: int
    arm: str
    outcome: str
    seeds: tuple[int, ...]
    values: tuple[float | None, ...]
    baseline: tuple[float | None, ...]
    effect: Effect | None
    p_holm: float | None = None


def digests(trained: Path, digits: Sequence[int], seeds: int) -> dict[str, str]:
    """The hashes of the addition models that so many seeds start from; ``ValueError`` if one is not in the folder."""
    require_integer("seeds", seeds, 1)
    found = {}
    for size in digits:
        target(size)
        for name in sources(size)[:seeds]:
            found[name] = checkpoints.digest(load_source(trained, name).state_dict())
    return found


def plans(
    digits: Sequence[int],
    seeds: int,
    hashes: Mapping[str, str],
    engine: Engine,
    *,
    steps: int = STEPS,
    last_problems: int = LAST_PROBLEMS,
) -> list[ArmRun]:
    """Every arm of every seed of every size, seed by seed, so that a study that is stopped has whole pairs.

    All but the number of steps is as in the mixed row's recipe. Raises ``ValueError`` for sizes without such a row.
    """
    found = []
    for seed in range(seeds):
        for size in digits:
            recipe = replace(recipe_of(FAMILY[target(size)]), steps=steps)
            source = sources(size)[seed % len(sources(size))]
            for name, arm in ARMS.items():
                run = ArmRun(
                    arm=name,
                    digits=size,
                    seed=seed,
                    recipe=recipe,
                    source=source if arm.source == "trained" else None,
                    source_sha256=hashes[source] if arm.source == "trained" else None,
                    last_problems=last_problems,
                    engine=engine,
                )
                found.append(run)
    return found


def run_study(
    runs: Sequence[ArmRun],
    trained: Path,
    out: Path,
    *,
    jobs: int | None = None,
    on_start: Callable[[dict[str, float], int], None] = lambda work, done: None,
    on_event: Callable[[Event], None] = lambda event: None,
) -> None:
    """Train and measure every run that is not finished in ``out``, one process a core.

    Raises ``ValueError`` as ``execute`` does or if ``out`` cannot be used; ``KeyboardInterrupt`` passes through after
    the workers were stopped, and what is finished is kept.
    """
    cores = usable_cores()
    jobs = cores if jobs is None else min(require_integer("jobs", jobs, 1), cores)
    require_folder(out)
    sweep(out)
    pending = {run.name: run for run in runs if not is_finished(out, run.run_id)}
    on_start({name: _work_of(run, 0) for name, run in pending.items()}, len(runs) - len(pending))
    if not pending:
        return
    describe(out, "insertions", "What a mixed model may start from", {"dtype": runs[0].engine.dtype})
    with workers(min(jobs, len(pending))) as (pool, queue):
        with interrupts_ignored():
            futures = {pool.submit(_work, run, trained, out): run for run in pending.values()}
        while futures:
            done, _ = wait(futures, timeout=0.2, return_when=FIRST_COMPLETED)
            for name, point in reported(queue):
                run = pending[name]
                on_event(Event(run=run, point=point, left=_work_of(run, point.step)))
            for future in done:
                run = futures.pop(future)
                future.result()
                record = read_arm(run, out)
                on_event(Event(run=run, record=record, accuracy=record["accuracy"], left=0.0))


def _work(run: ArmRun, trained: Path, out: Path) -> None:
    execute(run, trained, out, lambda point: send((run.name, point)))


def _work_of(run: ArmRun, step: int) -> float:
    """What a run still has to do, in tokens that it trains on."""
    return float(run.recipe.steps - step) * run.recipe.batch * run.digits


def read_arm(run: ArmRun, out: Path) -> dict[str, Any]:
    """The record of a finished run; a damaged one is a one-line ``ValueError``."""
    path = runs_folder(out) / run.run_id / RUN
    record = read_json(path)
    if not run.run_id == record.get("run_id") == content_hash(record.get("config"))[:16]:
        raise ValueError(f"{path}: corrupt results file; its configuration is not the one its folder is named after")
    return record


def reached(record: Mapping[str, Any], threshold: float) -> int | None:
    """The first moment at which that share of the subtractions of both test sets is right; None if there is none."""
    for point in record["points"]:
        if min(point["right"][f"sub {name}"] for name in SETS) >= threshold:
            return int(point["step"])
    return None


def outcome(record: Mapping[str, Any], name: str) -> float | None:
    """One of ``OUTCOMES`` of a finished run; steps as the logarithm to base 2, None where they were not enough."""
    if name in THRESHOLDS:
        step = reached(record, THRESHOLDS[name])
        return None if step is None else math.log2(max(1, step))
    if name == "failures_per_million":
        tests = [test for test in record["accuracy"]["tests"] if test["operation"] == "sub"]
        return 1e6 * sum(test["failures"] for test in tests) / sum(test["problems"] for test in tests)
    if name == "share_failed_on_the_way":
        shares = [1 - point["right"][f"sub {each}"] for point in record["points"] for each in SETS]
        return math.fsum(shares) / len(shares)
    raise bad("outcome", name, ", ".join(OUTCOMES))


def findings(records: Mapping[ArmRun, Mapping[str, Any]]) -> list[Finding]:
    """Every arm against training from scratch, for every size and outcome, over the seeds that have both."""
    found = []
    for digits in sorted({run.digits for run in records}):
        by_arm: dict[str, dict[int, Mapping[str, Any]]] = {}
        for run, record in records.items():
            if run.digits == digits:
                by_arm.setdefault(run.arm, {})[run.seed] = record
        base = by_arm.pop(BASELINE, {})
        for name in OUTCOMES:
            tested = [_finding(digits, arm, name, of, base) for arm, of in by_arm.items()]
            effects = {at: each.effect for at, each in enumerate(tested) if each.effect is not None}
            adjusted = dict(zip(effects, holm([effect.p for effect in effects.values()]), strict=True))
            found += [replace(each, p_holm=adjusted.get(at)) for at, each in enumerate(tested)]
    return found


def _finding(
    digits: int, arm: str, name: str, of: Mapping[int, Mapping[str, Any]], base: Mapping[int, Mapping[str, Any]]
) -> Finding:
    seeds = tuple(sorted(of.keys() & base.keys()))
    ours, theirs = ([outcome(each[seed], name) for seed in seeds] for each in (of, base))
    pairs = [(mine, other) for mine, other in zip(ours, theirs, strict=True) if mine is not None and other is not None]
    effect = None
    if len(pairs) == len(seeds) >= 2:
        effect = paired([mine - other for mine, other in pairs])
    read = _power_of_two if name in THRESHOLDS else _as_it_is
    if effect is not None:
        effect = Effect(mean=read(effect.mean), low=read(effect.low), high=read(effect.high), p=effect.p)
    return Finding(
        digits=digits,
        arm=arm,
        outcome=name,
        seeds=seeds,
        values=tuple(None if value is None else read(value) for value in ours),
        baseline=tuple(None if value is None else read(value) for value in theirs),
        effect=effect,
    )


def _power_of_two(value: float) -> float:
    return 2.0**value


def _as_it_is(value: float) -> float:
    return value


def write_findings(found: Sequence[Finding], records: Mapping[ArmRun, Mapping[str, Any]], out: Path) -> Path:
    """Write effects and learning curves to ``insertions.json``; return its path."""
    curves = [
        {
            **{name: getattr(run, name) for name in ("arm", "digits", "seed", "source", "source_sha256")},
            "run_id": run.run_id,
            **{name: record[name] for name in ("status", "train_seconds", "model_sha256", "points")},
            "failures": {
                f"{test['operation']} {test['set']}": test["failures"] for test in record["accuracy"]["tests"]
            },
        }
        for run, record in records.items()
    ]
    path = out / RESULT
    write_json(path, {"baseline": BASELINE, "findings": [asdict(each) for each in found], "runs": curves})
    return path
