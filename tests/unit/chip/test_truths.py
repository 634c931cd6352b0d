"""What must hold of every simulated launch, whatever the machine's parameters were measured to be."""

from __future__ import annotations

import pytest

from gpu_kernels.catalog import launches
from sim.arch.load import load_gpu
from sim.arch.spec import GpuSpec
from sim.results import RunResult, Workload
from sim.simulate import simulate
from workloads.schemes.base import get_scheme

pytestmark = pytest.mark.jit
DECODE = [(1, 57344, 8192), (1, 28672, 4096), (16, 4096, 4096), (64, 6144, 4096)]


def run(scheme: str, m: int, n: int, k: int, gpu: GpuSpec, tile: str | None = None) -> RunResult:
    """Simulate one matmul."""
    found = get_scheme(scheme)
    options = found.check_options({})
    work = Workload(
        scheme,
        m,
        n,
        k,
        options,
        found.flops(m, n, k),
        found.compulsory_bytes(m, n, k, options),
        found.input_type,
    )
    return simulate(work, launches(scheme, m, n, k, options, gpu, tile), gpu)


@pytest.mark.parametrize("scheme", ["fp16", "w4a16"])
@pytest.mark.parametrize(("m", "n", "k"), [*DECODE, (4096, 4096, 4096), (200, 1040, 768)])
def test_no_launch_beats_its_bytes_or_its_mma(scheme: str, m: int, n: int, k: int) -> None:
    """DRAM bytes at full bandwidth, tensor instructions at their interval and compulsory bytes bound the time."""
    gpu = load_gpu("h200")
    result = run(scheme, m, n, k, gpu)
    assert result.time_us * 1e3 >= result.counters["dram_bytes"] / gpu.dram.bandwidth_gb_per_s
    interval = gpu.sm.tensor.mma["m16n8k16.f32.f16"].interval_cycles
    pipes = gpu.sm.count * gpu.sm.sub_cores
    assert result.cycles >= result.counters["tensor_instructions"] * interval / pipes
    assert result.counters["l2_bytes"] >= result.counters["dram_bytes"] * 0.99
    assert sum(result.breakdown_us.values()) == pytest.approx(result.time_us)
    assert result.breakdown_us[result.bound_by] == max(result.breakdown_us.values())


def test_fp16_by_mma_sync_reaches_half_of_the_wgmma_peak_at_4096_cubed() -> None:
    """mma.sync issues at 2/3 of the rate of wgmma; a good kernel comes near it."""
    gpu = load_gpu("h200")
    result = run("fp16", 4096, 4096, 4096, gpu)
    peak = gpu.sm.tensor.peak_ops_per_cycle["f16"] * gpu.sm.count * result.cycles
    assert 0.50 <= result.flops / peak <= 0.63


def test_fp16_by_wgmma_reaches_most_of_the_peak_at_4096_cubed() -> None:
    """An H200 took 287 000 cycles, 89 % of the peak; no load of its own shows in the counter of global sectors."""
    gpu = load_gpu("h200")
    result = run("fp16_wgmma", 4096, 4096, 4096, gpu, "256x128")
    peak = gpu.sm.tensor.peak_ops_per_cycle["f16"] * gpu.sm.count * result.cycles
    assert 0.82 <= result.flops / peak <= 0.96
    assert result.counters["global_load_sectors"] == 0
    assert result.counters["l2_bytes"] > result.counters["dram_bytes"]


def test_doubling_dram_bandwidth_nearly_halves_a_decode_gemm_and_leaves_prefill_alone() -> None:
    """One wave of small CTAs that stream weights follows the memory; a prefill matmul sees little of shorter waits."""
    gpu, faster = load_gpu("h200"), load_gpu("h200-2x-dram")
    decode = run("fp16", 1, 57344, 8192, gpu).time_us / run("fp16", 1, 57344, 8192, faster).time_us
    prefill = run("fp16", 4096, 4096, 4096, gpu).time_us / run("fp16", 4096, 4096, 4096, faster).time_us
    assert decode > 1.8
    assert prefill == pytest.approx(1.0, abs=0.03)


def test_time_grows_with_k_and_with_m() -> None:
    """Twice the work never takes less time."""
    gpu = load_gpu("h200")
    times = [run("w4a16", 16, 8192, k, gpu, "16x128").time_us for k in (1024, 2048, 4096, 8192)]
    assert times == sorted(times)
    times = [run("fp16", m, 4096, 4096, gpu, "128x128").time_us for m in (128, 256, 512, 1024, 4096)]
    assert times == sorted(times)


def test_cost_does_not_grow_with_the_grid() -> None:
    """A thousand times the CTAs are not a thousand times the events."""
    from sim.chip.run import run_launch

    gpu = load_gpu("h200")
    spans = [
        len(run_launch(launches("fp16", m, 4096, 1024, {}, gpu, "128x128")[0], gpu).device.spans)
        for m in (4096, 131072)
    ]
    assert spans[1] <= spans[0] + 3
