"""Multiplication by rows of column values: a scratchpad with a window of four tokens, whatever the lengths (law L18).

For each digit b_j, lowest first, a row holds for each place i what stands in that column before it is split into digit
and carry: v_j[i] = (v_(j-1)[i] mod B) + a[i-j] b_j + (v_j[i-1] div B), absent ones read as 0. Modulo B row j holds the
digits of S_j = a (b mod B^(j+1)); where the top digit of b is zero the last row is the product itself. Rows as in Xiao
and Liu, arXiv 2404.00560, but with values in place of digits, so that no carry has to be inferred.

>>> rows = column_rows(10).write([np.array([[9, 1]], dtype=np.uint8), np.array([[7, 0]], dtype=np.uint8)])  # 19 * 07
>>> [int(values[0]) for _, values in rows]   # 63, 1 * 7 + 6, 1, 0, and below them 133, lowest digit first
[63, 13, 1, 0, 3, 3, 1, 0]

Values are below B^2. Let d = b_j and let c = v_j[i-1] div B be at most d. Then v_j[i] <= B - 1 + (B - 1) d + d = B d +
B - 1, so that c is at most d in the next place as well: by induction v_j[i] < B (d + 1), and nothing is carried where
d = 0. So the row adds a d B^j to S_(j-1), its carries in sight. Rows have 2n places for operands of n, and S_j needs no
more: the top value of a row carries nothing, and the first token of the next row may treat it as any token before. No
row begins in a way of its own, and the end stands where no digit of b is left.
"""

from functools import cache

import numpy as np

from carryproof.theory.digits import Digits, require_base
from carryproof.theory.errors import bad
from carryproof.theory.processes import (
    ABSENT,
    END,
    SAME_PLACE,
    Home,
    Process,
    Table,
    Tokens,
    Values,
    WindowSlot,
    equal_widths,
)

ABOVE = WindowSlot("answer", 1, (0,))
BEFORE = WindowSlot("answer", 0, (-1,))
FIRST, SECOND = (WindowSlot("operand", operand, (0,)) for operand in (0, 1))
WINDOW = (ABOVE, FIRST, SECOND, BEFORE)
LARGEST_LISTED = 12  # about B^6 / 2 views: 1,640,000


@cache
def column_rows(base: int = 10) -> Process:
    """The product of two numbers, row by row; token t stands at place i = t mod 2n of row j = t div 2n."""
    require_base(base)
    return Process(
        name=f"multiplication by rows of column values in base {base}",
        base=base,
        homes=(
            Home(text="i-j", place=lambda at, size: at[0] % (2 * size) - at[0] // (2 * size)),
            Home(text="j", place=lambda at, size: at[0] // (2 * size)),
        ),
        order="least-first",
        write=lambda operands: _written(base, operands),
        widths=equal_widths(2),
        coordinates=("t",),
        decided=WINDOW,
        answers=(SAME_PLACE, Home(text="t-2n", place=lambda at, size: at[0] - 2 * size)),
        table=lambda: _table(base),
        why="a value is at most B^2 - 1 and holds what it carries",
    )


def _written(base: int, operands: list[Digits]) -> Tokens:
    left, right = (each.astype(np.int64) for each in operands)
    size = left.shape[1]
    above = np.zeros((len(left), 2 * size), dtype=np.int64)
    tokens: Tokens = []
    for row in range(size):
        values = above % base
        values[:, row : row + size] += left * right[:, row, None]
        for place in range(1, 2 * size):
            values[:, place] += values[:, place - 1] // base
        tokens += [((len(tokens) + place,), values[:, place]) for place in range(2 * size)]
        above = values
    return tokens


def product_digits(tokens: Values, size: int, base: int) -> Values:
    """The digits of the product in the answers of problems ``[problem, token]`` of ``size`` places."""
    return tokens[:, 2 * size * (size - 1) : 2 * size * size] % base


@cache
def _table(base: int) -> Table:
    """The views: columns x (the value above), a, d, q (the token before), and the token. A superset, for these reasons.

    Row 0 has no x; q is '=' where i = 0, else less than max(1, B d), since there c < d by the same induction.
    Below the first digit of a nothing is carried yet, so that q < B, and nor is into x: x <= B - 1 + (B - 1)^2.
    At a digit of a let u be the value above q, in a row with digit e: u <= B - 1 + a e + e <= (B - 1)(a + 2), as it is
    in the column of the same digit of a; x <= B - 1 + (B - 1) e + u div B; q <= u mod B + (B - 1) d + d. So
    B max(0, x - B (B - 1)) + max(0, q - B d) <= u is at most (B - 1)(a + 2), and q < B (d + 1).
    Above the last digit of a all of S_(j-1) has been read, and x = 0.
    At the end q is the top value of the last row and x the lowest one, both less than B as in its row i = 0 < j; but in
    problems of one place x = a_0 b_0, and q is what it carries.
    """
    if base > LARGEST_LISTED:
        raise bad("base", base, f"at most {LARGEST_LISTED} where views are listed, which are about B^6 / 2")
    digits, none, zero = np.arange(base), np.array([ABSENT]), np.array([0])
    parts = [_grid(none, digits, digits, none)]
    low = np.arange(base * (base - 1) + 1)
    for digit in range(base):
        here, carried = np.array([digit]), np.arange(base * (digit + 1))
        parts.append(_grid(none, np.append(digits, ABSENT), here, np.arange(max(1, base * digit))))
        parts.append(_grid(low, none, here, digits))
        parts.append(_grid(zero, none, here, carried))
        inside = _grid(np.arange(base * base), digits, here, carried)
        x, factor, _, before = inside.T
        least = base * np.maximum(0, x - base * (base - 1)) + np.maximum(0, before - base * digit)
        parts.append(inside[least <= (base - 1) * (factor + 2)])
    seen = np.unique(np.concatenate(parts), axis=0)
    x, factor, digit, before = np.maximum(seen, 0).T
    token = x % base + factor * digit + before // base
    product = np.arange(base)[:, None] * np.arange(base)
    single = np.unique(np.stack([product.ravel(), product.ravel() // base], axis=1), axis=0)
    ends = np.unique(np.concatenate([_grid(digits, digits), single]), axis=0)
    nothing = np.full(len(ends), ABSENT)
    last = np.stack([ends[:, 0], nothing, nothing, ends[:, 1], np.full(len(ends), END)], axis=1)
    views = np.concatenate([np.concatenate([seen, token[:, None]], axis=1), last])
    return Table(slots=WINDOW, views=views, queries=views[:, 3])


def _grid(*columns: Values) -> Values:
    """All combinations of values, as rows."""
    return np.stack([each.ravel() for each in np.meshgrid(*columns, indexing="ij")], axis=1)
