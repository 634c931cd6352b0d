"""What a launch costs whatever it computes."""

from __future__ import annotations

from sim.arch.spec import GpuSpec
from sim.isa.launch import KernelLaunch, TensorMap

ARGUMENT_LINE = 64  # bytes


def fixed_cost_us(launch: KernelLaunch, gpu: GpuSpec) -> float:
    """Return what a launch costs before its CTAs run, and until they have read their arguments."""
    own_us = gpu.launch.graph_node_us + gpu.launch.ramp_us
    return own_us + argument_lines(launch) * gpu.launch.argument_line_cycles / gpu.sm.max_clock_mhz


def argument_lines(launch: KernelLaunch) -> int:
    """Return how many lines of constants hold arguments, beyond the one that any kernel has.

    Tensor maps are none: the copy engine reads them.
    """
    base = launch.program.param_base
    lines: set[int] = set()
    for parameter, argument in zip(launch.program.params, launch.args, strict=True):
        if not isinstance(argument, TensorMap):
            begin = base + parameter.offset
            lines.update(range(begin // ARGUMENT_LINE, (begin + parameter.size - 1) // ARGUMENT_LINE + 1))
    return max(0, len(lines) - 1)
