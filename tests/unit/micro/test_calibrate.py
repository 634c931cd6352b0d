"""Readings into YAML: only values and sources change; what was put into a machine is read back out of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpu_kernels.micro.benchmark import Row, Table
from gpu_kernels.micro.collect import write_rows
from gpu_kernels.micro.registry import benchmarks, get_benchmark
from sim.arch.load import gpu_directory, load_gpu, overridable
from sim.commands.calibrate import Value, rewritten, run, values
from sim.commands.micro import simulated

TEXT = """\
# a comment
sm:
  pipes: # of a sub-core
    alu:
      interval_cycles: {value: 2, source: "assumed: x"} # at the end
      latency_cycles:
        value: 4
        source: >-
          assumed: y
          and more

  # before the next
  tensor:
    mma:
      m16n8k16.f32.f16:
        latency_cycles: {value: 24, source: "assumed: z"}
dram:
  loaded_latency:
    value:
      - {utilization: 0.0, latency_ns: 1}
    source: "assumed: w"
"""


def test_only_values_and_sources_change() -> None:
    source = "measured: gpu_kernels/micro/x, NVIDIA H200, 2026-11-21"
    curve = [{"utilization": 0.0, "latency_ns": 300.0}, {"utilization": 1.0, "latency_ns": 800.5}]
    text, absent = rewritten(
        TEXT,
        [
            Value("sm.pipes.alu.latency_cycles", 5, source),
            Value("sm.tensor.mma.m16n8k16.f32.f16.latency_cycles", 24.4, source),
            Value("dram.loaded_latency", curve, source),
            Value("sm.nothing", 1, source),
        ],
    )
    assert absent == ["sm.nothing"]
    assert text == TEXT.replace(
        "latency_cycles:\n        value: 4\n        source: >-\n          assumed: y\n          and more\n",
        f'latency_cycles: {{value: 5, source: "{source}"}}\n',
    ).replace('{value: 24, source: "assumed: z"}', f'{{value: 24.4, source: "{source}"}}').replace(
        '      - {utilization: 0.0, latency_ns: 1}\n    source: "assumed: w"\n',
        "      - {utilization: 0, latency_ns: 300}\n      - {utilization: 1, latency_ns: 800.5}\n"
        f'    source: "{source}"\n',
    )


def test_every_fed_key_is_a_number_of_the_machine() -> None:
    known = set(overridable(load_gpu("h200")))
    for name, benchmark in benchmarks().items():
        assert {feed.path for feed in benchmark.feeds} <= known, name


def test_no_key_is_fed_twice() -> None:
    paths = [feed.path for benchmark in benchmarks().values() for feed in benchmark.feeds]
    assert len(set(paths)) == len(paths)


def test_command_writes_a_machine_that_loads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [Row("loads", "chase_l1 lines=1", {"lines": 1}, 57.2, "cycles", 0.0, 9)]
    write_rows(tmp_path / "loads.jsonl", rows, {"gpu": "NVIDIA H200", "date": "2026-11-21"})
    out = tmp_path / "mine.yaml"
    run(tmp_path, "h200", out, comparing=False)
    assert load_gpu(str(out)).sm.l1.hit_latency_cycles == 57
    assert (
        load_gpu(str(out)).sources["sm.l1.hit_latency_cycles"].startswith("measured: gpu_kernels/micro/loads")
    )
    changed = set(out.read_text().splitlines()) - set(
        (gpu_directory() / "h200.yaml").read_text().splitlines()
    )
    assert len(changed) == 1
    said = capsys.readouterr().out
    assert "-> 57" in said
    assert "sm.load_store.global_line_cycles: too few readings" in said


# What is put into the machine, by benchmark, and how near the reading of the simulated machine must come.
# Readings are loops of real code: what the compiler schedules around an instruction can hide a cycle or two.
CLOSED_LOOP = {
    "shared": {
        "sm.shared_memory.load_latency_cycles": (31, 0.5),
        "sm.shared_memory.extra_wavefront_latency_cycles": (3, 0.05),
        "sm.load_store.intake_interval_cycles": (3, 0),
        "sm.load_store.address_interval_cycles": (6, 0),
        "sm.load_store.register_interval_cycles": (5, 0),
        "sm.shared_memory.further_register_latency_cycles": (4, 0),
    },
    "copies": {
        "sm.load_store.copy_extra_latency_cycles": (70, 3),
        "sm.load_store.source_release_cycles": (33, 1),
        "sm.load_store.copy_release_cycles": (41, 1),
    },
    "fresh": {"sm.load_store.copy_instruction_cycles": (6, 0.2)},
    "loads": {
        "sm.l1.hit_latency_cycles": (41, 0),
        "sm.l1.line_latency_cycles": (3, 0.05),
        "sm.load_store.global_line_cycles": (1.5, 0.05),
    },
    "control": {
        "sm.control.barrier_arrival_cycles": (3, 0),
        "sm.control.barrier_release_cycles": (31, 1),
        "sm.control.membar_latency_cycles": (500, 5),
        "sm.control.taken_branch_cycles": (15, 1),
        "sm.control.next_line_cycles": (21, 1),
        "sm.load_store.constant_load_latency_cycles": (44, 1),
    },
    "scalar": {
        "sm.pipes.alu.interval_cycles": (3, 0.05),
        "sm.pipes.fma.interval_cycles": (2, 0.05),
        "sm.pipes.xu.interval_cycles": (16, 0.1),
        "sm.pipes.xu.latency_cycles": (35, 1),
        "sm.load_store.shuffle_latency_cycles": (31, 0),
    },
    "mma": {
        "sm.tensor.mma.m16n8k16.f32.f16.interval_cycles": (9, 0),
        "sm.tensor.mma.m16n8k16.f32.f16.latency_cycles": (40, 0),
        "sm.tensor.mma.m16n8k32.s32.s8.interval_cycles": (12, 0),
    },
}


@pytest.mark.jit
@pytest.mark.parametrize("name", sorted(CLOSED_LOOP))
def test_a_machines_own_numbers_are_read_back(name: str) -> None:
    wanted = CLOSED_LOOP[name]
    gpu = load_gpu("h200", [f"{path}={number}" for path, (number, _) in wanted.items()])
    benchmark = get_benchmark(name)
    table = Table(simulated(benchmark, gpu, [p for p in benchmark.points if _needed(name, p.name)]))
    for feed in benchmark.feeds:
        if feed.path in wanted:
            number, tolerance = wanted[feed.path]
            assert feed.value(table) == pytest.approx(number, abs=tolerance), feed.path


def _needed(benchmark: str, point: str) -> bool:
    """Leave out points that no parameter uses, for speed."""
    return benchmark != "mma" or "_8 chains=8" in point or point.endswith("chains=1 warps=1")


def test_too_few_readings_leave_a_number_alone() -> None:
    rows = [Row("loads", "chase_l1 lines=1", {"lines": 1}, 34.2, "cycles", 0.0, 9)]
    found, missing = values(rows, {"gpu": "NVIDIA H200", "date": "2026-11-21"})
    assert [each.path for each in found] == ["sm.l1.hit_latency_cycles"]
    lines = "sm.l1.line_latency_cycles", "sm.l1.hidden_line_cycles"
    assert missing == ["sm.load_store.global_line_cycles", *lines]
