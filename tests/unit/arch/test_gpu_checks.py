"""Contradictions between a GPU's numbers: each message names both sides."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.arch.load import load_gpu
from sim.errors import ConfigError

H200 = load_gpu("h200")
NEAR, FAR = H200.l2.near_latency_cycles, H200.l2.far_latency_cycles
MMA = "m16n8k16.f32.f16"
LATENCY = H200.sm.tensor.mma[MMA].latency_cycles


def curve(*points: tuple[float, float]) -> str:
    return "[" + ", ".join(f"{{utilization: {u}, latency_ns: {t}}}" for u, t in points) + "]"


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        (
            "sm.shared_memory.cta_limit_bytes=232449",
            "got 232449, allowed: at most sm.shared_memory.capacity_bytes - sm.shared_memory.cta_reserved",
        ),
        ("sm.shared_memory.bank_bytes=3", "got 3, allowed: a power of two"),
        ("sm.max_warps=63", "got 63, allowed: a multiple of sm.sub_cores = 4"),
        (
            "sm.register_file.registers=65000",
            "got 65000, allowed: a multiple of sm.register_file.allocation_unit x sm.sub_cores = 1024",
        ),
        ("sm.sustained_clock_mhz=1981", "got 1981, allowed: at most sm.mma_clock_mhz"),
        ("sm.l1.sector_bytes=256", "got 256, allowed: at most sm.l1.line_bytes = 128"),
        ("sm.l1.hit_latency_cycles=9999", f"got 9999, allowed: at most l2.near_latency_cycles = {NEAR:g}"),
        ("l2.near_latency_cycles=9999", f"got 9999, allowed: at most l2.far_latency_cycles = {FAR:g}"),
        (
            "l2.sm_port_bytes_per_cycle=9999",
            f"got 9999, allowed: at most l2.bandwidth_bytes_per_cycle = {H200.l2.bandwidth_bytes_per_cycle:g}",
        ),
        ("dram.bandwidth_gb_per_s=4801", "got 4801, allowed: at most dram.peak_gb_per_s = 4800"),
        (
            "dram.capacity_bytes=1048576",
            f"l2.capacity_bytes: got {H200.l2.capacity_bytes}, allowed: at most dram.capacity_bytes = 1048576",
        ),
        (
            "sm.tensor.mma.m16n8k16.f32.f16.interval_cycles=25",
            f"got 25, allowed: at most sm.tensor.mma.{MMA}.latency_cycles = {LATENCY:g}",
        ),
        (
            "sm.tensor.mma.m16n8k16.f32.f16.interval_cycles=3.9",
            "4201 operations per cycle, allowed: at most sm.tensor.peak_ops_per_cycle.f16 = 4096",
        ),
        (
            "dram.loaded_latency=" + curve((0.1, 300), (1, 400)),
            "got utilization from 0.1 to 1, allowed: from 0 to 1",
        ),
        (
            "dram.loaded_latency=" + curve((0, 300), (0.9, 400)),
            "got utilization from 0 to 0.9, allowed: from 0 to 1",
        ),
        (
            "dram.loaded_latency=" + curve((0, 300), (0.5, 310), (0.5, 320), (1, 400)),
            "got utilization 0.5 after 0.5, allowed: rising",
        ),
        (
            "dram.loaded_latency=" + curve((0, 300), (0.5, 299), (1, 400)),
            "got 299 ns after 300 ns, allowed: not falling",
        ),
        ("dram.loaded_latency=" + curve((0, 300)), "at least 2 items"),
    ],
)
def test_contradictions(override: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_gpu("h200", [override])
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    "override",
    [
        "sm.shared_memory.cta_limit_bytes=232448",
        f"sm.sustained_clock_mhz={H200.sm.mma_clock_mhz:g}",
        f"l2.near_latency_cycles={FAR:g}",
        "dram.bandwidth_gb_per_s=4800",
        "sm.tensor.mma.m16n8k16.f32.f16.interval_cycles=4",
        "dram.loaded_latency=" + curve((0, 300), (1, 300)),
    ],
)
def test_the_limit_itself_is_allowed(override: str) -> None:
    load_gpu("h200", [override])


def test_an_operation_needs_a_peak_of_its_input_type(tmp_path: Path) -> None:
    op = "".join(f"{key}_cycles: {{value: 12, source: 'assumed: x'}}, " for key in ("interval", "latency"))
    path = tmp_path / "x.yaml"
    path.write_text(f"extends: h200\ntitle: T\nsm: {{tensor: {{mma: {{m16n8k64.s32.s4: {{{op}}}}}}}}}\n")
    with pytest.raises(ConfigError, match=r"sm\.tensor\.peak_ops_per_cycle has no s4"):
        load_gpu(str(path))


def test_every_type_of_operand_needs_an_energy(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(
        "extends: h200\ntitle: T\n"
        "sm: {tensor: {peak_ops_per_cycle: {s4: {value: 16384, source: 'assumed: x'}}}}\n"
    )
    with pytest.raises(ConfigError, match=r"energy\.tensor_pj_per_op: has no s4"):
        load_gpu(str(path))
