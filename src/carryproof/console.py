"""What a person sees in a terminal: predictions as tables, progress of a study, outcomes. Quiet when nobody looks.

Progress bars are drawn by rich and only on a terminal; elsewhere a study prints a line when it starts and one when it
is done.
"""

import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from carryproof.theory import Prediction, write_lengths
from carryproof.theory.proofs import Proof
from carryproof.theory.typeset import latex_fragment, terminal_lines

WIDE = 160
READABLE = 120  # columns of running text
MAX_FRACTION = 24  # longer exact fractions are shown as decimals; --json has them whole


def new_console() -> Console:
    """A console as wide as the terminal, or wide enough for any table where nobody watches."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDE)


def print_prediction(prediction: Prediction) -> None:
    """One prediction as a table, and below it the conditions that decided each verdict."""
    console = new_console()
    console.print(f"[bold]{prediction.question.label}[/] / {prediction.question.format}")
    table = Table(box=None, pad_edge=False)
    for column in ("digits", "verdict", "accuracy", "surrogate"):
        table.add_column(column)
    shown: dict[tuple[str, bool, str], list[int]] = {}
    for cell in prediction.cells:
        table.add_row(str(cell.test_digits), cell.verdict, accuracy_text(cell.to_dict()), cell.surrogate or "-")
        for reason in cell.reasons:
            shown.setdefault((reason.law, reason.holds, f"{reason.condition}: {reason.why}"), []).append(
                cell.test_digits
            )
    console.print(table)
    for (law, holds, text), digits in shown.items():
        where = write_lengths(tuple(sorted(set(digits))))
        line = f"  {law:4} {'yes' if holds else 'no ':3} at {where}: {text}"
        console.print(line, markup=False, soft_wrap=True)
    console.print(f"prediction {prediction.prediction_id}", style="dim")


def print_proof(proof: Proof) -> None:
    """The facts about a task in unicode, or their LaTeX where the output cannot hold unicode."""
    text = "\n".join(terminal_lines(proof, min(new_console().width, READABLE)))
    try:
        text.encode(sys.stdout.encoding or "utf-8")  # a stream in memory has none
    except UnicodeEncodeError:
        text = latex_fragment(proof)
    print(text)


def print_certificate(certificate: Any) -> None:
    """The verdict, what was decided, and the problems that the model gets wrong."""
    print(certificate)
    lengths = certificate.trained.get("lengths")
    trained = f"trained on {write_lengths(tuple(lengths))} digits; " if lengths else ""
    print(f"  {trained}{certificate.parameters:,} weights")
    print(f"  encoding {certificate.encoding}; SHA-256 of the model {certificate.model}")
    for failure in certificate.failures:
        print(f"  {failure.prompt} gives {failure.written} and not {failure.expected}   ({failure.window})")


def print_catalogue(predictions: Iterable[Prediction]) -> None:
    """One line a question: what is predicted of each length, and the first condition that fails."""
    counts: Counter[str] = Counter()
    for prediction in predictions:
        question, cells = prediction.question, prediction.cells
        counts.update(cell.verdict for cell in cells)
        said = ", ".join(dict.fromkeys(f"{cell.verdict} {accuracy_text(cell.to_dict())}" for cell in cells))
        failed = next((f"{reason.law}: {reason.condition}" for reason in cells[0].reasons if not reason.holds), "")
        print(f"{question.task.label:22} {question.encoding:14} {question.format!s:55} {said}; not {failed}")
    print(f"{counts.total():,} cells: " + ", ".join(f"{count:,} {verdict}" for verdict, count in counts.items()))


def accuracy_text(cell: dict[str, Any]) -> str:
    """An accuracy for a table: the exact fraction where it is short, and a percentage; a dash where there is none."""
    if cell["accuracy"] is None:
        return "-"
    percent = f"{cell['accuracy_float']:.4%}"
    exact = cell["accuracy"]
    return f"{exact} = {percent}" if len(exact) <= MAX_FRACTION else percent


class StudyDisplay:
    """The progress of a study: predictions first, then a bar over all training steps and a line a running model."""

    def __init__(self, suite: Any, out: Path) -> None:
        self.suite, self.out = suite, out
        self.console = new_console()
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
        )
        self.lines: dict[str, Any] = {}
        self.steps: dict[str, int] = {}
        self.finished = self.total = 0

    def __enter__(self) -> "StudyDisplay":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.lines:
            self.progress.stop()

    def start(self, pending: list[Any], finished: int) -> None:
        """Print the registered predictions and open the bars."""
        self.finished, self.total = finished, finished + len(pending)
        self._print_predictions()
        self.console.print(
            f"{self.suite.name}: {self.total} runs, {finished} finished before; results in {self.out}", markup=False
        )
        if pending and self.console.is_terminal:
            steps = sum(run.recipe.steps for run in pending)
            self.lines["all"] = self.progress.add_task("training steps", total=steps, note="")
            self.progress.start()

    def event(self, event: Any) -> None:
        """Draw one event of the runner."""
        if event.record is not None:
            self.finished += 1
        if not self.console.is_terminal:
            if event.record is not None and self.finished == self.total:
                self.console.print(f"{self.suite.name}: all {self.total} runs are finished", markup=False)
            return
        run_id, steps = event.run.run_id, event.run.recipe.steps
        done = steps if event.record is not None else event.point.step
        self.progress.advance(self.lines["all"], max(0, done - self.steps.get(run_id, 0)))
        self.steps[run_id] = max(done, self.steps.get(run_id, 0))
        self.progress.update(self.lines["all"], note=f"{self.finished} of {self.total} runs")
        if event.record is not None:
            if run_id in self.lines:
                self.progress.remove_task(self.lines.pop(run_id))
            self.progress.console.print(f"  {event.label}: {event.result}", markup=False)
            return
        if run_id not in self.lines:
            self.lines[run_id] = self.progress.add_task(event.label, total=steps, note="")
        note = f"loss {event.point.loss:.4f}, in range {event.point.in_range:.1%}"
        self.progress.update(self.lines[run_id], completed=done, note=note)

    def _print_predictions(self) -> None:
        table = Table(title="Registered predictions", box=None, pad_edge=False, title_justify="left")
        for column in ("task", "encoding", "trained", "tested", "verdict", "accuracy"):
            table.add_column(column)
        for experiment in self.suite.experiments:
            question = experiment.question
            for cell in experiment.prediction().cells:
                if cell.verdict == "in-range" or cell.law != "exact":
                    continue
                trained = write_lengths(question.train.lengths)
                row = (question.task.label, question.encoding, trained, str(cell.test_digits), cell.verdict)
                table.add_row(*row, accuracy_text(cell.to_dict()))
        for script in self.suite.scripts:
            found = script.prediction()
            trained = write_lengths(found.lengths)
            row = (found.process.name, "derived window", trained, "every", found.verdict)
            table.add_row(*row, f"1 if right on all {found.windows:,} windows")
        self.console.print(table)


class FamilyDisplay:
    """The progress of ``carryproof circuits train``: a line for every model that is done, and bars between."""

    def __init__(self, out: Path) -> None:
        self.out, self.console, self.began = out, new_console(), time.monotonic()
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn())
        self.progress = Progress(
            *columns, TextColumn("{task.fields[note]}"), TimeElapsedColumn(), console=self.console, transient=True
        )
        self.lines: dict[str, Any] = {}
        self.left: dict[str, float] = {}
        self.work, self.done, self.total = 0.0, 0, 0

    def __enter__(self) -> "FamilyDisplay":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()

    def start(self, work: dict[str, float], done: int) -> None:
        """Say what there is to do."""
        self.done, self.total, self.left, self.work = done, done + len(work), work, sum(work.values())
        self.console.print(f"circuits: {self.total} models, {done} done before; results in {self.out}", markup=False)
        if self.console.is_terminal:
            self.progress.start()

    def event(self, event: Any) -> None:
        """Draw one event of a training."""
        name, record = event.run.name, event.record
        self.left[name] = event.left
        if record is None:
            if name not in self.lines:
                self.lines[name] = self.progress.add_task(name, total=event.run.recipe.steps, note="")
            note = f"loss {event.point.loss:.1e}, right {event.point.in_range:.1%}; {self.time_left()}"
            self.progress.update(self.lines[name], completed=event.point.step, note=note)
            return
        if name in self.lines:
            self.progress.remove_task(self.lines.pop(name))
        self.done += 1
        tests = event.accuracy["tests"] if event.accuracy is not None else []
        said = [f"{test['failures']} of {test['problems']:,} {test['set']} {test['operation']} wrong" for test in tests]
        said = [f"trained in {record['train_seconds']:.0f} s", *said, f"{self.done} of {self.total} models"]
        self.progress.console.print(f"{name}: {', '.join(said)}, {self.time_left()}", markup=False)

    def time_left(self) -> str:
        """What is left to train at the pace so far."""
        left, elapsed = sum(self.left.values()), time.monotonic() - self.began
        minutes = elapsed * left / max(self.work - left, 1.0) / 60  # at first, much too long
        return f"about {minutes:.0f} min left"


def print_findings(found: Iterable[Any], written: Path) -> None:
    """What every arm of a study of insertion changes, against training from scratch."""
    console = new_console()
    table = Table(box=None, pad_edge=False)
    for column in ("digits", "arm", "outcome", "seeds", "effect", "95 % interval", "p (Holm)"):
        table.add_column(column)
    for each in found:
        known = sum(value is not None for value in each.values)
        said = (f"{known} of {len(each.values)} got there", "-", "-")
        if each.effect is not None:
            effect = each.effect
            said = (f"{effect.mean:.3g}", f"{effect.low:.3g} to {effect.high:.3g}", f"{each.p_holm:.2g}")
        table.add_row(str(each.digits), each.arm, each.outcome, str(len(each.seeds)), *said)
    console.print(table)
    console.print(f"differences from training from scratch, ratios for steps: {written}", markup=False)


def print_outcomes(result: Any, page: Path) -> None:
    """How many cells were confirmed, refuted and not testable, every refuted one, certified runs, and the report."""
    console = new_console()
    counts = dict.fromkeys(("confirmed", "refuted", "not testable"), 0)
    for comparison in result.comparisons:
        counts[comparison.outcome] += 1
    threshold = result.study["in_range_threshold"]
    reached = sum(run["in_range"] is not None and run["in_range"] >= threshold for run in result.runs)
    console.print(", ".join(f"{count} {outcome}" for outcome, count in counts.items()), style="bold")
    console.print(
        f"{reached} of {len(result.runs)} runs reached {threshold:.0%} in range; {result.missing} runs missing"
    )
    for comparison in result.comparisons:
        if comparison.outcome == "refuted":
            task, cell = comparison.question["task"], comparison.cell
            modulus = "" if task["modulus"] is None else f" mod {task['modulus']}"
            where = f"{task['name']}{modulus}, {comparison.question['encoding']}, {cell['test_digits']} digits"
            console.print(f"  refuted: {where} ({cell['law']}): {comparison.reason}", markup=False)
    for script in result.scripts:
        console.print(f"{script.title}, at every length: {script.summary}", markup=False)
        for run in script.runs:
            if run.outcome != "certified":
                console.print(f"  run {run.run_id}: {run.outcome}; {run.reason}", markup=False)
    console.print(f"report: {page}", markup=False)
