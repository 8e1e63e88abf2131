"""The report lists everything that was registered, stands on its own, and is the same for the same results."""

import csv
import re
import shutil
import subprocess
from dataclasses import replace
from html import escape as escape_html
from html.parser import HTMLParser
from pathlib import Path
from random import Random
from typing import Any

import pytest

from carryproof.benchmarks.certified import JudgedRun, JudgedScript, judge
from carryproof.benchmarks.compare import StudyResult, compare
from carryproof.benchmarks.latex import escape
from carryproof.benchmarks.pages import in_place_of
from carryproof.benchmarks.report import write_report
from carryproof.benchmarks.sections import arrange, percent, predicted_words, short_fraction
from carryproof.theory import content_hash
from carryproof.theory.rivals import THEORIES

ENCODINGS = ("absolute", "relative-t5", "rope", "alibi", "none")
HOSTILE = "</td><script>alert(1)</script> $x_{1}$ & 50% \\input{x}"
FRACTIONS = {1: "0", 2: "41/4050", 3: "99/10000", 4: "40099/4050000", 5: "990099/100000000"}  # mod 101, n = 4
Plain = dict[str, Any]


def study(
    tasks: tuple[Plain, ...],
    encodings: tuple[str, ...],
    seeds: tuple[int, ...] = (0,),
    beyond: int = 1,
    laws: tuple[str, ...] = ("exact",),
) -> StudyResult:
    """A made-up study that shows every outcome, one diverged, one unconverged and one missing run."""
    predictions = [_prediction(task, encoding, beyond, laws) for task in tasks for encoding in encodings]
    runs = [_run(prediction, seed) for prediction in predictions for seed in seeds]
    planned = [run["run_id"] for run in runs]
    if len(runs) > 20:
        _fail(runs[4], in_range=0.0, status="diverged")
        _fail(runs[13], in_range=0.71, status="finished")
        for run in runs[18:21]:
            _fail(run, in_range=0.93, status="finished")
        del runs[-1]
    described: Plain = {"suite": "made-up", "title": "A made-up study", "margin": 0.02, "in_range_threshold": 0.99}
    described |= {"runs": planned, "versions": {"python": "3.12.1", "torch": "2.13.0"}, "commit": "0" * 40 + "+"}
    described |= {"machine": "x86_64, 2 cores"}
    registry: Plain = {"sha256": content_hash(predictions), "registered_at": "2026-01-01T00:00:00+00:00"}
    registry["forecasts"] = [_forecasts(prediction) for prediction in predictions]
    comparisons = tuple(compare(predictions, runs, 0.02, 0.99))
    return StudyResult(
        study=described,
        registry=registry | {"predictions": predictions},
        runs=tuple(runs),
        comparisons=comparisons,
        scripts=tuple(_script(task) for task in tasks[-1:] + tasks[:1]),
    )


def _script(of: Plain) -> JudgedScript:
    """A made-up script of which one run is certified, one has wrong windows, one refutes and one is missing."""
    reasons = [{"law": "L19", "condition": "training shows every window", "holds": True, "why": of["name"]}]
    prediction: Plain = {"process": of["name"], "order": "least-first", "encoding": "window:0+0", "told": of["name"]}
    prediction |= {"subject": {"name": of["name"], "base": 10}, "train_digits": "1-3", "windows": 46, "shown": 46}
    prediction |= {"verdict": "forced", "premise": "right on all 46 windows", "reasons": reasons, "runs": []}
    prediction["prediction_id"] = content_hash(prediction)
    runs = []
    for seed, (verdict, wrong, share) in enumerate([("certified", 0, 1.0), ("refuted", 7, 0.9), ("certified", 0, 0.5)]):
        proof = {"verdict": verdict, "windows": 46, "wrong": wrong, "margin": 1.5 - wrong, "slack": None}
        records = [{"test_digits": 10**k, "problems": 10, "correct": round(10 * share**k)} for k in range(4)]
        config = {"script": {"seed": seed, "recipe": {"steps": 800, "batch": 256}}}
        run = {"config": config, "status": "finished", "certificate": proof, "records": records}
        run |= {"parameters": 9_461, "train_seconds": 3.0}
        outcome, reason = judge(run)
        run_id = content_hash([prediction, seed])[:16]
        runs.append(JudgedRun(run_id=run_id, record=run, outcome=outcome, reason=reason))
    missing = content_hash([prediction, "missing"])[:16]
    runs.append(JudgedRun(run_id=missing, record=None, outcome="not finished", reason="planned, without a result"))
    return JudgedScript(prediction=prediction, runs=tuple(runs))


