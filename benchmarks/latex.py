r"""A scored study as LaTeX tables (booktabs), each in a file of its own, and a ``main.tex`` that shows them all.

They compile in a plain ``article``. Text is escaped, fractions are exact where they are short, and a long table is cut
into parts that fit a page each.

>>> escape("50% of $x_1 & more")
'50\\% of \\$x\\_1 \\& more'
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from carryproof.benchmarks.beside import beside_ours
from carryproof.benchmarks.certified import JudgedScript
from carryproof.benchmarks.compare import Comparison, StudyResult
from carryproof.benchmarks.literature import REACHES, SOURCE
from carryproof.benchmarks.published import conclusions, law_rows
from carryproof.benchmarks.sections import (
    OUTCOMES,
    VERDICTS,
    Section,
    digits,
    measured_range,
    number,
    percent,
    predicted_words,
    run_status,
    span,
)
from carryproof.benchmarks.theories import TheoryScore

ROWS_AT_MOST = 42
SEEDS_AT_MOST = 4  # more than these are written as a span
_SPECIAL = {
    "\\": r"\textbackslash{}",
    **{sign: "\\" + sign for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\ensuremath{<}",
    ">": r"\ensuremath{>}",
    "|": r"\ensuremath{|}",
    "≈": r"\ensuremath{\approx}",
    "≥": r"\ensuremath{\geq}",
    "±": r"\ensuremath{\pm}",
    "×": r"\ensuremath{\times}",
    "–": "--",
}


def escape(text: str) -> str:
    """Text that LaTeX prints as it is; what plain pdfLaTeX cannot print becomes a question mark."""
    return "".join(_SPECIAL.get(sign, sign if sign.isascii() and sign.isprintable() else "?") for sign in text)


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A table before it is written: plain text all through, but for ``head``, which is LaTeX."""

    name: str
    caption: str
    columns: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def parts(self) -> Iterator["Table"]:
        """The table itself, or numbered parts of it that fit a page each."""
        cuts = range(0, len(self.rows), ROWS_AT_MOST)
        if len(cuts) <= 1:
            yield self
            return
        for part, first in enumerate(cuts, 1):
            yield Table(
                name=f"{self.name}-{part}",
                caption=f"{self.caption} Part {part} of {len(cuts)}.",
                columns=self.columns,
                head=self.head,
                rows=self.rows[first : first + ROWS_AT_MOST],
            )

    def __str__(self) -> str:
        body = "".join(" & ".join(map(escape, row)) + " \\\\\n" for row in self.rows)
        return (
            "\\begin{table}[htbp]\n\\centering\\footnotesize\\setlength{\\tabcolsep}{3pt}\n"
            f"\\caption{{{escape(self.caption)}}}\n\\label{{tab:{self.name}}}\n"
            f"\\begin{{tabular}}{{@{{}}{self.columns}@{{}}}}\n\\toprule\n{' & '.join(self.head)} \\\\\n\\midrule\n"
            f"{body}\\bottomrule\n\\end{{tabular}}\n\\end{{table}}\n"
        )


def write_tables(
    result: StudyResult, sections: Sequence[Section], theories: Sequence[TheoryScore], folder: Path
) -> None:
    """Write every table into a folder, and ``main.tex``, which shows them all."""
    shown = []
    for table in _tables(result, sections, theories):
        for part in table.parts():
            (folder / f"{part.name}.tex").write_text(str(part), encoding="ascii")
            shown.append(f"\\input{{{part.name}}}\n\\clearpage\n")
    head = "\\documentclass{article}\n\\usepackage{booktabs}\n\\begin{document}\n"
    (folder / "main.tex").write_text(f"{head}{''.join(shown)}\\end{{document}}\n", encoding="ascii")


def _tables(result: StudyResult, sections: Sequence[Section], theories: Sequence[TheoryScore]) -> Iterator[Table]:
    yield _summary(result)
    yield _verdicts(sections)
    if theories:
        yield _theories(theories)
    for section in sections:
        for law in section.laws:
            yield _cells(section, law)
    yield _runs(result, sections)
    if result.scripts:
        yield _certified(result.scripts)
        yield _reaches()
    if beside_ours(sections):
        yield _published(sections)
        yield _exact_law()


