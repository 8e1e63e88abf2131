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
import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from carryproof import __version__
from carryproof.benchmarks.scripted import process_named, row_views
from carryproof.benchmarks.store import read_json, require_fields
from carryproof.models.checkpoints import digest, write_atomically
from carryproof.models.decoder import ACTIVATIONS, Block, Decoder
from carryproof.models.rounding import followed_logits
from carryproof.models.windowed import RowViews, require_windowed, windowed_logits
from carryproof.theory import content_hash
from carryproof.theory.coverage import shortest_problem, windows_of_views
from carryproof.theory.digits import Digits
from carryproof.theory.enumeration import affordable, enumerated
from carryproof.theory.errors import bad
from carryproof.theory.processes import ABSENT, END, Values
from carryproof.theory.readers import Keys, Window, reader_of
from carryproof.theory.scripts import Script, script_of

SCHEMA_VERSION = 1
SHOWN_FAILURES = 10
TRIED_FAILURES = 200
WINDOWS_AT_ONCE = 2_048  # whose hidden values stay in a processor's cache


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
    summation. ``wrong`` windows have no margin in double precision; ``failures`` are those of them that the model, as
    it is, gets wrong in a whole problem. ``model`` is a SHA-256 over configuration and weights.
    """

    subject: Mapping[str, Any]
    statement: str
    encoding: str
    model: str
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
            "verdict": "certified" if self.holds else "refuted" if self.failures else "undecided",
            "encoding": self.encoding,
            "model_sha256": self.model,
            "trained": dict(self.trained),
            "parameters": self.parameters,
            "windows": self.windows,
            "wrong": self.wrong,
            "margin": self.margin if math.isfinite(self.margin) else None,
            "slack": self.slack if math.isfinite(self.slack) else None,
            "failures": [failure.to_dict() for failure in self.failures],
        }

    def __str__(self) -> str:
        if self.holds:
            margins = f"smallest margin {self.margin:.2f}, beyond rounding by {self.slack:.2f}"
            return f"{self.statement}: certified on all {self.windows:,} windows, {margins}"
        if not self.failures:
            return (
                f"{self.statement}: undecided, since some margin (the smallest of {self.windows:,} windows is "
                f"{self.margin:.3g}) is within what rounding, or a lack of range, can change"
            )
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
    _require_plain(model)
    subject = model.about.get("subject") if subject is None else subject
    if not isinstance(subject, Mapping):
        raise bad("subject", subject, "what the model computes, such as {'name': 'addition'}")
    trained = _lengths_checked(model.about.get("trained", {}) if trained is None else trained)
    process = process_named(subject)
    script = script_of(process)
    if model.config.encoding != script.derivation.encoding:
        allowed = f"{script.derivation.encoding!r}, which {process.name} needs"
        raise bad("encoding", model.config.encoding, allowed)
    if model.config.d_vocab != script.vocabulary:
        raise bad("d_vocab", model.config.d_vocab, f"{script.vocabulary}, the tokens of {process.name}")
    keys = windows_of_views(script.process)
    found, slack = margins(model, script, keys)
    wrong = np.flatnonzero(~(found > 0))
    failures = (_failure(model, script, int(keys[index])) for index in wrong[:TRIED_FAILURES])
    numbers = "both sides" if len(process.homes) == 2 else "all numbers"
    padded = f" with {numbers} padded to one length" if len(process.homes) > 1 else ""
    more = "" if process.table is None else " (windows are listed, and more may be than problems present)"
    return Certificate(
        subject=subject,
        statement=f"{process.name}, written {process.order}{padded}, at every length{more}",
        encoding=model.config.encoding,
        model=model_hash(model),
        trained=trained,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        windows=len(keys),
        wrong=len(wrong),
        margin=float(found.min()),
        slack=float(slack.min()),
        failures=tuple(islice((each for each in failures if each is not None), SHOWN_FAILURES)),
    )


def model_hash(model: Decoder) -> str:
    """A SHA-256 over all that decides what a model computes: its configuration and its weights."""
    weights = digest({name: value.detach() for name, value in model.state_dict().items()})
    return content_hash({"config": model.config.to_dict(), "weights": weights})


def _require_plain(model: Decoder) -> None:
    """Refuse models that compute something else than configuration and weights say, or in another precision."""
    for name, module in model.named_modules():
        if module._forward_hooks or module._forward_pre_hooks:
            raise bad("model", f"a hook at {name or 'the top'}", "a model without hooks")
    for block in model.blocks:
        if isinstance(block, Block) and block.mlp.activation is not ACTIVATIONS[model.config.activation]:
            raise bad("model", "another activation", f"{model.config.activation}, as its configuration says")
    for name, weight in model.named_parameters():
        if weight.dtype not in (torch.float32, torch.float64):
            raise bad(f"weights {name}", str(weight.dtype), "torch.float32 or torch.float64")
        if not weight.isfinite().all():
            raise bad(f"weights {name}", "entries that are not finite", "finite weights")


def _lengths_checked(trained: Any) -> Mapping[str, Any]:
    if not isinstance(trained, Mapping):
        raise bad("trained", trained, "what the model was trained on, such as {'lengths': [1, 2, 3]}")
    lengths = trained.get("lengths", [1])
    if not isinstance(lengths, list) or not all(type(each) is int and each > 0 for each in lengths):
        raise bad("trained lengths", lengths, "a list of lengths")
    return trained


def window_views(script: Script, keys: Keys) -> tuple[RowViews, Int[Tensor, " row"]]:
    """The rows that see these windows, and the tokens they must write."""
    return row_views(script, listed(script, keys))


def listed(script: Script, keys: Keys) -> Values:
    """Windows as ``Script.views`` has them: the query, what the slots hold, and the token."""
    process, slots = script.process, script.derivation.slots
    if process.table is not None:
        table = process.table()
        return np.column_stack([table.queries[keys], table.views[keys]])
    *columns, token = reader_of(process, slots).unpack(keys)
    return np.column_stack([columns[slots.index(process.output_at(1))], *columns, token])


@torch.inference_mode()
def margins(
    model: Decoder, script: Script, keys: Keys
) -> tuple[Float[np.ndarray, " window"], Float[np.ndarray, " window"]]:
    """The margin of the right token in each window, in double precision, and what rounding surely leaves of it.

    That is the margin less twice the bound on rounding; nothing where the model's own logits are not within the bound.
    ``keys`` are those of ``coverage.windows_of_views``.
    """
    double = doubled(model)
    views, targets = window_views(script, keys)
    classes = script.derivation.slot_classes
    found, slack = [], []
    for first in range(0, len(targets), WINDOWS_AT_ONCE):
        part = slice(first, first + WINDOWS_AT_ONCE)
        rows = RowViews(query=views.query[part], keys=views.keys[part], seen=views.seen[part])
        followed, target = followed_logits(double, rows, classes), targets[part, None]
        logits, bound = followed.value, followed.error
        others = logits.scatter(1, target, -torch.inf).max(dim=1).values
        found.append(logits.gather(1, target)[:, 0] - others)
        off = (windowed_logits(model, rows, classes).double() - logits).abs().amax(dim=1)
        slack.append(torch.where(off <= bound, found[-1] - 2 * bound, -torch.inf))
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


def _failure(model: Decoder, script: Script, key: int) -> Failure | None:
    """The shortest problem that presents a window, if one is found and the model as it is gets it wrong."""
    digits = _problem(script, key)
    if digits is None:
        return None
    size = digits[0].shape[1]
    tokens = script.write(digits)[0]
    start = script.prompt_length(size)
    written = decode(model, script, torch.from_numpy(tokens[:start]), size)
    if written == [int(token) for token in tokens[start:]]:
        return None
    return Failure(
        window=_window(script, key).text(script.process),
        prompt=script.text(tokens[:start]),
        expected=script.text(tokens[start:]),
        written=script.text(written),
    )


def _problem(script: Script, key: int) -> list[Digits] | None:
    """The digits of a shortest problem that presents a window; where views are listed, if one of few places does."""
    process = script.process
    if process.table is None:
        operands = shortest_problem(process, key, more=script.derivation.slots)
        return [np.array([each], dtype=np.uint8) for each in operands]
    (wanted,) = listed(script, np.array([key]))
    for size in range(1, affordable(process) + 1):
        digits = enumerated(process, size)
        shown = (script.views(digits) == wanted).all(axis=2).any(axis=1)
        if shown.any():
            return [each[shown][:1] for each in digits]
    return None


def _window(script: Script, key: int) -> Window:
    if script.process.table is None:
        return reader_of(script.process, script.derivation.slots).decode(key)
    _, *values, token = listed(script, np.array([key]))[0].tolist()
    held = tuple(None if each == ABSENT else each for each in values)
    return Window(slots=script.derivation.slots, values=held, token=None if token == END else token)


def write_certificate(path: Path, certificate: Certificate) -> None:
    """Write a certificate as JSON, whole or not at all."""
    write_atomically(path, (json.dumps(certificate.to_dict(), indent=1) + "\n").encode())


def read_certificate(path: Path) -> dict[str, Any]:
    """A stored certificate; ``ValueError`` if the file holds none."""
    stored = read_json(path)
    require_fields(path, stored, {"schema_version": int, "subject": dict, "model_sha256": str, "trained": dict})
    return stored


def check_certificate(stored: Mapping[str, Any], model: Decoder) -> Certificate:
    """Decide again from the model and what its checkpoint says, and hold the result against a stored certificate.

    Raises ``ValueError`` if they do not belong together or do not say the same in every field (margins to a millionth,
    since another machine may sum in another order).
    """
    if stored.get("schema_version") != SCHEMA_VERSION:
        raise bad("schema_version of the certificate", stored.get("schema_version"), str(SCHEMA_VERSION))
    if stored.get("model_sha256") != model_hash(model):
        raise bad("certificate", "another model's", "the one of this checkpoint (the SHA-256 of the model differs)")
    found = certify(model, stored["subject"])
    again = found.to_dict()
    for name in sorted((again.keys() | stored.keys()) - {"version"}):
        told, decided = stored.get(name), again.get(name)
        if isinstance(told, float) and isinstance(decided, float) and math.isclose(told, decided, rel_tol=1e-6):
            continue
        if told != decided:
            raise bad(f"certificate {name}", told, f"{decided!r}, which deciding again gives")
    return found
