"""How the forty-four models write addition and subtraction: ``D op D' = sign A``, highest digit first, no end token.

Two numbers of n digits with leading zeros, the operator, the equals sign, the sign of the answer and its n + 1 digits
are 3n + 4 tokens; the n + 2 tokens of the answer are scored. Zero has the sign '+'. The vocabulary is that of the
published models (Quirke et al. 2024): the digits are their own ids, and ``SYMBOLS`` follow.

>>> problems = Problems(operands=np.array([[[5, 4], [7, 2]], [[2, 1], [5, 4]]], dtype=np.uint8),
...                     subtract=np.array([False, True]))
>>> [render(row) for row in write(problems)]
['45+27=+072', '12-45=-033']
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from carryproof.models.config import DecoderConfig
from carryproof.theory import tasks
from carryproof.theory.digits import Digits
from carryproof.theory.errors import bad, require_integer
from carryproof.theory.tasks import Answer

SYMBOLS = "+-=*\\"
PLUS, MINUS, EQUALS = (10 + SYMBOLS.index(symbol) for symbol in "+-=")
VOCABULARY = 10 + len(SYMBOLS)
DIGITS_AT_MOST = 40
OPERATIONS = ("add", "sub")


@dataclass(frozen=True, kw_only=True, slots=True)
class Problems:
    """Additions and subtractions of one size: ``operands`` [problem, 2, place], units first, and which subtract."""

    operands: Digits
    subtract: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.operands)

    @property
    def digits(self) -> int:
        """The digits of each operand."""
        return self.operands.shape[2]

    def at(self, index: NDArray[np.generic] | slice) -> "Problems":
        """The problems that an index or a mask selects."""
        return Problems(operands=self.operands[index], subtract=self.subtract[index])

    def answer(self) -> Answer:
        """Their answers, of one digit more than the operands."""
        digits = np.zeros((len(self), self.digits + 1), dtype=np.uint8)
        negative = np.zeros(len(self), dtype=bool)
        for task, mask in ((tasks.addition(), ~self.subtract), (tasks.subtraction(), self.subtract)):
            if mask.any():
                found = task.answer(self.operands[mask])
                digits[mask, : found.digits.shape[1]] = found.digits
                negative[mask] = found.negative
        return Answer(digits=digits, negative=negative)


def require_digits(argument: str, value: object) -> int:
    """A size of operands as an integer, or a one-line ``ValueError``."""
    digits = require_integer(argument, value, 1)
    if digits > DIGITS_AT_MOST:
        raise bad(argument, digits, f"1 to {DIGITS_AT_MOST}")
    return digits


def context(digits: int) -> int:
    """The tokens of a text."""
    return 3 * digits + 4


def digits_of(config: DecoderConfig) -> int:
    """The digits of the operands that a model reads, or a one-line ``ValueError`` if it reads other texts."""
    if config.d_vocab != VOCABULARY:
        raise bad("model d_vocab", config.d_vocab, str(VOCABULARY))
    if config.n_ctx not in map(context, range(1, DIGITS_AT_MOST + 1)):
        raise bad("model n_ctx", config.n_ctx, f"3 n + 4 for n from 1 to {DIGITS_AT_MOST}")
    return (config.n_ctx - 4) // 3


def prompt_length(digits: int) -> int:
    """The tokens up to and with the equals sign, after which the model writes ``digits + 2`` tokens."""
    return 2 * digits + 2


def write(problems: Problems, answer: Answer | None = None) -> NDArray[np.int64]:
    """The tokens ``[problem, 3 n + 4]`` of problems with their true answers, or with the answers given."""
    answer = problems.answer() if answer is None else answer
    n = problems.digits
    tokens = np.empty((context(n), len(problems)), dtype=np.uint8)  # a row for each token
    tokens[:n] = problems.operands[:, 0, ::-1].T
    tokens[n] = np.where(problems.subtract, MINUS, PLUS)
    tokens[n + 1 : 2 * n + 1] = problems.operands[:, 1, ::-1].T
    tokens[2 * n + 1] = EQUALS
    tokens[2 * n + 2] = np.where(answer.negative, MINUS, PLUS)
    tokens[2 * n + 3 :] = answer.digits[:, ::-1].T
    return tokens.T.astype(np.int64, order="C")


def render(tokens: NDArray[np.integer]) -> str:
    """A text in the vocabulary's symbols."""
    return "".join(str(token) if token < 10 else SYMBOLS[token - 10] for token in tokens.tolist())