def task(name: str, modulus: int | None = None) -> Plain:
    return {"name": name, "operands": 2, "base": 10, "modulus": modulus}


def _prediction(of: Plain, encoding: str, beyond: int, laws: tuple[str, ...]) -> Plain:
    trained = 2 if of["name"] == "multiplication" else 3
    cells = [
        _cell(of, encoding, length, law, trained)
        for law in laws
        for length in range(1 if law == "exact" else 2, trained + beyond + 1)
    ]
    asked = {
        "task": of,
        "format": f"padded:{trained + beyond}",
        "encoding": encoding,
        "train_digits": f"1-{trained}",
        "train_law": "exact",
    }
    return {"schema_version": 1, "prediction_id": content_hash([asked, cells]), **asked, "cells": cells}


def _cell(of: Plain, encoding: str, length: int, law: str, trained: int) -> Plain:
    reasons = [{"law": "L10", "condition": "every place stands still", "holds": True, "why": "padded widths fix it"}]
    verdict, exact = "silent", None
    if length <= trained:
        verdict, exact = ("in-range", "1") if law == "exact" else ("silent", None)
    elif encoding == "absolute" or (encoding == "none" and of["modulus"] == 101):
        verdict, exact = "excluded", "0" if of["modulus"] is None else FRACTIONS[length - trained]
        if of["modulus"] == 100:
            verdict, exact = "permitted", "1"
    elif of["name"] == "addition" or of["modulus"] == 100:
        verdict, exact = ("forced" if encoding == "none" and of["modulus"] else "permitted"), "1"
        reasons.append({"law": "L11", "condition": "only differences", "holds": False, "why": "marks at fixed places"})
    value = None
    if exact is not None:
        over, _, under = exact.partition("/")
        value = int(over) / int(under or 1)
    surrogate = None if verdict == "silent" else f"(a mod 10^{trained}) + (b mod 10^{trained})"
    found: Plain = {"test_digits": length, "law": law, "verdict": verdict, "accuracy": exact, "accuracy_float": value}
    return found | {"surrogate": surrogate, "reasons": reasons}


def _forecasts(prediction: Plain) -> Plain:
    chance = Random(prediction["prediction_id"])
    own = []
    for theory in (*THEORIES, HOSTILE):
        for cell in prediction["cells"]:
            if cell["verdict"] != "in-range":
                claim = chance.choice(["generalizes", "fails", "silent"])
                named = None if claim == "silent" else chance.choice([None, "41/4050"])
                own.append({"theory": theory, "test_digits": cell["test_digits"], "law": cell["law"], "why": HOSTILE})
                own[-1] |= {"claim": claim, "accuracy": named}
    return {"prediction_id": prediction["prediction_id"], "forecasts": own}


