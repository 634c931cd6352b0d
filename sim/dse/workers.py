"""Worker processes with one pipe each: results come back one by one, and a killed worker costs one point.

Workers share nothing, not even a queue, so that a killed worker leaves no lock behind; a killed parent ends
its workers, as they read the end of their pipe.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from sim.dse.expand import Point
from sim.dse.store import Outcome
from sim.errors import TcsimError
from sim.results import RunResult

Evaluate = Callable[[Point], RunResult]
Task = tuple[int, Point]  # position in the sweep, point
Arriving = Generator[tuple[int, Outcome], None, None]
DEATHS = 3  # so many in a row without a result: it is not the points


def attempt(evaluate: Evaluate, point: Point) -> Outcome:
    """Simulate one point; whatever goes wrong with it becomes its message, so that the others go on."""
    try:
        record = evaluate(point).to_json()
        return Outcome(json.dumps(record, allow_nan=False, default=_plain))
    except TcsimError as error:
        return Outcome(None, str(error))
    except Exception as error:
        return Outcome(None, f"internal error, please report it: {type(error).__name__}: {error}")


def _plain(value: Any) -> Any:
    """Turn a NumPy scalar or array into what JSON knows."""
    return value.tolist()


def in_process(evaluate: Evaluate, chunks: Sequence[Sequence[Task]]) -> Arriving:
    """Yield (position, outcome) of every task, computed here."""
    for chunk in chunks:
        for position, point in chunk:
            yield position, attempt(evaluate, point)


def in_workers(evaluate: Evaluate, chunks: Sequence[Sequence[Task]], workers: int) -> Arriving:
    """Yield (position, outcome) of every task as they come; one chunk at a time stays with one worker.

    The first worker begins alone: on first use it compiles the engines, and the others find them in the cache.
    """
    team = _Team(evaluate, deque(list(chunk) for chunk in chunks))
    try:
        team.fill(1)
        while team.members:
            yield from team.collect()
            team.fill(workers)
    finally:
        team.dismiss()


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    tasks: deque[Task] = field(default_factory=deque)  # sent, not answered; the first is in flight


@dataclass
class _Team:
    evaluate: Evaluate
    chunks: deque[list[Task]]
    members: list[_Worker] = field(default_factory=list)
    deaths: int = 0

    def fill(self, workers: int) -> None:
        """Hire as many as there is work for."""
        while self.chunks and len(self.members) < workers:
            self.hire()

    def hire(self) -> None:
        """Start a worker and give it a chunk."""
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, self.evaluate), daemon=True)
        with interrupts_held():
            process.start()
        theirs.close()
        worker = _Worker(process, ours)
        self.members.append(worker)
        self._feed(worker)

    def _feed(self, worker: _Worker) -> None:
        """Give an idle worker its next chunk, or send it home."""
        if not self.chunks:
            self._part(worker)
            return
        worker.tasks = deque(self.chunks.popleft())
        with contextlib.suppress(OSError):  # a worker that just died is found by collect
            worker.pipe.send(list(worker.tasks))

    def collect(self) -> Iterator[tuple[int, Outcome]]:
        """Wait for the next results and yield them."""
        ready = wait([worker.pipe for worker in self.members])
        for worker in [worker for worker in self.members if worker.pipe in ready]:
            try:
                position, outcome = worker.pipe.recv()
            except (EOFError, OSError):
                yield self._died(worker)
                continue
            self.deaths = 0
            worker.tasks.popleft()
            yield position, outcome
            if not worker.tasks:
                self._feed(worker)

    def _died(self, worker: _Worker) -> tuple[int, Outcome]:
        """Account for a killed worker: its point failed, the rest of its chunk goes to a new one."""
        position, _ = worker.tasks.popleft()
        if worker.tasks:
            self.chunks.appendleft(list(worker.tasks))
        self._part(worker)
        self.deaths += 1
        code = worker.process.exitcode
        if self.deaths >= DEATHS:
            message = f"{DEATHS} worker processes in a row ended with status {code}; try --workers 1"
            raise TcsimError(message)
        if self.chunks:
            self.hire()
        message = f"its worker process ended with status {code}: killed, or out of memory"
        return position, Outcome(None, message)

    def _part(self, worker: _Worker) -> None:
        self.members.remove(worker)
        worker.pipe.close()
        worker.process.join()

    def dismiss(self) -> None:
        """End the workers that still run."""
        for worker in self.members:
            worker.process.terminate()
        for worker in list(self.members):
            self._part(worker)


def _work(pipe: Connection, evaluate: Evaluate) -> None:
    """Answer chunks of tasks, one outcome at a time, until the parent closes the pipe."""
    with contextlib.suppress(EOFError, OSError):
        while True:
            for position, point in pipe.recv():
                pipe.send((position, attempt(evaluate, point)))


@contextlib.contextmanager
def interrupts_held() -> Iterator[None]:
    """Start a child that Ctrl-C does not reach: the parent alone answers it, in one line.

    A child keeps the blocked signals that it is born with. A Ctrl-C meanwhile comes to the parent afterwards.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # else the first start does it, and it unblocks the signal
    held: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: held.append(number))  # from any other thread
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, before)
        if held:
            signal.raise_signal(signal.SIGINT)
