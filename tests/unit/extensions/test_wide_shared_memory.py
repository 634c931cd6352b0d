"""Shared memory of more or wider banks: other numbers of the machine, the same programs."""

from __future__ import annotations

import numpy as np
import pytest

from gpu_kernels.programs.store import load_program
from sim.arch.load import load_gpu
from sim.commands.selection import described_launches, shared_memory
from sim.errors import ConfigError
from sim.extensions import extended, get_extension, with_extensions
from sim.results import Workload
from sim.simulate import simulate

H200 = load_gpu("h200")


def test_it_changes_the_machine_and_no_program() -> None:
    program = load_program("fp16", "16x64", "sm_90a")
    assert with_extensions(program, ("wide_shared_memory",)) is program
    _, machine = extended([], H200, ["wide_shared_memory:latency_cycles=2:energy_factor=3"])
    memory, own = machine.sm.shared_memory, H200.sm.shared_memory
    assert (memory.banks, memory.bank_bytes) == (64, 4)
    assert memory.load_latency_cycles == own.load_latency_cycles + 2
    assert machine.energy.shared_wavefront_pj == 3 * H200.energy.shared_wavefront_pj
    assert memory.capacity_bytes == own.capacity_bytes and machine.sm.tensor == H200.sm.tensor


@pytest.mark.jit
def test_lookups_of_a_single_table_take_fewer_wavefronts_in_more_banks() -> None:
    launches = described_launches("flute", 16, 512, 1024, {}, H200, "16x128-w4c1")
    runs = [
        simulate(Workload("flute", 16, 512, 1024, {}, 0, 0), launches, H200, extensions)
        for extensions in ((), ("wide_shared_memory",))
    ]
    assert runs[1].counters["shared_load_wavefronts"] < runs[0].counters["shared_load_wavefronts"]
    assert runs[1].counters["instructions"] == runs[0].counters["instructions"]


@pytest.mark.jit
def test_codes_matter_on_banks_that_the_layout_is_not_made_for() -> None:
    """Lanes with a bank each share one where banks are 8 bytes wide: then it matters which entries they ask for."""
    options = {"table": "private"}
    wide = shared_memory(H200, ("wide_shared_memory:banks=32:bank_bytes=8",))
    for memory, matter in ((None, False), (wide, True)):
        (launch,) = described_launches("lut_gemm", 1, 256, 1024, options, H200, "1x64-private", None, memory)
        assert any(buffer.data is not None for buffer in launch.buffers) == matter


@pytest.mark.parametrize("numbers", ["banks=48", "bank_bytes=3", "banks=0"])
def test_banks_are_a_power_of_two(numbers: str) -> None:
    with pytest.raises(ConfigError, match=r"got .*allowed: a power of two"):
        get_extension(f"wide_shared_memory:{numbers}").machine(H200)


def test_area_grows_with_the_width() -> None:
    areas = [
        get_extension(f"wide_shared_memory:banks={banks}").quantities()["area"].value for banks in (64, 128)
    ]
    assert np.isclose(areas[1], 2 * areas[0])
