"""Transformers whose weights are set by hand to subtract, with a sign, and to add and subtract, each with its key.

Subtraction chooses late: at D'_k a table has the digit and the state of D - D' and of D' - D, and where A_k is decided
five heads fetch both digits, both borrows and the sign, which is read from the text. Both operations together are one
addition, as in the graph ``complement``: the columns read the operator, the sign's token says what comes into the units
and whether digits are taken from 9, and a cascade that meets no deciding column ends there. The constructions are ours,
with the parts of ``handmade``.

>>> made = mixed_by_hand(2)
>>> {node: names for node, names in made.carries.items() if node.startswith(("P4", "P6"))}     # at D'0, and at the sign
{'P4L0H0': ('D0',), 'P4L0H1': ('A0.OPR',), 'P4L0M': ('A0.CA', 'A0.CT'), 'P6L0H1': ('SLT.OPR',), 'P6L0M': ('SLT',), \
'P6L1H1': ('A1.CV',), 'P6L1M': ('A2',)}
>>> import torch
>>> tokens = torch.tensor([[2, 5, 11, 4, 7, 12, 11, 0, 2]])                                    # 25-47=-02
>>> [each.model(tokens)[0, -4:].argmax(-1).tolist() for each in (made, subtraction_by_hand(2))]
[[11, 0, 2, 2], [11, 0, 2, 2]]
"""

from itertools import product

from carryproof.circuits.algorithms import (
    BASE,
    BRANCHES,
    DOMAIN,
    NEGATIVE,
    POSITIVE,
    SIGNS,
    UNKNOWN,
    complement,
    decided_at,
    position,
    subtraction,
)
from carryproof.circuits.handmade import HandMade, begun, columns_of, state_of
from carryproof.circuits.handset import Draft, Feature, Unit
from carryproof.circuits.texts import MINUS, PLUS

Carries = dict[str, tuple[str, ...]]
Needs = tuple[tuple[Feature, ...], ...]


def subtraction_by_hand(digits: int) -> HandMade:
    """Two layers of five heads, of which the first layer uses one. The operator is read by nothing."""
    branches = {
        f"{letter}{part}": size for letter in "MN" for part, size in (("D", BASE), ("T", len(DOMAIN)), ("V", 2))
    }
    draft = _signed(branches, digits, heads=5, units=2 * BASE**2)
    equals, signed, columns = decided_at("SGN", digits), position("SGN", digits), columns_of(digits)
    *higher, units = columns.values()
    draft.set_table(0, _differences(higher, units))

    decided = {place: decided_at(f"A{place}", digits) for place in columns}
    below = {decided[place]: {columns[lower]: lower for lower in range(place)} for place in columns if place}
    everywhere = {equals: {column: place for place, column in columns.items()}}
    for head, letter in ((0, "M"), (2, "N")):
        fetch = {decided[place]: {column: 0} for place, column in columns.items()}
        draft.set_head(1, head, fetch, rest=0, reads=f"{letter}D", writes=f"{letter}D")
        looks = below | everywhere if letter == "M" else below
        passes = (f"{letter}T", UNKNOWN)
        draft.set_head(1, head + 1, looks, rest=0, reads=f"{letter}T", writes=f"{letter}V", passes=passes)
        draft.embed_position(decided[0], (f"{letter}V", 0))  # nothing is borrowed from the units
    chosen = {decided[place]: {signed: 0} for place in columns}
    draft.set_head(1, 4, chosen, rest=0, reads="sign", writes="NEG")
    digit_units = [
        Unit(
            needs=(((f"{letter}D", digit),), ((f"{letter}V", borrow),), (("NEG", negative),)),
            writes=(("answer", (digit - borrow) % BASE),),
        )
        for (negative, letter), digit, borrow in product(enumerate("MN"), range(BASE), range(2))
    ]
    sign_units = [Unit(needs=((("MV", out),), (("position", equals),)), writes=(("says", out),)) for out in range(2)]
    draft.set_table(1, digit_units + sign_units)
    draft.unembed(0, ("position", signed))  # the highest digit of every difference

    carries: Carries = {}
    for place, column in columns.items():
        here = (f"A{place}.MD", f"A{place}.MT", f"A{place}.ND")
        lent = (f"A{place}.NT",) if place < digits - 1 else ()
        carries |= {f"P{column}L0H0": (f"D{place}",), f"P{column}L0M": here + lent}
    carries |= {f"P{equals}L1H1": (f"A{digits - 1}.MV",), f"P{equals}L1M": ("SGN",)}
    for place, query in decided.items():
        at = f"P{query}L1"
        carries |= {f"{at}H0": (f"A{place}.MD",), f"{at}H2": (f"A{place}.ND",), f"{at}H4": (f"NEG{place}",)}
        if place:
            carries |= {f"{at}H1": (f"A{place - 1}.MV",), f"{at}H3": (f"A{place - 1}.NV",)}
        carries[f"{at}M"] = (f"A{place}",)
    return HandMade(model=draft.model, algorithm=subtraction(digits), carries=carries)


