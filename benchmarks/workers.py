"""Worker processes of one thread each, the queue on which they report, and an orderly end to both.

A worker prints nothing if a person interrupts the study, and does not outlive it; work that is under way when the study
stops is ended with it, and what was finished is on disk. Source: ours.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from queue import Empty
from typing import Any

_queue: Any = None  # in a worker process: where its progress goes


@contextmanager
def workers(jobs: int) -> Iterator[tuple[ProcessPoolExecutor, Any]]:
    """A pool of ``jobs`` processes and the queue of what they ``send``; none is left when the block ends.

    Raises ``RuntimeError`` if a worker dies. Work is submitted inside ``interrupts_ignored``.
    """
    context = multiprocessing.get_context("spawn")
    queue: Any = context.Queue()
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_start, initargs=(queue,))
    try:
        yield pool, queue
    except BrokenProcessPool:
        raise RuntimeError(
            "a worker process died (out of memory?); finished runs are kept, run again to go on"
        ) from None
    except BaseException:
        for child in set(multiprocessing.active_children()) - others:  # a stopped study must not train on
            child.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def interrupts_ignored() -> Iterator[None]:
    """Ignore Ctrl-C for a moment, so that workers which start inherit that; only the main thread may, and only it is
    interrupted.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def send(message: Any) -> None:
    """Tell something that pickle can carry to the process that started this one."""
    _queue.put(message)


def reported(queue: Any) -> Iterator[Any]:
    """What has been reported and not been read yet."""
    try:
        while True:
            yield queue.get_nowait()
    except Empty:
        return


def usable_cores() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _start(queue: Any) -> None:
    """One thread a process, no traceback of its own when a person interrupts the study, and no life beyond it."""
    import torch

    def follow() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()  # returns when the study ends, in whatever way
            os._exit(1)

    global _queue
    _queue = queue
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=follow, daemon=True).start()
    torch.set_num_threads(1)
