"""The shortest sufficient training, measured: train on lengths 1 .. n for n up to n* and look at every window (L19).

From n* on training shows every window, so a model that is right on the trained lengths is right at every length, and
its certificate closes. Below n* a model that is right on them can be wrong only on windows that training never showed;
how many of those it gets right all the same is what no theory says. From the wrong windows the accuracy at every length
follows exactly, and is held against random problems. ``python -m carryproof.benchmarks.minimal --out DIR`` runs it.

>>> study = STUDIES["addition-base-2"]
>>> [run.lengths for run in study.runs(seeds=1)]
[(1,), (1, 2), (1, 2, 3)]
"""

import argparse
import csv
import io
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import binomtest

from carryproof import __version__
from carryproof.benchmarks import store
from carryproof.benchmarks.certify import certify
from carryproof.benchmarks.configuration import FIRST_TEST_SEED, Recipe
from carryproof.benchmarks.draws import draw_digits
from carryproof.benchmarks.right_windows import answered, never_shown, share_right, wrong_windows
from carryproof.benchmarks.scripted import ScriptRun, process_named, train_script
from carryproof.benchmarks.statistics import holm, interval
from carryproof.models import checkpoints
from carryproof.models.decoder import Decoder
from carryproof.theory import content_hash
from carryproof.theory.coverage import shortest_training, windows_of_views
from carryproof.theory.errors import require_integer, unknown
from carryproof.theory.multisets import as_multisets
from carryproof.theory.prediction import write_fraction
from carryproof.theory.readers import Keys
from carryproof.theory.scripts import Script

MEASURED = (1, 2, 3, 5, 10, 20, 50, 100, 1_000)  # lengths at which problems are drawn
COMPUTED = (4, 7, 14, 30, 70, 150, 300, 500)  # and those at which the accuracy is only computed, for the line
PROBLEMS = 1_000
SEEDS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Study:
    """One subject, trained on 1 .. n for every n up to n*, and measured alike."""

    name: str
    title: str
    subject: Mapping[str, Any]
    recipe: Recipe
    measured: tuple[int, ...] = MEASURED
    computed: tuple[int, ...] = COMPUTED
    problems: int = PROBLEMS

    @property
    def shortest(self) -> int:
        """n*, from which on the lengths 1 .. n present every window together with the token before."""
        process = as_multisets(process_named(self.subject))
        return shortest_training(process, law="spelled", more=(process.output_at(1),)).length

    def runs(self, seeds: int) -> list[ScriptRun]:
        """The trainings, by n and then by seed."""
        return [
            ScriptRun(subject=self.subject, lengths=tuple(range(1, longest + 1)), recipe=self.recipe, seed=seed)
            for longest in range(1, self.shortest + 1)
            for seed in range(require_integer("seeds", seeds, 1))
        ]

    def config(self, run: ScriptRun) -> dict[str, Any]:
        """All that changes the numbers of a run and of what is measured of it."""
        return {
            "version": __version__,
            "run": run.to_dict(),
            "measured": list(self.measured),
            "computed": list(self.computed),
            "problems": self.problems,
            "test_seed": FIRST_TEST_SEED,
        }

    def run_id(self, run: ScriptRun) -> str:
        """The name under which a run is stored."""
        return content_hash(self.config(run))[:16]


