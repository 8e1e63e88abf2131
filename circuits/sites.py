"""What stands at a token position: the token read there, and the output that is decided there.

Positions of models of different sizes are compared by that meaning and never by number: D'2 is the third column of the
second operand in a text of any length, and A3 is decided one token before it is written. Up to the equals sign a site
is called by what is read, from there on by what is decided, which is what its nodes are for.

>>> read(2)
('D1', 'D0', 'op', "D'1", "D'0", '=', 'sign', 'A2', 'A1', 'A0')
>>> decided(2)
{5: 'sign', 6: 'A2', 7: 'A1', 8: 'A0'}
>>> [site(2, index) for index in (4, 5, 8)]
["D'0", 'sign is decided', 'A0 is decided']
"""

import re

from carryproof.circuits.ablation import token_names
from carryproof.circuits.algorithms import decided_at, position
from carryproof.circuits.texts import context, prompt_length
from carryproof.theory.errors import require_integer

WORDS = {"OP": "op", "SGN": "sign"}
DECIDED = " is decided"
_PLACE = re.compile(r"(D'?|A|NEG)(\d+)")


def read(digits: int) -> tuple[str, ...]:
    """The tokens of a text in order, by their meaning. Raises ``ValueError`` for digits outside 1 to 40."""
    operands = [f"{operand}{place}" for operand in ("D", "D'") for place in range(digits)]
    names = [*operands, "OP", *token_names(digits)]
    found = {position(name, digits): WORDS.get(name, name) for name in names}
    found[prompt_length(digits) - 1] = "="
    return tuple(found[index] for index in range(context(digits)))


def decided(digits: int) -> dict[int, str]:
    """The output that is decided at each position where one is."""
    return {decided_at(name, digits): WORDS.get(name, name) for name in token_names(digits)}


def site(digits: int, index: int) -> str:
    """The name of a position. Raises ``ValueError`` for a position outside the text."""
    require_integer("position", index, 0, context(digits) - 1)
    outputs = decided(digits)
    return f"{outputs[index]}{DECIDED}" if index in outputs else read(digits)[index]


def where(digits: int, index: int) -> str:
    """A position in words, after what is there.

    >>> where(2, 3), where(2, 5)
    ("at D'1", 'where the sign is decided')
    """
    name = site(digits, index)
    return f"at {name}" if DECIDED not in name else f"where {'the ' if name.startswith('sign') else ''}{name}"


def relative(text: str, place: int) -> str:
    """A site or variable with its place written relative to ``place``, which becomes k.

    >>> relative("D'2", 2), relative("A3 is decided", 2), relative("A1.SV", 2), relative("sign is decided", 2)
    ("D'k", 'Ak+1 is decided', 'Ak-1.SV', 'sign is decided')
    """

    def named(found: re.Match[str]) -> str:
        apart = int(found[2]) - place
        return f"{found[1]}k{apart:+d}" if apart else f"{found[1]}k"

    return _PLACE.sub(named, text, count=1)


def place_of(variable: str) -> int | None:
    """The column of a variable, or None for one of the whole problem.

    >>> place_of("A12.SV"), place_of("NEG3"), place_of("SGN.OPR")
    (12, 3, None)
    """
    found = re.fullmatch(r"(?:A|NEG)(\d+)(?:\.\w+)?", variable)
    return int(found[1]) if found else None


def kind_of(variable: str) -> str:
    """What a variable is, whatever its column.

    >>> kind_of("A12.SV"), kind_of("NEG3"), kind_of("SGN.OPR")
    ('SV', 'NEG', 'OPR')
    """
    return variable.rpartition(".")[2].rstrip("0123456789")
