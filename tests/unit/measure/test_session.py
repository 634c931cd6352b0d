from __future__ import annotations

import json
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from gpu_kernels import measure as command
from gpu_kernels.catalog import available, tiles
from gpu_kernels.measuring import session as sessions
from gpu_kernels.measuring import worker
from gpu_kernels.measuring.cases import (
    COUNTER_SHAPES,
    Case,
    read_plan,
    suite_cases,
    write_plan,
)
from gpu_kernels.measuring.rows import load_rows
from gpu_kernels.measuring.session import Session
from gpu_kernels.programs.store import load_program
from sim.arch.load import load_gpu
from sim.errors import ConfigError, TcsimError

H200 = load_gpu("h200")
CASES = (
    Case("fp16", {}, "8x64", 5, 136, 192, timed=True, counted=True),
    Case("fp16", {}, "16x128", 3, 136, 192, timed=True),
    Case("fp16", {}, "16x64", 16, 64, 128, counted=True),
)
MACHINE = {
    "device": "Fake H200",
    "sms": 132,
    "l2_bytes": 65536,
    "cuda_driver": 13000,
    "cuda_runtime": 13000,
    "cupy": "14.2.0",
    "cublas": None,
}
MEASURED = {"relative_error": 1e-4, "max_error": 1e-4, "timing": None}


def test_counters_reach_every_tile_on_every_legal_shape() -> None:
    cases = suite_cases("counters", H200)
    every = {(scheme, tile) for scheme in available() for tile in tiles(scheme)}
    hypothetical = {each for each in every if "PMTRIG" in " ".join(load_program(*each, "sm_90a").text)}
    assert {each for each in every if "extension" in each[1] or each[0] == "mx_w8a8"} <= hypothetical
    assert {(case.scheme, case.tile) for case in cases} == every - hypothetical
    assert all(case.counted and not case.timed for case in cases)
    per_tile = [case for case in cases if (case.scheme, case.tile) == ("fp16", "8x64")]
    assert {(case.m, case.n, case.k) for case in per_tile} == set(COUNTER_SHAPES)
    assert not [case for case in cases if case.scheme == "w4a16" and case.n == 520]
    assert {case.options["group_size"] for case in cases if case.scheme == "w4a16"} == {64, 128, 256, -1}


def test_a_kernel_and_shape_stands_once_in_a_suite() -> None:
    cases = suite_cases("all", H200)
    keys = [(case.weights, case.tile, case.m) for case in cases]
    assert len(set(keys)) == len(keys)
    both = [case for case in cases if case.timed and case.counted]
    assert both and all((case.m, case.n, case.k) == (16, 4096, 4096) for case in both)
    assert sum(case.timed for case in cases) > 100


def test_goal_suite_times_every_tile_worth_trying_on_the_shapes_of_the_goals() -> None:
    cases = suite_cases("goals", H200)
    assert all(case.timed and not case.counted for case in cases)
    largest = {case.tile for case in cases if (case.scheme, case.m, case.n) == ("w4a16", 16, 57344)}
    assert {"16x64", "16x128", "16x192"} <= largest
    assert {case.options["bits"] for case in cases if case.scheme == "flute"} == {3, 4}
    assert {
        case.options["layout"] for case in cases if case.options.get("bits") == 3 and case.scheme == "flute"
    } == {"nibbles"}


def test_weights_are_prepared_together_as_far_as_memory_goes() -> None:
    small = [Case("fp16", {}, "8x64", 1, 8 * each, 64) for each in range(1, 21)]
    huge = [
        Case("fp16", {}, "8x64", 1, 2**n, 2 ** (28 - n)) for n in (13, 14, 15)
    ]  # two of them fit together
    every = worker.groups(list(enumerate([*small, *huge])))
    assert [len(chunk) for chunk in worker.batches(every)] == [worker.PREPARED_TOGETHER, 6, 1]
    assert [group for chunk in worker.batches(every) for group in chunk] == every


