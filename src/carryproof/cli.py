"""The command line: one subcommand a job, one line an error.

Exit status 0 means done, 1 that a check did not hold, 2 bad input, 130 an interrupt; messages about bad input name the
argument, its value and what is allowed. Packages are imported where they are used, so that ``--help`` and ``predict``
never wait for torch.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from carryproof.circuit_commands import add_commands

DTYPE = "float32 or bfloat16 (default: the quicker one, measured; float32 for runs on scripts)"
RESUME = "finished runs are kept; the same command goes on from there"


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message}", file=sys.stderr)
        raise SystemExit(2)


def main(arguments: Sequence[str]) -> int:
    """Run one command; return its exit status."""
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except KeyboardInterrupt:
        print(f"\ncarryproof: interrupted; {RESUME}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output went away, as in `carryproof tasks | head -1`
        sys.stderr.close()
        return 0
    except (ValueError, OSError, RuntimeError) as error:
        message = " ".join(str(error).split())
        print(f"carryproof: {message}", file=sys.stderr)
        return 1 if isinstance(error, RuntimeError) else 2


def _parser() -> _Parser:
    parser = _Parser(prog="carryproof", description="Predict, train, compare: length generalization in arithmetic.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {_version()}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(name: str, command: Callable[[argparse.Namespace], int], summary: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=summary, description=summary)
        sub.set_defaults(command=command)
        return sub

    demo = add("demo", _demo, "predict, train, compare and report on the demonstration study")
    run = add("run", _run, "register a suite's predictions, then run what is not finished yet")
    run.add_argument("suite", metavar="SUITE", help="see `carryproof suites`")
    for sub in (demo, run):
        sub.add_argument("--jobs", type=int, metavar="N", help="processes, one thread each (default: one a core)")
        sub.add_argument("--out", type=Path, metavar="DIR", help="folder of results (default: runs/SUITE)")
        sub.add_argument("--device", default="cpu", metavar="NAME", help="cpu (default), cuda, cuda:1, ...")
        sub.add_argument("--dtype", metavar="NAME", help=DTYPE)
    report = add("report", _report, "score a study against its registered predictions and write the report")
    report.add_argument("folder", type=Path, metavar="DIR", help="what `run` wrote")

    certify = add(
        "certify", _certify, "whether a trained model is right at every length, or the problems it gets wrong"
    )
    certify.add_argument("checkpoint", metavar="CHECKPOINT", help="a file, or a name of the collection")
    certify.add_argument("--check", type=Path, metavar="CERTIFICATE", help="decide again and compare with this one")
    certify.add_argument("--out", type=Path, metavar="FILE", help="write the certificate, as JSON")

    bench = add("bench", _bench, "speed, side by side with a nanoGPT-style trainer and with other packages")
    bench.add_argument("--out", type=Path, default=Path("runs/bench"), metavar="DIR", help="default: runs/bench")
    bench.add_argument("--shapes", default="a,b,c", metavar="NAMES", help="sizes of training steps (default: a,b,c)")
    bench.add_argument("--repeats", type=int, metavar="N", help="rounds in which everything has its turn (default 7)")
    bench.add_argument("--threads", type=int, metavar="N", help="default: one a core")
    bench.add_argument("--quick", action="store_true", help="a look in two to four minutes; no floor decides")
    bench.add_argument("--long", action="store_true", help="and the time to 99.9 %% in range, many minutes")

    about = "the forty-four models of addition and subtraction"
    add_commands(commands.add_parser("circuits", help=about, description=about))

    predict = add("predict", _predict, "what theory says of longer inputs, before any training")
    predict.add_argument("--all", action="store_true", help="every registered cell, and no other option but --json")
    _task_options(predict, required=True)
    predict.add_argument("--train-digits", metavar="N", help="trained lengths, such as 4, 1-4 or 1-2,5")
    predict.add_argument(
        "--train-law", default="exact", metavar="LAW", help="exact, longest or unequal operand lengths"
    )
    predict.add_argument("--test-digits", metavar="N", help="lengths asked, such as 5-9")
    predict.add_argument(
        "--law", default="exact", metavar="LAW", help="operand lengths at test: exact, longest, unequal"
    )
    predict.add_argument("--encoding", metavar="NAME", help="see `carryproof encodings`")
    predict.add_argument(
        "--format",
        default="padded",
        metavar="FORMAT",
        help="padded:W or free, with ,operands=ORDER and ,answer=ORDER (least-first or most-first) and ,ids=IDS "
        "(index, coupled, abacus or random, and :SPAN to draw from in training); default padded, as wide as the "
        "longest length",
    )
    prove = add("prove", _prove, "what the laws say of a task: shifts, residues, dependency windows, counterexamples")
    prove.add_argument("task", metavar="TASK", help="see `carryproof tasks`")
    _task_options(prove, required=False)
    prove.set_defaults(operands=None)  # one number or two, as the task takes
    prove.add_argument("--size", type=int, metavar="S", help="enumerate all problems of up to S places")
    prove.add_argument("--latex", action="store_true", help="print a LaTeX fragment (amsmath, amssymb)")
    listings = {"tasks": _tasks, "encodings": _encodings, "suites": _suites}
    subs = [certify, predict, prove, *(add(name, command, f"list the {name}") for name, command in listings.items())]
    for sub in subs:
        sub.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _task_options(parser: argparse.ArgumentParser, *, required: bool) -> None:
    if required:
        parser.add_argument("--task", metavar="TASK", help="see `carryproof tasks`")
    parser.add_argument("--modulus", type=int, metavar="P", help="for modular tasks")
    parser.add_argument("--base", type=int, default=10, metavar="B", help="from 2 to 36 (default 10)")
    parser.add_argument("--operands", type=int, default=2, metavar="K", help="numbers to add (default 2)")


def _version() -> str:
    from carryproof import __version__

    return __version__


def _demo(options: argparse.Namespace) -> int:
    options.suite = "demo"
    _run(options)
    options.folder = _out(options)
    return _report(options)


def _out(options: argparse.Namespace) -> Path:
    return options.out if options.out is not None else Path("runs") / options.suite


def _run(options: argparse.Namespace) -> int:
    from carryproof.benchmarks import suites
    from carryproof.benchmarks.runner import run_suite, settled_engine, settled_script_engine
    from carryproof.benchmarks.workers import usable_cores
    from carryproof.console import StudyDisplay

    out = _out(options)
    engine = settled_engine(out, device=options.device, dtype=options.dtype)
    suite = suites.build(options.suite).on(engine).scripts_on(settled_script_engine(out, dtype=options.dtype))
    if options.jobs is not None and options.jobs > usable_cores():
        print(f"jobs: {options.jobs} is more than the {usable_cores()} cores here; one a core is used", file=sys.stderr)
    with StudyDisplay(suite, out) as display:
        run_suite(suite, out, jobs=options.jobs, on_start=display.start, on_event=display.event)
    return 0


def _report(options: argparse.Namespace) -> int:
    from carryproof.benchmarks.compare import score_study
    from carryproof.benchmarks.report import write_report
    from carryproof.console import print_outcomes

    result = score_study(options.folder)
    page = write_report(result, options.folder / "report")
    print_outcomes(result, page)
    return 0


def _certify(options: argparse.Namespace) -> int:
    from carryproof.benchmarks.certify import certify, check_certificate, read_certificate, write_certificate
    from carryproof.console import print_certificate
    from carryproof.models import load

    if options.out is not None:
        taken = options.out.is_dir() or options.out.absolute() == Path(options.checkpoint).absolute()
        if taken or not options.out.absolute().parent.is_dir():
            allowed = "a file in a folder that exists, and not the checkpoint"
            raise ValueError(f"out: {str(options.out)!r} cannot be written; allowed: {allowed}")
    model = load(options.checkpoint)
    found = certify(model) if options.check is None else check_certificate(read_certificate(options.check), model)
    if options.out is not None:
        write_certificate(options.out, found)
    if options.json:
        _print_json(found.to_dict())
    else:
        print_certificate(found)
    return 0 if found.holds else 1


def _bench(options: argparse.Namespace) -> int:
    from carryproof.bench_tables import print_bench
    from carryproof.benchmarks import bench
    from carryproof.benchmarks.store import require_folder

    plan = bench.make_plan(shapes=options.shapes, repeats=options.repeats, threads=options.threads)
    if options.threads is not None and options.threads > plan.threads:
        print(f"carryproof: threads: got {options.threads}; going on with {plan.threads}, one a core", file=sys.stderr)
    plan = bench.quicker(plan) if options.quick else plan
    plan = bench.longer(plan) if options.long else plan
    out = require_folder(options.out)
    report = bench.run_bench(plan, lambda line: print(line, file=sys.stderr, flush=True))
    print_bench(report, bench.write_bench(report, out))
    return 1 if report.missed else 0


def _task(options: argparse.Namespace) -> Any:
    from carryproof.theory import tasks

    return tasks.build(options.task, operands=options.operands, base=options.base, modulus=options.modulus)


def _predict(options: argparse.Namespace) -> int:
    from carryproof.theory import Question, TrainingRange, formats, parse_lengths, predict
    from carryproof.theory.ranges import require_law

    if options.all:
        given = [
            name for name in ("task", "modulus", "train_digits", "test_digits", "encoding") if getattr(options, name)
        ]
        if given:
            raise ValueError(
                f"--{given[0].replace('_', '-')} has no meaning beside --all, which takes no option but --json"
            )
        return _predict_all(options)
    for name in ("task", "train_digits", "test_digits", "encoding"):
        if getattr(options, name) is None:
            raise ValueError(f"--{name.replace('_', '-')} is required, unless --all asks for every registered cell")
    task = _task(options)
    trained = parse_lengths(options.train_digits, "train-digits")
    asked = parse_lengths(options.test_digits, "test-digits")
    question = Question(
        task=task,
        format=formats.parse(options.format, default_width=max(*trained, *asked)),
        encoding=options.encoding,
        train=TrainingRange(lengths=trained, law=require_law("train-law", options.train_law)),
    )
    prediction = predict(question, asked, [require_law("law", options.law)])
    if options.json:
        return _print_json(prediction.to_dict())
    from carryproof.console import print_prediction

    print_prediction(prediction)
    return 0


def _predict_all(options: argparse.Namespace) -> int:
    from carryproof.theory.catalogue import predictions

    if options.json:
        return _print_json({"schema_version": 1, "predictions": [dict(each.to_dict()) for each in predictions()]})
    from carryproof.console import print_catalogue

    print_catalogue(predictions())
    return 0


def _prove(options: argparse.Namespace) -> int:
    from carryproof.theory import proofs, subjects, typeset

    if options.json and options.latex:
        raise ValueError("--latex: --json has the LaTeX of every fact too; give one of the two")
    subject = subjects.build(options.task, operands=options.operands, base=options.base, modulus=options.modulus)
    proof = proofs.prove(subject, options.size)
    if options.json:
        return _print_json({"schema_version": 1} | proof.to_dict())
    if options.latex:
        print(typeset.latex_fragment(proof))
        return 0
    from carryproof.console import print_proof

    print_proof(proof)
    return 0


def _tasks(options: argparse.Namespace) -> int:
    from carryproof.theory import subjects, tasks

    about = {
        name: f"{operation.symbol.join(['a', 'b'])}{' modulo --modulus P' if prefix else ''}"
        + (", --operands K of them" if operation.operands[1] > 2 else "")
        for prefix in ("", "modular-")
        for operation in tasks.OPERATIONS.values()
        for name in [prefix + operation.name]
    }
    processes = {name: process.about for name, process in subjects.PROCESSES.items()}
    if options.json:
        return _print_json({"schema_version": 1, "tasks": about, "processes": processes})
    _print_names("tasks", about, options)
    print("\nfor `carryproof prove` alone:")
    return _print_names("processes", processes, options)


def _encodings(options: argparse.Namespace) -> int:
    from carryproof.theory.encodings import ENCODINGS

    return _print_names("encodings", {name: twin.title for name, twin in ENCODINGS.items()}, options)


def _suites(options: argparse.Namespace) -> int:
    from carryproof.benchmarks.suites import SUITES

    about = {name: " ".join((suite.__doc__ or "").split()) for name, suite in SUITES.items()}
    return _print_names("suites", about, options)


def _print_names(kind: str, about: dict[str, str], options: argparse.Namespace) -> int:
    if options.json:
        return _print_json({"schema_version": 1, kind: about})
    width = max(map(len, about))
    for name, summary in about.items():
        print(f"{name:{width}}  {summary}")
    return 0


def _print_json(value: Any) -> int:
    print(json.dumps(value, indent=1))
    return 0
