"""LDG: pipe time by lines per instruction, from L1 and from L2; latency of an L1 hit and the mean of L2 hits."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gpu_kernels.micro.benchmark import LANES, Benchmark, Feed, Point, Table, words
from sim.isa.launch import Buffer

LINE = 128
WARPS = (4, 16)
ALL_WARPS = max(WARPS)
RING = 1024  # lines of the L2 chain
RING_BUFFER_BYTES = 512 * 1024
CHAIN = 16
SMALL_BYTES = 64 * 1024
UNROLL = {32: 16, 128: 8}

PRELUDE = r"""
// Every lane finds its own address where it looks.
MICRO(chase_l1, const u32* offsets, char* data) {
  u64 p = reinterpret_cast<u64>(data) + offsets[lane_id()];
  asm volatile("st.global.u64 [%0], %0;" ::"l"(p) : "memory");
  BEGIN
  LOOP REPEAT(j, 16) asm volatile("ld.global.u64 %0, [%0];" : "+l"(p)::"memory");
  END(static_cast<u32>(p))
}

// A ring of lines in random order, past L1. The kernel writes the addresses itself: only it knows them.
MICRO(chase_l2, const u32* order, char* data, int count) {
  for (int i = threadIdx.x; i < count; i += 32) {
    *reinterpret_cast<u64*>(data + order[i]) = reinterpret_cast<u64>(data + order[i + 1]);
  }
  __threadfence();
  u64 p = reinterpret_cast<u64>(data + order[0]);
  BEGIN
  LOOP REPEAT(j, 16) asm volatile("ld.relaxed.gpu.global.u64 %0, [%0];" : "+l"(p)::"memory");
  END(static_cast<u32>(p))
}
"""


def _load(name: str, instruction: str, bits: int, step: int) -> str:
    count, unroll = bits // 32, UNROLL[bits]
    target = f"{{{','.join(f'%{i}' for i in range(count))}}}" if count > 1 else "%0"
    outputs = ", ".join(f'"=r"(d[j][{i}])' for i in range(count))
    vector = f".v{count}" if count > 1 else ""
    return f"""
MICRO({name}, const u32* offsets, const char* data, u64 zero) {{
  u64 p = reinterpret_cast<u64>(data + offsets[lane_id()]);
  u32 total = 0;
  BEGIN
  LOOP {{
    u32 d[{unroll}][{count}];
    p ^= zero;  // the same address again, which the compiler cannot know
    REPEAT(j, {unroll}) {{
      asm volatile("{instruction}{vector}.u32 {target}, [%{count}];" : {outputs} : "l"(p + {step} * j) : "memory");
    }}
    REPEAT(j, {unroll}) REPEAT(i, {count}) total ^= d[j][i];  // else the loads would leave the loop
  }}
  END(total)
}}
"""


# kernel -> (bits, bytes between the loads of a body)
KERNELS = {
    "l1_32": (32, 4),
    "l1_32_full": (32, 128),
    "l1_128": (128, 1024),
    "l2_32": (32, 4),
    "l2_32_full": (32, 128),
    "l2_128": (128, 4096),
}


def _source() -> Iterator[str]:
    yield PRELUDE
    for name, (bits, step) in KERNELS.items():
        yield _load(name, "ld.global" if name.startswith("l1") else "ld.relaxed.gpu.global", bits, step)


def spread(count: int, size: int) -> list[int]:
    """Return offsets of 32 lanes over ``count`` lines; the lanes of a line lie side by side from its start."""
    per_line = LANES // count
    return [LINE * (lane // per_line) + size * (lane % per_line) for lane in range(LANES)]


SMALL = Buffer("data", SMALL_BYTES, "activations", zeroed=True)


def _patterns(kernel: str) -> dict[int, list[int]]:
    """Return lines -> offsets."""
    if kernel.endswith("_full"):
        return {1: spread(1, 4)}
    if kernel.endswith("_32"):
        return {count: spread(count, 4) for count in (2, 4, 8, 16, 32)}
    return {count: spread(count, 16) for count in (4, 8, 16, 32) if kernel == "l2_128" or count == 4}


def _ring() -> Buffer:
    lines = np.random.default_rng(0).permutation(RING_BUFFER_BYTES // LINE)[:RING] * LINE
    return words("order", [*lines, lines[0]])


def _points() -> Iterator[Point]:
    for kernel, (bits, _step) in KERNELS.items():
        for count, offsets in _patterns(kernel).items():
            for warps in WARPS:
                yield Point(
                    kernel=kernel,
                    count=UNROLL[bits] * warps,
                    warps=warps,
                    params={"lines": count, "warps": warps},
                    arguments=(words("offsets", offsets), SMALL, np.int64(0)),
                )
    for count in (1, 2, 4, 8, 16, 32):
        offsets = spread(count, 8) if count > 1 else [0] * LANES
        yield Point("chase_l1", CHAIN, params={"lines": count}, arguments=(words("offsets", offsets), SMALL))
    data = Buffer("data", RING_BUFFER_BYTES, "activations", zeroed=True)
    arguments = (_ring(), data, np.int32(RING))
    yield Point("chase_l2", CHAIN, arguments=arguments, trips=(RING // CHAIN, 3 * RING // CHAIN))


def line_cycles(table: Table) -> float:
    """Return pipe time per line: the slope over lines of L1 hits with the SM full."""
    few, many = (table.value("l1_32", lines=lines, warps=ALL_WARPS) for lines in (8, 32))
    return (many - few) / (32 - 8)


def line_latency(table: Table) -> float:
    """Return by what an L1 hit's latency grows per line: the slope of the chain over many."""
    few, many = (table.value("chase_l1", lines=lines) for lines in (8, 32))
    return (many - few) / (32 - 8)


def hidden_lines(table: Table) -> float:
    """Return what of all lines' latency does not show, since it hides behind that of one."""
    return table.value("chase_l1", lines=1) + 32 * line_latency(table) - table.value("chase_l1", lines=32)


BENCHMARK = Benchmark(
    name="loads",
    about="LDG: SM cycles per instruction by lines, L1 and L2 hits; latency of an L1 hit, mean of L2 hits",
    source="".join(_source()),
    points=tuple(_points()),
    feeds=(
        Feed("sm.load_store.global_line_cycles", line_cycles),
        Feed("sm.l1.line_latency_cycles", line_latency),
        Feed("sm.l1.hidden_line_cycles", hidden_lines),
        Feed("sm.l1.hit_latency_cycles", lambda table: table.value("chase_l1", lines=1), whole=True),
    ),
)
