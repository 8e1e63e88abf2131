"""Contestants that take turns on one machine: each in processes of its own, timed one after another in every round.

A process of its own gives each contestant the allocator, matrix products and threads that it has in real use, and what
one does to them never helps or hurts another. The rounds are interleaved, so that a machine that slows down for a while
slows all of them, and a ratio is taken within a round. Source: ours.

>>> from functools import partial
>>> with Contestant([partial(_counter, 3)], threads=1) as counter:
...     counter.ready()
...     seconds, results = counter.turn(2)
>>> results
[5]
"""

import math
import multiprocessing
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

Work = Callable[[], Any]
Build = Callable[[], Work]  # called in the process; must be importable there, as functions of a module are
WARM_UP = 2  # calls before the first that counts
MOST_CALLS = 10_000


class Contestant:
    """One process for each of ``builds``, which do their work at the same time when it is their turn.

    Several processes are pinned to a core each where the system can do that. Leaving the ``with`` block ends them.
    Raises ``RuntimeError`` where one of them fails.
    """

    def __init__(self, builds: Sequence[Build], *, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipes: list[Connection] = []
        self.processes = []
        for index, build in enumerate(builds):
            here, there = context.Pipe()
            core = index if len(builds) > 1 else None
            process = context.Process(target=_serve, args=(there, build, threads, core), daemon=True)
            process.start()
            there.close()
            self.pipes.append(here)
            self.processes.append(process)

    def __enter__(self) -> "Contestant":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pipe in self.pipes:
            pipe.close()
        for process in self.processes:
            process.terminate()
            process.join()

    def ready(self) -> None:
        """Wait until every process has built what it needs; to be called before the first turn."""
        self._answers()

    def turn(self, calls: int) -> tuple[float, list[Any]]:
        """Do the work ``calls`` times in every process; the seconds until all are done, and what each did last."""
        if not all(process.is_alive() for process in self.processes):
            raise RuntimeError("a contestant's process died (out of memory?)")
        began = time.perf_counter()
        for pipe in self.pipes:
            pipe.send(calls)
        answers = self._answers()
        return time.perf_counter() - began, answers

    def _answers(self) -> list[Any]:
        answers = []
        for pipe in self.pipes:
            try:
                failure, answer = pipe.recv()
            except EOFError:
                raise RuntimeError("a contestant's process died (out of memory?)") from None
            if failure is not None:
                raise RuntimeError(failure)
            answers.append(answer)
        return answers


def take_turns(
    field: Mapping[str, Sequence[Build]], *, threads: Mapping[str, int], rounds: int, seconds_a_turn: float
) -> tuple[dict[str, list[float]], dict[str, list[Any]]]:
    """Seconds a call for each contestant in each round, and what it did last.

    A turn lasts about ``seconds_a_turn``, or one call; every round begins with another contestant.
    """
    with ExitStack() as stack:
        contestants = {
            name: stack.enter_context(Contestant(builds, threads=threads[name])) for name, builds in field.items()
        }
        for contestant in contestants.values():
            contestant.ready()
        calls, results = {}, {}
        for name, contestant in contestants.items():
            contestant.turn(WARM_UP - 1)
            seconds, results[name] = contestant.turn(1)
            calls[name] = min(MOST_CALLS, max(1, math.ceil(seconds_a_turn / seconds)))
        names = list(contestants)
        found: dict[str, list[float]] = {name: [] for name in names}
        for number in range(rounds):
            first = number % len(names)
            for name in names[first:] + names[:first]:
                seconds, results[name] = contestants[name].turn(calls[name])
                found[name].append(seconds / calls[name])
    return found, results


def _serve(pipe: Connection, build: Build, threads: int, core: int | None) -> None:
    """The life of a contestant's process: build, then work whenever asked, until the pipe is closed."""
    import torch

    if core is not None and hasattr(os, "sched_setaffinity"):
        mine = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {mine[core % len(mine)]})
    torch.set_num_threads(threads)
    try:
        work, answer = build(), None
        pipe.send((None, None))
        while True:
            for _ in range(pipe.recv()):
                answer = work()
            pipe.send((None, answer))
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        return
    except Exception as error:
        pipe.send((f"{type(error).__name__}: {' '.join(str(error).split())}", None))


def _counter(start: int) -> Work:
    """A contestant that counts its calls from ``start``, for the example above."""
    count = [start]

    def work() -> int:
        count[0] += 1
        return count[0]

    return work