def _summary(result: StudyResult) -> Table:
    rows = []
    for verdict in VERDICTS:
        found: list[str] = [each.outcome for each in result.comparisons if each.cell["verdict"] == verdict]
        if found:
            rows.append([verdict, *(str(found.count(outcome)) for outcome in OUTCOMES), str(len(found))])
    return Table(
        name="summary",
        caption="Cells of the study by verdict of the theory and outcome of the comparison. "
        f"Runs finished: {len(result.runs)} of {len(result.study['runs'])}.",
        columns="lrrrr",
        head=["Verdict", *OUTCOMES, "all"],
        rows=rows,
    )


def _verdicts(sections: Sequence[Section]) -> Table:
    rows = []
    for section in sections:
        for index, panel in enumerate(section.panels):
            cell = panel.under(section.laws[0])[-1]
            title, length = section.title if index == 0 else "", str(cell.cell["test_digits"])
            rows.append([title, panel.encoding, length, cell.cell["verdict"], cell.outcome, measured_range(cell)])
    return Table(
        name="verdicts",
        caption="Verdict, outcome and span of the seeds at m digits, the longest tested length.",
        columns="llrlll",
        head=["Task", "Encoding", "$m$", "Verdict", "Outcome", "Accuracy"],
        rows=rows,
    )


def _theories(theories: Sequence[TheoryScore]) -> Table:
    def share(value: float | None) -> str:
        return "–" if value is None else percent(value)

    rows = [
        [
            each.title,
            each.source.rpartition(", ")[2],
            *map(str, (each.generalizes, each.fails, each.silent, each.right)),
            share(each.seed_share),
            str(each.numbers),
            share(each.error),
        ]
        for each in theories
    ]
    return Table(
        name="theories",
        caption="Theories side by side, as registered before training, on the cells outside the training range that "
        "have a seed right in range: how many are claimed to generalize, to fail, or left open; in how many every such "
        "seed does what was claimed, and the mean share of seeds that do; mean distance to the accuracy where one is "
        "named.",
        columns="llrrrrrrr",
        head=["Theory", "Source", "gen.", "fails", "silent", "right", "seeds", "named", "error"],
        rows=rows,
    )


def _cells(section: Section, law: str) -> Table:
    rows = []
    for panel in section.panels:
        for index, cell in enumerate(panel.under(law)):
            exact, value = predicted_words(cell.cell)
            name, length = panel.encoding if index == 0 else "", str(cell.cell["test_digits"])
            exact, value = exact.split(" ")[0], value.removesuffix("%")
            rows.append([name, length, cell.cell["verdict"], exact, value, _seeds(cell), cell.outcome])
    return Table(
        name=f"cells-{section.slug}-{law}",
        caption=f"{section.title}, trained on {section.train_words}, tested on m digits under the operand law "
        f"{law}: predicted accuracy and every seed's. In brackets: seeds not right in range. A prediction of a "
        "permitted or in-range cell is a condition, not a promise.",
        columns="lrlrrll",
        head=["Encoding", "$m$", "Verdict", "Predicted", r"in \%", r"Measured in \%, by seed", "Outcome"],
        rows=rows,
    )


def _seeds(cell: Comparison) -> str:
    """The accuracies in percent, in the order of the seeds; in brackets those of seeds that are not right in range."""
    if not cell.seeds:
        return "no run"
    if len(cell.seeds) > SEEDS_AT_MOST:
        return f"{measured_range(cell).removesuffix('%')} ({len(cell.seeds)} seeds)"
    shares = [percent(seed.accuracy).removesuffix("%") for seed in cell.seeds]
    return ", ".join(share if seed.eligible else f"[{share}]" for share, seed in zip(shares, cell.seeds, strict=True))


