"""The commands that take one trained model apart, ``carryproof circuits search|ablate|test ...``: what is found and
tested is kept in a folder of the model's name, and a command that is interrupted goes on from its last stage.

Every command imports what it needs when it runs, so that ``--help`` does not wait for torch.
"""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

TRAINED = Path("runs/circuits")
FINDINGS = Path("runs/findings")
SEARCH, TEST = "search.json", "test.json"
MODEL = "a row that is trained, such as add_d5_l2_h3, or a checkpoint"


def add_finding_commands(commands: Any) -> None:
    """Give ``carryproof circuits`` the subcommands that analyse one model."""

    def add(name: str, command: Callable[[argparse.Namespace], int], summary: str) -> argparse.ArgumentParser:
        sub: argparse.ArgumentParser = commands.add_parser(name, help=summary, description=summary)
        sub.set_defaults(command=command)
        sub.add_argument("model", metavar="MODEL", help=MODEL)
        sub.add_argument("--runs", type=Path, default=TRAINED, metavar="DIR", help="trained rows: runs/circuits")
        sub.add_argument("--operations", metavar="NAMES", help="add, sub or add,sub, if the checkpoint does not say")
        sub.add_argument("--problems", type=int, default=600, metavar="N", help="to look at (default 600)")
        sub.add_argument("--seed", type=int, default=0, metavar="S", help="of problems and draws (default 0)")
        sub.add_argument("--json", action="store_true", help="print one JSON object")
        return sub

    search = add("search", _search, "find useful positions, nodes, edges, variables and the circuit of a model")
    test = add("test", _test, "test what `search` found on new problems, and state it as claims with verdicts")
    for sub in (search, test):
        sub.add_argument("--out", type=Path, metavar="DIR", help="folder of results (default: runs/findings/MODEL)")
        sub.add_argument(
            "--ablation", default="resample", metavar="HOW", help="what ablated nodes write: resample, mean or zero"
        )
        sub.add_argument(
            "--floor", type=float, default=0.0, metavar="SHARE", help="impact above which a node is useful (default 0)"
        )
        sub.add_argument("--graph", metavar="NAME", help="addition, subtraction, complement (for both) or mixed")
        sub.add_argument("--neurons", action="store_true", help="search the neurons of useful MLPs, too")
    ablate = add("ablate", _ablate, "ablate some nodes together, in every way, and count the answers that break")
    ablate.add_argument("nodes", nargs="+", metavar="NODES", help="such as P12L1H1, or P12L1H0,P12L1H2 together")


def _search(options: argparse.Namespace) -> int:
    found, path = _found(options)
    if options.json:
        print(path.read_text(), end="")
        return 0
    from carryproof.findings_tables import print_search

    print_search(found, path)
    return 0


def _test(options: argparse.Namespace) -> int:
    from carryproof.benchmarks.store import read_json, write_json
    from carryproof.circuits.analysis import examine
    from carryproof.circuits.stages import Stages
    from carryproof.circuits.subjects import find
    from carryproof.findings_tables import StageDisplay, print_test

    found, searched = _found(options)
    path = searched.with_name(TEST)
    if not path.exists() or not _is_of(read_json(path), found["model"], found["settings"]):
        subject = find(options.model, options.runs, _operations(options))
        about = {"model": found["model"], "settings": found["settings"]}
        with StageDisplay(f"test of {subject.name}") as display:
            stages = Stages(path.with_suffix(".partial.json"), about, display.stage)
            write_json(path, examine(subject, found, stages))
        stages.finish()
    if options.json:
        print(path.read_text(), end="")
    else:
        print_test(read_json(path), path)
    return 0


def _ablate(options: argparse.Namespace) -> int:
    import json

    from carryproof.circuits.analysis import Settings, ablate
    from carryproof.circuits.nodes import parse
    from carryproof.circuits.subjects import find
    from carryproof.findings_tables import print_ablation

    subject = find(options.model, options.runs, _operations(options))
    sets = [tuple(parse(name) for name in text.split(",")) for text in options.nodes]
    found = ablate(subject, sets, Settings(problems=options.problems, seed=options.seed))
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        print_ablation(found)
    return 0


def _found(options: argparse.Namespace) -> tuple[dict[str, Any], Path]:
    """The findings of a model and their file: those that are there, if they are of this model and these settings."""
    from dataclasses import asdict

    from carryproof.benchmarks.store import read_json, require_folder, write_json
    from carryproof.circuits.analysis import Settings, search
    from carryproof.circuits.stages import Stages
    from carryproof.circuits.subjects import find
    from carryproof.findings_tables import StageDisplay

    subject = find(options.model, options.runs, _operations(options))
    settings = Settings(
        problems=options.problems,
        seed=options.seed,
        alternative=options.ablation,
        floor=options.floor,
        neurons=options.neurons,
        graph=options.graph,
    )
    path = require_folder(FINDINGS / subject.name if options.out is None else options.out) / SEARCH
    if path.exists():
        found = read_json(path)
        if _is_of(found, subject.to_dict(), asdict(settings)):
            return found, path
    about = {"model": subject.to_dict(), "settings": asdict(settings)}
    with StageDisplay(f"search of {subject.name}") as display:
        stages = Stages(path.with_suffix(".partial.json"), about, display.stage)
        write_json(path, search(subject, settings, stages))
    stages.finish()
    return read_json(path), path


def _is_of(found: Mapping[str, Any], model: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
    return bool(found.get("model") == model and found.get("settings") == settings)


def _operations(options: argparse.Namespace) -> list[str] | None:
    return None if options.operations is None else options.operations.split(",")