def test_workload_suites_are_timed_and_unknown_ones_named() -> None:
    assert all(case.timed for case in suite_cases("awkward", H200))
    with pytest.raises(ConfigError, match=r"unknown suite 'cuonters'\. Did you mean 'counters'"):
        suite_cases("cuonters", H200)


def test_a_suite_can_be_cut_down_to_a_scheme() -> None:
    everything = suite_cases("awkward", H200)
    assert suite_cases("awkward:fp16", H200) == tuple(case for case in everything if case.scheme == "fp16")
    with pytest.raises(ConfigError, match=r"unknown scheme with a kernel 'fp61'. Did you mean 'fp16'"):
        suite_cases("awkward:fp61", H200)


def test_a_plan_survives_the_round_trip(tmp_path: Path) -> None:
    cases = suite_cases("smoke", H200)
    write_plan(tmp_path / "plan.json", "h200", 7, cases)
    assert read_plan(tmp_path / "plan.json") == ("h200", 7, cases)


def test_cases_with_the_same_weights_are_measured_together() -> None:
    grouped = worker.groups(list(enumerate(CASES)))
    assert [[index for index, _ in group] for group in grouped] == [[0, 1], [2]]


def test_a_worker_verifies_and_times(
    tmp_path: Path, cupy: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("gpu_kernels.measuring.device.import_cupy", lambda: cupy)
    monkeypatch.setattr(worker, "Cublas", _missing)
    session = Session(H200, "h200", CASES, tmp_path, "2026-11-21")
    output = tmp_path / "measured.jsonl"
    assert worker.time_plan(session.plan, output, [0, 1, 2]) == 0
    assert session._read_records(output) == {0, 1, 2}
    assert not session.failures
    monkeypatch.setattr(sessions, "output_of", lambda line, seconds: "580.159\n")
    rows = session.rows()
    assert [row.timing is not None for row in rows] == [True, True, False]
    timing = rows[0].timing
    assert timing and timing.median_us == pytest.approx(4.0) and timing.cublas_us is None
    assert timing.rotation_bytes == timing.copies * 136 * 192 * 2 >= 4 * 65536
    assert rows[0].provenance.device == "Fake H200" and rows[0].provenance.driver == "580.159"
    assert rows[0].grid == CASES[0].launch(H200).grid
    text = "\n".join(command.table(rows))
    assert "fp16" in text and "3 rows verified" in text and "no counters" in text


def _missing(device: object) -> None:
    raise OSError("no cuBLAS here")


class CUDARuntimeError(RuntimeError):
    """Named as CuPy's."""


@pytest.mark.parametrize(("lost", "begun"), [(False, {1, 2}), (True, {2})])
def test_a_lost_context_ends_the_worker_after_naming_the_case(
    tmp_path: Path, gpu: Any, cupy: Any, monkeypatch: pytest.MonkeyPatch, lost: bool, begun: set[int]
) -> None:
    def faults(*_: object) -> None:
        raise CUDARuntimeError("cudaErrorIllegalAddress")

    gpu.kernel = faults
    if lost:
        gpu.synchronize = faults
    monkeypatch.setattr("gpu_kernels.measuring.device.import_cupy", lambda: cupy)
    session = Session(H200, "h200", CASES, tmp_path, "2026-11-21")
    output = tmp_path / "measured.jsonl"
    status = worker.time_plan(session.plan, output, [2, 1])
    assert status == (worker.CONTEXT_LOST if lost else 0)
    assert session._read_records(output) == set(session.failures) == begun
    assert "cudaErrorIllegalAddress" in session.failures[2]


def test_another_gpu_is_refused(tmp_path: Path, gpu: Any, cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cupy.cuda.runtime.getDeviceProperties(0)["multiProcessorCount"] = 108
    monkeypatch.setattr("gpu_kernels.measuring.device.import_cupy", lambda: cupy)
    session = Session(H200, "h200", CASES, tmp_path, "2026-11-21")
    with pytest.raises(ConfigError, match="has 132 SMs, this GPU has 108"):
        worker.time_plan(session.plan, tmp_path / "measured.jsonl", [0])


def _workers(
    session: Session, monkeypatch: pytest.MonkeyPatch, *runs: list[dict[str, Any]]
) -> list[list[int]]:
    """Replace worker processes by what they would write; return which cases each was given."""
    asked: list[list[int]] = []
    left = list(runs)

    def run(arguments: list[str], only: list[int]) -> str:
        asked.append(list(only))
        records = left.pop(0)
        with Path(arguments[-1]).open("a", encoding="utf-8") as stream:
            stream.writelines(json.dumps(record) + "\n" for record in records)
        return "exit status 139"

    monkeypatch.setattr(session, "_run", run)
    return asked


def test_a_case_that_kills_its_worker_costs_only_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Session(H200, "h200", CASES, tmp_path, "2026-11-21")
    asked = _workers(
        session,
        monkeypatch,
        [{"provenance": MACHINE}, {"begun": 0}, {"case": 0, "measured": MEASURED}, {"begun": 1}],
        [{"provenance": MACHINE}, {"begun": 2}, {"case": 2, "failure": "ValueError: x"}],
    )
    session.verify_and_time()
    assert asked == [[0, 1, 2], [2]]
    assert set(session.measured) == {0}
    assert session.failures == {1: "the worker ended: exit status 139", 2: "ValueError: x"}


def test_workers_that_get_nowhere_are_not_started_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Session(H200, "h200", CASES, tmp_path, "2026-11-21")
    begun = [{"provenance": MACHINE}, {"begun": 0}, {"case": 0, "measured": MEASURED}]
    asked = _workers(session, monkeypatch, begun, [])
    session.verify_and_time()
    assert asked == [[0, 1, 2], [1, 2]] and set(session.failures) == {1, 2} and set(session.measured) == {0}

    nothing = Session(H200, "h200", CASES, tmp_path, "2026-11-21")
    _workers(nothing, monkeypatch, [])
    with pytest.raises(TcsimError, match="nothing can be measured: exit status 139"):
        nothing.verify_and_time()


def test_what_there_is_no_time_for_is_left_out_by_chance_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cupy: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    session = Session(H200, "h200", CASES * 4, tmp_path, "2026-11-21", seconds=0.0)
    order = session._in_order(list(range(12)))
    assert sorted(order) == list(range(12)) and order != sorted(order)
    monkeypatch.setattr("gpu_kernels.measuring.device.import_cupy", lambda: cupy)
    monkeypatch.setattr(
        session,
        "_run",
        lambda arguments, only: str(worker.time_plan(session.plan, Path(arguments[-1]), only, 0.0) or ""),
    )
    session.verify_and_time()
    assert not session.measured and not session.failures
    assert "not measured: 12 cases, no time left" in capsys.readouterr().err


NCU = """#!{python}
import json, sys
arguments = sys.argv[1:]
if "--version" in arguments:
    sys.exit(print("NVIDIA (R) Nsight Compute Command Line Profiler\\nVersion 2025.3.1.0 (build 1) (public)"))
if "--query-metrics" in arguments:
    sys.exit(print("smsp__inst_executed  Counter  inst  # of warp instructions"))
if {fails}:
    sys.exit(print("==ERROR== ERR_NVGPUCTRPERM"))
metrics = arguments[arguments.index("--metrics") + 1].split(",")
launches = json.load(open("{launches}"))
repeats = int(arguments[arguments.index("--launches") + 1])
only = json.load(open(arguments[arguments.index("--only") + 1]))
with open(arguments[arguments.index("--log-file") + 1], "w") as log:
    print("==PROF== Connected", file=log)
    print('"ID","Kernel Name","Block Size","Grid Size",' + ",".join('"%s"' % m for m in metrics), file=log)
    print('"","","",""' + ',"inst"' * len(metrics), file=log)
    for i, (case, repeat) in enumerate((c, r) for c in only for r in range(repeats)):
        name, block, grid = launches[str(case)]
        values = ['"%s"' % format(1000 * case + 1001, ",")] * len(metrics)
        print(",".join(['"%d"' % i, '"%s"' % name, '"%s"' % block, '"%s"' % grid, *values]), file=log)
"""


def _counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool = False) -> Session:
    session = Session(H200, "h200", CASES, tmp_path / "out", "2026-11-21")
    session.measured = {index: dict(MEASURED) for index in range(len(CASES))}
    session.machine = dict(MACHINE)
    launches = {
        index: (launch.program.name, str(launch.block), str(launch.grid))
        for index, launch in enumerate(case.launch(H200) for case in CASES)
    }
    (tmp_path / "launches.json").write_text(json.dumps(launches))
    ncu = tmp_path / "ncu"
    ncu.write_text(NCU.format(python=sys.executable, launches=tmp_path / "launches.json", fails=fails))
    ncu.chmod(ncu.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(sessions, "find_ncu", lambda: str(ncu))
    session.count()
    return session


def test_counters_are_joined_to_their_cases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = _counted(tmp_path, monkeypatch)
    assert set(session.counted) == {0, 2}, "case 1 asks for none"
    assert session.ncu_version == "2025.3.1.0"
    rows = session.rows()
    found = [row.counters for row in rows]
    assert found[0] and found[0].instructions == 1001 and found[0].launches == 3
    assert found[0].source_shared_wavefronts == 1001
    assert found[1] is None
    assert found[2] and found[2].instructions == 3001
    assert "2 rows with counters; not available: tensor_instructions" in "\n".join(command.table(rows))


def test_a_profiler_without_permission_leaves_no_counters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    session = _counted(tmp_path, monkeypatch, fails=True)
    assert not session.counted and all(row.counters is None for row in session.rows())
    assert "without counters_0: TcsimError: Nsight Compute gave no rows: ==ERROR== ERR_NVGPUCTRPERM" in (
        capsys.readouterr().err
    )


def test_a_missing_profiler_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    session = Session(H200, "h200", CASES, tmp_path, "2026-11-21")
    session.measured = {0: dict(MEASURED)}
    monkeypatch.setattr(sessions, "find_ncu", lambda: None)
    session.count()
    assert "Nsight Compute (ncu) is not installed" in capsys.readouterr().err


def test_a_command_that_takes_too_long_is_stopped_with_its_children() -> None:
    said = sessions.output_of(
        [sys.executable, "-c", "print('hello', flush=True); import os; os.system('sleep 60')"], 1
    )
    assert "hello" in said and "stopped after 1 s" in said
    assert sessions.output_of(["/does/not/exist"], 1) == ""


def test_without_cupy_the_command_says_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert command.main(["--out", str(tmp_path / "x")]) == command.USER_ERROR
    said = capsys.readouterr()
    assert said.err.count("\n") == 1 and "CuPy" in said.err and not said.out
    assert not (tmp_path / "x").exists()


def test_the_command_writes_rows_and_failures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measured(session: Session) -> None:
        session.machine = dict(MACHINE)
        session.measured = {0: dict(MEASURED)}
        session.failures = {1: "the worker ended"}

    monkeypatch.setattr(command, "import_cupy", lambda: None)
    monkeypatch.setattr(command, "suite_cases", lambda name, gpu: CASES)
    monkeypatch.setattr(Session, "verify_and_time", measured)
    monkeypatch.setattr(sessions, "find_ncu", lambda: None)
    out = tmp_path / "out"
    assert command.main(["--out", str(out), "--date", "2026-11-21"]) == command.SOME_FAILED
    assert [row.tile for row in load_rows(out / "rows.jsonl")] == ["8x64"]
    assert json.loads((out / "failures.json").read_text()) == {
        "1": "fp16 16x128 3x136x192 {}: the worker ended"
    }
    assert "1 cases failed" in capsys.readouterr().out


def test_faulting_kernels_end_after_a_few_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = tuple(Case("fp16", {}, "8x64", m, 64, 128) for m in range(1, 11))
    session = Session(H200, "h200", cases, tmp_path, "2026-11-21")
    lost = [[{"begun": index}, {"case": index, "failure": "illegal address"}] for index in range(10)]
    asked = _workers(session, monkeypatch, *lost)
    session.verify_and_time()
    assert len(asked) == sessions.MAX_WORKERS
    assert set(session.failures) == set(range(10))