TEN = Recipe(n_layers=1, n_heads=2, d_mlp=256, steps=2_000, batch=256, learning_rate=3e-3)
SMALL = Recipe(n_layers=1, n_heads=2, d_model=32, d_mlp=128, steps=600, batch=128, learning_rate=5e-3, warmup_steps=30)
_LISTED: tuple[tuple[str, str, dict[str, Any], Recipe], ...] = (
    ("addition-base-10", "addition, base 10", {"name": "addition"}, TEN),
    ("addition-base-2", "addition, base 2", {"name": "addition", "base": 2}, SMALL),
    ("addition-base-3", "addition, base 3", {"name": "addition", "base": 3}, SMALL),
    ("horner-7", "remainder modulo 7 by Horner's rule", {"name": "horner", "modulus": 7}, TEN),
    ("times-one-digit", "times one digit, base 10", {"name": "times-one-digit"}, TEN),
    ("subtraction", "subtraction of the smaller number, base 10", {"name": "unsigned-subtraction"}, TEN),
)
STUDIES = {
    name: Study(name=name, title=title, subject=subject, recipe=recipe) for name, title, subject, recipe in _LISTED
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """The accuracy at one length: computed from the wrong windows, and measured on problems where any were drawn.

    ``p_value`` is that of the computed share under the exact two-sided binomial test.
    """

    digits: int
    computed: str
    computed_float: float
    problems: int = 0
    correct: int | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None


def run_study(
    study: Study, out: Path, *, seeds: int = SEEDS, progress: Callable[[dict[str, Any]], None] = lambda record: None
) -> list[dict[str, Any]]:
    """Train and measure what is not finished in ``out`` yet; return the records of all runs of the study."""
    store.require_folder(out)
    records = []
    for run in study.runs(seeds):
        run_id = study.run_id(run)
        if not store.is_finished(out, run_id):
            record, model = measure(study, run)
            with store.new_run(out, run_id) as folder:
                store.write_json(folder / "run.json", record)
                checkpoints.save(folder / "model.safetensors", model, about={"config": study.config(run)})
        records.append(read_record(out, run_id))
        progress(records[-1])
    return records


def read_record(out: Path, run_id: str) -> dict[str, Any]:
    """The record of a finished run; a damaged one is a one-line ``ValueError``."""
    path = store.runs_folder(out) / run_id / "run.json"
    record = store.read_json(path)
    fields = {"run_id": str, "config": dict, "points": list, "windows": int, "never_shown": int, "wrong": int}
    store.require_fields(path, record, fields)
    if not run_id == record["run_id"] == content_hash(record["config"])[:16]:
        raise ValueError(f"{path}: corrupt results file; its configuration is not the one its folder is named after")
    return record


def measure(study: Study, run: ScriptRun) -> tuple[dict[str, Any], Decoder]:
    """Train a run and look at all windows and at random problems; return the record and the model."""
    model, seconds = train_script(run)
    script = run.script()
    every, unseen = windows_of_views(script.process), never_shown(script.process, run.lengths)
    wrong = wrong_windows(model, script, every)
    finite = all(bool(weight.isfinite().all()) for weight in model.parameters())
    found = certify(model).to_dict() if finite else {"verdict": "diverged", "margin": None, "slack": None}
    return {
        "run_id": study.run_id(run),
        "config": study.config(run),
        "study": study.name,
        "longest": run.lengths[-1],
        "seed": run.seed,
        "shortest": study.shortest,
        "train_seconds": round(seconds, 3),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "windows": len(every),
        "never_shown": len(unseen),
        "wrong": len(wrong),
        "wrong_but_shown": len(np.setdiff1d(wrong, unseen, assume_unique=True)),
        **{key: found[key] for key in ("verdict", "margin", "slack")},
        "points": [asdict(point) for point in accuracy_points(study, model, script, wrong, run.seed)],
    }, model


def accuracy_points(study: Study, model: Decoder, script: Script, wrong: Keys, seed: int) -> list[Point]:
    """The computed accuracy at every length of a study, and the measured one at those where problems are drawn."""
    process = script.process
    right = np.setdiff1d(windows_of_views(process), wrong, assume_unique=True)
    found = []
    for size in sorted({*study.measured, *study.computed}):
        share = share_right(process, right, size)
        point = Point(digits=size, computed=write_fraction(share), computed_float=float(share))
        if size in study.measured:
            generator = np.random.default_rng([FIRST_TEST_SEED, seed, size])  # the same problems for every n
            correct = int(answered(model, script, draw_digits(process, size, study.problems, generator)).sum())
            span = interval(correct, study.problems)
            point = replace(
                point,
                problems=study.problems,
                correct=correct,
                low=span.low,
                high=span.high,
                p_value=float(binomtest(correct, study.problems, float(share)).pvalue),
            )
        found.append(point)
    return found


def summary(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What a study says of the law: both sides of it, and how far computed and measured accuracies differ."""
    points = [point for record in records for point in record["points"] if point["problems"]]
    enough = [record for record in records if record["longest"] >= record["shortest"]]
    fewer = [record for record in records if record["longest"] < record["shortest"]]
    return {
        "study": records[0]["study"],
        "shortest": records[0]["shortest"],
        "runs": len(records),
        "enough": len(enough),
        "enough_and_certified": sum(record["verdict"] == "certified" for record in enough),
        "fewer": len(fewer),
        "fewer_and_certified": sum(record["verdict"] == "certified" for record in fewer),
        "right_on_all_shown": sum(record["wrong_but_shown"] == 0 for record in records),
        "points": len(points),
        "certain": sum(point["computed"] in ("0", "1") for point in points),  # no sample can differ from these
        "outside_95": sum(not point["low"] <= point["computed_float"] <= point["high"] for point in points),
        "smallest_p_of_holm": min(holm([point["p_value"] for point in points])),
    }


def write_tables(records: Sequence[Mapping[str, Any]], out: Path) -> None:
    """Write ``windows.csv``, one row a run, ``curves.csv``, one row a run and length, and ``summary.json``."""
    named = ("study", "longest", "seed")
    counts = ("shortest", "windows", "never_shown", "wrong", "wrong_but_shown", "verdict", "margin", "slack")
    _write_csv(out / "windows.csv", ({key: each[key] for key in (*named, *counts, "run_id")} for each in records))
    curves = ({key: each[key] for key in named} | point for each in records for point in each["points"])
    _write_csv(out / "curves.csv", curves)
    names = dict.fromkeys(each["study"] for each in records)
    parts = [[each for each in records if each["study"] == name] for name in names]
    store.write_json(out / "summary.json", {"studies": [summary(part) for part in parts]})


def _write_csv(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    listed = list(rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(listed[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(listed)
    checkpoints.write_atomically(path, text.getvalue().encode())


def line(record: Mapping[str, Any]) -> str:
    """A run in one line."""
    shares = {
        point["digits"]: f"{point['correct'] / point['problems']:.3f}/{point['computed_float']:.3f}"
        for point in record["points"]
        if point["problems"]
    }
    return (
        f"{record['study']} n={record['longest']} seed={record['seed']}: {record['windows']:,} windows, "
        f"{record['never_shown']:,} never shown, {record['wrong']:,} wrong ({record['wrong_but_shown']:,} of them "
        f"shown), {record['verdict']}; measured/computed " + " ".join(f"{at}:{share}" for at, share in shares.items())
    )


def main(arguments: Sequence[str]) -> int:
    """Run studies, write tables and the figure; return the exit status."""
    from carryproof.benchmarks.minimal_figure import draw_minimal

    parser = argparse.ArgumentParser(prog="minimal", description="Shortest sufficient training lengths, measured.")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of results; finished runs stay")
    parser.add_argument("--study", nargs="+", default=["addition-base-10"], metavar="NAME", help=", ".join(STUDIES))
    parser.add_argument("--seeds", type=int, default=SEEDS, metavar="N", help=f"trainings for each n (default {SEEDS})")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    try:
        for name in options.study:
            if name not in STUDIES:
                raise unknown("study", name, STUDIES)
        records = []
        for study in map(STUDIES.__getitem__, options.study):
            found = run_study(study, options.out, seeds=options.seeds, progress=lambda each: print(line(each)))
            print(summary(found))
            records += found
        write_tables(records, options.out)
        titles = {name: STUDIES[name].title for name in options.study}
        draw_minimal(records, titles, options.out)
    except ValueError as error:
        print(f"minimal: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
