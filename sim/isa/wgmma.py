"""The shape of one wgmma, from the name it has in ``Program.mma_names``."""

from __future__ import annotations

import re
from dataclasses import dataclass

BITS = {"f32": 32, "s32": 32, "f16": 16, "bf16": 16, "s8": 8}
BLOCK_COLUMNS = 8  # a warp's accumulators are blocks of 16 x 8, each as those of one mma.sync
_NAME = re.compile(r"wgmma\.m(\d+)n(\d+)k(\d+)\.(?:(\w+)\.)?(\w+)\.(\w+)\.(ss|rs)")


@dataclass(frozen=True)
class Wgmma:
    """``wgmma.m64n128k16.f32.f16.ss``: accumulator and input type; A from shared memory (ss) or registers (rs).

    One that an extension has changed has its name before the types.
    """

    m: int
    n: int
    k: int
    accumulator: str
    input: str
    a_in_registers: bool
    extension: str = ""

    @property
    def types(self) -> str:
        """Its key in the machine's table."""
        return ".".join(filter(None, (self.extension, self.accumulator, self.input)))

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
    m, n, k, extension, accumulator, kind, source = found.groups()
    return Wgmma(int(m), int(n), int(k), accumulator, kind, source == "rs", extension or "")
