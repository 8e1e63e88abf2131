"""Every registered cell: the product of tasks, formats and encodings, trained on one to four digits and asked to nine.

The catalogue is what ``carryproof predict --all`` prints. It holds each operation plain and with a modulus that fits
the base (100) and one that does not (101), both widths and all digit orders, and every encoding.

>>> len(list(questions())) * len(ASKED) > 1000
True
"""

from collections.abc import Iterator
from itertools import product

from carryproof.theory import encodings, tasks
from carryproof.theory.formats import Format, Order
from carryproof.theory.predict import predict
from carryproof.theory.prediction import Prediction, Question
from carryproof.theory.ranges import TrainingRange
from carryproof.theory.tasks import OPERATIONS, Task

TRAINED, ASKED = TrainingRange(lengths=(1, 2, 3, 4)), (5, 6, 7, 8, 9)
MODULI = (None, 100, 101)
ORDERS: tuple[Order, ...] = ("least-first", "most-first")


def questions() -> Iterator[Question]:
    """Every question of the catalogue, in a fixed order."""
    cases = [Task(operation=operation, modulus=modulus) for operation in OPERATIONS.values() for modulus in MODULI]
    cases.insert(1, tasks.addition(3))
    forms = [
        Format(width=width, operands=operands, answer=answer)
        for width, operands, answer in product((ASKED[-1], None), ORDERS, ORDERS)
    ]
    for task, form, encoding in product(cases, forms, encodings.ENCODINGS):
        yield Question(task=task, format=form, encoding=encoding, train=TRAINED)


def predictions() -> Iterator[Prediction]:
    """The prediction of every question."""
    return (predict(question, ASKED) for question in questions())
