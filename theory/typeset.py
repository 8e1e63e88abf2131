r"""Typesetting: a proof as lines for a terminal, in unicode, or as a LaTeX fragment.

The fragment needs amsmath and amssymb. In the two problems of a counterexample what the window sees stands in brackets
in a terminal and is underlined in LaTeX; so is the token that differs.

>>> from carryproof.theory import proofs, subjects
>>> print(*terminal_lines(proofs.prove(subjects.build("reversal")), 100)[:2], sep="\n")
reversal in base 10
    cᵢ = aₙ₋₁₋ᵢ for a number of n digits
>>> print(latex_fragment(proofs.prove(subjects.build("copy"))).splitlines()[1])
\[ c_{i} = a_{i} \]
"""

from textwrap import wrap

from carryproof.theory.contrasts import Contrast, Row
from carryproof.theory.facts import Fact
from carryproof.theory.notation import escape, prose, to_unicode
from carryproof.theory.proofs import Proof

INDENT = " " * 4
WIDEST = 48  # places; longer problems are named, not shown


def terminal_lines(proof: Proof, width: int) -> list[str]:
    """The proof as lines of at most ``width`` columns, where words allow it."""
    lines = [proof.subject.title, *_wrapped(to_unicode(f"${proof.subject.formula}$"), INDENT, width)]
    for section in proof.sections:
        lines += ["", section.title]
        column = max(len(_head(fact)) for fact in section.facts) + 2
        for fact in section.facts:
            first, *rest = _wrapped(fact.statement, " " * column, width)
            lines += [_head(fact).ljust(column) + first[column:], *rest]
            for equation in fact.equations:
                lines += _wrapped(to_unicode(f"${equation}$"), " " * (column + 4), width)
            if fact.reason:
                lines += _wrapped(to_unicode(fact.reason), " " * column, width)
            if fact.contrast is not None:
                lines += _wrapped(to_unicode(_caption(fact.contrast)), " " * column, width)
                lines += [" " * (column + 4) + line for line in _terminal_contrast(fact.contrast)]
    return lines


def _head(fact: Fact) -> str:
    return f"  {fact.law:4} {fact.status}"


def _wrapped(text: str, indent: str, width: int) -> list[str]:
    return wrap(
        text,
        max(width, len(indent) + 20),
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _caption(contrast: Contrast) -> str:
    (here, there), rows = contrast.coordinates, contrast.first
    tokens = [f"$c_{{{','.join(map(str, place))}}}$" for place in (here, there)]
    differ = f"in {tokens[0]}" if here == there else f"as {tokens[0]} and {tokens[1]} do"
    near = "in the window" if contrast.radius is None else f"within radius ${contrast.radius}$"
    places = len(rows[0].cells)
    shown = f" (problems of {places} places, too wide to show)" if places > WIDEST else ":"
    return f"two problems that agree {near} and differ {differ}{shown}"


def _shown(contrast: Contrast) -> list[tuple[Row, Row] | None]:
    """The rows side by side; None stands for rows between two that are the same as these."""
    if len(contrast.first[0].cells) > WIDEST:
        return []
    pairs = list(zip(contrast.first, contrast.second, strict=True))
    shown: list[tuple[Row, Row] | None] = []
    for index, pair in enumerate(pairs):
        near = pairs[index - 1 : index + 2] if index else []
        if len(near) < 3 or len({(one.cells, other.cells) for one, other in near}) > 1:
            shown.append(pair)
        elif shown[-1] is not None:
            shown.append(None)
    return shown


def _terminal_contrast(contrast: Contrast) -> list[str]:
    rows = _shown(contrast)
    size = max(len(cell) for rows in (contrast.first, contrast.second) for row in rows for cell in row.cells)
    wide = max((len(to_unicode(f"${pair[0].name}$")) for pair in rows if pair is not None), default=0)

    def line(row: Row) -> str:
        return f"{to_unicode(f'${row.name}$').rjust(wide)} = {_bracketed(row, size)}"

    return ["⋮".rjust(wide) if pair is None else f"{line(pair[0])}    {line(pair[1])}".rstrip() for pair in rows]


def _bracketed(row: Row, size: int) -> str:
    text, before = "", False
    for cell, seen in zip(row.cells, row.seen, strict=True):
        text += ("]" if before and not seen else "[" if seen and not before else " ") + cell.rjust(size)
        before = seen
    return text + ("]" if before else " ")


def latex_fragment(proof: Proof) -> str:
    """The proof as LaTeX for the body of an article; needs amsmath and amssymb."""
    lines = [rf"\paragraph{{{_sentence(prose(proof.subject.title))}}}", rf"\[ {proof.subject.formula} \]"]
    for section in proof.sections:
        lines += [rf"\paragraph{{{escape(section.title)}.}}", r"\begin{itemize}\raggedright"]
        for fact in section.facts:
            lines.append(rf"\item \textbf{{{fact.status}}} ({fact.law}) {_sentence(fact.latex)}")
            if fact.equations:
                lines += _aligned([equation.replace(" = ", " &= ", 1) for equation in fact.equations])
            if fact.reason:
                lines.append(_sentence(fact.reason))
            if fact.contrast is not None:
                lines.append(_capital(_caption(fact.contrast)))
                lines += _latex_contrast(fact.contrast)
        lines.append(r"\end{itemize}")
    return "\n".join(lines)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _sentence(text: str) -> str:
    return _capital(text) + "."


def _aligned(rows: list[str]) -> list[str]:
    return [r"\begin{equation*}\begin{aligned}", " \\\\\n".join(rows), r"\end{aligned}\end{equation*}"]


def _latex_contrast(contrast: Contrast) -> list[str]:
    rows = [
        r"& \;\,\vdots && \;\,\vdots"
        if pair is None
        else f"{pair[0].name} &= {_underlined(pair[0])} & {pair[1].name} &= {_underlined(pair[1])}"
        for pair in _shown(contrast)
    ]
    return _aligned(rows) if rows else []


def _underlined(row: Row) -> str:
    longer = any(len(cell) > 1 for cell in row.cells)
    cells = []
    for cell, seen in zip(row.cells, row.seen, strict=True):
        text = rf"\mathtt{{{cell}}}" if cell else r"\phantom{\mathtt{0}}"
        cells.append(rf"\underline{{{text}}}" if seen else text)
    return (r"\;" if longer else "").join(cells)
