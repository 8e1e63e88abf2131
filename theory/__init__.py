"""Theory: what is true of arithmetic tasks and what is therefore predicted, before any training and without torch.

Tasks, formats and symbolic twins of the positional encodings are frozen values; laws about them return data with
reasons. ``predict`` turns them into verdicts with exact accuracies.
"""

from carryproof.theory import encodings, formats, tasks
from carryproof.theory.accuracy import surrogate_accuracy
from carryproof.theory.alignment import alignment
from carryproof.theory.compatibility import base_compatibility, decisive_digits
from carryproof.theory.formats import Format
from carryproof.theory.predict import predict, surrogate_text
from carryproof.theory.prediction import Cell, Prediction, Question, Reason, canonical_json, content_hash
from carryproof.theory.ranges import TrainingRange, parse_lengths, write_lengths
from carryproof.theory.shift import shift_law
from carryproof.theory.tasks import Task

__all__ = [
    "Cell",
    "Format",
    "Prediction",
    "Question",
    "Reason",
    "Task",
    "TrainingRange",
    "alignment",
    "base_compatibility",
    "canonical_json",
    "content_hash",
    "decisive_digits",
    "encodings",
    "formats",
    "parse_lengths",
    "predict",
    "shift_law",
    "surrogate_accuracy",
    "surrogate_text",
    "tasks",
    "write_lengths",
]
