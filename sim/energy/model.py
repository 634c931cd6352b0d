"""Energy of a launch: counted actions times energy per action."""

from __future__ import annotations

from collections.abc import Mapping

from sim.arch.spec import GpuSpec

UJ_PER_PJ = 1e-6
BITS_PER_BYTE = 8


def energy_uj(
    counters: Mapping[str, float], tensor_ops: Mapping[str, float], time_us: float, spec: GpuSpec
) -> dict[str, float]:
    """Return µJ by class of action, from the counters of a whole launch (``sim.results.COUNTERS``).

    ``tensor_ops`` are the multiplies and adds that the tensor cores did by type of their operands, padding included.
    """
    energy = spec.energy
    wavefronts = sum(counters[f"shared_{kind}_wavefronts"] for kind in ("load", "store", "copy"))
    picojoules = {
        "instructions": counters["instructions"] * energy.instruction_pj,
        "tensor": sum(count * energy.tensor_pj_per_op[name] for name, count in tensor_ops.items()),
        "shared_memory": wavefronts * energy.shared_wavefront_pj,
        "l2": counters["l2_bytes"] * BITS_PER_BYTE * energy.l2_pj_per_bit,
        "dram": counters["dram_bytes"] * BITS_PER_BYTE * energy.dram_pj_per_bit,
    }
    by_class = {name: value * UJ_PER_PJ for name, value in picojoules.items()}
    return by_class | {"idle": energy.idle_w * time_us}  # W x µs = µJ
