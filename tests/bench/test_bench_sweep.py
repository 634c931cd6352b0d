"""How much a sweep costs besides its simulations, and how long ``tcsim --help`` takes."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from sim.commands.evaluator import check, key_of, layers_of
from sim.dse.expand import Job, expand
from sim.dse.run import run_jobs
from sim.dse.spec import load_sweep
from sim.dse.store import ResultStore
from tests.unit.dse.fake_evaluator import evaluate

ROOT = Path(__file__).parents[2]
MANY = """
grid:
  arch: h200
  set: {dram.bandwidth_gb_per_s: [%s]}
  scheme: w4a16
  shapes: [{n: 4096, k: 4096, m: 16}]
"""
HELP_S = 0.4
SECONDS_PER_POINT = 0.01  # reading, checking, hashing and storing one machine; the budget of a point is 40 ms


def thousand_machines(tmp_path: Path) -> tuple[Job, ...]:
    path = tmp_path / "sweep.yaml"
    path.write_text(MANY % ", ".join(str(1000 + machine) for machine in range(1000)))
    return expand(load_sweep(path), layers_of, check)


@pytest.mark.benchmark
def test_help_is_quick(benchmark: BenchmarkFixture) -> None:
    def tcsim_help() -> None:
        subprocess.run([sys.executable, "-m", "sim.cli", "--help"], cwd=ROOT, check=True, capture_output=True)

    benchmark.pedantic(tcsim_help, rounds=5, warmup_rounds=1)
    assert benchmark.stats.stats.median <= HELP_S


@pytest.mark.benchmark
def test_a_thousand_machines_cost_little_besides_their_simulation(tmp_path: Path) -> None:
    start = time.perf_counter()
    jobs = thousand_machines(tmp_path)
    keys = [key_of(job.point) for job in jobs]
    with ResultStore(tmp_path / "results.sqlite") as store:
        run_jobs(jobs, keys, evaluate, store)
    assert len(jobs) == 1000
    assert time.perf_counter() - start <= SECONDS_PER_POINT * len(jobs)
