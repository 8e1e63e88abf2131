"""Speed side by side: what `carryproof bench` times, against whom, and how the numbers become rows.

Every comparison is interleaved (see ``turns``): in each round every contestant has a turn, a ratio is that of one
round, and a row shows the median and the range of its ratios. The baseline and the peers run as their users run them,
and ours as our trainer does. Nothing here decides what is quick: goals and floors are in ``scores``.

>>> plan = make_plan(shapes="c,a", repeats=3, threads=1)
>>> [shape.name for shape in plan.shapes], plan.rounds, "accuracy" in plan.sections
(['c', 'a'], 3, False)
>>> make_plan(shapes="d")
Traceback (most recent call last):
ValueError: shapes: unknown value 'd'; allowed: a, b, c
"""

import os
import platform
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

import torch

from carryproof.benchmarks import contestants, peers, race, store
from carryproof.benchmarks.bench_figure import draw_bench
from carryproof.benchmarks.contestants import RACED, SHAPES, Shape
from carryproof.benchmarks.peers import NANO
from carryproof.benchmarks.scores import HALF, HALF_PAYS, TARGETS, Report, Row
from carryproof.benchmarks.turns import Build, Contestant, take_turns
from carryproof.benchmarks.workers import usable_cores
from carryproof.theory.errors import require_integer, unknown

FORMATS = ("float32", HALF)
SECTIONS = ("training", "evaluation", "data", "seeds", "commands")
ORDER = ("peak", *SECTIONS, "accuracy")  # in which rows are shown
SEEDS = tuple(range(8))
SEEDS_SHAPE, TWENTY = SHAPES["a"], SHAPES["b"]
CELL = ("predict", "--task", "modular-addition", "--modulus", "101", "--train-digits", "4", "--test-digits", "5-9")
COMMANDS = {
    "one cell predicted": (*CELL, "--encoding", "absolute"),
    "every registered cell predicted": ("predict", "--all"),
}
CERTIFIED = "addition-base10"
PACKAGES = ("carryproof", "torch", "numpy", "transformers", "x-transformers", "transformer-lens")


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What a bench does: shapes, threads, rounds, about how long a turn is, and which sections.

    Evaluations are of ``problems`` problems by a model trained for ``steps`` steps. ``waived`` says why no floor
    applies, if none does.
    """

    shapes: tuple[Shape, ...]
    threads: int
    rounds: int = 7
    seconds_a_turn: float = 0.4
    sections: tuple[str, ...] = SECTIONS
    evaluated: Shape = RACED
    problems: int = 500
    steps: int = race.STEPS
    waived: str = ""

    def to_dict(self) -> dict[str, Any]:
        """What numbers depend on, as plain data."""
        return {
            "shapes": [str(shape) for shape in self.shapes],
            "threads": self.threads,
            "rounds": self.rounds,
            "seconds_a_turn": self.seconds_a_turn,
            "sections": list(self.sections),
            "problems": self.problems,
        }


def make_plan(*, shapes: str = ",".join(SHAPES), repeats: int | None = None, threads: int | None = None) -> Plan:
    """The plan of a whole bench; ``repeats`` are rounds, and threads beyond the cores are cut to them.

    Raises ``ValueError`` for shapes that do not exist and for numbers below 1.
    """
    names = tuple(dict.fromkeys(shapes.split(",")))
    for name in names:
        if name not in SHAPES:
            raise unknown("shapes", name, SHAPES)
    cores = usable_cores()
    wanted = cores if threads is None else require_integer("threads", threads, 1)
    plan = Plan(shapes=tuple(SHAPES[name] for name in names), threads=min(wanted, cores))
    return plan if repeats is None else replace(plan, rounds=require_integer("repeats", repeats, 1))


def quicker(plan: Plan) -> Plan:
    """A look at every section in a few minutes, too short to hold anybody to: few short rounds, no floors."""
    return replace(plan, rounds=min(plan.rounds, 2), seconds_a_turn=0.05, problems=100, steps=100, waived="a quick run")


def longer(plan: Plan) -> Plan:
    """The same, and the time from the start of a process to 99.9 % in range."""
    return replace(plan, sections=(*plan.sections, "accuracy"))


def run_bench(plan: Plan, progress: Callable[[str], None] = lambda line: None) -> Report:
    """Do what a plan says and report it; ``progress`` is told what is timed next."""
    bench = _Bench(plan, progress)
    bench.machine()
    for section in plan.sections:
        getattr(bench, section)()
    return Report(
        machine=describe_machine() | {f"GFLOP/s {name}": round(peak, 1) for name, peak in bench.peaks.items()},
        versions=_versions(),
        plan=plan.to_dict(),
        absent=tuple(peers.absent()),
        rows=tuple(sorted(bench.rows, key=lambda row: ORDER.index(row.section))),
        remarks=tuple(bench.remarks),
    )


def write_bench(report: Report, out: Path) -> Path:
    """Write ``bench.json`` and the figure into a folder that exists, each whole or not at all; the JSON's path."""
    with tempfile.TemporaryDirectory(dir=out, prefix=".bench.") as folder:
        draw_bench(report, Path(folder))
        for file in Path(folder).iterdir():
            os.replace(file, out / file.name)
    store.write_json(out / "bench.json", report.to_dict())
    return out / "bench.json"


