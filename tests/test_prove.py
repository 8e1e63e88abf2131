"""What `carryproof prove` prints against brute force: identities and rules are evaluated as they are printed."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carryproof import cli
from carryproof.theory import base_compatibility, proofs, subjects, tasks, typeset
from carryproof.theory.notation import escape, to_unicode
from carryproof.theory.subjects import PROCESSES, Subject
from carryproof.theory.weights import digit_weights

NAMES = [*tasks.task_names(), *PROCESSES]
BASES = st.integers(2, 16)
MODULI = st.integers(2, 120)
WIDTH = 100


def options(name: str, modulus: int = 12) -> list[str]:
    return ["--modulus", str(modulus)] if name.startswith("modular-") or name == "horner" else []


def run(capsys: pytest.CaptureFixture, *arguments: str) -> tuple[int, str, str]:
    try:
        status = cli.main(["prove", *arguments])
    except SystemExit as stop:
        status = int(stop.code or 0)
    out, err = capsys.readouterr()
    return status, out, err


def some_subject(name: str, base: int, modulus: int = 12, operands: int | None = None) -> Subject:
    return subjects.build(name, base=base, modulus=modulus if options(name) else None, operands=operands)


# Formulas as printed, turned into Python.


def as_python(latex: str) -> str:
    """A formula as a Python expression: a digit a_i is a(i), a^(1)_i is a(1, i), brackets of a condition are 0 or 1."""
    text = latex.replace(r"\allowbreak", "").replace(r"\cdot", "*").replace(r"\bmod", "%")
    text = re.sub(r"([abcs])(?:\^\{\(([^()]*)\)\})?_\{([^{}]*)\}", _digit, text)
    text = re.sub(r"a\^\{\((\d+)\)\}", r"a\1", text)
    text = text.replace("2n", "2 * n")
    text = text.replace("^{", "**{").replace("{", "(").replace("}", ")")
    text = re.sub(r"\\lfloor (.*?) / (.*?) \\rfloor", r"((\1) // (\2))", text)
    text = re.sub(r"\[([^][]*)\]", lambda found: f"int({found[1].replace(' = ', ' == ')})", text)
    assert "\\" not in text, text
    return text


def _digit(found: re.Match[str]) -> str:
    name, upper, lower = found.groups()
    return f"{name}({lower})" if upper is None else f"{name}({upper}, {lower})"


def members(latex: str) -> list[tuple[str, str]]:
    """The members of a chain a = b != c, each after the sign before it."""
    first, *rest = re.split(r" (=|\\ne) ", latex)
    return [("=", first), *zip(rest[::2], rest[1::2], strict=True)]


def test_the_translation_of_formulas() -> None:
    assert as_python(r"r = (c_{i-1} - a^{(2)}_{i}) \bmod 10") == "r = (c(i-1) - a(2, i)) % 10"
    assert eval(as_python(r"\lfloor (7 + 5) / 5^{2} \rfloor + 3 \cdot [2 = 2]")) == 3


# Shift laws.


def shift_statements(proof: proofs.Proof) -> Iterator[tuple[str, str]]:
    for fact in proof.sections[0].facts:
        assert fact.law == "L1"
        formula = re.search(r"\$(.*)\$", fact.latex)
        assert formula is not None
        yield fact.status, formula[1]


@settings(max_examples=40)
@given(st.sampled_from(tasks.task_names()), BASES, MODULI, st.integers(2, 3), st.data())
def test_shift_laws_hold_as_printed(name: str, base: int, modulus: int, operands: int, data: st.DataObject) -> None:
    count = operands if name.endswith("addition") else 2
    subject = some_subject(name, base, modulus, count)
    task = subject.task
    assert task is not None
    for status, formula in shift_statements(proofs.prove(subject)):
        values = data.draw(st.lists(st.integers(0, 10**6), min_size=count, max_size=count))
        names = dict(zip("ab" if count == 2 else [f"a{i + 1}" for i in range(count)], values, strict=False))
        known = {"f": task, "B": base, **names}
        chain = [(sign, eval(as_python(text), known)) for sign, text in members(formula)]
        for (_, left), (sign, right) in pairwise(chain):
            assert (left == right) == (sign == "="), formula
        assert (r"\ne" in formula) == (status == "refuted")


@settings(max_examples=20)
@given(st.sampled_from(tasks.task_names()), st.integers(2, 6), st.integers(2, 12))
def test_shift_counterexamples_are_the_smallest(name: str, base: int, modulus: int) -> None:
    subject = some_subject(name, base, modulus)
    task = subject.task
    assert task is not None
    for law in proofs.prove(subject).shift_laws:

        def breaks(values: tuple[int, ...], shifted: tuple[int, ...] = law.shifted) -> bool:
            moved = (v * base if i in shifted else v for i, v in enumerate(values))
            return task(*moved) != base * task(*values)

        broken = [values for values in product(range(13), repeat=2) if breaks(values)]
        assert bool(broken) == (law.status == "refuted")
        if broken:
            assert law.counterexample == min(broken, key=lambda values: (max(values), values))


def test_shift_search_ends_for_many_operands() -> None:
    proof = proofs.prove(some_subject("modular-addition", 10, 10007, 40))
    assert [law.status for law in proof.shift_laws] == ["refuted"] * 41
    assert len(proof.sections[0].facts) == 2


# Residues.


@given(BASES, st.integers(2, 5_000))
def test_base_compatibility_by_brute_force(base: int, modulus: int) -> None:
    law = base_compatibility(modulus, base)
    divides = [k for k in range(14) if base**k % modulus == 0]
    assert law.decisive == (divides[0] if divides else None)
    powers = 1
    for each in law.exponents:
        powers *= each.prime**each.in_modulus
        assert modulus % each.prime**each.in_modulus == 0 and base % each.prime**each.in_base == 0
        assert modulus % each.prime ** (each.in_modulus + 1) and base % each.prime ** (each.in_base + 1)
        needed = [k for k in range(14) if base**k % each.prime**each.in_modulus == 0]
        assert each.digits == (needed[0] if needed else None)
    assert powers == modulus
    digits = [each.digits for each in law.exponents]
    assert law.decisive == (None if None in digits else max(each for each in digits if each is not None))


@given(BASES, st.integers(2, 2_000))
def test_digit_weights_by_brute_force(base: int, modulus: int) -> None:
    weights = digit_weights(modulus, base)
    powers = [pow(base, place, modulus) for place in range(modulus * 2 + 40)]
    start = powers.index(next(power for i, power in enumerate(powers) if power in powers[i + 1 :]))
    period = powers.index(powers[start], start + 1) - start
    assert (weights.preperiod, weights.period) == (start, period)
    assert weights.first == tuple(powers[:8])
    coprime = max(d for d in range(1, modulus + 1) if modulus % d == 0 and np.gcd(d, base) == 1)
    assert weights.coprime == coprime


def test_residues_in_words() -> None:
    text = "\n".join(typeset.terminal_lines(proofs.prove(some_subject("modular-addition", 10, 150)), 300))
    assert "150 = 2·3·5² and 10 = 2·5, so that k₀(150) = max(1, ∞, 2) = ∞" in text
    assert "⌈v₅(150) / v₅(10)⌉ = ⌈2 / 1⌉ = 2" in text and "since 3 does not divide 10" in text
    assert "p' = 3 = 150 / 50" in text and "10ⁱ mod 150 = 1, 10, 100, 100, …: a pre-period of 2 places" in text
    text = "\n".join(typeset.terminal_lines(proofs.prove(some_subject("modular-addition", 10, 101)), 300))
    assert "10ⁱ mod 101 = 1, 10, 100, 91, 1, 10, 100, 91, …, with period 4, the order of 10 modulo 101" in text


# Rules and windows.


def reader(digits: dict[Any, int]) -> Callable[..., int]:
    return lambda *at: digits.get(at if len(at) > 1 else at[0], 0)


def evaluate(rule: tuple[str, ...], known: dict[str, Any]) -> int:
    """The last equation of a rule, after the ones that it refers to."""
    value = 0
    for equation in rule:
        name, right = equation.split(" = ", 1)
        if name == "s_{i}":
            here = as_python(right)
            known["s"] = lambda i, here=here: eval(here, known | {"i": i})
        else:
            value = eval(as_python(right), known)
            known[as_python(name).split("(")[0] if name == "r" else "_"] = value
    return value


WRITTEN_OUT = [
    *[("addition", base, 12, k) for base, k in ((2, 2), (3, 2), (3, 3), (10, 2))],
    *[(name, base, 12, None) for name in PROCESSES for base in (2, 3)],
    *[("horner", base, p, k) for base, p, k in ((2, 3, 1), (3, 2, 2), (6, 3, 2), (2, 5, 3))],
    ("unsigned-subtraction", 10, 12, None),
    ("times-one-digit", 10, 12, None),
    ("multiply-add-rows", 4, 12, None),
]


@pytest.mark.parametrize(("name", "base", "modulus", "operands"), WRITTEN_OUT)
def test_rules_give_every_token(name: str, base: int, modulus: int, operands: int | None) -> None:
    proof = proofs.prove(some_subject(name, base, modulus, operands))
    for viewed in proof.windows:
        assert bool(viewed.view.rule) == (viewed.window.status == "proved")
        if viewed.view.rule:
            assert slots_of(viewed.view.rule) <= set(viewed.window.texts)
            check_rule(viewed.view.process, viewed.view.rule, size=2 if base > 3 else 3)


def slots_of(rule: tuple[str, ...]) -> set[str]:
    """What the right sides read, as the window names it; sums stand for what they add up."""
    if rule[0].startswith("s_{i}"):
        here = slots_of((rule[0].replace("s_{i} = ", "c_{i} = "),))
        return here | {text.replace("[i]", "[i-1]") for text in here} | {"c[i-1]"}
    found = set()
    for equation in rule:
        for name, upper, lower in re.findall(
            r"([abc])(?:\^\{\(([^()]*)\)\})?_\{([^{}]*)\}", equation.split(" = ", 1)[1]
        ):
            found.add(f"{name}[{upper},{lower}]" if name == "c" and upper else f"{name}{upper}[{lower}]")
    return found


def check_rule(process: Any, rule: tuple[str, ...], size: int) -> None:
    widths = process.widths(size)
    problems = product(*(product(range(process.base), repeat=width) for width in widths))
    for problem in list(problems)[:2_500]:
        digits = [np.array([each], dtype=np.uint8) for each in problem]
        if process.domain is not None and not process.domain(digits)[0]:
            continue
        known: dict[str, Any] = {"n": size}
        places = {i: dict(enumerate(each)) for i, each in enumerate(problem)}
        if len(problem) > 2:
            known["a"] = reader({(i + 1, place): d for i, each in places.items() for place, d in each.items()})
        else:
            known |= {name: reader(each) for name, each in zip("ab", places.values(), strict=False)}
        written: dict[Any, int] = {}
        known["c"] = reader(written)
        for where, token in process.write(digits):
            known |= dict(zip(process.coordinates, where, strict=True))
            if process.coordinates == ("t",):  # rows of 2n places
                known |= {"i": where[0] % (2 * size), "j": where[0] // (2 * size)}
            assert evaluate(rule, known) == token[0], (problem, where)
            written[where if len(where) > 1 else where[0]] = int(token[0])


@given(st.sampled_from(["addition", "subtraction", "multiplication"]), BASES, st.integers(1, 3), st.data())
def test_residue_rules_hold_as_printed(name: str, base: int, digits: int, data: st.DataObject) -> None:
    modulus = data.draw(st.sampled_from([p for p in range(2, base**digits + 1) if base**digits % p == 0]))
    subject = some_subject(f"modular-{name}", base, modulus)
    task = subject.task
    assert task is not None and len(proofs.prove(subject).sections[2].facts) == 1
    a, b = data.draw(st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)))
    for text in (subject.formula, *subject.views[0].rule):
        left, right = text.split(" = ", 1)
        assert left == r"f(a,\allowbreak b)"
        assert eval(as_python(right), {"a": a, "b": b}) == task(a, b)


def test_formulas_of_processes() -> None:
    formulas = {
        "copy": lambda a, b, i: a // 3**i % 3,
        "comparison": lambda a, b, i: 0 if a == b else 1 if a < b else 2,
        "unsigned-subtraction": lambda a, b, i: a - b,
        "times-one-digit": lambda a, b, i: a * b,
        "horner": lambda a, b, i: (a // 3**i + b // 3**i) % 12,
    }
    for name, truth in formulas.items():
        right = some_subject(name, 3).formula.split(" = ", 1)[1].split(r"\text")[0]
        for a, b, i in product(range(27), range(3), range(3)):
            known = {"a": reader({k: a // 3**k % 3 for k in range(3)}) if name == "copy" else a, "b": b, "i": i}
            assert eval(as_python(right), known) == truth(a, b, i)


@pytest.mark.parametrize(("base", "operands"), [(2, 2), (3, 2), (4, 2), (2, 3), (3, 3)])
def test_printed_windows_determine_the_digit(base: int, operands: int, capsys: pytest.CaptureFixture) -> None:
    """The slots that are printed, on Python integers: enough, and none can go."""
    _, out, _ = run(capsys, "addition", "--base", str(base), "--operands", str(operands), "--json")
    least = json.loads(out)["windows"][0]
    slots = least["slots"]
    assert least["status"] == "proved"
    pairs = [(slots, True), *(([each for each in slots if each != left], False) for left in slots)]
    for chosen, enough in pairs:
        seen: dict[Any, int] = {}
        good = True
        for values in product(range(base ** (3 if base == 2 else 2)), repeat=operands):
            numbers = {("ab"[k] if operands == 2 else f"a{k + 1}"): v for k, v in enumerate(values)} | {
                "c": sum(values)
            }
            for i in range(5):
                key = tuple(digit(numbers, slot, i, base) for slot in chosen)
                good &= seen.setdefault(key, digit(numbers, "c[i]", i, base)) == digit(numbers, "c[i]", i, base)
        assert good == enough, chosen


def digit(numbers: dict[str, int], slot: str, i: int, base: int) -> int:
    name, place = re.fullmatch(r"(\w+)\[(.*)\]", slot).groups()
    at = eval(place, {"i": i})
    return numbers[name] // base**at % base if at >= 0 else 0


@settings(max_examples=40)
@given(st.sampled_from(tasks.task_names()), BASES, MODULI)
def test_window_counterexamples_are_real(name: str, base: int, modulus: int) -> None:
    subject = some_subject(name, base, modulus)
    task = subject.task
    assert task is not None
    for viewed in proofs.prove(subject).windows:
        found = json.loads(json.dumps(viewed.to_dict()))
        assert bool(found["counterexamples"]) == (found["status"] == "refuted")
        for each in found["counterexamples"]:
            (place,), other = each["coordinates"][0], each["coordinates"][1]
            assert other == [place]
            first, second = each["problems"]
            radius = each["radius"]
            for one, two in zip(first, second, strict=True):
                near = [len(one) - 1 - k for k in range(place - radius, place + radius + 1) if 0 <= k < len(one)]
                assert all(one[k] == two[k] for k in near)
            answers = []
            for problem, answer, token in zip(each["problems"], each["answers"], each["tokens"], strict=True):
                value = task(*(int(number, base) for number in problem))
                sign, magnitude = (answer[0], answer[1:]) if task.signed else ("+", answer)
                assert int(magnitude, base) == abs(value) and (sign == "-") == (value < 0)
                if place < len(magnitude):
                    assert int(magnitude[len(magnitude) - 1 - place], base) == token
                answers.append(answer)
            # everything written earlier is the same
            width = len(answers[0])
            written = range(place) if found["order"] == "least-first" else range(place + 1, width)
            assert all(answers[0][width - 1 - k] == answers[1][width - 1 - k] for k in written)
            assert each["tokens"][0] != each["tokens"][1]


def test_why_the_orders_differ(capsys: pytest.CaptureFixture) -> None:
    _, out, _ = run(capsys, "addition")
    assert "cᵢ = F(aᵢ, bᵢ, aᵢ₋₁, bᵢ₋₁, cᵢ₋₁)" in out and "the orders differ: least-first, the state is the carry" in out
    assert "a =   [0 9]9 9     a =   [0 9]9 9\n" in out and "c =  0[0]9 9 9     c =  0[1]0 0 0\n" in out
    _, out, _ = run(capsys, "subtraction")
    assert "both orders fail, for reasons of their own" in out and "c =  + 0 0 0[1]    c =  - 0 9 9[9]\n" in out
    _, out, _ = run(capsys, "modular-multiplication", "--modulus", "12")
    assert "in either order: no window" in out
    _, out, _ = run(capsys, "horner", "--modulus", "101")
    assert "cᵢ = (10·cᵢ₊₁ + aᵢ + bᵢ) mod 101" in out and "without the running state there is no window" in out


# The command line.


@pytest.mark.parametrize("name", NAMES)
def test_every_name_in_every_form(name: str, capsys: pytest.CaptureFixture) -> None:
    status, out, err = run(capsys, name, *options(name, 101))
    assert (status, err) == (0, "")
    assert "Dependency windows" in out and "\\" not in out and "$" not in out
    assert all(len(line) <= 120 and line == line.rstrip() for line in out.splitlines())
    status, out, _ = run(capsys, name, *options(name, 101), "--json")
    value = json.loads(out)
    assert {
        "schema_version",
        "task",
        "title",
        "formula",
        "shift_laws",
        "base_compatibility",
        "digit_weights",
        "windows",
        "facts",
    } == value.keys()
    assert value["task"]["name"] == name and bool(value["shift_laws"]) == (name in tasks.task_names())
    assert (value["base_compatibility"] is None) == (not options(name))
    for window in value["windows"]:
        assert window["status"] in ("proved", "refuted")
    for fact in value["facts"]:
        assert to_unicode(fact["latex"]) == fact["statement"]
    status, out, _ = run(capsys, name, *options(name, 101), "--latex")
    assert status == 0 and out.isascii()
    check_latex(out)


def check_latex(text: str) -> None:
    bare = re.sub(r"\\[\\{}$%&#_]", "", text)
    depth = 0
    for character in bare:
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0 and bare.count("$") % 2 == 0
    assert text.count(r"\lfloor") == text.count(r"\rfloor") and text.count(r"\lceil") == text.count(r"\rceil")
    stack = []
    for kind, environment in re.findall(r"\\(begin|end)\{(\w+\*?)\}", text):
        if kind == "begin":
            stack.append(environment)
        else:
            assert stack.pop() == environment
    assert not stack


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles_without_overfull_lines(tmp_path: Path) -> None:
    found = [some_subject(name, 10, modulus) for name in NAMES for modulus in (12, 101)]
    found += [some_subject("addition", 2, operands=3), some_subject("addition", 10, operands=12)]
    body = "\n".join(typeset.latex_fragment(proofs.prove(subject)) for subject in found)
    head = "\\documentclass{article}\n\\usepackage{amsmath,amssymb}\n\\begin{document}\n"
    (tmp_path / "a.tex").write_text(f"{head}{body}\n\\end{{document}}\n", encoding="ascii")
    command = ["pdflatex", "-interaction=nonstopmode", "a.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, encoding="latin-1")
    assert done.returncode == 0, done.stdout[-2_000:]
    assert "Overfull" not in done.stdout


@settings(max_examples=20)
@given(st.sampled_from(NAMES), st.integers(2, 36), st.integers(2, 60), st.integers(20, 160))
def test_lines_in_any_base_and_width(name: str, base: int, modulus: int, width: int) -> None:
    proof = proofs.prove(some_subject(name, base, modulus))
    assert all("$" not in line and "\\" not in line for line in typeset.terminal_lines(proof, width))
    check_latex(typeset.latex_fragment(proof))


def test_an_operation_of_ones_own() -> None:
    operation = tasks.Operation(
        name="xor_&", symbol="^", apply=lambda a, b: a ^ b, width=lambda base, places, operands: places
    )
    proof = proofs.prove(subjects.subject_of(tasks.Task(operation=operation, base=2)), size=3)
    text = "\n".join(typeset.terminal_lines(proof, WIDTH))
    assert "f(a, b) = a ^ b" in text and "xor_& of 2 numbers" in text and "checked to size" in text
    assert "cᵢ = F(aᵢ, bᵢ)" in text
    check_latex(typeset.latex_fragment(proof))
    assert r"Xor\_\& of 2 numbers" in typeset.latex_fragment(proof)


@given(st.text(st.characters(codec="ascii", exclude_characters="\x00"), max_size=20))
def test_escaping_is_undone(text: str) -> None:
    assert to_unicode(escape(text)) == text
    assert to_unicode(rf"$a_i \text{{{escape(text)}}} - b$") == f"aᵢ {text} − b"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["hornr"], "did you mean 'horner'"),
        (["horner"], "modulus: got None; allowed: an integer of at least 2, which horner needs"),
        (["horner", "--modulus", "1"], "modulus: got 1"),
        (["horner", "--modulus", "1009"], "states of the machine"),
        (["horner", "--modulus", "7", "--operands", "0"], "operands: got 0"),
        (["copy", "--modulus", "7"], "modulus: got 7; allowed: none for copy"),
        (["copy", "--operands", "2"], "operands: got 2"),
        (["copy", "--base", "37"], "base: got 37"),
        (["addition", "--size", "0"], "size: got 0"),
        (["addition", "--size", "3"], "at most 300,000 problems; addition of 2 numbers in base 10 has 1,010,100"),
        (["copy", "--size", "99"], "10^99"),
        (["copy", "--latex", "--json"], "give one of the two"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture) -> None:
    status, out, err = run(capsys, *arguments)
    assert status == 2 and out == "" and message in err and len(err.splitlines()) == 1


def test_sizes_that_finish(capsys: pytest.CaptureFixture) -> None:
    status, out, _ = run(capsys, "addition", "--base", "2", "--size", "6", "--json")
    assert status == 0 and [window["checked_size"] for window in json.loads(out)["windows"]] == [6, 6]


def test_the_listing_has_two_groups(capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["tasks", "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert list(value["tasks"]) == tasks.task_names() and list(value["processes"]) == list(PROCESSES)
    assert cli.main(["tasks"]) == 0
    out = capsys.readouterr().out
    assert all(re.search(rf"^{name} ", out, re.MULTILINE) for name in NAMES)


def test_proofs_import_neither_torch_nor_sympy() -> None:
    code = (
        "import sys, carryproof.theory, carryproof.theory.proofs, carryproof.theory.typeset\n"
        "print(*{'torch', 'sympy', 'rich', 'hypothesis'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_a_terminal_without_unicode_gets_latex() -> None:
    code = "from carryproof import cli; cli.main(['prove', 'copy'])"
    done = subprocess.run(
        [sys.executable, "-X", "utf8=0", "-c", code],
        capture_output=True,
        env={"PYTHONIOENCODING": "ascii", "PATH": ""},
        check=True,
    )
    assert done.stdout.startswith(b"\\paragraph{Copy in base 10.}")
