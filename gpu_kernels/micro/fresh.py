"""Copies and loads whose lines nobody asked for a moment ago, as matmuls ask for them: what ``copies`` leaves open.

Its warps copy the same 16 patterns to one place, again and again. Here each of the three differs by itself: lines
that are new in every trip or the same again (``turn``), a place of its own for each copy of a trip or one for all
(``slot``), patterns side by side or rows of a matrix (``step``). Data lies in L2; each warp has a region of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from gpu_kernels.micro.benchmark import Benchmark, Feed, Point, Table
from gpu_kernels.micro.benchmark import words as words_of
from gpu_kernels.micro.copies import LINE, PATTERNS
from sim.isa.launch import Buffer

UNROLL = 16  # copies of a trip
LOADS = 8  # loads of a trip
WARPS = (1, 2, 4, 8, 16)
FEW_WARPS = (1, 2, 4, 16)
REGION = 2**20  # bytes of global memory that one warp reads, then again from the begin
MAX_WARPS = max(WARPS)
SLOT = 512  # bytes that a copy of a warp writes
PITCH = 16_384  # bytes between the rows of a matrix
ODD_PITCH = PITCH + LINE
SHARED_BYTES = MAX_WARPS * UNROLL * SLOT
STEPS = (512, 1024, 2048, 4096, 4 * PITCH, 4 * ODD_PITCH)

PRELUDE = r"""
#define COPY(to, from) \
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory")
#define WAIT_ALL asm volatile("cp.async.wait_all;" ::: "memory")
#define LDSM4(d, p)                                                                   \
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"        \
               : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3]) : "r"(p) : "memory")
#define ADDRESSES                                                                     \
  const u32 to = shared_base() + threadIdx.x / 32 * 8192 + 16 * lane_id();            \
  const char* from = data + threadIdx.x / 32 * 1048576ull + offsets[lane_id()];       \
  u32 at = 0;

// One copy per trip, to one of two places; its address is advanced right after it.
MICRO(release, const u32* offsets, const char* data, u32 turn) {
  ADDRESSES
  BEGIN
  LOOP {
    COPY(to + (at & 512), from + at);
    at = (at + turn) & 1048575;
  }
  WAIT_ALL;
  END(at)
}
"""


def _copies(step: int, slot: int) -> str:
    """Return a kernel of 16 copies per trip, ``step`` bytes apart, to places ``slot`` bytes apart."""
    return f"""
MICRO(copy_{step}_{slot}, const u32* offsets, const char* data, u32 turn) {{
  ADDRESSES
  BEGIN
  LOOP {{
    REPEAT(j, {UNROLL}) COPY(to + {slot} * j, from + at + {step}u * j);
    at = (at + turn) & {REGION - 1};
  }}
  WAIT_ALL;
  END(at)
}}
"""


def _with_ldsm(step: int) -> str:
    """Return a kernel of 16 copies and 16 LDSM.x4 per trip, in groups of four."""
    return f"""
MICRO(copy_ldsm_{step}, const u32* offsets, const char* data, u32 turn) {{
  ADDRESSES
  const u32 rows = shared_base() + 16 * lane_id();
  u32 d[{UNROLL}][4] = {{}};
  BEGIN
  LOOP {{
    REPEAT(g, 4) {{
      REPEAT(j, 4) COPY(to + {SLOT} * (4 * g + j), from + at + {step}u * (4 * g + j));
      REPEAT(j, 4) LDSM4(d[4 * g + j], rows + 512 * (4 * g + j));
    }}
    at = (at + turn) & {REGION - 1};
  }}
  WAIT_ALL;
  u32 total = 0;
  REPEAT(j, {UNROLL}) total ^= d[j][0];
  END(total)
}}
"""


def _loads(bits: int, step: int) -> str:
    """Return a kernel of 8 loads past L1 per trip, ``step`` bytes apart."""
    count = bits // 32
    target = f"{{{','.join(f'%{i}' for i in range(count))}}}" if count > 1 else "%0"
    outputs = ", ".join(f'"=r"(d[j][{i}])' for i in range(count))
    vector = f".v{count}" if count > 1 else ""
    return f"""
