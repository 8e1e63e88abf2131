"""What the commands on one model print: the stage at work, and tables of what was found, ablated and tested."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from carryproof.console import new_console

SHOWN = 12  # nodes of the largest impact


class StageDisplay:
    """The stages of an analysis as they begin, with the time that has passed."""

    def __init__(self, title: str) -> None:
        self.console, self.began = new_console(), time.monotonic()
        self.status = self.console.status(title)
        self.title = title

    def __enter__(self) -> "StageDisplay":
        if self.console.is_terminal:
            self.status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.status.stop()

    def stage(self, name: str) -> None:
        """Say which stage begins."""
        elapsed = time.monotonic() - self.began
        self.status.update(f"{self.title}: {name} (after {elapsed:.0f} s)")


@contextmanager
def proof_progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """A function that is told how many problems of a proof are decided, of how many; drawn on a terminal only."""
    console = new_console()
    columns = (TextColumn(title), BarColumn(bar_width=24), TextColumn("{task.completed:,.0f} of {task.total:,.0f}"))
    progress = Progress(
        *columns,
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with progress:
        line = progress.add_task(title, total=None)
        yield lambda problems, of: progress.update(line, completed=problems, total=of)


def print_proofs(name: str, proofs: Iterable[Any], path: Path) -> None:
    """What was decided of every pair of operands, an operation at a time."""
    console = new_console()
    for proof in proofs:
        lead = f"leads by {proof.smallest_margin:.3g} or more"
        if not proof.holds:
            lead = f"falls behind by up to {-proof.smallest_margin:.3g}"
        verdict = "every one is right" if proof.holds else f"{proof.failures:,} are wrong"
        console.print(
            f"{name}: {proof.problems:,} pairs of {proof.digits} digits, {proof.operation}: {verdict}; the true token "
            f"{lead}; {proof.seconds:.0f} s of one core",
            markup=False,
        )
        sign = "+" if proof.operation == "add" else "-"
        if proof.examples:
            console.print(
                "  such as " + ", ".join(f"{one}{sign}{other}" for one, other in proof.examples), markup=False
            )
    console.print(f"written to {path}", markup=False)


def print_search(found: Mapping[str, Any], path: Path) -> None:
    """What was found in a model."""
    console, nodes = new_console(), found["nodes"]
    right = ", ".join(f"{name} {share['value']:.1%}" for name, share in found["right"].items())
    console.print(f"{found['model']['name']}: right answers: {right}", markup=False)
    if not nodes:
        console.print("nothing here: no position and no node is useful", style="bold")
    else:
        console.print(
            f"{len(found['positions'])} useful positions; {len(nodes)} nodes; a circuit of "
            f"{len(found['circuit']['nodes'])} keeps {found['circuit']['kept']['value']:.1%} with all else ablated",
            markup=False,
        )
        _print_variables(found)
        ranked = sorted(nodes, key=lambda name: -nodes[name]["impact"]["whole"]["value"])[:SHOWN]
        table = _table("nodes of the largest impact", "node", "impact", "tokens it breaks", "looks at", "carries")
        for name in ranked:
            node = nodes[name]
            tokens = sorted(node["impact"]["tokens"].items(), key=lambda pair: -pair[1]["value"])[:3]
            looks = [f"P{fact['key']} {fact['mean']:.0%}" for fact in node["attention"][:3]]
            table.add_row(
                name,
                _interval(node["impact"]["whole"]),
                ", ".join(f"{token} {share['value']:.0%}" for token, share in tokens),
                ", ".join(looks),
                "; ".join(node["variables"]),
            )
        console.print(table)
    console.print(f"{sum(found['seconds'].values()):.0f} s; all of it: {path}", markup=False)


def print_ablation(found: Mapping[str, Any]) -> None:
    """What breaks when nodes write something else."""
    table = _table(f"{found['model']['name']}: share of right answers that break", "nodes", "ablation", "all", "tokens")
    for each in found["ablations"]:
        tokens = ", ".join(f"{name} {share['value']:.1%}" for name, share in each["impact"]["tokens"].items())
        table.add_row(", ".join(each["nodes"]), each["alternative"], _interval(each["impact"]["whole"]), tokens)
    new_console().print(table)


def print_test(tested: Mapping[str, Any], path: Path) -> None:
    """Claims, and what they rest on."""
    console = new_console()
    for claim in tested["claims"]:
        style = {"holds": "bold green", "fails": "bold red"}.get(claim["verdict"], "bold")
        console.print(f"{claim['verdict']:>12}", style=style, end="  ")
        console.print(f"{claim['statement']}: {claim['reason']}", markup=False)
    console.print(f"all of it: {path}", markup=False)


def print_transfer(found: Mapping[str, Any], path: Path) -> None:
    """Which nodes serve what, and the roles of those that were inserted."""
    console, name = new_console(), found["model"]["name"]
    for kind, donors in (("polysemanticity", "all problems"), ("polysemanticity_within", "the same behaviour")):
        shares = found[kind]["shares"]
        title = f"of {shares['useful']} useful nodes of {name}, with donors of {donors}"
        table = _table(title, "serve", "nodes", "share")
        for part, served in shares.items():
            if part != "useful":
                table.add_row(part, str(served["nodes"]), _interval(served["share"]))
        console.print(table)
    titles = {"changes": "nodes at the end", "control": "in a model that never saw the source"}
    for part, title in titles.items():
        if part not in found:
            continue
        changes = found[part] if part == "changes" else found[part]["changes"]
        table = _table(title, "role", "nodes", "95 % interval", "likeness to the source, median")
        for role, count in changes["counts"].items():
            like = changes["likeness"].get(role)
            said = "" if like is None else f"{like['median']:.2f}"
            table.add_row(role, str(count["nodes"]), f"{count['low']:.0f} to {count['high']:.0f}", said)
        console.print(table)
    console.print(f"all of it: {path}", markup=False)


def _print_variables(found: Mapping[str, Any]) -> None:
    """Those that move together, and of the others those that nodes carry alone."""
    table = _table("where variables are", "variables", "verdict", "nodes", "accuracy on pairs not searched with")
    together = [name.split(", ") for name in found["variables"] if ", " in name]
    for name, each in found["variables"].items():
        if each["verdict"] != "carried" and any(name in group for group in together):
            continue
        table.add_row(name, each["verdict"], ", ".join(each["nodes"]), _interval(each["result"]["accuracy"]))
    new_console().print(table)


def _interval(share: Mapping[str, float]) -> str:
    return f"{share['value']:.1%} ({share['low']:.1%} to {share['high']:.1%})"


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, box=None, pad_edge=False, title_justify="left")
    for column in columns:
        table.add_column(column)
    return table
