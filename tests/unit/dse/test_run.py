"""Running a sweep: order, failures, killed workers, and a killed sweep that goes on to the same bytes."""

from __future__ import annotations

import csv
import io
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sim.dse.expand import Job
from sim.dse.run import chunked, run_jobs
from sim.dse.store import ResultStore, point_key
from sim.dse.table import csv_text
from sim.dse.workers import interrupts_held
from sim.errors import TcsimError
from sim.results import RunResult
from tests.unit.dse.fake_evaluator import SWEEP, evaluate, jobs_of

ROOT = Path(__file__).parents[3]
COMMAND = [sys.executable, "-m", "tests.unit.dse.fake_evaluator"]


def jobs_for(tmp_path: Path, text: str = SWEEP) -> tuple[tuple[Job, ...], list[str]]:
    path = tmp_path / "sweep.yaml"
    path.write_text(text)
    jobs = jobs_of(path)
    return jobs, [point_key(job.point, "code") for job in jobs]


def stored(path: Path) -> int:
    try:
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)
        try:
            return int(connection.execute("SELECT count(*) FROM results").fetchone()[0])
        finally:
            connection.close()
    except sqlite3.OperationalError:
        return 0


def test_workers_give_the_same_table_as_one_process(tmp_path: Path) -> None:
    jobs, keys = jobs_for(tmp_path)
    alone = csv_text(jobs, run_jobs(jobs, keys, evaluate))
    assert csv_text(jobs, run_jobs(jobs, keys, evaluate, workers=2)) == alone
    assert [row["m"] for row in csv.DictReader(io.StringIO(alone))][:4] == ["1", "2", "4", "8"]


def test_numbers_read_back_from_the_table_are_the_same_bits(tmp_path: Path) -> None:
    jobs, keys = jobs_for(tmp_path)
    rows = csv.DictReader(io.StringIO(csv_text(jobs, run_jobs(jobs, keys, evaluate))))
    assert [float(row["time_us"]) for row in rows] == [evaluate(job.point).time_us for job in jobs]


def test_a_rerun_computes_only_what_is_missing(tmp_path: Path) -> None:
    jobs, keys = jobs_for(tmp_path)
    seen: list[object] = []

    def counted(point: object) -> RunResult:
        seen.append(point)
        return evaluate(point)  # type: ignore[arg-type]

    with ResultStore(tmp_path / "r.sqlite") as store:
        first = run_jobs(jobs[:30], keys[:30], counted, store)
        everything = run_jobs(jobs, keys, counted, store)
    assert len(seen) == len(jobs)
    assert everything[:30] == first


def test_a_failing_point_is_reported_and_the_others_go_on(tmp_path: Path) -> None:
    text = "grid: {arch: a, scheme: fp16, model: other, m: [1, 13, 2]}"
    jobs, keys = jobs_for(tmp_path, text)
    with ResultStore(tmp_path / "r.sqlite") as store:
        outcomes = run_jobs(jobs, keys, evaluate, store)
    assert [outcome.error for outcome in outcomes] == ["", "no tile fits", ""]
    assert csv_text(jobs, outcomes).splitlines()[2].endswith(",no tile fits")


def test_a_bug_in_one_point_does_not_end_the_sweep(tmp_path: Path) -> None:
    jobs, keys = jobs_for(tmp_path, "grid: {arch: a, scheme: fp16, model: other, m: [1, 2]}")

    def broken(point: object) -> RunResult:
        raise KeyError("x")

    outcomes = run_jobs(jobs, keys, broken)
    assert {outcome.error for outcome in outcomes} == {"internal error, please report it: KeyError: 'x'"}


def test_a_killed_worker_costs_its_point_only(tmp_path: Path) -> None:
    jobs, keys = jobs_for(tmp_path, "grid: {arch: a, scheme: fp16, model: other, m: [1, 2, 666, 3, 4]}")
    outcomes = run_jobs(jobs, keys, evaluate, workers=2)
    assert [outcome.error[:35] for outcome in outcomes] == [
        "",
        "",
        "its worker process ended with statu",
        "",
        "",
    ]


