"""Stores to lines that L2 holds: what an SM and all of them write, and how long a fence waits for what was written.

Every warp writes whole lines, 32 lanes side by side; a CTA writes the same lines in every trip, no two CTAs the same.
"""

from __future__ import annotations

from collections.abc import Iterator

from gpu_kernels.micro.benchmark import Benchmark, Feed, Point, Table
from sim.isa.launch import Buffer

UNROLL = 8
FENCED = (1, 4, 16)  # 16-byte stores of a warp before a fence
WARPS = (1, 4, 8, 16)
SMS = (33, 66, 132)
SEVERAL = 8  # warps of a CTA where many SMs write
BITS = {32: ("u32", "%1"), 64: ("v2.u32", "{%1,%1}"), 128: ("v4.u32", "{%1,%1,%1,%1}")}
LANES, SECTOR_BYTES = 32, 32
CTA_BYTES = UNROLL * max(WARPS) * LANES * 16
PRELUDE = """
static __device__ __forceinline__ char* own_lines(char* data, u32 bytes, u32 stores) {
  return data + blockIdx.x * %du + threadIdx.x / 32 * 32 * bytes * stores + threadIdx.x %% 32 * bytes;
}
"""


def _store(bits: int, stores: int, fence: bool) -> str:
    """Return a kernel whose warps write ``stores`` times 32 lanes of ``bits`` per trip."""
    form, values = BITS[bits]
    name = f"fenced_{stores}" if fence else f"store_{bits}"
    ending = 'asm volatile("fence.acq_rel.gpu;" ::: "memory");' if fence else ""
    return f"""
MICRO({name}, char* data) {{
  char* to = own_lines(data, {bits // 8}, {stores});
  BEGIN
  LOOP {{
    REPEAT(j, {stores})
      asm volatile("st.global.{form} [%0], {values};" ::"l"(to + j * {32 * bits // 8}), "r"(trip) : "memory");
    {ending}
  }}
  END(0)
}}
"""


def _points() -> Iterator[Point]:
    one = Buffer("data", CTA_BYTES, "activations")
    all_sms = Buffer("data", CTA_BYTES * max(SMS), "activations")
    for bits in BITS:
        for warps in WARPS:
            params = {"ctas": 1, "warps": warps}
            yield Point(f"store_{bits}", UNROLL * warps, warps, params=params, arguments=(one,))
    for stores in FENCED:
        for warps in (1, SEVERAL):
            yield Point(f"fenced_{stores}", 1, warps, params={"ctas": 1, "warps": warps}, arguments=(one,))
    for ctas in SMS:
        params = {"ctas": ctas, "warps": SEVERAL}
        for kernel, count in (("store_128", UNROLL * SEVERAL), ("fenced_16", 1)):
            yield Point(
                kernel, count, SEVERAL, params=params, ctas=ctas, arguments=(all_sms,), simulated=False
            )


def sector_cycles(table: Table) -> float:
    """Return the pipe time of an SM per sector that it writes."""
    return table.value("store_128", ctas=1, warps=SEVERAL) / (LANES * 16 / SECTOR_BYTES)


def fence_interval(table: Table) -> float:
    """Return the time of an SM per fence where warps fence again and again, each with little to wait for."""
    return table.value("fenced_1", ctas=1, warps=SEVERAL) / SEVERAL


BENCHMARK = Benchmark(
    name="stores",
    about="STG to L2: SM cycles per instruction by width, warps and SMs; stores and the fence that waits for them",
    source=PRELUDE % CTA_BYTES
    + "".join(_store(bits, UNROLL, False) for bits in BITS)
    + "".join(_store(128, stores, True) for stores in FENCED),
    points=tuple(_points()),
    feeds=(
        Feed("sm.load_store.store_sector_cycles", sector_cycles, digits=2),
        Feed("sm.control.membar_interval_cycles", fence_interval),
    ),
)
