r"""Notation: mathematics is written once, as LaTeX, and read in a terminal as unicode.

Sentences hold formulas between dollar signs; ``to_unicode`` knows the commands that this package writes and no others.
Digits are a_i and b_i, or a^(1)_i, a^(2)_i, ... from three operands on; c_i is the token, c^(j)_i that of row j.

>>> print(to_unicode(r"least-first, $c_i = (a_i + \lfloor (a_{i-1} + r) / 10 \rfloor) \bmod 10$ at $10^{r+2}$"))
least-first, cᵢ = (aᵢ + ⌊(aᵢ₋₁ + r) / 10⌋) mod 10 at 10ʳ⁺²
>>> print(escape("50% of a_1"), to_unicode(escape("50% of a_1")))
50\% of a\_1 50% of a_1
"""

import re
from collections.abc import Sequence

from carryproof.theory.processes import Process, WindowSlot, shifted

_ESCAPES = {character: "\\" + character for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
}
_SYMBOLS = {
    r"\allowbreak": "",
    r"\bmod": "mod",
    r"\cdot": "·",
    r"\cdots": "⋯",
    r"\dots": "…",
    r"\to": "→",
    r"\ge": "≥",
    r"\infty": "∞",
    r"\lceil": "⌈",
    r"\le": "≤",
    r"\lfloor": "⌊",
    r"\max": "max",
    r"\mid": "|",
    r"\ne": "≠",
    r"\nmid": "∤",
    r"\rceil": "⌉",
    r"\rfloor": "⌋",
}
_SUBSCRIPTS = dict(zip("0123456789+-=()aehijklmnoprstuvx", "₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ", strict=True))
_SUPERSCRIPTS = dict(zip("0123456789+-=()ijknr", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁱʲᵏⁿʳ", strict=True))
_WORDS = r"\\text\{((?:\\[{}]|\{\}|[^{}])*)\}"
_PRIVATE = 0xE000
FEW = 3  # longer lists of the same kind are written with dots


def escape(text: str) -> str:
    """Plain text as LaTeX."""
    return "".join(_ESCAPES.get(character, character) for character in text)


def prose(text: str) -> str:
    """Plain text as LaTeX in which differences of single letters and digits, such as ``B-1``, are formulas.

    >>> prose("digits B-1, least-first")
    'digits $B-1$, least-first'
    """
    return re.sub(r"(?<![\w-])\w(?:-\w)+(?![\w-])", lambda found: f"${found[0]}$", escape(text))


def to_unicode(latex: str) -> str:
    """A sentence with formulas as it reads in a terminal."""
    parts = re.split(r"(?<!\\)\$", latex)
    return "".join(_formula(part) if index % 2 else _plain(part) for index, part in enumerate(parts))


def _plain(text: str) -> str:
    for character, escaped in sorted(_ESCAPES.items(), key=lambda pair: -len(pair[1])):
        text = text.replace(escaped, character)
    return text


def _formula(latex: str) -> str:
    words: list[str] = []

    def keep(found: re.Match[str]) -> str:  # words are no formulas: put by, and back in their place at the end
        words.append(_plain(found[1] or found[2]))
        return chr(_PRIVATE + len(words) - 1)

    text = re.sub(rf"\\mathbin\{{{_WORDS}\}}|{_WORDS}", keep, re.sub(r"\s*\\cdot\s+", "·", latex))
    text = re.sub(r"\\[a-z]+", lambda found: _SYMBOLS[found[0]], text)
    text = re.sub(r"([_^])(?:\{([^{}]*)\}|(\w))", _script, text)
    text = re.sub(r"(?<=[⌊⌈])\s+|\s+(?=[⌋⌉])", "", text)
    text = re.sub(r" {2,}", " ", text).replace("-", "−")
    return "".join(words[ord(each) - _PRIVATE] if 0 <= ord(each) - _PRIVATE < len(words) else each for each in text)


def _script(found: re.Match[str]) -> str:
    known, content = (_SUBSCRIPTS if found[1] == "_" else _SUPERSCRIPTS), found[2] or found[3]
    if all(character in known for character in content):
        return "".join(known[character] for character in content)
    return found[1] + (content if len(content) == 1 else f"({content})")


def power(base: int | str, exponent: int) -> str:
    """``base^exponent``, without an exponent of 1."""
    return f"{base}^{{{exponent}}}" if exponent > 1 else str(base)


def operand_name(operand: int, operands: int) -> str:
    """The number that an operand is: a, b, or a^(1), a^(2), ... from three on."""
    return "ab"[operand] if operands <= 2 else f"a^{{({operand + 1})}}"


def operand_list(operands: int, *, digit: str = "", moved: Sequence[int] = (), factor: str = "") -> list[str]:
    """The operands, or their digits at a place, with a factor before those that are moved; dots replace most."""
    subscript = f"_{{{digit}}}" if digit else ""
    names = [operand_name(operand, operands) + subscript for operand in range(operands)]
    names = [f"{factor} \\cdot {name}" if index in moved else name for index, name in enumerate(names)]
    if operands <= FEW:
        return names
    alone = moved[0] if len(moved) == 1 else 0
    between = [names[alone], r"\dots"] if 0 < alone < operands - 1 else []
    return [names[0], r"\dots", *between, names[-1]]


def slot_name(process: Process, slot: WindowSlot) -> str:
    """A slot of a window as a formula."""
    if slot.role == "operand":
        place = shifted(process.homes[slot.operand].text, slot.offset[0])
        return f"{operand_name(slot.operand, len(process.homes))}_{{{place}}}"
    if slot.operand:
        return f"c_{{{shifted(process.answers[slot.operand].text, slot.offset[0])}}}"
    *rows, place = map(shifted, process.coordinates, slot.offset)
    return "c" + "".join(f"^{{({row})}}" for row in rows) + f"_{{{place}}}"


def slot_list(process: Process, slots: Sequence[WindowSlot]) -> str:
    """Slots separated by commas, where a line may break; digits of many operands at one place have dots."""
    names: list[str] = []
    many = len(process.homes) > FEW
    for index, slot in enumerate(slots):
        around = [slots[index + step] if 0 <= index + step < len(slots) else None for step in (-1, 1)]
        inner = all(
            near is not None and near.role == slot.role == "operand" and near.offset == slot.offset for near in around
        )
        if not (many and inner):
            names.append(slot_name(process, slot))
        elif names[-1] != r"\dots":
            names.append(r"\dots")
    return r",\allowbreak ".join(names)


def joined(items: Sequence[str]) -> str:
    """Items separated by commas, where a line may break; runs of more than three equal ones have dots.

    >>> joined(["0", "0", "0", "0", "1"])
    '0,\\\\allowbreak \\\\dots,\\\\allowbreak 0,\\\\allowbreak 1'
    """
    short: list[str] = []
    for index, item in enumerate(items):
        run = len(items) > FEW and index > 0 and index + 1 < len(items) and items[index - 1] == item == items[index + 1]
        if not run:
            short.append(item)
        elif short[-1] != r"\dots":
            short.append(r"\dots")
    return r",\allowbreak ".join(short)
