"""How fast the bundled kernels are on the GPU: the best tile of each shape beside its floor and beside cuBLAS."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reports.markdown import table

FIXED_US, STREAM_TB_PER_S = 2.25, 4.40  # of the floor: a launch, and reading as fast as a stream
MICRO = 1e-6


@dataclass(frozen=True)
class Speed:
    """One measured kernel."""

    scheme: str
    options: str
    tile: str
    m: int
    n: int
    k: int
    time_us: float
    cublas_us: float | None  # cuBLAS on FP16 operands of the same shape, in the same run
    bytes: int  # compulsory

    @property
    def floor_us(self) -> float:
        """Return the time below which no kernel that reads its operands from DRAM gets."""
        return FIXED_US + self.bytes / (STREAM_TB_PER_S * 1e12) / MICRO


def fastest(speeds: Iterable[Speed]) -> list[Speed]:
    """Return the fastest tile of each scheme, options and shape, by scheme, N, K and M."""
    best: dict[tuple[object, ...], Speed] = {}
    for each in speeds:
        key = each.scheme, each.options, each.n, each.k, each.m
        if key not in best or each.time_us < best[key].time_us:
            best[key] = each
    return [best[key] for key in sorted(best, key=repr)]


def speed_table(speeds: Sequence[Speed]) -> str:
    """Return a Markdown table."""
    header = ("kernel", "tile", "M", "N", "K", "µs", "of its floor", "cuBLAS FP16 µs", "times as fast")
    ordered = sorted(fastest(speeds), key=lambda each: (each.scheme, each.options, each.n, each.k, each.m))
    return table(header, [_cells(each) for each in ordered], left=2)


def _cells(each: Speed) -> tuple[str, ...]:
    name = f"`{each.scheme}`" + (f" {each.options}" if each.options else "")
    sizes = (str(each.m), str(each.n), str(each.k))
    ratio = f"{each.time_us / each.floor_us:.2f}"
    if each.cublas_us is None:
        return name, each.tile, *sizes, f"{each.time_us:.2f}", ratio, "", ""
    beside = (f"{each.cublas_us:.2f}", f"{each.cublas_us / each.time_us:.2f}")
    return name, each.tile, *sizes, f"{each.time_us:.2f}", ratio, *beside
