"""The shape of one wgmma, from the name it has in ``Program.mma_names``."""

from __future__ import annotations

import re
from dataclasses import dataclass

BITS = {"f32": 32, "s32": 32, "f16": 16, "bf16": 16, "s8": 8}
_NAME = re.compile(r"wgmma\.m(\d+)n(\d+)k(\d+)\.(\w+)\.(\w+)\.(ss|rs)")


@dataclass(frozen=True)
class Wgmma:
    """``wgmma.m64n128k16.f32.f16.ss``: accumulator and input type; A from shared memory (ss) or registers (rs)."""

    m: int
    n: int
    k: int
    accumulator: str
    input: str
    a_in_registers: bool

    @property
    def a_bytes(self) -> int:
        """Bytes of A that the warpgroup reads from shared memory; 0 from registers."""
        return 0 if self.a_in_registers else self.m * self.k * BITS[self.input] // 8

    @property
    def b_bytes(self) -> int:
        """Bytes of B, always from shared memory."""
        return self.n * self.k * BITS[self.input] // 8

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the warpgroup."""
        return self.m * self.n * self.k


def parse_wgmma(name: str) -> Wgmma | None:
    """Return the shape that a name of ``Program.mma_names`` stands for; None for a warp's mma."""
    found = _NAME.fullmatch(name)
    if not found:
        return None
    m, n, k, accumulator, kind, source = found.groups()
    return Wgmma(int(m), int(n), int(k), accumulator, kind, source == "rs")