def test_workers_that_all_die_end_the_sweep_in_one_line(tmp_path: Path) -> None:
    text = "grid: {arch: [a, b, c, d], scheme: fp16, model: other, m: [666]}"
    jobs, keys = jobs_for(tmp_path, text)
    with pytest.raises(TcsimError, match="3 worker processes in a row ended with status 9"):
        run_jobs(jobs, keys, evaluate, workers=2)


def test_progress_counts_up_to_all(tmp_path: Path) -> None:
    jobs, keys = jobs_for(tmp_path, "grid: {arch: a, scheme: fp16, model: other, m: [1, 13, 2]}")
    seen: list[tuple[int, int, int]] = []
    run_jobs(jobs, keys, evaluate, progress=lambda *step: seen.append(step))
    assert seen == [(0, 3, 0), (1, 3, 0), (2, 3, 1), (3, 3, 1)]


def test_machines_that_run_one_program_stay_together(tmp_path: Path) -> None:
    jobs, _ = jobs_for(
        tmp_path, "grid: {arch: [a, b, c, d], scheme: fp16, model: other, m: [1, 2, 3, 4, 5, 6, 7, 8]}"
    )
    chunks = chunked([(i, job.point) for i, job in enumerate(jobs)], 2)
    assert len(chunks) == 8
    assert all(len({point.m for _, point in chunk}) == 1 for chunk in chunks)
    assert sorted(i for chunk in chunks for i, _ in chunk) == list(range(32))


def test_one_shape_on_many_machines_is_shared_out(tmp_path: Path) -> None:
    machines = ", ".join(f"a{i}" for i in range(100))
    jobs, _ = jobs_for(tmp_path, f"grid: {{arch: [{machines}], scheme: fp16, model: other, m: 1}}")
    chunks = chunked([(i, job.point) for i, job in enumerate(jobs)], 2)
    assert [len(chunk) for chunk in chunks] == [13] * 7 + [9]


def kill_when(process: subprocess.Popen[bytes], store: Path, count: int, sig: int) -> None:
    deadline = time.monotonic() + 30
    while stored(store) < count and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process.poll() is None, "the sweep ended before it could be killed"
    os.kill(process.pid, sig)
    process.wait()


def test_ctrl_c_ends_a_sweep_and_its_workers_without_a_word_of_theirs(tmp_path: Path) -> None:
    jobs_for(tmp_path)
    store = tmp_path / "r.sqlite"
    process = subprocess.Popen(
        [*COMMAND, str(tmp_path / "sweep.yaml"), str(store)],
        cwd=ROOT,
        env={**os.environ, "SLOW_S": "0.1"},
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    while stored(store) < 5:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, stderr = process.communicate(timeout=20)  # ends when the last worker closes it
    assert (process.returncode, stderr) == (1, b"interrupted\n")
    assert stored(store) >= 5


def test_ctrl_c_while_a_worker_starts_comes_afterwards() -> None:
    started = False
    with pytest.raises(KeyboardInterrupt), interrupts_held():
        os.kill(os.getpid(), signal.SIGINT)
        started = True
    assert started


def test_a_killed_sweep_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    jobs, keys = jobs_for(tmp_path)
    uninterrupted = csv_text(jobs, run_jobs(jobs, keys, evaluate))
    store = tmp_path / "r.sqlite"
    command = [*COMMAND, str(tmp_path / "sweep.yaml"), str(store)]
    slow = {**os.environ, "SLOW_S": "0.05"}
    seen = 0
    for _ in range(2):
        process = subprocess.Popen(command, cwd=ROOT, env=slow, stdout=subprocess.DEVNULL)
        kill_when(process, store, seen + 5, signal.SIGKILL)
        assert stored(store) >= seen + 5  # nothing that was written is lost
        seen = stored(store)
    assert seen < len(jobs)
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert finished.stdout == uninterrupted
    assert finished.stderr == ""
