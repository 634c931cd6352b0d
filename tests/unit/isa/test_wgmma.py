"""Names of wgmma, and what a tensor map refuses."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from sim.errors import ConfigError
from sim.isa.launch import TensorMap
from sim.isa.wgmma import parse_wgmma

MAP = TensorMap("a", 2, (128, 64), (256,), (64, 64), swizzle_bytes=128)


def test_a_name_gives_shape_and_operand_bytes() -> None:
    """B and a shared A are read once per warpgroup; an A in registers costs shared memory nothing."""
    shared = parse_wgmma("wgmma.m64n256k16.f32.bf16.ss")
    assert shared is not None
    assert (shared.a_bytes, shared.b_bytes, shared.macs) == (2048, 8192, 64 * 256 * 16)
    registers = parse_wgmma("wgmma.m64n128k32.s32.s8.rs")
    assert registers is not None
    assert (registers.a_in_registers, registers.a_bytes, registers.b_bytes) == (True, 0, 4096)
    assert parse_wgmma("m16n8k16.f32.f16") is None


def test_an_extension_is_part_of_the_types_that_the_machine_lists() -> None:
    changed = parse_wgmma("wgmma.m64n128k32.tender_accumulator.s32.s8.ss")
    assert changed is not None
    assert (changed.types, changed.input, changed.n) == ("tender_accumulator.s32.s8", "s8", 128)


def test_a_box_knows_its_bytes() -> None:
    """Zero fill counts: an mbarrier hears of the whole box."""
    assert MAP.box_bytes == 64 * 64 * 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"box": (64, 257)}, "box: got (64, 257), allowed: 1 to 256 each"),
        ({"box": (128, 64)}, "box: got rows of 256 bytes, allowed: rows of the swizzle's 128 bytes"),
        ({"strides_bytes": (250,)}, "strides_bytes: got (0, 250), allowed: multiples of 16"),
        ({"swizzle_bytes": 16}, "swizzle_bytes: got 16, allowed: 0, 32, 64, 128"),
    ],
)
def test_what_the_driver_refuses_is_refused(change: dict[str, object], message: str) -> None:
    """Each limit of cuTensorMapEncodeTiled is an error that names it."""
    with pytest.raises(ConfigError, match=re.escape(message)):
        replace(MAP, **change)  # type: ignore[arg-type]
