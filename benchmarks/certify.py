"""Certificates: a trained model is right at every length, decided on the finitely many windows that exist.

A row's logits depend on its query and the keys it sees, hence on a window (see ``models.windowed``). All windows of
all lengths are enumerated (``theory.coverage``), the logits of each are computed in double precision, and the smallest
margin of the right token is held against a bound on rounding. If every margin is larger, greedy decoding writes the
right tokens and the end: by induction each prefix is right, so its windows are among those enumerated. Source: ours.

>>> from carryproof.benchmarks.configuration import Recipe
>>> from carryproof.benchmarks.scripted import ScriptRun, train_script
>>> run = ScriptRun(subject={"name": "copy", "base": 2}, lengths=(1, 2), recipe=Recipe(steps=200, n_layers=1), seed=0)
>>> found = certify(train_script(run)[0], run.subject, trained={"lengths": [1, 2]})
>>> found.holds, found.windows
(True, 8)
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from carryproof import __version__
from carryproof.benchmarks.scripted import process_named
from carryproof.benchmarks.store import read_json, require_fields
from carryproof.models.checkpoints import digest, write_atomically
from carryproof.models.decoder import Decoder
from carryproof.models.rounding import rounding_bound
from carryproof.models.windowed import ROWS_AT_ONCE, RowViews, require_windowed, windowed_logits
from carryproof.theory.averaging import windows_of_views
from carryproof.theory.coverage import shortest_problem
from carryproof.theory.errors import bad
from carryproof.theory.readers import ABSENT, END, Keys, reader_of
from carryproof.theory.scripts import Script, script_of

SCHEMA_VERSION = 1
SHOWN_FAILURES = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """A window that the model gets wrong, and a shortest whole problem that presents it, decoded end to end."""

    window: str
    prompt: str
    expected: str
    written: str

    def to_dict(self) -> dict[str, str]:
        """The failure as plain data."""
        return {"window": self.window, "prompt": self.prompt, "expected": self.expected, "written": self.written}


@dataclass(frozen=True, kw_only=True, slots=True)
class Certificate:
    """What was decided of a model: how many windows there are, how many are wrong, by what margin the rest are right.

    ``margin`` is the smallest difference of the right token's logit to any other, in double precision, and ``slack``
    the smallest excess of a window's margin over what rounding to single precision can change it by, in any order of
    summation.
    """

    subject: Mapping[str, Any]
    statement: str
    encoding: str
    weights: str
    trained: Mapping[str, Any]
    parameters: int
    windows: int
    wrong: int
    margin: float
    slack: float
    failures: tuple[Failure, ...]

    @property
    def holds(self) -> bool:
        """Whether the model is right at every length."""
        return self.wrong == 0 and self.slack > 0

    def to_dict(self) -> dict[str, Any]:
        """The certificate as plain data."""
        return {
            "schema_version": SCHEMA_VERSION,
            "version": __version__,
            "subject": dict(self.subject),
            "statement": self.statement,
            "verdict": "certified" if self.holds else "refuted" if self.wrong else "undecided",
            "encoding": self.encoding,
            "weights_sha256": self.weights,
            "trained": dict(self.trained),
            "parameters": self.parameters,
            "windows": self.windows,
            "wrong": self.wrong,
            "margin": self.margin,
            "slack": self.slack,
            "failures": [failure.to_dict() for failure in self.failures],
        }

    def __str__(self) -> str:
        if self.holds:
            margins = f"smallest margin {self.margin:.2f}, beyond rounding by {self.slack:.2f}"
            return f"{self.statement}: certified on all {self.windows:,} windows, {margins}"
        if not self.wrong:
            return f"{self.statement}: undecided, a margin (the smallest is {self.margin:.3g}) is within rounding"
        first = self.failures[0]
        return (
            f"{self.statement}: refuted, {self.wrong:,} of {self.windows:,} windows are wrong; "
            f"{first.prompt} gives {first.written} and not {first.expected}"
        )


def certify(
    model: Decoder, subject: Mapping[str, Any] | None = None, *, trained: Mapping[str, Any] | None = None
) -> Certificate:
    """Decide whether a model is right at every length.

    ``subject`` is what it computes and ``trained`` what the certificate says of its training, both by default as its
    checkpoint has them. Raises ``ValueError`` if the model's receptive field is not one window, if it was built for
    another process, or if weights are not finite.
    """
    require_windowed(model)
    subject = model.about.get("subject") if subject is None else subject
    if subject is None:
        raise bad("subject", None, "what the model computes, such as {'name': 'addition'}; its checkpoint does not say")
    trained = model.about.get("trained", {}) if trained is None else trained
    process = process_named(subject)
    script = script_of(process)
    if model.config.encoding != script.derivation.encoding:
        allowed = f"{script.derivation.encoding!r}, which {process.name} needs"
        raise bad("encoding", model.config.encoding, allowed)
    if model.config.d_vocab != script.vocabulary:
        raise bad("d_vocab", model.config.d_vocab, f"{script.vocabulary}, the tokens of {process.name}")
    for name, weight in model.named_parameters():
        if not weight.isfinite().all():
            raise bad(f"weights {name}", "entries that are not finite", "finite weights")
    weights = digest({name: value.detach() for name, value in model.state_dict().items()})
    double = doubled(model)
    keys = windows_of_views(process)
    found, slack = margins(double, script, keys)
    wrong = np.flatnonzero(~(found > 0))
    return Certificate(
        subject=subject,
        statement=f"{process.name}, written {process.order} with both sides padded to one length, at every length"
        if len(process.homes) > 1
        else f"{process.name}, written {process.order}, at every length",
        encoding=model.config.encoding,
        weights=weights,
        trained=trained,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        windows=len(keys),
        wrong=len(wrong),
        margin=float(found.min()),
        slack=float(slack.min()),
        failures=tuple(_failure(model, script, int(keys[index])) for index in wrong[:SHOWN_FAILURES]),
    )


def window_views(script: Script, keys: Keys) -> tuple[RowViews, Int[Tensor, " row"]]:
    """The rows that see these windows, and the tokens they must write."""
    process, slots = script.process, script.derivation.slots
    *columns, token = reader_of(process, slots).unpack(keys)
    held = np.stack(columns, axis=1)
    before = held[:, slots.index(process.output_at(1))]
    anchor = np.full((len(held), 1), script.equals)
    views = RowViews(
        query=torch.from_numpy(np.where(before == ABSENT, script.equals, before)),
        keys=torch.from_numpy(np.concatenate([np.maximum(held, 0), anchor], axis=1)),
        seen=torch.from_numpy(np.concatenate([held != ABSENT, anchor >= 0], axis=1)),
    )
    return views, torch.from_numpy(np.where(token == END, script.end, token))


@torch.inference_mode()
def margins(
    model: Decoder, script: Script, keys: Keys
) -> tuple[Float[np.ndarray, " window"], Float[np.ndarray, " window"]]:
    """The margin of the right token in each window, and what is left of it after twice the bound on rounding.

    The model is given in double precision; ``keys`` are those of ``averaging.windows_of_views``.
    """
    views, targets = window_views(script, keys)
    classes = script.derivation.slot_classes
    found, slack = [], []
    for first in range(0, len(targets), ROWS_AT_ONCE):
        part = slice(first, first + ROWS_AT_ONCE)
        rows = RowViews(query=views.query[part], keys=views.keys[part], seen=views.seen[part])
        logits, target = windowed_logits(model, rows, classes), targets[part, None]
        others = logits.scatter(1, target, -torch.inf).max(dim=1).values
        found.append(logits.gather(1, target)[:, 0] - others)
        slack.append(found[-1] - 2 * rounding_bound(model, rows, classes))
    return torch.cat(found).numpy(), torch.cat(slack).numpy()


def doubled(model: Decoder) -> Decoder:
    """The same weights in double precision, which holds them as they are."""
    double = Decoder(model.config).double()
    double.load_state_dict(model.state_dict())
    return double


@torch.inference_mode()
def decode(model: Decoder, script: Script, prompt: Int[Tensor, " token"], size: int) -> list[int]:
    """Greedy decoding of one prompt, token by token through the whole decoder, to the end token or the last place."""
    ids = torch.from_numpy(script.ids(size))[None]
    written = prompt
    while len(written) < ids.shape[1]:
        logits = model(written[None], ids[:, : len(written)], rows=slice(len(written) - 1, None))
        written = torch.cat([written, logits[0].argmax(dim=-1)])
        if int(written[-1]) == script.end:
            break
    return [int(token) for token in written[len(prompt) :]]


def _failure(model: Decoder, script: Script, key: int) -> Failure:
    process, slots = script.process, script.derivation.slots
    operands = shortest_problem(process, key, more=slots)
    digits = [np.array([each], dtype=np.uint8) for each in operands]
    size = digits[0].shape[1]
    tokens = script.write(digits)[0]
    start = script.prompt_length(size)
    written = decode(model, script, torch.from_numpy(tokens[:start]), size)
    if written == [int(token) for token in tokens[start:]]:
        raise AssertionError(f"{process.name}: a window is wrong, yet the problem that presents it is answered")
    return Failure(
        window=reader_of(process, slots).decode(key).text(process),
        prompt=script.text(tokens[:start]),
        expected=script.text(tokens[start:]),
        written=script.text(written),
    )


def write_certificate(path: Path, certificate: Certificate) -> None:
    """Write a certificate as JSON, whole or not at all."""
    write_atomically(path, (json.dumps(certificate.to_dict(), indent=1) + "\n").encode())


def read_certificate(path: Path) -> dict[str, Any]:
    """A stored certificate; ``ValueError`` if the file holds none."""
    stored = read_json(path)
    require_fields(path, stored, {"schema_version": int, "subject": dict, "weights_sha256": str, "trained": dict})
    return stored


def check_certificate(stored: Mapping[str, Any], model: Decoder) -> Certificate:
    """Decide again from the weights, and hold the result against a stored certificate.

    Raises ``ValueError`` if they do not belong together or do not say the same.
    """
    if stored.get("schema_version") != SCHEMA_VERSION:
        raise bad("schema_version of the certificate", stored.get("schema_version"), str(SCHEMA_VERSION))
    weights = digest({name: value.detach() for name, value in model.state_dict().items()})
    if stored.get("weights_sha256") != weights:
        raise bad("certificate", "another model's", "the one of this checkpoint (SHA-256 of the weights differs)")
    found = certify(model, stored["subject"], trained=stored["trained"])
    again = found.to_dict()
    for name in ("verdict", "statement", "encoding", "windows", "wrong"):
        if stored.get(name) != again[name]:
            raise bad(f"certificate {name}", stored.get(name), f"{again[name]!r}, which deciding again gives")
    return found
