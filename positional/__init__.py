"""Positional encodings: what attention can compare about two tokens.

`ENCODINGS` maps each name to a function of the sizes that builds the module; adding an entry is all that registering
takes. An encoding implements up to three hooks, `embed`, `rotate` and `bias` (see `carryproof.positional.base`), and
one instance serves every layer of a model. CoPE (Golovneva et al. 2405.18719) is not among them: its position is a sum
of gates sigma(q . k) over the keys between, and no hook sees the keys' contents.

>>> sorted(ENCODINGS)  # doctest: +NORMALIZE_WHITESPACE
['absolute', 'alibi', 'fire', 'kerple', 'none', 'relative-clipped', 'relative-shaw', 'relative-t5', 'rope',
 'sinusoidal']
>>> build("alibi", EncodingShape(d_model=64, n_heads=2, d_head=32, n_ctx=24)).slopes
(0.0625, 0.00390625)
"""

from collections.abc import Callable
from difflib import get_close_matches

from carryproof.positional.absolute import LearnedAbsolute, Sinusoidal
from carryproof.positional.alibi import Alibi
from carryproof.positional.base import Encoding, EncodingShape
from carryproof.positional.fire import Fire
from carryproof.positional.kerple import Kerple
from carryproof.positional.none import NoEncoding
from carryproof.positional.relative import ClippedBias, ShawKeys, T5Buckets
from carryproof.positional.rope import Rotary
from carryproof.positional.window import PREFIX, Window, parse

__all__ = [
    "ENCODINGS",
    "Alibi",
    "ClippedBias",
    "Encoding",
    "EncodingShape",
    "Fire",
    "Kerple",
    "LearnedAbsolute",
    "NoEncoding",
    "Rotary",
    "ShawKeys",
    "Sinusoidal",
    "T5Buckets",
    "Window",
    "build",
]

ENCODINGS: dict[str, Callable[[EncodingShape], Encoding]] = {
    "absolute": LearnedAbsolute,
    "sinusoidal": Sinusoidal,
    "none": NoEncoding,
    "relative-t5": T5Buckets,
    "relative-clipped": ClippedBias,
    "relative-shaw": ShawKeys,
    "rope": Rotary,
    "alibi": Alibi,
    "kerple": Kerple,
    "fire": Fire,
}


def build(name: str, shape: EncodingShape) -> Encoding:
    """The encoding of that name at these sizes, its parameters at zero; an unknown name is a ValueError.

    Besides the registered names, ``window:`` and its classes build the window encoding that theory derives.
    """
    if name.startswith(PREFIX):
        return Window(shape, parse(name))
    if name not in ENCODINGS:
        nearest = get_close_matches(name, ENCODINGS, n=1, cutoff=0.4)
        hint = f"did you mean {nearest[0]!r}? " if nearest else ""
        raise ValueError(f"encoding: unknown value {name!r}; {hint}allowed: {', '.join(sorted(ENCODINGS))}")
    return ENCODINGS[name](shape)
