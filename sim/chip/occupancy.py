"""How many CTAs of a launch one SM holds, and what limits it."""

from __future__ import annotations

from dataclasses import dataclass

from sim.arch.spec import GpuSpec
from sim.errors import ConfigError
from sim.isa.launch import KernelLaunch


@dataclass(frozen=True)
class Occupancy:
    """CTAs per SM, and the resource that runs out first."""

    ctas_per_sm: int
    limited_by: str


def occupancy(launch: KernelLaunch, gpu: GpuSpec) -> Occupancy:
    """Return the CTAs an SM holds; a CTA that does not fit at all is an error that says why."""
    sm = gpu.sm
    shared = launch.program.static_shared_bytes + launch.dynamic_shared_bytes
    if shared > sm.shared_memory.cta_limit_bytes:
        raise ConfigError(
            launch.label or launch.program.name,
            f"{shared} bytes of shared memory per CTA; {gpu.name} allows {sm.shared_memory.cta_limit_bytes}",
        )
    limits = {
        "CTA slots": sm.max_ctas,
        "warps": sm.max_warps // launch.warps,
        "registers": sm.register_file.registers // (_registers_per_warp(launch, gpu) * launch.warps),
        "shared memory": sm.shared_memory.capacity_bytes // (shared + sm.shared_memory.cta_reserved_bytes),
    }
    name = min(limits, key=lambda key: limits[key])
    if limits[name] < 1:
        raise ConfigError(
            launch.label or launch.program.name, f"one CTA needs more {name} than an SM of {gpu.name} has"
        )
    return Occupancy(limits[name], name)


def _registers_per_warp(launch: KernelLaunch, gpu: GpuSpec) -> int:
    unit = gpu.sm.register_file.allocation_unit
    return max(unit, -(-launch.program.registers * 32 // unit) * unit)
