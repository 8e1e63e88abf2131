"""The numbers published for modular addition and multiplication beside the exact law, as tables in words.

Rows and chi-square come from ``carryproof.benchmarks.agreement``; here they become text, once for the terminal, the
documentation, the report's page, LaTeX and CSV. ``python -m carryproof.benchmarks.published`` prints them, and with
``--markdown`` the table of the documentation.

>>> row = law_rows()[1]
>>> row.title, row.published[:3], row.exact[:3], row.chi_square
('addition mod 51', ('0.3', '1.8', '1.9'), ('0', '1.988', '1.96'), '9.0 (6.0–12.9)')
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from rich.console import Console
from rich.table import Table

from carryproof.benchmarks.agreement import LEVEL, Agreement, ChiSquare, LawCell, adjusted, agreements, tail, total
from carryproof.benchmarks.literature import PROBLEMS, SOURCE
from carryproof.theory.prediction import write_fraction
from carryproof.theory.tasks import dropped_share

WIDE = 200  # columns, where nobody watches: rows must not break
NOTHING = "–"
NO_SPREAD = (
    "Where the exact percentage is 0 or 100, a count has no spread and chi-square does not apply: what "
    "differs there was not answered as the surrogate answers, a leak (law L14)."
)
HEAD = ("task", "p'", "in range", "+1", "+2", "+3", "+4", "+5", "+6", "χ²", "df", "p", "conclusion")


@dataclass(frozen=True, kw_only=True, slots=True)
class LawRow:
    """A published row beside the exact law, as text; percentages by the number of digits beyond the trained length."""

    title: str
    share: str
    in_range: str
    published: tuple[str, ...]
    exact: tuple[str, ...]
    chi_square: str
    degrees: str
    p_value: str
    conclusion: str

    @property
    def pairs(self) -> tuple[str, ...]:
        """Published and exact percentages in one."""
        return tuple(map(" / ".join, zip(self.published, self.exact, strict=True)))


@cache
def _found() -> tuple[Agreement, ...]:
    return tuple(agreements())


def law_rows() -> list[LawRow]:
    """Every published row of a modular task, in words."""
    return [_row(each) for each in _found()]


def _row(found: Agreement) -> LawRow:
    task, row = found.task, found.row
    assert task.modulus is not None
    return LawRow(
        title=task.label,
        share=str(dropped_share(task.modulus, task.base, row.trained)),
        in_range=f"{row.in_range:g}",
        published=tuple(f"{cell.percent:.{row.decimals}f}" for cell in found.cells),
        exact=tuple(map(_exact_percent, found.cells)),
        chi_square=NOTHING if found.chi_square is None else chi_square_words(found.chi_square),
        degrees=str(found.degrees or NOTHING),
        p_value=NOTHING if found.p_value is None else p_words(found.p_value),
        conclusion=found.conclusion,
    )


def _exact_percent(cell: LawCell) -> str:
    return NOTHING if cell.exact is None else f"{100 * float(cell.exact):.4g}"


def chi_square_words(value: ChiSquare) -> str:
    """Chi-square at the printed percentages, with its span within their rounding."""
    ends = [f"{end:.1f}" for end in (value.least, value.most)]
    return f"{value.printed:.1f}" if ends[0] == ends[1] else f"{value.printed:.1f} ({ends[0]}–{ends[1]})"


def p_words(p_value: float) -> str:
    """A p-value to two significant digits; none is called zero.

    >>> p_words(0.2345), p_words(0.000742), p_words(0.0)
    ('0.23', '0.00074', '<1e-15')
    """
    return f"{p_value:#.2g}" if p_value >= 1e-15 else "<1e-15"


def _p(p_value: float) -> str:
    return f"p = {p_words(p_value)}".replace("= <", "< ")


def conclusions() -> list[str]:
    """What chi-square says, a sentence each: in total for each operation, then of each row that is not plain."""
    return [*_totals(), *_disagreements(), *_unconverged(), NO_SPREAD, *_leaks()]


def _totals() -> Iterator[str]:
    for operation in ("addition", "multiplication"):
        summed = total(_found(), operation)
        if summed is None:
            continue
        value = summed.chi_square
        span = ""
        if value.least < value.most:
            low, high = (p_words(tail(end, summed.degrees)) for end in (value.most, value.least))
            span = f", and from {low} to {high} within the rounding of the print"
        rows = "1 row" if summed.rows == 1 else f"{summed.rows} rows"
        yield (
            f"Modular {operation}, over {rows} right in range: χ² = {chi_square_words(value)} on {summed.degrees} "
            f"degrees of freedom, {_p(summed.p_value)}{span}."
        )


def _disagreements() -> Iterator[str]:
    corrected = adjusted(_found())
    for each in _found():
        if not each.conclusion.startswith("disagrees"):
            continue
        length, worst = max(each.tested, key=lambda tested: tested[1].printed)
        others = sum(value.printed for at, value in each.tested if at != length)
        p_others = _p(tail(others, each.degrees - 1))
        agreement = dict(enumerate(each.row.agreement, each.row.trained + 1))
        known = f", where {agreement[length]:g} % of the answers are the surrogate's" if length in agreement else ""
        yield (
            f"{each.task.label.capitalize()} disagrees ({_p(corrected[each.task])} after Holm's correction): "
            f"{worst.printed:.1f} of {each.chi_square.printed if each.chi_square else 0:.1f} comes from {length} "
            f"digits{known}; the other lengths agree ({p_others})."
        )


def _unconverged() -> Iterator[str]:
    for each in _found():
        if each.right_in_range or each.p_value is None:
            continue
        found = "do not contradict it" if each.p_value >= LEVEL else "contradict it"
        yield (
            f"{each.task.label.capitalize()} is right on {each.row.in_range:g} % in range, so the law promises "
            f"nothing; the percentages {found} ({_p(each.p_value)})."
        )


def _leaks() -> Iterator[str]:
    for each in _found():
        if not (each.right_in_range and each.leaks):
            continue
        worst = max((cell for cell in each.cells if cell.exact in (0, 1)), key=_away)
        yield (
            f"{each.task.label.capitalize()} leaks: {worst.percent:g} % at {worst.length} digits, where the surrogate "
            f"is {'always' if worst.exact else 'never'} right."
        )


def _away(cell: LawCell) -> float:
    return 0.0 if cell.exact is None else abs(cell.percent - 100 * float(cell.exact))


def law_cells() -> Iterator[dict[str, Any]]:
    """One plain row per published cell, for a spreadsheet."""
    for each in _found():
        for index, cell in enumerate(each.cells):
            value = cell.chi_square
            yield {
                "task": each.task.name,
                "modulus": each.task.modulus,
                "train_digits": each.row.trained,
                "in_range_percent": each.row.in_range,
                "test_digits": cell.length,
                "problems": PROBLEMS,
                "published_percent": cell.percent,
                "exact": None if cell.exact is None else write_fraction(cell.exact),
                "exact_percent": None if cell.exact is None else 100 * float(cell.exact),
                "as_surrogate_percent": each.row.agreement[index] if each.row.agreement else None,
                "chi_square": None if value is None else value.printed,
                "chi_square_least": None if value is None else value.least,
                "chi_square_most": None if value is None else value.most,
            }


def markdown() -> str:
    """The table and its conclusions as the documentation shows them."""
    lines = [_line(HEAD), _line(["---"] * len(HEAD))]
    lines += [_line(cells) for cells in _table()]
    return "\n".join([*lines, "", *(f"- {sentence}" for sentence in conclusions())]) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _table() -> Iterator[list[str]]:
    beyond = HEAD.index("χ²") - HEAD.index("+1")
    for row in law_rows():
        pairs = [*row.pairs, *[""] * (beyond - len(row.pairs))]
        yield [row.title, row.share, row.in_range, *pairs, row.chi_square, row.degrees, row.p_value, row.conclusion]


def print_table() -> None:
    """The table and its conclusions on the terminal."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDE)
    table = Table(
        title=f"Published / exact percentages at 1 to 6 digits beyond the trained length ({SOURCE})",
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    for name in HEAD:
        table.add_column(name)
    for cells in _table():
        table.add_row(*cells)
    console.print(table)
    for sentence in conclusions():
        console.print(f"- {sentence}")


def main(arguments: Sequence[str] | None = None) -> None:
    """The command: the table for reading, or with ``--markdown`` for the documentation."""
    parser = argparse.ArgumentParser(prog="python -m carryproof.benchmarks.published", description=main.__doc__)
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    if parser.parse_args(arguments).markdown:
        print(markdown(), end="")
    else:
        print_table()


if __name__ == "__main__":
    main()
