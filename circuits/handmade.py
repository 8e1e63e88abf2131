"""Transformers whose weights are set by hand to add, and a key that says which node carries which variable.

At the token of D'_k a head of the first layer fetches D_k, and the MLP looks the pair up in a table: SA_k and ST_k.
Where A_k is decided, one head of the second layer fetches SA_k and one looks at the highest column below k whose ST is
not U, or else at the equals sign, which says 0: that is SV_{k-1}, and the MLP looks the pair up. Tools that search for
circuits must find the key and nothing else; tables of neurons over one-hot variables are as in tracr (Lindner et al.
2301.05062), the construction is ours.

>>> made = addition_by_hand(2)
>>> {node: names for node, names in made.carries.items() if node.startswith(("P4", "P7"))}    # at D'0, and before A1
{'P4L0H0': ('D0',), 'P4L0M': ('A0.SA', 'A0.ST'), 'P7L1H0': ('A1.SA',), 'P7L1H1': ('A0.SV',), 'P7L1M': ('A1',)}
>>> import torch
>>> tokens = torch.tensor([[4, 7, 10, 2, 5, 12, 10, 0, 7]])                                    # 47+25=+07
>>> made.model(tokens)[0, -4:].argmax(-1).tolist()
[10, 0, 7, 2]
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

from carryproof.circuits.algorithms import BASE, DOMAIN, Algorithm, addition, decided_at, position
from carryproof.circuits.handset import CLEAR, Draft, Unit
from carryproof.circuits.texts import PLUS, SYMBOLS, VOCABULARY, context, require_digits
from carryproof.models.decoder import Decoder

UNSAID = BASE + SYMBOLS.index("\\")  # what the model writes where the circuit says nothing, as when it is ablated
LOUD = 30.0  # what the decoy writes, beside 1 for all other nodes
GROUPS = {"SA": BASE, "ST": len(DOMAIN), "SV": 2, "unread": BASE}


@dataclass(frozen=True, kw_only=True, slots=True)
class HandMade:
    """A model, the algorithm that it was made to compute, and where it does.

    ``carries`` names the variables that each useful node determines, by position and layer; any other node can be set
    to 0, to its mean or to its value in other problems, without effect. Of the nodes of a tuple in ``redundant`` one
    may be set to 0 or to its mean, but not all. ``decoys`` vary more than all other nodes, and nothing reads them.
    """

    model: Decoder
    algorithm: Algorithm
    carries: Mapping[str, tuple[str, ...]]
    redundant: tuple[tuple[str, ...], ...] = ()
    decoys: tuple[str, ...] = ()


def addition_by_hand(digits: int) -> HandMade:
    """Two layers of two heads, of which the second of the first layer writes nothing."""
    return HandMade(model=_draft(digits).model, algorithm=addition(digits), carries=_key(digits, ("H0",)))


def redundant_addition_by_hand(digits: int) -> HandMade:
    """Both heads of the first layer deliver D_k, and either suffices. With one of them resampled both D_k and another
    digit are delivered, so unlike zero and mean ablation that does harm.
    """
    draft = _draft(digits)
    draft.set_head(0, 1, pairs_of(digits), rest=digits, reads="token", writes="other")
    redundant = tuple((f"P{column}L0H0", f"P{column}L0H1") for column in pairs_of(digits))
    carries = _key(digits, ("H0", "H1"))
    return HandMade(model=draft.model, algorithm=addition(digits), carries=carries, redundant=redundant)


def decoy_addition_by_hand(digits: int) -> HandMade:
    """The second head of the first layer writes digits of D, loudly, to features that no weight reads: at each digit
    itself, and where answer digits are decided.
    """
    draft = _draft(digits)
    seen = {place: position(f"D{min(place, digits - 1)}", digits) for place in range(digits + 1)}
    looks = {decided_at(f"A{place}", digits): {digit: 0} for place, digit in seen.items()}
    draft.set_head(0, 1, looks, rest=digits, reads="token", writes="unread", size=LOUD)
    decoys = tuple(f"P{query}L0H1" for query in (*range(digits), *sorted(looks)))
    return HandMade(model=draft.model, algorithm=addition(digits), carries=_key(digits, ("H0",)), decoys=decoys)


def _draft(digits: int) -> Draft:
    draft = begun(GROUPS, digits, heads=2, units=BASE**2)
    equals, columns = decided_at("SGN", digits), columns_of(digits)
    draft.unembed(PLUS, ("position", equals))
    pairs = []
    for left, right in product(range(BASE), repeat=2):
        needs = ((("other", left),), (("token", right),), tuple(("position", column) for column in columns.values()))
        pairs.append(Unit(needs=needs, writes=(("SA", (left + right) % BASE), ("ST", state_of(left + right)))))
    draft.set_table(0, pairs)

    fetch = {decided_at(f"A{place}", digits): {column: 0} for place, column in columns.items()}
    draft.set_head(1, 0, fetch, rest=digits, reads="SA", writes="SA")
    below = {
        decided_at(f"A{place}", digits): {equals: 0} | {columns[lower]: 1 + lower for lower in range(place)}
        for place in range(1, digits + 1)
    }
    draft.set_head(1, 1, below, rest=digits, reads="ST", writes="SV", passes=("ST", DOMAIN.index("U")))
    draft.embed_position(equals, ("ST", 0))
    draft.embed_position(decided_at(f"A{digits}", digits), ("SA", 0))  # the highest digit is the carry alone
    draft.embed_position(decided_at("A0", digits), ("SV", 0))  # and the lowest has none
    sums = [
        Unit(needs=((("SA", digit),), (("SV", carry),)), writes=(("answer", (digit + carry) % BASE),))
        for digit, carry in product(range(BASE), range(2))
    ]
    draft.set_table(1, sums)
    return draft


def begun(groups: Mapping[str, int], digits: int, *, heads: int, units: int) -> Draft:
    """A draft of two layers that has digits in the group ``token`` and says those of ``answer``, or ``UNSAID``.

    Its first head fetches D_k to the token of D'_k, as the group ``other``. ``groups`` are those that it has besides.
    """
    require_digits("digits", digits)
    every = {"token": BASE, "other": BASE, "answer": BASE} | dict(groups)
    draft = Draft(every, vocabulary=VOCABULARY, tokens=context(digits), layers=2, heads=heads, units=units)
    for digit in range(BASE):
        draft.embed_token(digit, ("token", digit))
        draft.unembed(digit, ("answer", digit))
    draft.unembed_always(UNSAID, CLEAR / 4)
    draft.set_head(0, 0, pairs_of(digits), rest=digits, reads="token", writes="other")
    return draft


def columns_of(digits: int) -> dict[int, int]:
    """The position of D'_k, where column k is summed up, for every place k, the first of the text first."""
    return {place: position(f"D'{place}", digits) for place in reversed(range(digits))}


def pairs_of(digits: int) -> dict[int, dict[int, int]]:
    """What a head looks at that fetches D_k at the token of every D'_k, as ``Draft.set_head`` takes it."""
    return {column: {position(f"D{place}", digits): 0} for place, column in columns_of(digits).items()}


def state_of(total: int) -> int:
    """Which of the values of ``DOMAIN`` the state of a column with this sum of digits is."""
    return DOMAIN.index("1" if total >= BASE else "U" if total == BASE - 1 else "0")


def _key(digits: int, deliver: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    carries: dict[str, tuple[str, ...]] = {}
    for place, column in columns_of(digits).items():
        at = f"P{column}L0"
        carries |= {f"{at}{head}": (f"D{place}",) for head in deliver}
        carries[f"{at}M"] = (f"A{place}.SA", f"A{place}.ST")
    for place in reversed(range(digits + 1)):
        decided = decided_at(f"A{place}", digits)
        at = f"P{decided}L1"
        if place < digits:
            carries[f"{at}H0"] = (f"A{place}.SA",)
        if place:
            carries[f"{at}H1"] = (f"A{place - 1}.SV",)
        carries[f"{at}M"] = (f"A{place}",)
    return carries
