"""What training on scripts forces: right on finitely many windows, hence right at every length; or what is in the way.

A one-layer model with the derived encoding of a process writes a function of its window (law L13). If the trained
lengths show every window of any length, a model that is right on those, beyond rounding, is right everywhere: forced.
If they do not, the rule is only permitted; without a derived encoding the theory is silent. Source: ours.

>>> from carryproof.theory import tasks
>>> from carryproof.theory.cases import process_of
>>> adding = process_of(tasks.addition())
>>> found = predict_every_length(adding, (1, 2, 3))
>>> found.verdict, found.windows, [reason.law for reason in found.reasons]
('forced', 20302, ['L2', 'L16', 'L13', 'L19'])
>>> fewer = predict_every_length(adding, (1, 2))
>>> fewer.verdict, fewer.reasons[-1].why
('permitted', '1-2 digits, leading zeros allowed, never show 10,000 of the 20,302 windows')
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from carryproof.theory.coverage import windows_of_views, windows_shown
from carryproof.theory.derivation import Derivation, derive
from carryproof.theory.enumeration import affordable, enumerated
from carryproof.theory.errors import bad
from carryproof.theory.prediction import SCHEMA_VERSION, Reason, Verdict, content_hash
from carryproof.theory.processes import Process
from carryproof.theory.ranges import require_lengths, write_lengths
from carryproof.theory.readers import Keys
from carryproof.theory.scripts import script_of
from carryproof.theory.windows import dependency_window

EVERY = "every length"


@dataclass(frozen=True, kw_only=True, slots=True)
class EveryLength:
    """The prediction for all lengths at once, of a model with the derived encoding that is trained on ``lengths``.

    ``windows`` is how many windows there are over all lengths, each with the token before, and ``shown`` how many of
    them the trained lengths show; both 0 where no encoding can be derived.
    """

    process: Process
    lengths: tuple[int, ...]
    verdict: Verdict
    encoding: str | None
    told: str | None
    windows: int
    shown: int
    reasons: tuple[Reason, ...]

    @property
    def premise(self) -> str:
        """What a model has to meet; it is decided by enumeration, not sampled."""
        return f"right, by more than rounding can change, on all {self.windows:,} windows of every length"

    @property
    def prediction_id(self) -> str:
        """A SHA-256 over all that is predicted."""
        return content_hash(self._content())

    def _content(self) -> dict[str, Any]:
        return {
            "schema_version": SCHEMA_VERSION,
            "process": self.process.name,
            "order": self.process.order,
            "encoding": self.encoding,
            "told": self.told,
            "train_digits": write_lengths(self.lengths),
            "train_law": "spelled",
            "test_digits": EVERY,
            "verdict": self.verdict,
            "accuracy": None if self.verdict == "silent" else "1",
            "premise": self.premise,
            "windows": self.windows,
            "shown": self.shown,
            "reasons": [reason.to_dict() for reason in self.reasons],
        }

    def to_dict(self) -> dict[str, Any]:
        """The prediction as plain data, the form that is registered."""
        return {"prediction_id": self.prediction_id, **self._content()}


def predict_every_length(process: Process, lengths: Sequence[int]) -> EveryLength:
    """What holds at every length for a one-layer model that is trained on scripts of these lengths.

    Raises ``ValueError`` for a process whose windows cannot be enumerated (see ``coverage.windows_shown``).
    """
    trained = require_lengths("lengths", lengths)
    window, derived = dependency_window(process), derive(process)
    listed = process.table is not None  # with its places told apart where each has a rule of its own
    bounded = bool(window.bounded and (window.position_independent or listed))
    condition = "each token depends on a bounded window" + ("" if listed else ", the same at every place")
    reasons = [Reason(law="L2", condition=condition, holds=bounded, why=window.statement)]
    if bounded:
        condition = "an averaging head tells any two windows apart that different tokens follow"
        reasons.append(Reason(law="L16", condition=condition, holds=isinstance(derived, Derivation), why=str(derived)))
    windows = shown = 0
    if isinstance(derived, Derivation):
        condition = "what a row writes is a function of its window"
        why = "queries see the keys of the window and '=' only, and in one layer a key carries its own token"
        reasons.append(Reason(law="L13", condition=condition, holds=True, why=why))
        every = windows_of_views(derived.process)
        met = _listed_windows(derived.process, trained) if listed else _read_windows(derived.process, trained)
        windows, shown = len(every), int(np.isin(every, met, assume_unique=True).sum())
        reasons.append(_coverage(trained, windows, shown))
    covered = windows == shown
    return EveryLength(
        process=process,
        lengths=trained,
        verdict="silent" if not windows else "forced" if covered else "permitted",
        encoding=derived.encoding if isinstance(derived, Derivation) else None,
        told=derived.told if isinstance(derived, Derivation) else None,
        windows=windows,
        shown=shown,
        reasons=tuple(reasons),
    )


def _read_windows(process: Process, trained: tuple[int, ...]) -> Keys:
    return windows_shown(process, trained, law="spelled", more=(process.output_at(1),))


def _listed_windows(process: Process, trained: tuple[int, ...]) -> Keys:
    """Which rows of the table the problems of these lengths present, by enumerating all of them."""
    assert process.table is not None
    table, script = process.table(), script_of(process)
    rows = {tuple(row): at for at, row in enumerate(np.column_stack([table.queries, table.views]).tolist())}
    seen: set[int] = set()
    for length in trained:
        if length > affordable(process):
            allowed = f"at most {affordable(process)} for {process.name}, whose problems are enumerated"
            raise bad("lengths", length, allowed)
        views = script.views(enumerated(process, length))
        seen |= {rows[tuple(view)] for view in np.unique(views.reshape(-1, views.shape[2]), axis=0).tolist()}
    return np.array(sorted(seen), dtype=np.int64)


def _coverage(trained: tuple[int, ...], windows: int, shown: int) -> Reason:
    digits = "1 digit" if trained == (1,) else f"{write_lengths(trained)} digits"
    where = f"{digits}, leading zeros allowed,"
    if shown == windows:
        why = f"{where} show all {windows:,} windows, each with the token before"
    else:
        why = f"{where} never show {windows - shown:,} of the {windows:,} windows"
    return Reason(law="L19", condition="training shows every window of any length", holds=shown == windows, why=why)
