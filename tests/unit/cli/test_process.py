"""The command as a process of its own: what it loads, and what it does when nobody can read it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]


def command(*arguments: str, stdout: int | Any = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "sim.cli", *arguments]
    return subprocess.run(line, cwd=ROOT, stdout=stdout, stderr=subprocess.PIPE, text=True)


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys, sim.cli; sim.cli.run(['--help']);"
        "heavy = {'numba', 'numpy', 'pydantic', 'matplotlib', 'simpy', 'yaml', 'sqlite3', 'multiprocessing'};"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    finished = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert "simulate" in finished.stdout


def test_a_mistake_in_a_process_of_its_own() -> None:
    finished = command("simulate", "--arch", "h20")
    assert (finished.returncode, finished.stdout) == (2, "")
    assert finished.stderr.count("\n") == 1


def test_a_reader_that_leaves_early_is_no_error() -> None:
    line = f"{sys.executable} -m sim.cli schema gpu | head -c 1"
    finished = subprocess.run(["bash", "-c", line], cwd=ROOT, capture_output=True, text=True)
    assert (finished.stdout, finished.stderr) == ("{", "")


def test_a_full_disk_behind_standard_output_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        finished = command("list", "suites", stdout=full)
    assert finished.returncode == 2
    assert finished.stderr == "output: No space left on device\n"