def _run(prediction: Plain, seed: int) -> Plain:
    chance = Random(f"{prediction['prediction_id']} {seed}")
    trained = int(prediction["train_digits"][-1])
    records = []
    for cell in prediction["cells"]:
        share = {"in-range": 1.0, "silent": 0.3 ** (max(0, cell["test_digits"] - trained)), "forced": 1.0}.get(
            cell["verdict"]
        )
        if share is None:
            share = cell["accuracy_float"] if cell["verdict"] == "excluded" else chance.choice([0.2, 0.55, 1.0])
        if prediction["task"]["name"] == "multiplication" and cell["test_digits"] > trained + 1:
            share = 0.12  # refutes what is excluded
        agree = 1 - 0.12 * max(0, cell["test_digits"] - trained) * chance.random()
        strata = ["all", *(f"chain={length}" for length in range(4)), "chain=4+"]
        for stratum in strata if prediction["task"]["name"] == "addition" else strata[:1]:
            of = 500 if stratum == "all" else 250 // (2 ** strata.index(stratum)) + 3
            right, same = (sum(chance.random() < each for _ in range(of)) for each in (share, agree))
            counted = {"problems": of, "correct": right, "agree": same, "exhaustive": False, "selection": "random"}
            records.append({"test_digits": cell["test_digits"], "law": cell["law"], "stratum": stratum} | counted)
    loss = [{"step": 50 * t, "loss": 2.3 / (1 + (t / (3 + seed)) ** 2), "in_range": t / 20} for t in range(1, 21)]
    config = {"seed": seed, "recipe": {"steps": 1000, "batch": 128}}
    return {
        "run_id": content_hash([prediction["prediction_id"], seed])[:16],
        "config": config,
        "prediction_id": prediction["prediction_id"],
        "status": "finished",
        "parameters": 105_216,
        "loss": loss,
        "records": records,
        "in_range": 1.0,
        "share_seen": None if trained > 2 else 0.83,
        "train_seconds": 10.4,
        "evaluate_seconds": 1.1,
    }


def _fail(run: Plain, in_range: float, status: str) -> None:
    run["in_range"], run["status"] = in_range, status
    for record in run["records"]:
        record["correct"] = int(record["correct"] * in_range)
    if status == "diverged":
        del run["loss"][8:]
        run["loss"][-1]["loss"] = None


LAWS = ("exact", "unequal")
TASKS = (task("addition"), task("multiplication"), task("modular-addition", 100), task("modular-addition", 101))


