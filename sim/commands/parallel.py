"""A function over many items in as many processes as wanted; the results come in the items' order."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from sim.errors import TcsimError

CHUNKS_PER_WORKER = 24
LOOK_SECONDS = 1.0  # between two looks at whether the parent is still there
Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(function: Callable[[Item], Result], items: Sequence[Item], workers: int) -> Iterator[Result]:
    """Yield ``function`` of each item; neighbours are mostly done by one process, which may keep what they share."""
    if workers == 1 or len(items) <= CHUNKS_PER_WORKER:
        yield from map(function, items)
        return
    chunk = math.ceil(len(items) / (CHUNKS_PER_WORKER * workers))
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=spawn, initializer=begin_worker, initargs=(os.getpid(),))
    try:
        yield from pool.map(function, items, chunksize=chunk)
    except BrokenProcessPool:
        raise TcsimError("a worker process was killed, or out of memory; try --workers 1") from None
    finally:
        pool.shutdown(cancel_futures=True)


def begin_worker(parent: int) -> None:
    """Leave Ctrl-C to the parent, which answers it in one line; end when the parent has ended, however it did."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_SECONDS)
    os._exit(1)  # nobody is left to hear of anything
