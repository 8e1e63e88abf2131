"""The published numbers beside the exact law: the statistic, what it may be asked of, and every place it is shown."""

import csv
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import chisquare

from carryproof.benchmarks import agreement
from carryproof.benchmarks.agreement import adjusted, agreements, held_against_law, total
from carryproof.benchmarks.literature import PROBLEMS, PUBLISHED, Published, modular_rows
from carryproof.benchmarks.published import HEAD, conclusions, law_cells, law_rows, markdown
from carryproof.theory import Task, surrogate_accuracy, tasks

ROOT = Path(__file__).parent.parent
FOUND = {(each.task.name, each.task.modulus): each for each in agreements()}


def published(*beyond: float, **more: object) -> Published:
    return Published(**{"trained": 4, "in_range": 100.0, "decimals": 2, "beyond": beyond, **more})


def test_every_published_modulus_is_there() -> None:
    assert [task.modulus for task, _ in modular_rows() if task.operation.name == "addition"] == [
        50, 51, 100, 101, 150, 151, 200, 201,
    ]  # fmt: skip # read as a table
    assert [task.modulus for task, row in modular_rows() if row.trained == 3] == [50, 51, 100, 150, 200, 201]
    for row in PUBLISHED.values():
        assert row.trained + len(row.beyond) == 9
        assert len(row.agreement) in (0, len(row.beyond))
        assert all(round(value, row.decimals) == value for value in row.beyond)


@pytest.mark.parametrize("key", [key for key, each in FOUND.items() if each.degrees])
def test_chi_square_is_that_of_right_and_wrong_answers(key: tuple[str, int]) -> None:
    found = FOUND[key]
    for cell in found.cells:
        share = surrogate_accuracy(found.task, trained=found.row.trained, length=cell.length)
        assert cell.exact == share
        if cell.chi_square is None:
            continue
        expected = [PROBLEMS * float(share), PROBLEMS * (1 - float(share))]
        assert min(expected) >= 5

        def of(right: float, expected: list[float] = expected) -> float:
            return float(chisquare([right, PROBLEMS - right], expected).statistic)

        printed, uncertain = cell.percent * PROBLEMS / 100, found.row.uncertain
        assert cell.chi_square.printed == pytest.approx(of(printed))
        around = [of(printed + step) for step in range(-uncertain, uncertain + 1)]
        assert cell.chi_square.most == pytest.approx(max(around))
        assert cell.chi_square.least == pytest.approx(min(around), abs=0.05)  # between two counts it may be smaller


def test_rounding_is_known_from_the_print() -> None:
    assert published(0.3, decimals=1).uncertain == 5  # 25 to 35 problems of 10,000 are printed as 0.3 %
    assert published(0.25, decimals=2).uncertain == 0
    exact = FOUND["modular-multiplication", 51].chi_square
    assert exact.least == exact.printed == exact.most


def test_the_published_addition_agrees_and_one_product_does_not() -> None:
    addition, product = (total(list(FOUND.values()), name) for name in ("addition", "multiplication"))
    assert (addition.rows, addition.degrees) == (5, 20)
    assert addition.chi_square.printed == pytest.approx(23.817, abs=0.001)
    assert addition.p_value == pytest.approx(0.2505, abs=0.0001)
    assert (product.rows, product.degrees) == (1, 6)
    corrected = adjusted(list(FOUND.values()))
    assert {task.label for task, p_value in corrected.items() if p_value < 0.05} == {"multiplication mod 51"}
    assert "17.5 of 23.2 comes from 9 digits, where 57.19 %" in conclusions()[2]


def test_what_chi_square_cannot_be_asked() -> None:
    assert FOUND["modular-addition", 100].conclusion == "1 is predicted, and found"
    assert FOUND["modular-addition", 200].conclusion == "1 is predicted; leaks at 5-9 digits"
    assert FOUND["modular-addition", 51].conclusion == "agrees; leaks at 5 digits"
    assert FOUND["modular-addition", 51].tested[0][0] == 6  # at 5 digits no right answer is expected
    assert FOUND["modular-multiplication", 150].conclusion == "not asked: 52.4 % in range"
    assert FOUND["modular-multiplication", 201].degrees == 6  # p' = 201, not right in range either
    assert FOUND["modular-multiplication", 201].p_value == pytest.approx(0.90, abs=0.01)
    rare = held_against_law(tasks.modular_addition(99_991), published(0.0, 0.0, 0.0))
    assert rare.degrees == 0  # one in 99,991 of 10,000


def test_a_task_out_of_reach_has_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(task: Task, **_: object) -> Fraction | None:
        return None

    monkeypatch.setattr(agreement, "surrogate_accuracy", silent)
    found = held_against_law(tasks.modular_addition(51), PUBLISHED["modular-addition", 51])
    assert (found.degrees, found.chi_square, found.p_value) == (0, None, None)
    assert found.conclusion == "not asked: no exact value"
    assert total([found], "addition") is None


def test_counts_that_follow_the_law_have_uniform_p_values() -> None:
    task, rng = tasks.modular_addition(51), np.random.default_rng(1)
    shares = [float(surrogate_accuracy(task, trained=4, length=length)) for length in range(6, 10)]
    p_values = []
    for _ in range(400):
        drawn = rng.binomial(PROBLEMS, shares) / PROBLEMS * 100
        p_values.append(held_against_law(task, published(0.0, *map(float, drawn))).p_value)
    assert np.histogram(p_values, bins=4, range=(0, 1))[0].tolist() == pytest.approx([100] * 4, abs=35)


def test_the_tested_operands_have_all_digits_and_the_other_law_fits_less() -> None:
    longest = total(agreements(law="longest"), "addition")
    exact = total(list(FOUND.values()), "addition")
    assert (longest.degrees, exact.degrees) == (20, 20)
    assert exact.chi_square.printed < longest.chi_square.printed


def test_a_leak_is_told_from_a_model_that_is_not_right_in_range() -> None:
    unconverged = replace(FOUND["modular-addition", 200].row, in_range=60.0)
    found = held_against_law(tasks.modular_addition(200), unconverged)
    assert found.conclusion == "not asked: 60 % in range"


@pytest.mark.parametrize("option", [[], ["--markdown"]])
def test_the_command_prints_every_row(option: list[str]) -> None:
    command = [sys.executable, "-m", "carryproof.benchmarks.published", *option]
    run = subprocess.run(command, capture_output=True, text=True, check=True, encoding="utf-8")
    for row in law_rows():
        assert row.title in run.stdout
    assert "1.8 / 1.988" in run.stdout
    assert "p = 0.25" in run.stdout
    if option:
        assert run.stdout == markdown()


def test_documents_show_the_table_as_it_is() -> None:
    """Whichever page has the table has it whole, with its conclusions."""
    head = f"| {' | '.join(HEAD)} |"
    for page in (ROOT / "docs").glob("*.md"):
        text = page.read_text(encoding="utf-8")
        assert head not in text or markdown() in text, page.name


def test_cells_are_plain_rows(tmp_path: Path) -> None:
    rows = list(law_cells())
    assert len(rows) == sum(len(row.beyond) for _, row in modular_rows())
    with (tmp_path / "cells.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writerows(rows)
    six = next(row for row in rows if (row["modulus"], row["test_digits"], row["train_digits"]) == (101, 6, 4))
    assert (six["exact"], six["published_percent"]) == ("41/4050", 1.2)
