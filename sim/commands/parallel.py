"""A function over many items in as many processes as wanted; the results come in the items' order."""

from __future__ import annotations

import math
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from sim.errors import TcsimError

CHUNKS_PER_WORKER = 4
Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(function: Callable[[Item], Result], items: Sequence[Item], workers: int) -> Iterator[Result]:
    """Yield ``function`` of each item; neighbours are mostly done by one process, which may keep what they share."""
    if workers == 1 or len(items) <= CHUNKS_PER_WORKER:
        yield from map(function, items)
        return
    chunk = math.ceil(len(items) / (CHUNKS_PER_WORKER * workers))
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=spawn, initializer=_ignore_interrupts)
    try:
        yield from pool.map(function, items, chunksize=chunk)
    except BrokenProcessPool:
        raise TcsimError("a worker process was killed, or out of memory; try --workers 1") from None
    finally:
        pool.shutdown(cancel_futures=True)


def _ignore_interrupts() -> None:
    """Leave Ctrl-C to the parent, which answers it in one line."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
