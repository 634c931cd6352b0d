"""The measuring side, on made-up clocks: slopes, files, and that every benchmark runs to its end."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpu_kernels.measuring import device
from gpu_kernels.measuring.device import Device
from gpu_kernels.measuring.tensor_maps import ENCODED
from gpu_kernels.micro import energy
from gpu_kernels.micro.benchmark import Row, Table, launches
from gpu_kernels.micro.collect import UNWRITTEN, collect, durations, read_folder, read_rows, write_rows
from gpu_kernels.micro.latency import two_clusters
from gpu_kernels.micro.registry import benchmarks, get_benchmark
from sim.errors import TcsimError


def _fake_cupy() -> Any:
    spec = importlib.util.spec_from_file_location("fake_cupy", Path(__file__).parent / "fake_cupy.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


fake_cupy = _fake_cupy()


class Board:
    """An energy counter that rises by a joule a reading."""

    def __init__(self) -> None:
        self._readings = 0

    def joules(self) -> float:
        self._readings += 1
        return float(self._readings)


@pytest.mark.parametrize("name", sorted(benchmarks()))
def test_every_benchmark_runs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "BoardEnergy", Board)
    monkeypatch.setattr(energy, "SETTLE_S", 0.0)
    monkeypatch.setattr(device, "encode", lambda *_: np.zeros(1, ENCODED))  # tensor maps are the driver's
    rows, about = collect([name], Device(fake_cupy))
    assert about["gpu"] == "NVIDIA H200"
    assert about["clock_mhz"] == fake_cupy.CLOCK_MHZ
    assert {point.name for point in get_benchmark(name).points} <= {row.point for row in rows}
    assert len({row.point for row in rows}) == len(rows)
    for feed in get_benchmark(name).feeds:  # all readings that a parameter needs are there
        others = collect(feed.needs, Device(fake_cupy))[0] if feed.needs else []
        feed.value(Table(rows, others))


def test_values_are_slopes_per_instruction() -> None:
    rows, _ = collect(["mma"], Device(fake_cupy))
    assert {row.value for row in rows} == {fake_cupy.PER_TRIP / 48}


def test_durations_skip_warps_that_left() -> None:
    clocks = np.array([[10, 110], [5, 95], [UNWRITTEN, UNWRITTEN], [7, 120]], np.int64)
    assert durations(clocks.view(np.uint8), 1).tolist() == [115]
    nobody = np.full(8, UNWRITTEN, np.int64)
    assert durations(np.concatenate([clocks.reshape(-1), nobody]), 2).tolist() == [115]


def test_two_launches_of_a_point_differ_in_trips_only() -> None:
    benchmark = get_benchmark("shared")
    point = benchmark.points[0]
    first, second = launches(benchmark, point)
    assert (int(first.args[2]), int(second.args[2])) == point.trips  # type: ignore[call-overload]
    assert first.buffers[2] is second.buffers[2]
    assert first.program is second.program


def test_rows_survive_the_file(tmp_path: Path) -> None:
    rows = [Row("mma", "a warps=4", {"warps": 4}, 6.25, "cycles", 0.01, 9, "ab")]
    write_rows(tmp_path / "mma.jsonl", rows, {"gpu": "NVIDIA H200"})
    assert read_rows(tmp_path / "mma.jsonl") == (rows, {"gpu": "NVIDIA H200"})
    assert read_folder(tmp_path)[0] == rows


def test_mistakes_in_files_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(TcsimError, match=r"no \.jsonl files"):
        read_folder(tmp_path)
    (tmp_path / "x.jsonl").write_text("[1, 2]\n")
    with pytest.raises(TcsimError, match="not a file of microbenchmark rows"):
        read_rows(tmp_path / "x.jsonl")


def test_clusters_of_near_and_far_lines() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(260, 8, 300), rng.normal(410, 12, 100)])
    near, far, share = two_clusters(values)
    assert near == pytest.approx(260, abs=3)
    assert far == pytest.approx(410, abs=4)
    assert share == pytest.approx(0.25, abs=0.01)


def test_power_is_energy_over_the_time_between_changes_of_the_counter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The counter stands still for ten polls of 1 ms each and then rises by 3 J: 300 W, whatever the ends."""
    polls = iter(range(10_000))
    now = [0.0]
    monkeypatch.setattr(energy.time, "monotonic", lambda: now[0])

    def joules() -> float:
        poll = next(polls)
        now[0] = poll * 1e-3
        return 3.0 * (poll // 10)

    monkeypatch.setattr(energy, "SETTLE_S", 0.1)
    assert energy.power_w(joules, lambda: now[0] < 0.755) == pytest.approx(300.0, rel=0.02)


def test_a_counter_that_stands_still_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "SETTLE_S", 0.0)
    left = iter([True] * 20 + [False])
    with pytest.raises(TcsimError, match="changed 1 times, allowed: 5 or more"):
        energy.power_w(lambda: 5.0, lambda: next(left))
