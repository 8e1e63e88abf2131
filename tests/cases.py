"""One table of tasks and formats that drives the tests of every layer."""

from hypothesis import strategies as st

from carryproof.theory import Format, Task, tasks

TASKS: list[Task] = [
    tasks.addition(),
    tasks.addition(3, base=7),
    tasks.addition(base=2),
    tasks.subtraction(),
    tasks.subtraction(base=16),
    tasks.multiplication(),
    tasks.multiplication(base=3),
    tasks.modular_addition(100),
    tasks.modular_addition(101),
    tasks.modular_addition(9973, 4, base=12),
    tasks.modular_subtraction(51),
    tasks.modular_multiplication(150),
    tasks.modular_multiplication(2**61 - 1, base=36),
]

FORMATS: list[Format] = [
    Format(width=width, operands=operands, answer=answer)
    for width in (None, 6)
    for operands in ("least-first", "most-first")
    for answer in ("least-first", "most-first")
]


@st.composite
def small_tasks(draw: st.DrawFn, *, modular: bool | None = None, largest_base: int = 36) -> Task:
    """Any registered operation in any base, with a modulus or without (or as ``modular`` says)."""
    operation = draw(st.sampled_from(list(tasks.OPERATIONS.values())))
    base = draw(st.integers(2, largest_base))
    operands = draw(st.integers(2, 3)) if operation.operands[1] > 2 else 2
    reduced = draw(st.booleans()) if modular is None else modular
    modulus = draw(st.integers(2, 200)) if reduced else None
    return Task(operation=operation, operands=operands, base=base, modulus=modulus)
