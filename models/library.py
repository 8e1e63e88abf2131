"""The collection: small trained models that ship with the package, each with a certificate, loaded by name.

Every model writes the answers of one process; its certificate says that it does so at every length, and its checkpoint
says what it was trained on. ``carryproof.benchmarks.collection`` makes both. A name that is not in the collection is
the path of a checkpoint. Source: ours.

>>> "addition-base10" in names(), load("addition-base10").config.encoding
(True, 'window:0+0,0-1')
>>> certificate_of("addition-base10")["verdict"]
'certified'
>>> load("addition-base9")                                             # doctest: +ELLIPSIS
Traceback (most recent call last):
ValueError: model: 'addition-base9' is no file and not in the collection; did you mean 'addition-base...'? ...
"""

import json
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from carryproof.models import checkpoints
from carryproof.models.decoder import Decoder

FOLDER = Path(__file__).with_name("collection")
WEIGHTS, CERTIFICATE = ".safetensors", ".json"


def names() -> tuple[str, ...]:
    """The models of the collection: those with weights and a certificate."""
    found = (path.stem for path in FOLDER.glob(f"*{WEIGHTS}"))
    return tuple(sorted(name for name in found if (FOLDER / (name + CERTIFICATE)).is_file()))


def locate(name: str | Path) -> Path:
    """The checkpoint of a name of the collection, or of a path. Raises ``ValueError`` for what is neither."""
    known = names()
    if str(name) in known:
        return FOLDER / f"{name}{WEIGHTS}"
    path = Path(name)
    if path.exists() or isinstance(name, Path) or path.suffix or len(path.parts) != 1:
        return path  # a path that leads nowhere is the reader's to report
    close = get_close_matches(str(name), known, n=1, cutoff=0.4)
    hint = f"did you mean {close[0]!r}? " if close else ""
    allowed = f"allowed: the path of a checkpoint, {', '.join(known)}"
    raise ValueError(f"model: {str(name)!r} is no file and not in the collection; {hint}{allowed}")


def load(name: str | Path) -> Decoder:
    """The model of a name of the collection, or of the checkpoint at a path."""
    return checkpoints.load(locate(name))


def read_about(name: str | Path) -> dict[str, Any]:
    """What the checkpoint of a name or path says of itself: in the collection its subject, training and run."""
    return checkpoints.read_about(locate(name))


def certificate_of(name: str) -> dict[str, Any]:
    """The stored certificate of a model of the collection, as ``carryproof.benchmarks.certify`` checks it."""
    found = locate(name).with_suffix(CERTIFICATE)
    if found.parent != FOLDER or not found.is_file():
        raise ValueError(f"model: got {name!r}; allowed: {', '.join(names())}")
    certificate: dict[str, Any] = json.loads(found.read_text())
    return certificate
