"""The command line is a contract: names, JSON keys, exit statuses, one line an error, no torch where none is due."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from carryproof import cli
from carryproof.models import load, save

PREDICT = ["predict", "--task", "modular-addition", "--modulus", "101", "--train-digits", "4", "--test-digits", "5-9"]


def run(capsys: pytest.CaptureFixture, *arguments: str) -> tuple[int, str, str]:
    try:
        status = cli.main(arguments)
    except SystemExit as stop:
        status = int(stop.code or 0)
    out, err = capsys.readouterr()
    return status, out, err


def python(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_the_json_contract_of_predict(capsys: pytest.CaptureFixture) -> None:
    status, out, _ = run(capsys, *PREDICT, "--encoding", "absolute", "--json")
    value = json.loads(out)
    assert status == 0
    assert {"prediction_id", "task", "format", "encoding", "train_digits", "cells"} <= value.keys()
    assert value["train_digits"] == "4" and value["format"] == "padded:9" and len(value["prediction_id"]) == 64
    exact = ["0", "41/4050", "99/10000", "40099/4050000", "990099/100000000"]
    assert [cell["accuracy"] for cell in value["cells"]] == exact
    for cell in value["cells"]:
        assert {"test_digits", "verdict", "accuracy", "accuracy_float", "surrogate", "reasons"} <= cell.keys()
        assert cell["surrogate"] == "((a mod 10^4) + (b mod 10^4)) mod 101" and cell["verdict"] == "excluded"


def test_predict_for_people(capsys: pytest.CaptureFixture) -> None:
    status, out, err = run(capsys, *PREDICT, "--encoding", "rope")
    assert status == 0 and err == "" and "silent" in out and "L15" in out
    status, out, _ = run(capsys, *PREDICT, "--encoding", "absolute")
    assert status == 0 and "41/4050" in out


def test_prove(capsys: pytest.CaptureFixture) -> None:
    status, out, _ = run(capsys, "prove", "multiplication")
    assert status == 0 and "f(10·1, 10·1) = 100 ≠ 10 = 10·f(1, 1)" in out
    status, out, _ = run(capsys, "prove", "modular-addition", "--modulus", "100", "--json")
    assert json.loads(out)["base_compatibility"]["decisive_digits"] == 2


def test_predict_all(capsys: pytest.CaptureFixture) -> None:
    status, out, _ = run(capsys, "predict", "--all", "--json")
    assert status == 0 and sum(len(each["cells"]) for each in json.loads(out)["predictions"]) > 1_000
    status, out, _ = run(capsys, "predict", "--all")
    assert status == 0 and out.splitlines()[-1].startswith("4,000 cells: ")
    status, _, err = run(capsys, "predict", "--task", "addition")
    assert status == 2 and "--train-digits is required" in err


@pytest.mark.parametrize("kind", ["tasks", "encodings", "suites"])
def test_listings(capsys: pytest.CaptureFixture, kind: str) -> None:
    status, out, _ = run(capsys, kind)
    assert status == 0 and len(out.splitlines()) >= 2
    status, out, _ = run(capsys, kind, "--json")
    assert status == 0 and len(json.loads(out)[kind]) >= 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--base", "1"], "base: got 1; allowed: an integer from 2 to 36"),
        (["--base", "37"], "base: got 37"),
        (["--base", "ten"], "invalid int value"),
        (["--modulus", "0"], "modulus: got 0"),
        (["--modulus", "1"], "modulus: got 1"),
        (["--test-digits", "9-5"], "test-digits: got '9-5'"),
        (["--test-digits", "-3"], "test-digits"),
        (["--test-digits", "0"], "test-digits: got 0"),
        (["--train-digits", ""], "train-digits: got ''"),
        (["--task", "modular-adition"], "did you mean 'modular-addition'"),
        (["--task", "addition"], "did you mean 'modular-addition'"),
        (["--encoding", "rop"], "did you mean 'rope'"),
        (["--format", "paded:9"], "did you mean 'padded:W'"),
        (["--format", "padded:6"], "format width: got 6; allowed: at least 9"),
        (["--format", "padded:3"], "format width: got 3; allowed: at least 4"),
        (["--law", "longer"], "did you mean 'longest'"),
    ],
)
def test_bad_input_is_one_line_and_status_two(capsys: pytest.CaptureFixture, change: list[str], message: str) -> None:
    status, out, err = run(capsys, *PREDICT, "--encoding", "absolute", *change)
    assert status == 2 and out == ""
    assert message in err and len(err.splitlines()) == 1


def test_other_bad_input(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("not a folder")
    cases = [
        (["run", "smok"], "did you mean 'smoke'"),
        (["run", "smoke", "--out", str(file)], "is a file"),
        (["run", "smoke", "--jobs", "0", "--out", str(tmp_path / "new")], "jobs: got 0"),
        (["report", str(tmp_path / "nowhere")], "no such file"),
        (["report", str(tmp_path)], "no such file"),
        (["predcit"], "predcit"),
        ([], "required"),
    ]
    for arguments, message in cases:
        status, out, err = run(capsys, *arguments)
        assert status == 2 and out == "" and message in err and len(err.splitlines()) == 1, arguments
    assert not (tmp_path / "new").exists()


def test_predict_leaves_torch_alone_and_help_leaves_everything() -> None:
    arguments = [*PREDICT, "--encoding", "absolute", "--json"]
    found = python(
        f"import sys; from carryproof import cli; cli.main({arguments!r}); assert 'torch' not in sys.modules"
    )
    assert found.returncode == 0, found.stderr
    heavy = "{'torch', 'sympy', 'numpy', 'rich', 'seaborn'}"
    code = (
        "import sys; from carryproof import cli\ntry: cli.main(['--help'])\nexcept SystemExit: pass\n"
        f"assert not {heavy} & set(sys.modules)"
    )
    found = python(code)
    assert found.returncode == 0 and "COMMAND" in found.stdout, found.stderr


def test_smoke_from_predictions_to_report(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "smoke"
    status, text, err = run(capsys, "run", "smoke", "--out", str(out))
    assert (status, err) == (0, "") and "Registered predictions" in text
    status, text, _ = run(capsys, "report", str(out))
    assert status == 0 and "confirmed" in text
    page = (out / "report" / "index.html").read_text(encoding="utf-8")
    assert "excluded" in page and "right on all 46 windows" in page
    status, text, _ = run(capsys, "run", "smoke", "--out", str(out))
    assert status == 0 and "5 finished before" in text


def test_killing_a_study_ends_its_workers(tmp_path: Path) -> None:
    out = tmp_path / "smoke"
    process = subprocess.Popen(
        [sys.executable, "-m", "carryproof", "run", "smoke", "--jobs", "2", "--out", str(out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not list(out.glob("runs/*")):
        time.sleep(0.02)
    process.kill()
    process.wait()
    time.sleep(3)
    left = len(list(out.glob("runs/*")))
    time.sleep(3)
    assert len(list(out.glob("runs/*"))) == left < 5  # nobody trained on


def test_an_interrupt_keeps_finished_runs_and_says_how_to_resume(tmp_path: Path) -> None:
    out = tmp_path / "smoke"
    process = subprocess.Popen(
        [sys.executable, "-m", "carryproof", "run", "smoke", "--jobs", "1", "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a terminal's Ctrl-C reaches the workers too
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not list(out.glob("runs/*/run.json")):
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "the same command goes on" in err and "Traceback" not in err
    for path in out.glob("runs/*/run.json"):
        assert json.loads(path.read_text())["records"]


def test_certify_decides_checks_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    written = str(tmp_path / "certificate.json")
    status, out, err = run(capsys, "certify", "addition-base2", "--out", written)
    assert (status, err) == (0, "") and "certified on all 46 windows" in out
    status, out, _ = run(capsys, "certify", "addition-base2", "--check", written, "--json")
    assert status == 0 and json.loads(out) == json.loads(Path(written).read_text())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["addition-base1"], "no file and not in the collection; did you mean 'addition-base"),
        (["missing.safetensors"], "is not a file; allowed: a checkpoint"),
        (["addition-base2", "--check", "missing.json"], "missing.json: no such file"),
        (["addition-base2", "--out", "missing/certificate.json"], "cannot be written; allowed: a file in a folder"),
    ],
)
def test_certify_refuses_in_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture) -> None:
    status, out, err = run(capsys, "certify", *arguments)
    assert (status, out) == (2, "") and message in err and err.count("\n") == 1


def test_a_refuted_model_ends_with_status_one(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    model = load("addition-base2")
    with torch.no_grad():
        model.unembed.b_U[1] += 50.0
    save(tmp_path / "broken.safetensors", model)
    status, out, _ = run(capsys, "certify", str(tmp_path / "broken.safetensors"))
    assert status == 1 and "refuted" in out and "gives" in out and "and not" in out
