"""Stages: a long analysis in named parts; each is kept once it is done, so that a killed one goes on from there.

A stage is given a generator of its own, seeded by the analysis and by its name, and returns plain data; so what it
finds does not depend on which stages ran before it in the same process.

>>> import tempfile
>>> draw = lambda generator: {"it": torch.rand(1, generator=generator).item()}
>>> with tempfile.TemporaryDirectory() as folder:
...     path = Path(folder) / "search.partial.json"
...     first = Stages(path, {"seed": 0}).run("draw", draw)
...     again = Stages(path, {"seed": 0}).run("draw", lambda generator: {"it": 0.0})
...     other = Stages(path, {"seed": 1}).run("draw", draw)
>>> first == again, first == other
(True, False)
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from carryproof.benchmarks.store import read_json, write_json
from carryproof.theory import content_hash


class Stages:
    """The stages of one analysis, which ``about`` describes: those of another in the same file are forgotten.

    ``path`` is None where nothing is to be kept; ``on_stage`` is told the name of every stage that begins.
    """

    def __init__(
        self, path: Path | None, about: Mapping[str, Any], on_stage: Callable[[str], None] = lambda name: None
    ) -> None:
        self.path, self.on_stage = path, on_stage
        self.key = content_hash(dict(about))
        self.done: dict[str, Any] = {}
        self.seconds: dict[str, float] = {}
        if path is not None and path.exists():
            kept = read_json(path)
            if kept.get("key") == self.key:
                self.done, self.seconds = kept["done"], kept["seconds"]

    def run(self, name: str, make: Callable[[torch.Generator], dict[str, Any]]) -> dict[str, Any]:
        """What a stage found, now or before."""
        if name not in self.done:
            self.on_stage(name)
            began = time.monotonic()
            seed = int(content_hash([self.key, name])[:15], 16)
            self.done[name] = make(torch.Generator().manual_seed(seed))
            self.seconds[name] = round(time.monotonic() - began, 1)
            if self.path is not None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                write_json(self.path, {"key": self.key, "done": self.done, "seconds": self.seconds})
        found: dict[str, Any] = self.done[name]
        return found

    def finish(self) -> None:
        """Forget what was kept, once the whole is written."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
