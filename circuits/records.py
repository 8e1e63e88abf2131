"""What is kept in the repository of the trained family: one compact record a model, and the weights of the examples.

A record says what was trained and how it did: configuration, seconds, weights and their hash, the failures on both
test sets of every operation by class and by token, and what was decided of every pair of operands. ``collect`` takes
them from a folder of trainings; what is not there keeps the record that it had, with what was decided since of its
weights. Weights are copied only if they are those that the record was measured on.

>>> import tempfile
>>> with tempfile.TemporaryDirectory() as folder:
...     collect(Path(folder) / "runs", Path(folder) / "results")
...     read_records(Path(folder) / "results")
()
{}
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from carryproof.benchmarks.store import read_json, require_fields, require_folder, write_json
from carryproof.circuits.family import FAMILY
from carryproof.circuits.training import ACCURACY, MODEL, RECORD
from carryproof.models import checkpoints
from carryproof.theory.errors import bad

RECORDS = "records"
MODELS = "models"
HASHES = "models.json"
EXAMPLES = (
    *("add_d5_l2_h3_s1", "add_d6_l2_h3_s1", "mix_d5_l3_h4", "mix_d6_l3_h4", "sub_d6_l2_h3_s1"),
    *("mix_d3_l2_h3", "add_d4_l2_h3"),  # not in the table: small enough to decide every pair of operands
)
BYTES_AT_MOST = 25_000_000
FIELDS = {
    "row": str,
    "status": str,
    "config": dict,
    "parameters": int,
    "model_sha256": str,
    "train_seconds": float | int,
    "test_seconds": float | int,
    "tests": list,
}
PROOF_FIELDS = {
    "model_sha256": str,
    "operation": str,
    "digits": int,
    "problems": int,
    "failures": int,
    "smallest_margin": float | int,
    "seconds": float | int,
}
TEST_FIELDS = {"operation": str, "set": str, "problems": int, "failures": int, "interval": list}


def record_of(folder: Path) -> dict[str, Any]:
    """The record of the model that was trained and tested in ``folder``.

    Raises ``ValueError`` if a file is missing or damaged, or if another model was tested than is there.
    """
    trained, tested = read_json(folder / RECORD), read_json(folder / ACCURACY)
    if trained.get("model_sha256") != tested.get("model_sha256"):
        raise ValueError(f"{folder / ACCURACY}: it is about another model than {RECORD} beside it")
    tests = [
        {
            **{name: test[name] for name in ("operation", "set", "problems", "failures", "per_million", "interval")},
            "classes": {name: [share["failures"], share["problems"]] for name, share in test["classes"].items()},
            "tokens": test["tokens"],
            "shown": test["shown"],
        }
        for test in tested["tests"]
    ]
    taken = ("row", "run_id", "status", "parameters", "model_sha256", "source_sha256", "train_seconds", "config")
    return {
        **{name: trained[name] for name in taken},
        "test_seconds": tested["seconds"],
        "last_loss": trained["loss"][-1]["loss"],
        "tests": tests,
        "hardest": len(tested["hardest"]),
        "hardest_wrong": [text for text, right in tested["hardest"].items() if not right],
    }


def collect(runs: Path, out: Path, examples: Iterable[str] = EXAMPLES, proofs: Path | None = None) -> tuple[str, ...]:
    """Write the records of all rows that are trained and tested in ``runs`` to ``out``; return their names.

    The weights of those of them that are ``examples`` are copied, and the hashes of all such weights in ``out`` listed
    in ``models.json``; an example need not be in the table. What ``circuits prove`` wrote in the folder ``proofs`` goes
    into the records of the same weights, also of rows that are not in ``runs``. Raises ``ValueError`` for damaged
    files, an ``out`` that cannot be written, and weights of more than 25 MB in all.
    """
    records, models = require_folder(out / RECORDS), require_folder(out / MODELS)
    asked = dict.fromkeys([*FAMILY, *examples])
    names = tuple(name for name in asked if all((runs / name / file).is_file() for file in (RECORD, ACCURACY)))
    for name in asked:
        path = records / f"{name}.json"
        if name in names:
            record = record_of(runs / name)
        elif path.is_file():
            record = read_json(path)
            require_fields(path, record, FIELDS)
        else:
            continue
        record["proofs"] = _decided(name, record["model_sha256"], records, proofs)
        if name in names and name in examples:
            _copy(runs / name / MODEL, models / f"{name}.safetensors", record)
        write_json(path, record)
    kept = sorted(models.glob("*.safetensors"))
    total = sum(path.stat().st_size for path in kept)
    if total > BYTES_AT_MOST:
        raise bad("weights of examples", f"{total:,} bytes", f"at most {BYTES_AT_MOST:,} in all")
    hashes = {path.stem: checkpoints.digest(checkpoints.load(path).state_dict()) for path in kept}
    write_json(out / HASHES, {"model_sha256": hashes, "bytes": total})
    return names


def read_records(out: Path) -> dict[str, dict[str, Any]]:
    """The records in ``out`` by row, in the order of the table; a damaged one is a one-line ``ValueError``."""
    found = {}
    for name in FAMILY:
        path = out / RECORDS / f"{name}.json"
        if path.is_file():
            record = read_json(path)
            require_fields(path, record, FIELDS)
            for test in record["tests"]:
                require_fields(path, test, TEST_FIELDS)
            if record["row"] != name:
                raise ValueError(f"{path}: it is the record of {record['row']!r}")
            found[name] = record
    return found


def read_proofs(out: Path) -> list[tuple[str, dict[str, Any]]]:
    """What was decided of every pair of operands, with the name of the model, in the order of the file names."""
    return [
        (path.stem, proof)
        for path in sorted((out / RECORDS).glob("*.json"))
        for proof in read_json(path).get("proofs", [])
    ]


def _decided(name: str, sha256: str, records: Path, proofs: Path | None) -> list[dict[str, Any]]:
    """What the record so far and the file of ``circuits prove`` say of some weights; of an operation, the latter."""
    found: dict[str, dict[str, Any]] = {}
    for path in (records / f"{name}.json", *([] if proofs is None else [proofs / f"{name}.json"])):
        for proof in read_json(path).get("proofs", []) if path.is_file() else []:
            require_fields(path, proof, PROOF_FIELDS)
            if proof["model_sha256"] == sha256:
                found[proof["operation"]] = proof
    return list(found.values())


def _copy(source: Path, target: Path, record: Mapping[str, Any]) -> None:
    """Copy a checkpoint whole, if it holds the weights of the record."""
    if checkpoints.digest(checkpoints.load(source).state_dict()) != record["model_sha256"]:
        raise ValueError(f"{source}: its weights are not those of {RECORD} beside it")
    checkpoints.write_atomically(target, source.read_bytes())