def mixed_by_hand(digits: int) -> HandMade:
    """Two layers of three heads: one addition for both operations, with an end-around carry."""
    sums = {"operator": len(SIGNS), "CA": BASE, "CT": len(DOMAIN), "CV": 2, "SLT": len(BRANCHES)}
    draft = _signed(sums, digits, heads=3, units=2 * BASE**2 + 4)
    equals, signed, columns = decided_at("SGN", digits), position("SGN", digits), columns_of(digits)
    operator = {position("OP", digits): 0}
    draft.set_head(0, 1, dict.fromkeys((*columns.values(), signed), operator), rest=0, reads="sign", writes="operator")
    draft.set_head(0, 2, {equals: operator}, rest=0, reads="sign", writes="CT")  # comes into the units, for the sign
    draft.set_table(0, _sums(tuple(columns.values())) + _choices(signed))

    decided = {place: decided_at(f"A{place}", digits) for place in (digits, *columns)}
    fetch = {decided[place]: {column: 0} for place, column in columns.items()}
    draft.set_head(1, 0, fetch, rest=0, reads="CA", writes="CA")
    below = {
        query: {signed: 0} | {columns[lower]: 1 + lower for lower in range(place)} for place, query in decided.items()
    }
    everywhere = {equals: {equals: 0} | {column: 1 + place for place, column in columns.items()}}
    draft.set_head(1, 1, below | everywhere, rest=0, reads="CT", writes="CV", passes=("CT", UNKNOWN))
    draft.set_head(1, 2, {query: {signed: 0} for query in fetch}, rest=0, reads="NEG", writes="NEG")
    draft.set_table(1, _answers(equals))

    carries: Carries = {}
    for place, column in columns.items():
        at = f"P{column}L0"
        carries |= {f"{at}H0": (f"D{place}",), f"{at}H1": (f"A{place}.OPR",)}
        carries[f"{at}M"] = (f"A{place}.CA", f"A{place}.CT")
    carries |= {f"P{equals}L0H2": ("SGN.OPR",), f"P{equals}L1H1": ("OUT",), f"P{equals}L1M": ("SGN",)}
    carries |= {f"P{signed}L0H1": ("SLT.OPR",), f"P{signed}L0M": ("SLT",)}
    for place, query in decided.items():
        at = f"P{query}L1"
        if place < digits:
            carries |= {f"{at}H0": (f"A{place}.CA",), f"{at}H2": (f"NEG{place}",)}
        carries |= {f"{at}H1": (f"A{place - 1}.CV" if place else "IN",), f"{at}M": (f"A{place}",)}
    return HandMade(model=draft.model, algorithm=complement(digits), carries=carries)


def _signed(groups: dict[str, int], digits: int, *, heads: int, units: int) -> Draft:
    """A draft that has plus and minus signs in the group ``sign`` and says those of ``says``; ``NEG`` is for digits."""
    signs = {"sign": len(SIGNS), "NEG": 2, "says": len(SIGNS)}
    draft = begun(groups | signs, digits, heads=heads, units=units)
    for which, token in enumerate((PLUS, MINUS)):
        draft.embed_token(token, ("sign", which))
        draft.unembed(token, ("says", which))
    return draft


def _differences(higher: list[int], units: int) -> list[Unit]:
    """Digits and states of both differences; in the units, to which nothing is passed on, equal digits give none."""
    table = []
    for left, right in product(range(BASE), repeat=2):
        digits = (("MD", (left - right) % BASE), ("ND", (right - left) % BASE))
        passing = [("MT", state_of(BASE - 1 - left + right)), ("NT", state_of(BASE - 1 - right + left))]
        lowest = [(group, 0 if state == UNKNOWN else state) for group, state in passing]
        for columns, states in ((higher, passing), ([units], lowest)):
            places = tuple(("position", column) for column in columns)
            needs: Needs = ((("other", left),), (("token", right),), places)
            table.append(Unit(needs=needs, writes=(*digits, *states)))
    return table


def _sums(columns: tuple[int, ...]) -> list[Unit]:
    """Digit and state of D + D' or D + 9 - D'."""
    table = []
    for left, right, minus in product(range(BASE), range(BASE), range(len(SIGNS))):
        total = left + (BASE - 1 - right if minus else right)
        places = tuple(("position", column) for column in columns)
        needs: Needs = (
            (("other", left),),
            (("token", right),),
            (("operator", minus),),
            places,
        )
        table.append(Unit(needs=needs, writes=(("CA", total % BASE), ("CT", state_of(total)))))
    return table


def _choices(signed: int) -> list[Unit]:
    """What the operator and the sign select, at the sign's token: with what comes into the units, and NEG."""
    table = []
    for minus, negative in product(range(len(SIGNS)), repeat=2):
        selected = NEGATIVE if negative else minus
        needs: Needs = (
            (("sign", negative),),
            (("operator", minus),),
            (("position", signed),),
        )
        says = (("SLT", selected), ("CT", int(selected == POSITIVE)), ("NEG", int(selected == NEGATIVE)))
        table.append(Unit(needs=needs, writes=says))
    return table


def _answers(equals: int) -> list[Unit]:
    """Digits from sums and carries, the highest digit from the last carry of an addition, and the sign."""
    table = []
    for digit, carry, negative in product(range(BASE), range(2), range(2)):
        total = (digit + carry) % BASE
        needs: Needs = ((("CA", digit),), (("CV", carry),), (("NEG", negative),))
        table.append(Unit(needs=needs, writes=(("answer", BASE - 1 - total if negative else total),)))
    for carry in range(2):
        table.append(Unit(needs=((("SLT", 0),), (("CV", carry),)), writes=(("answer", carry),)))
    table.append(Unit(needs=((("SLT", POSITIVE), ("SLT", NEGATIVE)),), writes=(("answer", 0),)))
    for minus, out in product(range(2), repeat=2):
        needs = ((("CT", minus),), (("CV", out),), (("position", equals),))
        table.append(Unit(needs=needs, writes=(("says", int(minus > out)),)))
    return table