def _runs(result: StudyResult, sections: Sequence[Section]) -> Table:
    rows = [
        [
            section.title,
            panel.encoding,
            str(run["config"]["seed"]),
            "–" if run["in_range"] is None else percent(run["in_range"]),
            "–" if run["share_seen"] is None else percent(run["share_seen"]),
            str(run["config"]["recipe"]["steps"]),
            f"{run['train_seconds']:.0f}",
            str(run["parameters"]),
            run_status(run, result.study["in_range_threshold"]).removesuffix(" in range"),
        ]
        for section in sections
        for panel in section.panels
        for run in panel.runs
    ]
    return Table(
        name="runs",
        caption="All runs: exact match in range, share of the in-range problems seen in training, steps, seconds of "
        "training, parameters.",
        columns="llrrrrrrl",
        head=["Task", "Encoding", "Seed", "In range", "Seen", "Steps", "s", "Par.", "Status"],
        rows=rows,
    )


def _certified(scripts: Sequence[JudgedScript]) -> Table:
    rows = []
    for script in scripts:
        for index, run in enumerate(script.runs):
            certificate = run.certificate
            rows.append(
                [
                    f"{script.title}, trained on {digits(script.train_words)}" if index == 0 else "",
                    "–" if run.seed is None else str(run.seed),
                    f"{certificate['windows']:,}" if certificate else "–",
                    f"{certificate['wrong']:,}" if certificate else "–",
                    number(certificate.get("margin")),
                    number(certificate.get("slack")),
                    span(list(run.shares.values())) if run.shares else "no run",
                    f"{max(run.shares):,}" if run.shares else "–",
                    run.outcome,
                ]
            )
    return Table(
        name="certified",
        caption="Script runs, forced at every length if every window is right by more than rounding: windows, those "
        "that are wrong, smallest margin and what rounding surely leaves of it (slack), lowest and highest exact "
        "match over the measured lengths, the longest of them.",
        columns="p{2.5cm}rrrrrlrp{1.5cm}",
        head=["Process", "Seed", "Windows", "wrong", "Margin", "Slack", "Accuracy", "up to", "Outcome"],
        rows=rows,
    )


def _reaches() -> Table:
    return Table(
        name="reaches",
        caption="Decimal addition by published methods: trained on up to, and reported right up to, so many digits, "
        "and what each is told of the task.",
        columns="p{2.5cm}lrp{2cm}p{3.4cm}",
        head=["Method", "Source", "Trained", "Right up to", "Told"],
        rows=[
            [each.method, each.source, str(each.trained), f"{each.reached:,}{each.remark}", each.told]
            for each in REACHES
        ],
    )


def _published(sections: Sequence[Section]) -> Table:
    rows = beside_ours(sections)
    steps = max(len(row.values) for row in rows)
    return Table(
        name="published",
        caption=f"Percent exact match at 1 to {steps} digits beyond the longest trained length: published ({SOURCE}) "
        "and ours, learned absolute positions. Lengths and model sizes differ.",
        columns="llr" + "r" * steps,
        head=["Task", "Model", "Trained", *(f"$+{step + 1}$" for step in range(steps))],
        rows=[[row.title, row.model, row.trained, *row.values, *[""] * (steps - len(row.values))] for row in rows],
    )


def _exact_law() -> Table:
    rows, steps = law_rows(), max(len(row.published) for row in law_rows())
    lines = []
    for row in rows:
        gap = [""] * (steps - len(row.published))
        title = row.title.replace("addition", "a + b").replace("multiplication", "a × b")
        lines.append([title, row.in_range, "publ.", *row.published, *gap, "", "", ""])
        numbers = [row.chi_square.partition(" ")[0], row.degrees, row.p_value]
        lines.append(["", "", "exact", *row.exact, *gap, *numbers])
    return Table(
        name="published-law",
        caption=f"Percent exact match at 0 to {steps} digits beyond the trained length: published ({SOURCE}) and the "
        f"exact accuracy of the surrogate. {conclusions()[0].replace('χ²', 'Chi-square')}",
        columns="lrl" + "r" * (steps + 3),
        head=["Task", "$+0$", "", *(f"$+{step + 1}$" for step in range(steps)), r"$\chi^2$", "df", "$p$"],
        rows=lines,
    )
