"""What a person sees of a bench: a table for each section, remarks, and the floors that were not met.

>>> amount(3_512_000.0, "examples/s"), amount(0.41234, "share"), amount(4.219, "times")
('3,512,000', '41.2 %', '4.22×')
"""

from itertools import groupby
from pathlib import Path

from rich.table import Table

from carryproof.benchmarks.scores import Report
from carryproof.console import new_console

TITLES = {
    "peak": "The machine's peak, and what of it a training step reaches (needed operations only)",
    "training": "Training step: times as fast as",
    "evaluation": "Exact match, every decision compared: times as fast as",
    "data": "Data on one core: examples a second, and how many times as long a training step takes",
    "seeds": "Eight seeds at once: times as fast as",
    "commands": "Seconds",
    "accuracy": "From the start of a process to accuracy in range: times as fast as",
}


def print_bench(report: Report, written: Path) -> None:
    """Print every section of a report, then its remarks, then a line for each floor that was not met."""
    console = new_console()
    machine = ", ".join(f"{name} {value}" for name, value in report.machine.items())
    console.print(f"{machine}; {report.plan['threads']} threads", markup=False, soft_wrap=True)
    for section, rows in groupby(report.rows, key=lambda row: row.section):
        table = Table(title=TITLES[section], box=None, pad_edge=False, title_justify="left")
        for column in ("what", "against", "median", "range", "goal", "floor", ""):
            table.add_column(column, justify="right" if column in ("median", "range", "goal", "floor") else "left")
        for row in rows:
            found = amount(row.median, row.unit), f"{amount(row.low, row.unit)} to {amount(row.high, row.unit)}"
            target = row.target
            held = ("", "") if target is None else (amount(target.goal, row.unit), amount(target.floor, row.unit))
            table.add_row(row.name, row.against, *found, *held, row.verdict)
        console.print(table)
    for remark in report.remarks:
        console.print(remark, markup=False, soft_wrap=True)
    for reason in dict.fromkeys(row.waived for row in report.rows if row.waived and row.target is not None):
        console.print(f"floors waived: {reason}", markup=False, soft_wrap=True)
    if report.absent:
        console.print(f"not installed: {', '.join(report.absent)} (pip install 'carryproof[peers]')", markup=False)
    console.print(f"numbers: {written}; figure: {written.with_suffix('.png')}", markup=False, soft_wrap=True)
    for row in report.missed:
        assert row.target is not None
        median, floor = amount(row.median, row.unit), amount(row.target.floor, row.unit)
        against = f" against {row.against}" if row.against else ""
        console.print(
            f"below its floor: {row.section}, {row.name}{against}: {median}, floor {floor}",
            markup=False,
            soft_wrap=True,
        )


def amount(value: float, unit: str) -> str:
    """A number with its unit, as short as it can be read."""
    match unit:
        case "times":
            return f"{value:,.0f}×" if value >= 100 else f"{value:.3g}×"
        case "share":
            return f"{value:.1%}".replace("%", " %")
        case "examples/s" | "GFLOP/s":
            return f"{value:,.0f}"
        case _:
            return f"{value:.3g}"
