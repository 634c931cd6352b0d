"""Work in several processes: results in order, and no process that outlives the command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sim.commands.parallel import CHUNKS_PER_WORKER, LOOK_SECONDS, in_order

PARENT = """
import os, sys, time
sys.path.insert(0, {folder!r})
from sim.commands.parallel import in_order
from napping import nap
if __name__ == "__main__":
    for _ in in_order(nap, range({items}), 2):
        pass
"""
NAPPING = """
import os, time
def nap(item):
    with open({log!r}, "a") as stream:
        stream.write(str(os.getpid()) + chr(10))
    time.sleep(0.2)
    return item
"""


def test_results_come_in_the_order_of_the_items() -> None:
    items = list(range(-200, 200))
    assert list(in_order(abs, items, 2)) == [abs(each) for each in items]


def running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")
def test_workers_end_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    log, script = tmp_path / "log", tmp_path / "parent.py"
    (tmp_path / "napping.py").write_text(NAPPING.format(log=str(log)), encoding="utf-8")
    script.write_text(PARENT.format(folder=str(tmp_path), items=100 * CHUNKS_PER_WORKER), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(tmp_path)])}
    parent = subprocess.Popen([sys.executable, str(script)], env=environment)
    try:
        until = time.monotonic() + 60
        while not (log.exists() and len(set(log.read_text().split())) == 2) and time.monotonic() < until:
            time.sleep(0.1)
        workers = {int(pid) for pid in log.read_text().split()}
        assert len(workers) == 2 and all(map(running, workers))
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    until = time.monotonic() + 10 * LOOK_SECONDS
    while any(map(running, workers)) and time.monotonic() < until:
        time.sleep(0.1)
    assert not any(map(running, workers))
