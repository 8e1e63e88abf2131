"""The commands that take trained models apart, ``carryproof circuits search|ablate|test|transfer|map|compare``: what is
found is kept in a folder of the model's name, and a command that is interrupted goes on from its last stage.

Every command imports what it needs when it runs, so that ``--help`` does not wait for torch.
"""

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from carryproof.circuits.analysis import Settings
    from carryproof.circuits.stages import Stages
    from carryproof.circuits.subjects import Subject

TRAINED = Path("runs/circuits")
FINDINGS = Path("runs/findings")
MODEL = "a row that is trained, such as add_d5_l2_h3, or a checkpoint"


def add_finding_commands(commands: Any) -> None:
    """Give ``carryproof circuits`` the subcommands that analyse models."""

    def add(name: str, command: Callable[[argparse.Namespace], int], summary: str) -> argparse.ArgumentParser:
        sub: argparse.ArgumentParser = commands.add_parser(name, help=summary, description=summary)
        sub.set_defaults(command=command)
        sub.add_argument("model", nargs="+" if name == "compare" else None, metavar="MODEL", help=MODEL)
        sub.add_argument("--runs", type=Path, default=TRAINED, metavar="DIR", help="trained rows: runs/circuits")
        sub.add_argument("--operations", metavar="NAMES", help="add, sub or add,sub, if the checkpoint does not say")
        sub.add_argument("--problems", type=int, default=600, metavar="N", help="to look at (default 600)")
        sub.add_argument("--seed", type=int, default=0, metavar="S", help="of problems and draws (default 0)")
        return sub

    search = add("search", _search, "find useful positions, nodes, edges, variables and the circuit of a model")
    test = add("test", _test, "test what `search` found on new problems, and state it as claims with verdicts")
    transfer = add("transfer", _transfer, "which nodes serve which behaviour, and what became of inserted ones")
    draw = add("map", _map, "draw what was found: quanta maps, tables, graphs, clouds and one HTML page")
    compare = add("compare", _compare, "one HTML page across models: which variables sit where in all of them")
    ablate = add("ablate", _ablate, "ablate some nodes together, in every way, and count the answers that break")
    for sub in (search, test, transfer, draw, compare):
        sub.add_argument("--out", type=Path, metavar="DIR", help="folder of results (default: runs/findings/MODEL)")
        sub.add_argument(
            "--ablation", default="resample", metavar="HOW", help="what ablated nodes write: resample, mean or zero"
        )
        sub.add_argument(
            "--floor", type=float, default=0.0, metavar="SHARE", help="impact above which a node is useful (default 0)"
        )
        sub.add_argument("--neurons", action="store_true", help="search the neurons of useful MLPs, too")
        sub.add_argument("--graph", metavar="NAME", help="addition, subtraction, complement (for both) or mixed")
    for sub in (search, test, transfer, ablate):
        sub.add_argument("--json", action="store_true", help="print one JSON object")
    transfer.add_argument("--control", metavar="MODEL", help="a row of the same shape that was trained from scratch")
    ablate.add_argument("nodes", nargs="+", metavar="NODES", help="such as P12L1H1, or P12L1H0,P12L1H2 together")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Work:
    """One model, how it is analysed, and the folder that keeps what is found."""

    subject: "Subject"
    settings: "Settings"
    folder: Path

    def kept(
        self, kind: str, make: "Callable[[Stages], dict[str, Any]]", control: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """The content of a file of a kind: what is there, if it is of this model, these settings and the control that
        is asked for, or what is found now.
        """
        from carryproof.benchmarks.store import require_folder
        from carryproof.circuits.files import read_file, write_file
        from carryproof.circuits.stages import Stages
        from carryproof.finding_tables import StageDisplay

        about = {"model": self.subject.to_dict(), "settings": asdict(self.settings)}
        path = self.folder / f"{kind}.json"
        if path.exists():
            found = read_file(path, kind)
            same = control is None or found.get("control", {}).get("model") == control
            if same and {name: found[name] for name in about} == about:
                return found
        require_folder(self.folder)
        with StageDisplay(f"{kind} of {self.subject.name}") as display:
            stages = Stages(path.with_suffix(".partial.json"), {**about, "control": control}, display.stage)
            write_file(path, kind, make(stages))
        stages.finish()
        return read_file(path, kind)

    def searched(self) -> dict[str, Any]:
        """What was found in the model."""
        from carryproof.circuits.analysis import search

        return self.kept("search", lambda stages: search(self.subject, self.settings, stages))

    def tested(self) -> dict[str, Any]:
        """What of that stands."""
        from carryproof.circuits.analysis import examine

        found = self.searched()
        return self.kept("test", lambda stages: examine(self.subject, found, stages))


def _work(options: argparse.Namespace, model: str) -> _Work:
    from carryproof.circuits.analysis import Settings

    subject = subject_of(options, model)
    settings = Settings(
        problems=options.problems,
        seed=options.seed,
        alternative=options.ablation,
        floor=options.floor,
        neurons=options.neurons,
        graph=options.graph,
    )
    subject.algorithm(settings.graph)  # refused before anything is begun
    return _Work(subject=subject, settings=settings, folder=options.out or FINDINGS / subject.name)


def subject_of(options: argparse.Namespace, model: str) -> "Subject":
    """The model that an option names, with the operations that another one gives, if it does."""
    from carryproof.circuits.subjects import find

    return find(model, options.runs, None if options.operations is None else options.operations.split(","))


def _search(options: argparse.Namespace) -> int:
    from carryproof.finding_tables import print_search

    work = _work(options, options.model)
    _print(options, work.searched(), print_search, work.folder / "search.json")
    return 0


def _test(options: argparse.Namespace) -> int:
    from carryproof.finding_tables import print_test

    work = _work(options, options.model)
    _print(options, work.tested(), print_test, work.folder / "test.json")
    return 0


def _transfer(options: argparse.Namespace) -> int:
    from carryproof.circuits.family import FAMILY
    from carryproof.circuits.transfers import transfer
    from carryproof.finding_tables import print_transfer

    work, source, control, about = _work(options, options.model), None, None, None
    row = FAMILY.get(work.subject.name)
    if row is not None and row.source is not None:
        source = subject_of(options, row.source), options.runs / row.name
    if options.control is not None:
        other = subject_of(options, options.control)
        control, about = (other, options.runs / other.name), other.to_dict()
    found = work.kept("transfer", lambda stages: transfer(work.subject, source, control, work.settings, stages), about)
    _print(options, found, print_transfer, work.folder / "transfer.json")
    return 0


def _map(options: argparse.Namespace) -> int:
    from carryproof.benchmarks.store import read_json
    from carryproof.circuits.analysis import searched_problems
    from carryproof.circuits.clouds import tri_states
    from carryproof.circuits.files import read_file
    from carryproof.circuits.nodes import parse
    from carryproof.circuits.page import write_page
    from carryproof.circuits.quanta import from_search, write_maps
    from carryproof.circuits.training import RECORD
    from carryproof.console import new_console

    work = _work(options, options.model)
    found, subject = work.searched(), work.subject
    paths = {kind: work.folder / f"{kind}.json" for kind in ("test", "transfer")}
    tested, transferred = (read_file(path, kind) if path.exists() else None for kind, path in paths.items())
    trained = options.runs / subject.name / RECORD
    states = subject.algorithm("mixed" if len(subject.operations) > 1 else None)  # the graph that names ST, MT and NT
    problems = searched_problems(subject, work.settings)
    page = write_page(
        found,
        tested,
        transferred,
        read_json(trained) if trained.exists() else None,
        tri_states(subject.model, states, problems, map(parse, found["nodes"])),
        work.folder / "page",
    )
    write_maps(work.folder, from_search(found), digits=subject.digits)
    new_console().print(f"page: {page}", markup=False)
    return 0


def _compare(options: argparse.Namespace) -> int:
    from carryproof.circuits.comparison_page import write_comparison
    from carryproof.console import new_console

    folder = FINDINGS if options.out is None else options.out
    each = [_work(options, name) for name in options.model]
    each = [replace(work, folder=folder / work.subject.name) for work in each]
    page = write_comparison([(work.searched(), work.tested()) for work in each], folder / "comparison")
    new_console().print(f"page: {page}", markup=False)
    return 0


def _ablate(options: argparse.Namespace) -> int:
    from carryproof.circuits.analysis import Settings, ablate
    from carryproof.circuits.nodes import parse
    from carryproof.finding_tables import print_ablation

    sets = [tuple(parse(name) for name in text.split(",")) for text in options.nodes]
    settings = Settings(problems=options.problems, seed=options.seed)
    _print(options, ablate(subject_of(options, options.model), sets, settings), print_ablation)
    return 0


def _print(options: argparse.Namespace, found: Mapping[str, Any], draw: Callable[..., None], *path: Path) -> None:
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        draw(found, *path)
