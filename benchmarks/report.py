"""The report of a scored study: one self-contained page, with its figures, LaTeX tables and CSV files beside it.

    index.html     everything, in one file without outside resources
    figures/       each figure as PNG, SVG and PDF
    tables/        each table as LaTeX (booktabs), and main.tex, which shows them all
    cells.csv      one row per cell and seed;  records.csv  one row per run, length, law and stratum
    forecasts.csv  one row per theory and cell, where forecasts were registered
    certified.csv  one row per script run and length, where the study has script runs
    published.csv  one row per published cell of a modular task beside the exact law

All of it is written into a temporary folder beside the old report and swapped in at the end, so an interrupt leaves
either the old report or the new one. Equal results give equal bytes: nothing in it depends on when it was written.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment

from carryproof.benchmarks.beside import beside_ours
from carryproof.benchmarks.compare import SUCCESS, Comparison, StudyResult
from carryproof.benchmarks.curves import bounds
from carryproof.benchmarks.figures import draw_figures
from carryproof.benchmarks.latex import write_tables
from carryproof.benchmarks.literature import REACHES, SOURCE
from carryproof.benchmarks.pages import PAGE, in_place_of, page_environment
from carryproof.benchmarks.published import conclusions, law_rows
from carryproof.benchmarks.sections import (
    OUTCOMES,
    VERDICTS,
    Panel,
    Section,
    arrange,
    digits,
    number,
    percent,
    predicted_words,
    run_status,
    untested_because,
)
from carryproof.benchmarks.spreadsheets import write_spreadsheets
from carryproof.benchmarks.theories import by_question, claim_words, score_theories, scored_forecasts
from carryproof.theory.ranges import write_lengths


def write_report(result: StudyResult, folder: Path) -> Path:
    """Write the report of a study into ``folder``, in place of an older report there; return the path of its page.

    Raises ``ValueError`` if ``folder`` cannot be written, or holds something else than a report.
    """
    with in_place_of(folder) as fresh:
        _write(result, fresh)
    return folder / PAGE


def _write(result: StudyResult, folder: Path) -> None:
    figures, tables = folder / "figures", folder / "tables"
    figures.mkdir()
    tables.mkdir()
    sections = arrange(result)
    drawn = draw_figures(sections, result.scripts, figures, result.study["margin"])
    forecasts = scored_forecasts(result)
    theories = score_theories(forecasts)
    write_tables(result, sections, theories, tables)
    write_spreadsheets(result, forecasts, folder)
    page = (
        _environment(figures)
        .get_template("benchmarks/report.html.j2")
        .render(
            study=result.study,
            registry=result.registry,
            sections=sections,
            figures=drawn,
            verdicts=_counts(result),
            outcomes=OUTCOMES,
            untested=Counter(why for why in map(untested_because, result.comparisons) if why is not None).most_common(),
            totals=Counter(each.outcome for each in result.comparisons),
            runs=_runs(result),
            permitted={section.slug: _permitted(section) for section in sections},
            published=beside_ours(sections),
            published_source=SOURCE,
            published_laws=law_rows(),
            published_conclusions=conclusions(),
            success=SUCCESS,
            theories=theories,
            claims=by_question(forecasts),
            scripts=result.scripts,
            all_certified=all(script.count("certified") == len(script.runs) for script in result.scripts),
            reaches=REACHES,
        )
    )
    (folder / PAGE).write_text(page, encoding="utf-8")


def _environment(figures: Path) -> Environment:
    """That of every page, with the words of a study."""
    environment = page_environment(figures)
    environment.filters |= {
        "percent": percent,
        "number": number,
        "digits": digits,
        "predicted": predicted_words,
        "span": lambda correct, problems: " to ".join(percent(end) for end in _ends(correct, problems)),
        "chance": lambda cell: f"{100 * cell.successes.low:.3g}% to {100 * cell.successes.high:.3g}%",
        "successes": lambda cell: sum(seed.accuracy >= SUCCESS for seed in cell.seeds),
        "reasons": _reasons,
        "status": run_status,
        "claimed": claim_words,
    }
    return environment


def _ends(correct: int, problems: int) -> tuple[float, float]:
    span = bounds(correct, problems)
    return span.low, span.high


def _counts(result: StudyResult) -> list[tuple[str, Counter[str]]]:
    """How often each verdict met each outcome."""
    counts = {verdict: Counter[str]() for verdict in VERDICTS}
    for each in result.comparisons:
        counts[each.cell["verdict"]][each.outcome] += 1
    return [(verdict, count) for verdict, count in counts.items() if count]


def _runs(result: StudyResult) -> Mapping[str, Any]:
    """How many runs were planned, finished and right in range, and which were not."""
    threshold, planned = result.study["in_range_threshold"], result.study["runs"]
    finished = {run["run_id"] for run in result.runs}
    right = [run for run in result.runs if run_status(run, threshold) == "finished"]
    return {
        "planned": len(planned),
        "finished": len(result.runs),
        "right": len(right),
        "share": len(right) / len(planned) if planned else 0.0,
        "missing": [run_id for run_id in planned if run_id not in finished],
        "states": Counter(run_status(run, threshold) for run in result.runs),
        "seconds": sum(run["train_seconds"] + run["evaluate_seconds"] for run in result.runs),
    }


def _reasons(panel: Panel) -> list[tuple[str, Comparison]]:
    """The cells of a panel grouped by verdict and reasons: where they hold, and one cell that has them."""
    groups: dict[str, tuple[dict[str, list[int]], Comparison]] = {}
    for each in panel.cells:
        key = f"{each.cell['verdict']}{each.cell['surrogate']}{each.cell['reasons']}"
        where, _ = groups.setdefault(key, ({}, each))
        where.setdefault(each.cell["law"], []).append(each.cell["test_digits"])
    return [
        ("; ".join(f"{digits(write_lengths(tuple(lengths)))} ({law})" for law, lengths in where.items()), each)
        for where, each in groups.values()
    ]


def _permitted(section: Section) -> list[tuple[Panel, Comparison]]:
    """Panels where generalization is permitted but not promised because of anchors (law L11), at the next length."""
    found = []
    for panel in section.panels:
        beyond = [cell for cell in panel.under(section.laws[0]) if cell.cell["test_digits"] > section.trained[-1]]
        anchored = [cell for cell in beyond if cell.cell["verdict"] == "permitted" and _has_law(cell, "L11")]
        if anchored:
            found.append((panel, anchored[0]))
    return found


def _has_law(cell: Comparison, law: str) -> bool:
    reasons: Sequence[Mapping[str, Any]] = cell.cell["reasons"]
    return any(reason["law"] == law for reason in reasons)
