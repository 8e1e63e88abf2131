"""One table of tasks and formats that drives the tests of every layer."""

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