def describe_machine() -> dict[str, Any]:
    """The processor and what of it may be used."""
    processor = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), processor)
    except OSError:
        pass
    return {
        "processor": processor,
        "architecture": platform.machine(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": usable_cores(),
        "system": platform.system(),
    }


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


class _Bench:
    """A bench under way: each section adds its rows, and later ones use what earlier ones found."""

    def __init__(self, plan: Plan, progress: Callable[[str], None]) -> None:
        self.plan, self.progress = plan, progress
        self.rows: list[Row] = []
        self.remarks: list[str] = []
        self.peaks: dict[str, float] = {}
        self.quickest: dict[str, list[float]] = {}  # seconds a step by shape, ours

    def machine(self) -> None:
        """The machine's peak in either format, by a large product."""
        self.progress("products that show the machine's peak")
        found, _ = self.take({kind: [partial(contestants.product, kind)] for kind in ("plain", *FORMATS)})
        best = {"float32": min(("plain", "float32"), key=lambda kind: median(found[kind])), HALF: HALF}
        for name, kind in best.items():
            speeds = tuple(contestants.PRODUCT_FLOPS / 1e9 / seconds for seconds in found[kind])
            self.peaks[name] = max(speeds)
            self.add(f"peak/{name}", f"a product of matrices, {name}", "", "GFLOP/s", speeds, {kind: found[kind]})

    def training(self) -> None:
        """A training step of ours in either format against the plain loop on every peer's model."""
        for shape in self.plan.shapes:
            self.progress(f"training step, shape {shape}")
            field = {peer: [partial(contestants.plain_training, peer, shape, (0,))] for peer in peers.installed()}
            field |= {name: [partial(contestants.own_training, shape, name, ((0,),))] for name in FORMATS}
            found, _ = self.take(field)
            self.quickest[shape.name] = min((found[name] for name in FORMATS), key=median)
            for name in FORMATS:
                for peer in peers.installed():
                    key = f"training/{shape.name}/{name}/{peer}"
                    self.ratio(key, f"shape {shape.name}, {name}", peer, found, name)
            needed = contestants.needed_flops(shape) / 1e9
            for name, peak in (*zip(FORMATS, FORMATS, strict=True), (NANO, FORMATS[0])):
                shares = tuple(needed / seconds / self.peaks[peak] for seconds in found[name])
                what = f"shape {shape.name}, {name}"
                self.add(f"peak/{shape.name}/{name}", what, f"peak, {peak}", "share", shares, {name: found[name]})

    def evaluation(self) -> None:
        """Exact match of ours, one pass, against token-by-token writing; every decision is compared."""
        plan, shape = self.plan, self.plan.evaluated
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.safetensors"
            self.progress("evaluation: training the model")
            self.once(partial(contestants.model_maker, shape, path, plan.steps))
            self.progress(f"evaluation of {plan.problems} additions of {shape.places} places")
            field = {NANO: [partial(contestants.plain_evaluation, shape, path, plan.problems)]}
            for name in FORMATS:
                field[name] = [partial(contestants.own_evaluation, shape, path, plan.problems, name)]
            found, results = self.take(field)
        ((written,),) = (results[NANO],)
        right = sum(written)
        for name in FORMATS:
            self.ratio(f"evaluation/{name}", f"{shape.places} places, {name}", NANO, found, name)
            same = sum(one == other for one, other in zip(written, results[name][0], strict=True))
            self.remarks.append(
                f"evaluation, {name}: {same:,} of {len(written):,} decisions are those of {NANO} decoding, which has "
                f"{right:,} right"
            )

    def data(self) -> None:
        """Drawing and writing problems, alone and as a share of a training step."""
        self.progress("data generation")
        field = {"drawn": [partial(contestants.drawing, TWENTY)]}
        field |= {each.name: [partial(contestants.writing, each)] for each in self.plan.shapes}
        found, _ = self.take(field)
        drawn = tuple(contestants.DRAWN_TEXTS / seconds for seconds in found["drawn"])
        self.add("data/drawn", f"{TWENTY.digits}-digit additions drawn", "", "examples/s", drawn, found)
        for each in self.plan.shapes:
            if each.name in self.quickest:
                a_batch = [seconds / contestants.DRAWN_STEPS for seconds in found[each.name]]
                a_step = median(self.quickest[each.name])
                values = tuple(a_step / seconds for seconds in a_batch)
                raw = {"a batch drawn and written": a_batch, "a step": self.quickest[each.name]}
                self.add(f"data/{each.name}", f"a batch of shape {each.name}", "a training step", "times", values, raw)

    def seeds(self) -> None:
        """Eight seeds at once, in a process a core and stacked in one, against one after another."""
        shape, processes = SEEDS_SHAPE, min(self.plan.threads, len(SEEDS))
        self.progress(f"{len(SEEDS)} seeds at once, shape {shape}")
        field: dict[str, Sequence[Build]] = {NANO: [partial(contestants.plain_training, NANO, shape, SEEDS)]}
        alone, together = tuple((seed,) for seed in SEEDS), (SEEDS,)
        field["one after another"] = [partial(contestants.own_training, shape, "float32", alone)]
        threads = dict.fromkeys(field, self.plan.threads)
        for name in FORMATS:
            field[f"stacked/{name}"] = [partial(contestants.own_training, shape, name, together)]
            threads[f"stacked/{name}"] = self.plan.threads
            field[f"processes/{name}"] = [
                partial(contestants.own_training, shape, name, alone[first::processes]) for first in range(processes)
            ]
            threads[f"processes/{name}"] = 1
        found, _ = self.take(field, threads)
        words = {"processes": "a process a core", "stacked": "stacked"}
        for way in words:
            for name in FORMATS:
                for other in (NANO, "one after another"):
                    against = NANO if other == NANO else "ours one after another, float32"
                    ours = f"{way}/{name}"
                    self.ratio(f"seeds/{ours}/{other}", f"{words[way]}, {name}", against, found, ours, theirs=other)

    def commands(self) -> None:
        """Seconds from start to end of commands, and of a certification."""
        self.progress("predictions and a certification")
        field: dict[str, Sequence[Build]] = {
            name: [partial(contestants.command, *arguments)] for name, arguments in COMMANDS.items()
        }
        certified = f"{CERTIFIED} certified"
        field[certified] = [partial(contestants.certification, CERTIFIED)]
        found, _ = self.take(field)
        for name in field:
            self.add(f"commands/{name}", name, "", "seconds", tuple(found[name]), {name: found[name]})

    def accuracy(self) -> None:
        """From the start of a process to 99.9 % in range on 4-digit addition, ours against the plain loop."""
        found = race.run_race(self.plan.threads, self.plan.rounds, self.progress)
        values = tuple(theirs / ours for theirs, ours in zip(found.theirs, found.ours, strict=True))
        raw = {"ours": found.ours, NANO: found.theirs}
        self.add("accuracy", f"{found.dtype}, to {race.ACCURATE:.1%}", NANO, "times", values, raw)
        self.remarks += found.remarks

    def take(
        self, field: Mapping[str, Sequence[Build]], threads: Mapping[str, int] | None = None
    ) -> tuple[dict[str, list[float]], dict[str, list[Any]]]:
        """Let the field take turns, by default with all threads each."""
        plan = self.plan
        threads = dict.fromkeys(field, plan.threads) if threads is None else threads
        return take_turns(field, threads=threads, rounds=plan.rounds, seconds_a_turn=plan.seconds_a_turn)

    def once(self, build: Build) -> None:
        """Do a work once, in a process of its own."""
        with Contestant([build], threads=self.plan.threads) as worker:
            worker.ready()
            worker.turn(1)

    def ratio(
        self, key: str, name: str, against: str, found: Mapping[str, list[float]], ours: str, *, theirs: str = ""
    ) -> None:
        """Add a row of how many times as fast ours is, round by round; ``theirs`` is found under ``against``."""
        slow, quick = found[theirs or against], found[ours]
        values = tuple(a / b for a, b in zip(slow, quick, strict=True))
        raw = {"ours": quick, against: slow}
        self.add(key, name, against, "times", values, raw)

    def add(
        self, key: str, name: str, against: str, unit: str, values: tuple[float, ...], raw: Mapping[str, list[float]]
    ) -> None:
        """Add a row, with the target of its key and the reason why its floor is waived, if it is."""
        waived = self.plan.waived
        if not waived and HALF in key and self.peaks[HALF] < HALF_PAYS * self.peaks[FORMATS[0]]:
            waived = f"products in {HALF} are not {HALF_PAYS:g} times as fast as in {FORMATS[0]} here"
        row = Row(key=key, name=name, against=against, unit=unit, values=values, raw=raw, waived=waived)
        self.rows.append(replace(row, target=TARGETS.get(key)))