class Page(HTMLParser):
    """The text of a page, and whatever it would load from elsewhere."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "poster")]
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def result() -> StudyResult:
    return study(TASKS, ("absolute", "none"), (0, 1, 2), beyond=2, laws=LAWS)


@pytest.fixture(scope="module")
def folder(result: StudyResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    page = write_report(result, tmp_path_factory.mktemp("report") / "report")
    assert page.name == "index.html"
    return page.parent


def test_the_fixture_shows_everything(result: StudyResult) -> None:
    assert {each.outcome for each in result.comparisons} == {"confirmed", "refuted", "not testable"}
    assert {each.cell["verdict"] for each in result.comparisons} == {
        "in-range",
        "excluded",
        "permitted",
        "forced",
        "silent",
    }
    assert {run["status"] for run in result.runs} == {"finished", "diverged"}
    assert result.missing == 1


def test_every_outcome_is_listed(result: StudyResult, folder: Path) -> None:
    page = Page((folder / "index.html").read_text())
    listed = [
        row for row in page.rows if len(row) == 8 and row[6].strip("✓✗ ") in ("confirmed", "refuted", "not testable")
    ]
    assert len(listed) == len(result.comparisons)
    arranged = [
        cell
        for section in arrange(result)
        for panel in section.panels
        for law in section.laws
        for cell in panel.under(law)
    ]
    for row, cell in zip(listed, arranged, strict=True):
        assert (row[2], row[3], row[7].split("\n")[0]) == (
            str(cell.cell["test_digits"]),
            cell.cell["verdict"],
            cell.reason,
        )
        assert row[6].endswith(cell.outcome)
        assert row[5].count("/") == len(cell.seeds)
        assert all(f"{seed.correct}/{seed.problems}" in row[5] for seed in cell.seeds)


def test_no_run_is_dropped(result: StudyResult, folder: Path) -> None:
    text = (folder / "index.html").read_text()
    assert all(f"<code>{run_id}</code>" in text for run_id in result.study["runs"])
    assert "Shortfall" in text
    assert "1 diverged" in text
    assert "1 not finished" in text
    assert result.registry["sha256"] in text
    assert all(each.prediction_id in text for each in result.comparisons)


def test_every_script_run_is_shown_with_what_became_of_it(result: StudyResult, folder: Path) -> None:
    source = (folder / "index.html").read_text()
    rows = Page(source).rows
    with (folder / "certified.csv").open(newline="") as file:
        listed = list(csv.DictReader(file))
    heads = [place for place, row in enumerate(rows) if row[:3] == ["Seed", "Windows", "wrong"]]
    for script, head in zip(result.scripts, heads, strict=True):
        table = iter(rows[head + 1 :])
        outcomes = [run.outcome for run in script.runs]
        assert outcomes == ["certified", "outside the claim", "refuted", "not finished"]
        assert script.outcome == "refuted"
        for run in script.runs:
            assert f"<code>{run.run_id}</code>" in source and f": {escape_html(run.reason)}" in source
            row = next(table)
            assert row[-1].split("\n")[0].strip("✓✗ ") == run.outcome
            assert row[5:-1] == ([percent(share) for share in run.shares.values()] or ["–"] * 4)
            own = [row for row in listed if row["run_id"] == run.run_id]
            assert len(own) == max(1, len(run.shares)) and {row["outcome"] for row in own} == {run.outcome}
    table = (folder / "tables" / "certified.tex").read_text()
    assert table.count("outside the claim") == 2 and table.count("not finished") == 2


def test_the_page_stands_on_its_own(folder: Path) -> None:
    source = (folder / "index.html").read_text()
    page = Page(source)
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert all(load.startswith(("data:image/svg+xml;base64,", "#")) for load in page.loads)
    assert "@import" not in source
    assert "url(" not in source
    ids = re.findall(r'id="([^"]+)"', source)
    assert len(ids) == len(set(ids))
    assert {load[1:] for load in page.loads if load.startswith("#")} <= set(ids)


def test_figures_come_in_three_formats(folder: Path) -> None:
    heads = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}
    files = sorted((folder / "figures").iterdir())
    stems = {path.stem for path in files}
    once = {"closing", "verdicts", "contrast", "law-unequal", "carries-addition", "training"}
    assert once | {"task-addition-modulo-101"} <= stems
    assert len(files) == 3 * len(stems)
    for path in files:
        assert path.read_bytes().startswith(heads[path.suffix])
        assert path.stat().st_size > 4_000
        assert b"/Type3" not in path.read_bytes()


def test_spreadsheets_hold_all_data(result: StudyResult, folder: Path) -> None:
    with (folder / "cells.csv").open(newline="") as file:
        cells = list(csv.DictReader(file))
    with (folder / "records.csv").open(newline="") as file:
        records = list(csv.DictReader(file))
    assert len(cells) == sum(max(1, len(each.seeds)) for each in result.comparisons)
    assert len(records) == sum(len(run["records"]) for run in result.runs)
    assert sum(int(row["correct"]) for row in records) == sum(
        record["correct"] for run in result.runs for record in run["records"]
    )
    assert {row["predicted"] for row in cells} >= {"0", "1", "41/4050", ""}


def test_theories_stand_side_by_side(result: StudyResult, folder: Path) -> None:
    rows = Page((folder / "index.html").read_text()).rows
    registered = [forecast for each in result.registry["forecasts"] for forecast in each["forecasts"]]
    with (folder / "forecasts.csv").open(newline="") as file:
        listed = list(csv.DictReader(file))
    assert [(row["theory"], row["claim"], row["named"]) for row in listed] == [
        (each["theory"], each["claim"], each["accuracy"] or "") for each in registered
    ]
    for name, theory in THEORIES.items():
        own = [row for row in listed if row["theory"] == name and row["seeds_right_in_range"] != "0"]
        (shown,) = (row for row in rows if row[:2] == [theory.title, theory.source])
        claims = [sum(row["claim"] == claim for row in own) for claim in ("generalizes", "fails", "silent")]
        assert shown[2:5] == [str(count) for count in claims]
        assert shown[5] == f"{sum(row['right'] == 'True' for row in own)} of {claims[0] + claims[1]}"


def test_published_numbers_stand_beside_the_exact_law(folder: Path) -> None:
    page = (folder / "index.html").read_text()
    assert '1.8<br><span class="soft">1.988</span>' in page
    assert "χ² = 23.8 (14.3–41.3) on 20 degrees of freedom" in page
    assert "a + b mod 51 & 100 & publ. & 0.3 & 1.8" in (folder / "tables" / "published-law.tex").read_text()
    with (folder / "published.csv").open(newline="") as file:
        assert {row["modulus"] for row in csv.DictReader(file)} >= {"50", "51", "201"}


@pytest.fixture(scope="module")
def hostile() -> StudyResult:
    named = study((task(HOSTILE),), (HOSTILE,))
    return replace(named, study={**named.study, "title": HOSTILE, "machine": HOSTILE})


@pytest.fixture(scope="module")
def hostile_folder(hostile: StudyResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(hostile, tmp_path_factory.mktemp("hostile") / "report").parent


def test_hostile_names_are_only_names(hostile_folder: Path) -> None:
    source = (hostile_folder / "index.html").read_text()
    assert "script" not in Page(source).tags
    assert "&lt;script&gt;" in source
    tables = "".join(path.read_text() for path in (hostile_folder / "tables").glob("*.tex"))
    assert "\\input{x}" not in tables
    assert escape("\\input{x}") in tables
    assert not [path for path in hostile_folder.rglob("*") if "<" in path.name or " " in path.name]


def test_the_same_results_give_the_same_bytes(hostile: StudyResult, hostile_folder: Path, tmp_path: Path) -> None:
    again = write_report(hostile, tmp_path / "report").parent
    names = sorted(path.relative_to(again) for path in again.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(hostile_folder) for path in hostile_folder.rglob("*") if path.is_file())
    assert all((again / name).read_bytes() == (hostile_folder / name).read_bytes() for name in names)


def test_an_empty_study_has_a_report(tmp_path: Path) -> None:
    full = study(TASKS[3:], ("absolute",))
    predictions = full.registry["predictions"]
    empty = replace(full, runs=(), comparisons=tuple(compare(predictions, [], 0.02, 0.99)))
    page = write_report(empty, tmp_path / "report")
    assert "no finished run" in page.read_text()
    with (tmp_path / "report" / "cells.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == len(empty.comparisons)


def test_an_older_report_is_replaced_whole(tmp_path: Path) -> None:
    target = tmp_path / "report"
    for content in ("old", "new"):
        with in_place_of(target) as fresh:
            (fresh / "index.html").write_text(content)
            (fresh / f"{content}.txt").touch()
    assert {path.name for path in target.iterdir()} == {"index.html", "new.txt"}
    with pytest.raises(KeyboardInterrupt), in_place_of(target) as fresh:
        (fresh / "index.html").write_text("half of")
        raise KeyboardInterrupt
    assert (target / "index.html").read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_what_is_not_a_report_is_left_alone(result: StudyResult, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ValueError, match=r"^report: got '.*'; allowed: an older report"):
        write_report(result, tmp_path)
    with pytest.raises(ValueError, match=r"^report: got '.*thesis.tex'; allowed: a folder"):
        write_report(result, tmp_path / "thesis.tex")


def test_words() -> None:
    assert [percent(share) for share in (0, 41 / 4050, 0.99, 1, 0.999999)] == ["0%", "1.012%", "99%", "100%", ">99.99%"]
    assert short_fraction("1/" + "9" * 30, 1e-30) == "≈1e-30"
    cell = {"verdict": "permitted", "accuracy": "1", "accuracy_float": 1.0}
    assert predicted_words(cell) == ("1 if learned", "100%")
    assert predicted_words({**cell, "accuracy": None}) == ("–", "–")
    assert escape("#~^é") == r"\#\textasciitilde{}\textasciicircum{}?"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_tables_compile(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "tables", tmp_path / "tables")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "main.tex"]
    run = subprocess.run(command, cwd=tmp_path / "tables", capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-2000:]
    assert (tmp_path / "tables" / "main.pdf").stat().st_size > 10_000
