"""Which windows a model gets right, and the accuracy at every length that follows from them, exactly.

A one-layer model with a window encoding answers a problem right iff it is right on every window of the problem. So the
set of its wrong windows is all there is to know: the share of problems of a length that it answers is the number of
problems without a wrong window, counted by the transfer matrix of ``theory.readers`` in exact fractions, over all of
them. Nothing is sampled; samples can only agree with it (law L19). Source: ours.

>>> from carryproof.theory import tasks
>>> from carryproof.theory.cases import process_of
>>> adding = process_of(tasks.addition(base=2))
>>> len(windows_of_views(adding)), [len(never_shown(adding, range(1, n + 1))) for n in (1, 2, 3)]
(46, [36, 16, 0])
>>> shown = windows_shown(adding, (1, 2), law="spelled", more=(adding.output_at(1),))
>>> [str(share_right(adding, shown, length)) for length in (2, 3, 4)]   # a model right on these and no others
['1', '3/4', '9/16']
"""

from collections.abc import Iterable
from fractions import Fraction
from functools import cache

import numpy as np
import torch

from carryproof.benchmarks.certify import margins
from carryproof.models.decoder import Decoder
from carryproof.models.windowed import ROWS_AT_ONCE, rows_of, windowed_logits
from carryproof.theory.coverage import families, windows_of_views, windows_shown
from carryproof.theory.digits import Digits
from carryproof.theory.processes import Process
from carryproof.theory.ranges import require_lengths
from carryproof.theory.readers import Family, Keys, reader_of
from carryproof.theory.scripts import Script


def shown_windows(process: Process, lengths: Iterable[int]) -> Keys:
    """The windows, with the token before, of all problems of these lengths, leading zeros included."""
    wanted = require_lengths("lengths", lengths)
    return windows_shown(process, wanted, law="spelled", more=(process.output_at(1),))


def never_shown(process: Process, lengths: Iterable[int]) -> Keys:
    """The windows that problems of some length present and problems of these lengths do not."""
    every = windows_of_views(process)
    return every[~np.isin(every, shown_windows(process, lengths), assume_unique=True)]


def wrong_windows(model: Decoder, script: Script, keys: Keys) -> Keys:
    """Those of the windows on which another token's logit, in double precision, is as large as the right one's."""
    found, _ = margins(model, script, keys)
    return keys[~(found > 0)]  # a margin that is not a number is not above 0


def beyond_rounding(model: Decoder, script: Script, keys: Keys) -> bool:
    """Whether the model is right on all the windows by more than rounding can change, as a certificate asks."""
    _, slack = margins(model, script, keys)
    return bool((slack > 0).all())


def share_right(process: Process, right: Keys, size: int) -> Fraction:
    """The share of problems of ``size`` places all of whose windows are among ``right``."""
    known = reader_of(process, (process.output_at(1),)).count(_family(process, size), {0: right})
    return Fraction(known, _problems(process, size))


def _family(process: Process, size: int) -> Family:
    (family,) = families(process, size, "spelled", None)
    return family


@cache
def _problems(process: Process, size: int) -> int:
    return reader_of(process).count(_family(process, size))


@torch.inference_mode()
def answered(model: Decoder, script: Script, operands: list[Digits]) -> np.ndarray:
    """Whether greedy decoding answers each problem right, by one pass over the written answer, its end included.

    The model runs as it is, in its own precision, on whole texts; long ones cost time and memory in proportion.
    """
    size = operands[0].shape[1]
    keys, start = torch.from_numpy(script.keys(size)), script.prompt_length(size)
    tokens = torch.from_numpy(script.write(operands))
    right = torch.ones(len(tokens), dtype=torch.bool)
    at_once = max(1, ROWS_AT_ONCE // len(keys))
    for first in range(0, len(tokens), at_once):
        batch, row = tokens[first : first + at_once], start
        for rows in rows_of(batch, keys, start):
            guesses = windowed_logits(model, rows, script.derivation.slot_classes).argmax(dim=-1).view(len(batch), -1)
            right[first : first + at_once] &= (guesses == batch[:, row : row + guesses.shape[1]]).all(dim=1)
            row += guesses.shape[1]
    return right.numpy()
