"""What a launch costs before it computes."""

from __future__ import annotations

import pytest

from gpu_kernels import catalog
from sim.arch.load import load_gpu
from sim.chip.fixed_cost import ARGUMENT_LINE, argument_lines, fixed_cost_us

H200 = load_gpu("h200")


@pytest.mark.parametrize(
    ("scheme", "tile", "more"),
    [
        ("fp16", "8x64", 1),  # 5 addresses and 6 numbers: 64 bytes from 0x210 on, in two lines
        ("fp16_wgmma", "64x64", 1),  # what stands between tensor maps, which the copy engine reads
        ("tender_w8a8", "16x128-software_shift", 2),  # 24 borders
    ],
)
def test_every_line_of_arguments_beyond_the_first_costs_a_miss(scheme: str, tile: str, more: int) -> None:
    options = dict(catalog.tiles(scheme)[tile].options)
    (launch,) = catalog.launches(scheme, 16, 4096, 4096, options, H200, tile)
    assert argument_lines(launch) == more
    own = fixed_cost_us(launch, H200) - H200.launch.graph_node_us - H200.launch.ramp_us
    assert own * H200.sm.max_clock_mhz == pytest.approx(more * H200.launch.argument_line_cycles)


def test_a_line_is_that_of_the_measurement() -> None:
    from gpu_kernels.micro.cold_constants import STEP_BYTES

    assert ARGUMENT_LINE == STEP_BYTES
