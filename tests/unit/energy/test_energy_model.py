"""Energy: counts times energy per action, class by class."""

from __future__ import annotations

import pytest

from sim.arch.load import load_gpu
from sim.energy.model import energy_uj
from sim.results import COUNTERS

H200 = load_gpu(
    "h200",
    [
        f"energy.{key}={value}"
        for key, value in {
            "instruction_pj": 10,
            "tensor_pj_per_op.f16": 0.5,
            "tensor_pj_per_op.s8": 0.25,
            "shared_wavefront_pj": 100,
            "l2_pj_per_bit": 1,
            "dram_pj_per_bit": 4,
            "idle_w": 50,
        }.items()
    ],
)
NOTHING = dict.fromkeys(COUNTERS, 0.0)


@pytest.mark.parametrize(
    ("counter", "name", "picojoules"),
    [
        ("instructions", "instructions", 10),
        ("shared_load_wavefronts", "shared_memory", 100),
        ("shared_store_wavefronts", "shared_memory", 100),
        ("shared_copy_wavefronts", "shared_memory", 100),
        ("l2_bytes", "l2", 8),
        ("dram_bytes", "dram", 32),
    ],
)
def test_each_action_has_its_price(counter: str, name: str, picojoules: float) -> None:
    energy = energy_uj({**NOTHING, counter: 1e6}, {}, 0, H200)
    assert energy[name] == pytest.approx(picojoules)
    assert sum(energy.values()) == energy[name]


def test_tensor_operations_and_idle_power() -> None:
    energy = energy_uj(NOTHING, {"f16": 1e6, "s8": 2e6}, 3, H200)
    assert energy == {**dict.fromkeys(energy, 0.0), "tensor": 1.0, "idle": 150.0}


def test_a_missing_counter_is_not_taken_for_zero() -> None:
    with pytest.raises(KeyError):
        energy_uj({"instructions": 1}, {}, 0, H200)