MICRO(load{bits}_{step}, const u32* offsets, const char* data, u32 turn) {{
  ADDRESSES
  u32 total = to & 0;
  BEGIN
  LOOP {{
    u32 d[{LOADS}][{count}];
    REPEAT(j, {LOADS}) {{
      asm volatile("ld.relaxed.gpu.global{vector}.u32 {target}, [%{count}];" : {outputs}
                   : "l"(from + at + {step}u * j) : "memory");
    }}
    REPEAT(j, {LOADS}) REPEAT(i, {count}) total ^= d[j][i];
    at = (at + turn) & {REGION - 1};
  }}
  END(total)
}}
"""


LOAD_KERNELS = ((32, 128), (32, 4096), (128, 512), (128, 1024), (128, 2048), (128, 4096))


def _source() -> str:
    copies = [_copies(step, SLOT) for step in STEPS] + [_copies(step, 0) for step in (512, 1024)]
    copies += [_with_ldsm(step) for step in (512, 1024)]
    return PRELUDE + "".join(copies) + "".join(_loads(bits, step) for bits, step in LOAD_KERNELS)


def _rows(pitch: int) -> list[int]:
    """Return offsets of four whole lines, in four rows."""
    return [pitch * (lane // 8) + 16 * (lane % 8) for lane in range(32)]


def _point(kernel: str, offsets: list[int], params: dict[str, int], turn: int, count: int) -> Point:
    warps = params["warps"]
    data = Buffer("data", MAX_WARPS * REGION + 64 * ODD_PITCH, "activations", zeroed=True)
    return Point(
        kernel=kernel,
        count=count * warps,
        warps=warps,
        params=params,
        arguments=(words_of("offsets", offsets), data, np.uint32(turn)),
        shared_bytes=SHARED_BYTES,
    )


def _copy_points() -> Iterator[Point]:
    spans = {4: 512, 8: 1024, 16: 2048, 32: 4096}  # lines -> bytes over which they lie
    patterns = {count: offsets for (count, _each), offsets in PATTERNS.items() if count >= min(spans)}
    for lines, step in spans.items():
        for warps in WARPS:
            params = {"lines": lines, "turn": UNROLL * step, "warps": warps}
            yield _point(f"copy_{step}_{SLOT}", patterns[lines], params, UNROLL * step, UNROLL)
    for warps in FEW_WARPS:
        for lines, step in ((4, 512), (8, 1024), (4, 4096)):  # the same lines again, each copy to its place
            yield _point(
                f"copy_{step}_{SLOT}", patterns[lines], {"lines": lines, "turn": 0, "warps": warps}, 0, UNROLL
            )
        for lines, step in ((4, 512), (8, 1024)):  # new lines, all copies to one place
            params = {"lines": lines, "turn": UNROLL * step, "warps": warps}
            yield _point(f"copy_{step}_0", patterns[lines], params, UNROLL * step, UNROLL)
    for warps in WARPS:
        for pitch in (PITCH, ODD_PITCH):
            params = {"lines": 4, "turn": LINE, "warps": warps}
            yield _point(f"copy_{4 * pitch}_{SLOT}", _rows(pitch), params, LINE, UNROLL)
    for lines, step in ((4, 512), (8, 1024)):
        for warps in (1, 4, 8, 16):
            params = {"lines": lines, "turn": UNROLL * step, "warps": warps}
            yield _point(f"copy_ldsm_{step}", patterns[lines], params, UNROLL * step, UNROLL)
        for warps in FEW_WARPS:
            yield _point("release", patterns[lines], {"lines": lines, "turn": step, "warps": warps}, step, 1)


def _load_points() -> Iterator[Point]:
    for bits, step in LOAD_KERNELS:
        size = bits // 8
        lines = step // LINE
        per_line = 32 // lines
        offsets = [LINE * (lane // per_line) + size * (lane % per_line) for lane in range(32)]
        for warps in (1, 4, 16):
            params = {"lines": lines, "turn": LOADS * step, "warps": warps}
            yield _point(f"load{bits}_{step}", offsets, params, LOADS * step, LOADS)


def _full(kernel: str, lines: int, turn: int) -> Callable[[Table], float]:
    """Return what reads the time of one instruction with the SM full of them."""
    return lambda table: table.value(kernel, lines=lines, turn=turn, warps=MAX_WARPS)


_whole_lines = _full("copy_512_512", 4, UNROLL * 512)
FEEDS = (
    Feed("sm.load_store.missed_line_cycles", lambda table: _full("load128_512", 4, LOADS * 512)(table) / 4),
    Feed("sm.load_store.copy_instruction_cycles", _whole_lines),
    Feed("sm.l1.fill_bytes_per_cycle", lambda table: 4 * LINE / _whole_lines(table)),
)

BENCHMARK = Benchmark(
    name="fresh",
    about="cp.async and LDG from L2: lines new in each trip or not, to places of their own or not, rows of a matrix",
    source=_source(),
    points=(*_copy_points(), *_load_points()),
    feeds=FEEDS,
)
