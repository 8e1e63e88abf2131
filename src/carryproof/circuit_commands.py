"""The commands on the forty-four models, ``carryproof circuits ...``: train and test them, with progress and time left,
decide every pair of operands, tabulate them beside the published ones, and study what a mixed model may start from.

Every command imports what it needs when it runs, so that ``--help`` does not wait for torch.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from carryproof.finding_commands import add_finding_commands, subject_of

OUT = Path("runs/circuits")
RESULTS = Path("results/circuits")
INSERTIONS = Path("runs/insertions")
PROOFS = Path("runs/proofs")


def add_commands(parser: argparse.ArgumentParser) -> None:
    """Give ``carryproof circuits`` its own subcommands."""
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    summary = "train and test a model of the family, or all that are not done yet"
    train = commands.add_parser("train", help=summary, description=summary)
    train.set_defaults(command=_train)
    train.add_argument("name", nargs="?", metavar="NAME", help="such as add_d5_l2_h3 or mix_d6_l3_h4; or --all")
    train.add_argument("--all", action="store_true", help="all forty-six rows")
    train.add_argument(
        "--out", type=Path, default=OUT, metavar="DIR", help="folder of results (default: runs/circuits)"
    )
    train.add_argument("--jobs", type=int, metavar="N", help="processes, one thread each (default: one a core)")
    train.add_argument("--seed", type=int, default=0, metavar="S", help="replicate k has seed S + k - 1 (default 0)")
    train.add_argument("--steps", type=int, metavar="N", help="training steps (default: the recipe's)")
    train.add_argument(
        "--problems", type=int, default=1_000_000, metavar="N", help="of each test set (default a million; 0: no test)"
    )
    train.add_argument(
        "--no-screening", action="store_true", help="no choice of the hardest problems in the last steps"
    )
    train.add_argument("--published-shape", action="store_true", help="510 wide, as published: for a GPU")
    train.add_argument("--device", default="cpu", metavar="NAME", help="cpu (default), cuda, cuda:1, ...")
    train.add_argument("--dtype", metavar="NAME", help="float32 or bfloat16 (default: the quicker one, measured)")

    add_finding_commands(commands)
    summary = "decide every pair of operands of a model of up to five digits, one by one"
    prove = commands.add_parser("prove", help=summary, description=summary)
    prove.set_defaults(command=_prove)
    prove.add_argument("model", metavar="MODEL", help="a row that is trained, such as add_d4_l2_h3, or a checkpoint")
    prove.add_argument("--runs", type=Path, default=OUT, metavar="DIR", help="trained rows: runs/circuits")
    prove.add_argument("--operations", metavar="NAMES", help="add, sub or add,sub, if the checkpoint does not say")
    prove.add_argument("--out", type=Path, default=PROOFS, metavar="DIR", help="folder of results: runs/proofs")
    prove.add_argument("--jobs", type=int, metavar="N", help="processes, one thread each (default: one a core)")
    prove.add_argument("--device", default="cpu", metavar="NAME", help="cpu (default), or cuda, cuda:1, ... (one job)")
    prove.add_argument("--json", action="store_true", help="print one JSON object")

    summary = "keep the records of what is trained, and write every row beside the published one"
    table = commands.add_parser("table", help=summary, description=summary)
    table.set_defaults(command=_table)
    table.add_argument("--runs", type=Path, default=OUT, metavar="DIR", help="what `train` wrote: runs/circuits")
    table.add_argument("--proofs", type=Path, default=PROOFS, metavar="DIR", help="what `prove` wrote: runs/proofs")
    table.add_argument(
        "--out", type=Path, default=RESULTS, metavar="DIR", help="records, weights, table (default: results/circuits)"
    )
    table.add_argument("--json", action="store_true", help="print one JSON object")

    summary = "train mixed models from scratch and from addition models, everything else equal"
    study = commands.add_parser("insertions", help=summary, description=summary)
    study.set_defaults(command=_insertions)
    study.add_argument("--digits", default="5,6", metavar="N", help="of the operands (default 5,6)")
    study.add_argument("--seeds", type=int, default=5, metavar="N", help="of every arm (default 5)")
    study.add_argument("--steps", type=int, default=1_000, metavar="N", help="of every training (default 1,000)")
    study.add_argument(
        "--problems", type=int, default=50_000, metavar="N", help="of each test set at the end (default 50,000)"
    )
    study.add_argument("--sources", type=Path, default=OUT, metavar="DIR", help="addition models: runs/circuits")
    study.add_argument(
        "--out", type=Path, default=INSERTIONS, metavar="DIR", help="folder of results (default: runs/insertions)"
    )
    study.add_argument("--jobs", type=int, metavar="N", help="processes, one thread each (default: one a core)")
    study.add_argument("--dtype", metavar="NAME", help="float32 or bfloat16 (default: the quicker one, measured)")
    study.add_argument("--json", action="store_true", help="print one JSON object when it is done")


def _train(options: argparse.Namespace) -> int:
    from carryproof.benchmarks.runner import settled_engine
    from carryproof.circuits import family
    from carryproof.circuits.running import train_family
    from carryproof.circuits.training import CircuitRun
    from carryproof.console import FamilyDisplay

    if options.all == (options.name is not None):
        raise ValueError("name: give the name of one row, or --all")
    rows = family.with_sources(family.FAMILY.values() if options.all else [family.row(options.name)])
    recipe_of = family.published_recipe_of if options.published_shape else family.recipe_of
    screening = None if options.published_shape or options.no_screening else family.SCREENING
    engine = settled_engine(options.out, device=options.device, dtype=options.dtype)
    runs = []
    for row in rows:
        recipe = recipe_of(row)
        if options.steps is not None:
            recipe = replace(recipe, steps=options.steps)
        seed = options.seed + row.replicate - 1
        runs.append(CircuitRun(name=row.name, recipe=recipe, screening=screening, seed=seed, engine=engine))
    with FamilyDisplay(options.out) as display:
        train_family(
            runs,
            options.out,
            problems=options.problems,
            jobs=options.jobs,
            on_start=display.start,
            on_event=display.event,
        )
    return 0


def _prove(options: argparse.Namespace) -> int:
    import json

    from carryproof.benchmarks.engine import require_device
    from carryproof.benchmarks.store import write_json
    from carryproof.benchmarks.workers import usable_cores
    from carryproof.circuits import exhaustive
    from carryproof.finding_tables import print_proofs, proof_progress

    require_device(options.device)
    subject = subject_of(options, options.model)
    for operation in subject.operations:
        exhaustive.require_provable(subject.model, operation)
    default = usable_cores() if options.device == "cpu" else 1
    model = subject.model.to(options.device)
    jobs, found = default if options.jobs is None else options.jobs, []
    for operation in subject.operations:
        with proof_progress(f"{subject.name}, {operation}") as progress:
            found.append(exhaustive.prove(model, operation, options.out, jobs=jobs, progress=progress))
    about = {"model": subject.to_dict(), "proofs": [proof.to_dict() for proof in found]}
    path = options.out / f"{subject.name}.json"
    write_json(path, about)
    if options.json:
        print(json.dumps(about))
    else:
        print_proofs(subject.name, found, path)
    return 0 if all(proof.holds for proof in found) else 1


def _table(options: argparse.Namespace) -> int:
    from carryproof.circuits.records import collect, read_proofs, read_records
    from carryproof.circuits.table import TABLE, compare, markdown, write_table

    collect(options.runs, options.out, proofs=options.proofs)
    lines, proofs = compare(read_records(options.out)), read_proofs(options.out)
    write_table(lines, options.out, proofs)
    print((options.out / TABLE).read_text() if options.json else markdown(lines, proofs), end="")
    return 0


def _insertions(options: argparse.Namespace) -> int:
    from carryproof.benchmarks.runner import settled_engine
    from carryproof.circuits import insertion_study as study
    from carryproof.circuits.insertion_figure import draw_curves
    from carryproof.console import FamilyDisplay, print_findings
    from carryproof.theory import parse_lengths

    digits = parse_lengths(options.digits, "digits")
    hashes = study.digests(options.sources, digits, options.seeds)
    engine = settled_engine(options.out, dtype=options.dtype)
    runs = study.plans(digits, options.seeds, hashes, engine, steps=options.steps, last_problems=options.problems)
    with FamilyDisplay(options.out) as display:
        study.run_study(
            runs, options.sources, options.out, jobs=options.jobs, on_start=display.start, on_event=display.event
        )
    records = {run: study.read_arm(run, options.out) for run in runs}
    found = study.findings(records)
    written = study.write_findings(found, records, options.out)
    draw_curves(records, options.out)
    if options.json:
        print(written.read_text(), end="")
    else:
        print_findings(found, written)
    return 0
