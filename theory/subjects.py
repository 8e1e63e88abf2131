r"""Subjects: what facts can be asked about, as formulas, with the processes to decide and the rules they follow.

A subject is an arithmetic task, written in both orders, or one of the processes of ``theory.cases`` under a name of its
own. A rule is the function of the window written out; it is LaTeX that evaluates, so that tests check it as printed.

>>> subject = build("horner", modulus=101)
>>> subject.title, subject.views[0].label
("addition of 2 numbers modulo 101 by Horner's rule in base 10", 'most-first')
>>> print(*subject.views[0].rule)
c_{i} = (10 \cdot c_{i+1} + a_{i} + b_{i}) \bmod 101
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from carryproof.theory import cases, tasks
from carryproof.theory.column_rows import column_rows
from carryproof.theory.column_sums import column_sums
from carryproof.theory.compatibility import decisive_digits
from carryproof.theory.digits import require_base
from carryproof.theory.errors import bad, require_integer, unknown
from carryproof.theory.formats import Order
from carryproof.theory.notation import escape, joined, operand_list
from carryproof.theory.processes import Process
from carryproof.theory.tasks import Task

ORDERS: tuple[Order, ...] = ("least-first", "most-first")
KNOWN = {tasks.ADDITION: "+", tasks.SUBTRACTION: "-", tasks.MULTIPLICATION: r"\cdot"}


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """One way to write and to index the tokens: a process to decide, and its rule where one is known."""

    label: str
    process: Process
    rule: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """What facts are asked about. ``formula`` is LaTeX; ``task`` is there for arithmetic tasks alone.

    ``law`` is the law that the windows are about. ``without`` is the same answer written without the running state.
    """

    name: str
    title: str
    formula: str
    operands: int
    base: int
    modulus: int | None
    views: tuple[View, ...]
    law: str = "L2"
    task: Task | None = None
    without: Process | None = None

    def to_dict(self) -> dict[str, Any]:
        """The subject as plain data, as tasks are stored."""
        return {"name": self.name, "operands": self.operands, "base": self.base, "modulus": self.modulus}


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedProcess:
    """An entry of the registry: what it is, how many numbers it takes, and whether it needs a modulus."""

    about: str
    make: Callable[[int, int, int | None], tuple[str, tuple[View, ...]]]
    operands: tuple[int, int] = (1, 1)
    modular: bool = False
    law: str = "L2"
    without: Callable[[int, int, int | None], Process] | None = None


def operation_text(task: Task, names: list[str]) -> str:
    """The operation of a task on named operands, without its reduction."""
    # an operation of one's own may use the sign of another, so that only the three are taken at their sign
    sign = KNOWN.get(task.operation, rf"\mathbin{{\text{{{escape(task.operation.symbol)}}}}}")
    return f" {sign} ".join(names)


def subject_of(task: Task) -> Subject:
    """An arithmetic task, written least-first and most-first."""
    names = operand_list(task.operands)
    text = operation_text(task, names)
    formula = f"f({joined(names)}) = " + (text if task.modulus is None else rf"({text}) \bmod {task.modulus}")
    return Subject(
        name=task.name,
        title=str(task),
        formula=formula,
        operands=task.operands,
        base=task.base,
        modulus=task.modulus,
        views=tuple(
            View(label=order, process=cases.process_of(task, order), rule=_task_rule(task, order)) for order in ORDERS
        ),
        law="L2" if task.modulus is None else "L3",
        task=task,
    )


def _task_rule(task: Task, order: Order) -> tuple[str, ...]:
    names = operand_list(task.operands)
    if task.modulus is not None:
        decisive = decisive_digits(task.modulus, task.base)
        if decisive is None or task.operation not in KNOWN:
            return ()
        last = [name if name == r"\dots" else rf"({name} \bmod {task.base**decisive})" for name in names]
        return (rf"f({joined(names)}) = ({operation_text(task, last)}) \bmod {task.modulus}",)
    if task.operation is not tasks.ADDITION or order != "least-first" or task.operands > task.base:
        return ()
    sums = {place: " + ".join(operand_list(task.operands, digit=place)) for place in ("i", "i-1")}
    if task.operands == 2:
        return _carried(task.base, sums["i"], sums["i-1"], sums["i-1"].replace("+", "-"))
    return (f"s_{{i}} = {sums['i']}", *_carried(task.base, "s_{i}", "s_{i-1}", "s_{i-1}"))


def _carried(base: int, here: str, before: str, subtracted: str, written: str = "c") -> tuple[str, str]:
    """The carry into the last column is what its digit lacks modulo B; it is less than B, hence known."""
    return (
        rf"r = ({written}_{{i-1}} - {subtracted}) \bmod {base}",
        rf"{written}_{{i}} = ({here} + \lfloor ({before} + r) / {base} \rfloor) \bmod {base}",
    )


def _copy(base: int, operands: int, modulus: int | None) -> tuple[str, tuple[View, ...]]:
    views = tuple(View(label=order, process=cases.copy(base, order), rule=("c_{i} = a_{i}",)) for order in ORDERS)
    return "c_{i} = a_{i}", views


def _reversal(base: int, operands: int, modulus: int | None) -> tuple[str, tuple[View, ...]]:
    # n is part of neither window: the second one reads it from the ids
    other = cases.reversal(base, counted_from_the_other_end=True)
    formula = r"c_{i} = a_{n-1-i}\text{ for a number of }n\text{ digits}"
    straight = View(label="least-first", process=cases.reversal(base))
    return formula, (
        straight,
        View(label="least-first, ids from the other end", process=other, rule=("c_{i} = a_{n-1-i}",)),
    )


def _parity(base: int, operands: int, modulus: int | None) -> tuple[str, tuple[View, ...]]:
    formula = r"c_{0} = (a_{0} + a_{1} + \cdots + a_{n-1}) \bmod 2"
    return formula, (View(label="least-first", process=cases.parity(base)),)


def _running_parity(base: int, operands: int, modulus: int | None) -> tuple[str, tuple[View, ...]]:
    rule = (r"c_{i} = (c_{i-1} + a_{i}) \bmod 2",)
    formula = r"c_{i} = (a_{0} + a_{1} + \cdots + a_{i}) \bmod 2"
    return formula, (View(label="least-first", process=cases.running_parity(base), rule=rule),)


def _comparison(base: int, operands: int, modulus: int | None) -> tuple[str, tuple[View, ...]]:
    return r"c_{0} = [a < b] + 2 \cdot [a > b]", (View(label="least-first", process=cases.comparison(base)),)


def _running_comparison(base: int, operands: int, modulus: int | None) -> tuple[str, tuple[View, ...]]:
    here = r"[a_{i} < b_{i}] + 2 \cdot [a_{i} > b_{i}]"
    rules = {
        "least-first": rf"c_{{i}} = {here} + [a_{{i}} = b_{{i}}] \cdot c_{{i-1}}",
        "most-first": rf"c_{{i}} = c_{{i+1}} + [c_{{i+1}} = 0] \cdot ({here})",
    }
    formula = r"c_{i} = [x < y] + 2 \cdot [x > y]\text{ for the digits }x, y\text{ of }a, b\text{ read so far}"
    return formula, tuple(
        View(label=order, process=cases.running_comparison(base, order), rule=(rules[order],)) for order in ORDERS
    )


def _unsigned_subtraction(base: int, operands: int, modulus: int | None) -> tuple[str, tuple[View, ...]]:
    rule = (
        rf"r = (a_{{i-1}} - b_{{i-1}} - c_{{i-1}}) \bmod {base}",
        rf"c_{{i}} = (a_{{i}} - b_{{i}} - [a_{{i-1}} < b_{{i-1}} + r]) \bmod {base}",
    )
    return r"f(a,\allowbreak b) = a - b\text{ for }a \ge b", tuple(
        View(label=order, process=cases.unsigned_subtraction(base, order), rule=rule if order == "least-first" else ())
        for order in ORDERS
    )


def _times_one_digit(base: int, operands: int, modulus: int | None) -> tuple[str, tuple[View, ...]]:
    here, before = r"a_{i} \cdot b_{0}", r"a_{i-1} \cdot b_{0}"
    # in base 2 there is no carry
    rule = (f"c_{{i}} = {here}",) if base == 2 else _carried(base, here, before, before)
    formula = rf"f(a,\allowbreak b) = a \cdot b\text{{ for }}b < {base}"
    return formula, (View(label="least-first", process=cases.times_one_digit(base), rule=rule),)


def _horner(base: int, operands: int, modulus: int | None) -> tuple[str, tuple[View, ...]]:
    assert modulus is not None
    state = "" if base % modulus == 0 else rf"{base} \cdot c_{{i+1}} + "
    rule = rf"c_{{i}} = ({state}{' + '.join(operand_list(operands, digit='i'))}) \bmod {modulus}"
    parts = [name if name == r"\dots" else rf"\lfloor {name} / {base}^{{i}} \rfloor" for name in operand_list(operands)]
    formula = rf"c_{{i}} = ({' + '.join(parts)}) \bmod {modulus}"
    process = cases.horner(modulus, operands, base=base)
    return formula, (View(label="most-first", process=process, rule=(rule,)),)


def _multiply_add_rows(base: int, operands: int, modulus: int | None) -> tuple[str, tuple[View, ...]]:
    above, product = "c^{(j-1)}_{i-1}", r"a_{i-j-1} \cdot b_{j}"
    here, before = r"c^{(j-1)}_{i} + a_{i-j} \cdot b_{j}", f"{above} + {product}"
    rule = _carried(base, here, before, f"{above} - {product}", "c^{(j)}")
    formula = (
        rf"c^{{(j)}}_{{i}} = \text{{digit }}i\text{{ of }}S_{{j}} = S_{{j-1}} + a \cdot b_{{j}} \cdot {base}^{{j}}"
    )
    return formula, (View(label="least-first", process=cases.multiply_add_rows(base), rule=rule),)


def _column_rows(base: int, operands: int, modulus: int | None) -> tuple[str, tuple[View, ...]]:
    rule = rf"c_{{t}} = (c_{{t-2n}} \bmod {base}) + a_{{i-j}} \cdot b_{{j}} + \lfloor c_{{t-1}} / {base} \rfloor"
    formula = r"c_{t} = \text{the value of }a \cdot b\text{ at place }i\text{ of row }j\text{, for }t = 2nj + i"
    return formula, (View(label="least-first", process=column_rows(base), rule=(rule,)),)


def _column_sums(base: int, operands: int, modulus: int | None) -> tuple[str, tuple[View, ...]]:
    rule = rf"c_{{i}} = {' + '.join(operand_list(operands, digit='i'))} + \lfloor c_{{i-1}} / {base} \rfloor"
    formula = rf"c_{{i}} = \text{{the value of }}{' + '.join(operand_list(operands))}\text{{ at place }}i"
    return formula, (View(label="least-first", process=column_sums(operands, base=base), rule=(rule,)),)


def _digits_of_a_sum(base: int, operands: int, modulus: int | None) -> Process:
    assert modulus is not None
    # the residue of one number is the residue of a sum with zero, digit by digit
    return cases.process_of(tasks.modular_addition(modulus, max(2, operands), base=base))


PROCESSES: dict[str, NamedProcess] = {
    "copy": NamedProcess(about="the digits of a number", make=_copy),
    "reversal": NamedProcess(about="the digits of a number in reverse", make=_reversal),
    "parity": NamedProcess(about="whether the sum of the digits is odd", make=_parity),
    "running-parity": NamedProcess(
        about="the parity of the digits so far, after each digit",
        make=_running_parity,
        without=lambda base, operands, modulus: cases.parity(base),
    ),
    "comparison": NamedProcess(
        about="0 if a = b, 1 if a < b, 2 if a > b, written once", make=_comparison, operands=(2, 2)
    ),
    "running-comparison": NamedProcess(
        about="the comparison of the digits so far, after each place",
        make=_running_comparison,
        operands=(2, 2),
        without=lambda base, operands, modulus: cases.comparison(base),
    ),
    "unsigned-subtraction": NamedProcess(
        about="a - b for a at least b, without a sign", make=_unsigned_subtraction, operands=(2, 2)
    ),
    "times-one-digit": NamedProcess(about="a*b for a single digit b", make=_times_one_digit, operands=(2, 2)),
    "column-sums": NamedProcess(
        about="a+b by column values, carries and all, --operands K",
        make=_column_sums,
        operands=(2, 100),
    ),
    "horner": NamedProcess(
        about="a+b modulo --modulus P, the remainder after each place, --operands K from 1",
        make=_horner,
        operands=(1, 100),
        modular=True,
        law="L17",
        without=_digits_of_a_sum,
    ),
    "multiply-add-rows": NamedProcess(
        about="a*b with its running sums, row by row",
        make=_multiply_add_rows,
        operands=(2, 2),
        law="L18",
        without=lambda base, operands, modulus: cases.process_of(tasks.multiplication(base=base)),
    ),
    "column-rows": NamedProcess(
        about="a*b by rows of column values, carries and all",
        make=_column_rows,
        operands=(2, 2),
        law="L18",
        without=lambda base, operands, modulus: cases.process_of(tasks.multiplication(base=base)),
    ),
}


def build(name: str, *, operands: int | None = None, base: int = 10, modulus: int | None = None) -> Subject:
    """The subject of a command-line name; without ``operands`` two numbers, or one where two are too many."""
    if name in tasks.task_names():
        return subject_of(tasks.build(name, operands=2 if operands is None else operands, base=base, modulus=modulus))
    if name not in PROCESSES:
        raise unknown("task", name, [*tasks.task_names(), *PROCESSES])
    entry, (low, high) = PROCESSES[name], PROCESSES[name].operands
    require_base(base)
    count = require_integer("operands", min(2, high) if operands is None else operands, low, high)
    if entry.modular and modulus is None:
        raise bad("modulus", None, f"an integer of at least 2, which {name} needs")
    if not entry.modular and modulus is not None:
        raise bad("modulus", modulus, f"none for {name}")
    if modulus is not None:
        require_integer("modulus", modulus, 2)
    formula, views = entry.make(base, count, modulus)
    return Subject(
        name=name,
        title=views[0].process.name,
        formula=formula,
        operands=count,
        base=base,
        modulus=modulus,
        views=views,
        law=entry.law,
        without=None if entry.without is None else entry.without(base, count, modulus),
    )
