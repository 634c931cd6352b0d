"""wgmma: issue interval, latency, and what waits and drained accumulators cost, by N, operand source and warpgroups.

An operation is m64nNk16 (FP16) or m64nNk32 (INT8) of one warpgroup. ``stream`` keeps one group of four in flight,
``wait`` waits for each group, ``drain`` also adds its accumulators to others, as a kernel with scales per group does.
Operands are random, in tiles of 128-byte rows with the 128-byte swizzle.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from gpu_kernels.micro.benchmark import Benchmark, Feed, Point, Table

WARPS_PER_GROUP = 4
OPERATIONS = 16  # of a trip: a multiple of every batch
COLUMNS = (8, 16, 32, 64, 128, 192, 256)
SIMULATED = (8, 64, 256)  # a choice: the simulator's time for the others tells nothing new
WIDEST_OF_FOUR = 192  # beyond, two warpgroups fill the register file
A_BYTES = 64 * 128  # of a warpgroup
B_BYTES = 256 * 128  # shared by all
SHARED_BYTES = 4 * A_BYTES + B_BYTES


@dataclass(frozen=True)
class Kind:
    """Types of an operation: its key in the YAML file, its kernels' prefix, its PTX."""

    key: str
    prefix: str
    k: int
    ptx: str
    tail: str  # PTX operands after scale-d, from shared memory
    register_tail: str  # the same with A in registers
    element: str  # of the accumulators
    mask: str  # random bits to operands: finite and of like size

    @property
    def letter(self) -> str:
        """Constraint of an accumulator."""
        return "f" if self.element == "float" else "r"


KINDS = (
    Kind(
        "f32.f16",
        "f16",
        16,
        "f32.f16.f16",
        ", 1, 1, 0, 0",
        ", 1, 1, 0",
        "float",
        "& 0x8fff8fffu | 0x30003000u",
    ),
    Kind("s32.s8", "s8", 32, "s32.s8.s8", "", "", "u32", ""),
)

PRELUDE = r"""
// launch bounds: 512 threads of 128 registers, or 256 of 255
#define BOUNDED(threads, name, ...) \
  extern "C" __global__ void __launch_bounds__(threads, 1) name(long long* clocks, u32* sink, int trips, \
                                                               int subcores, ##__VA_ARGS__)
#define FENCE asm volatile("wgmma.fence.sync.aligned;" ::: "memory")
#define COMMIT asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory")

// Descriptor of a tile of 128-byte rows, 128-byte swizzle: eight rows are 1024 bytes.
static __device__ __forceinline__ u64 descriptor(u32 at) {
  return (u64)((at & 0x3ffff) >> 4) | (u64)1 << 16 | (u64)64 << 32 | (u64)1 << 62;
}

static __device__ __forceinline__ u32 scrambled(u32 x) {
  x = (x ^ x >> 15) * 2246822519u;
  return x ^ x >> 13;
}
"""


def operation(kind: Kind, columns: int, from_registers: bool, scale: str = "1") -> str:
    """Return inline assembly of one operation on accumulators ``c``, descriptors ``da``, ``db`` or registers ``a``."""
    count = columns // 2
    accumulators = ",".join(f"%{i}" for i in range(count))
    outputs = ", ".join(f'"+{kind.letter}"(c[{i}])' for i in range(count))
    if from_registers:
        source = "{" + ",".join(f"%{count + i}" for i in range(4)) + "}"
        inputs = ", ".join(f'"r"(a[{i}])' for i in range(4)) + ', "l"(db)'
        b, tail = count + 4, kind.register_tail
    else:
        source, inputs, b, tail = f"%{count}", '"l"(da), "l"(db)', count + 1, kind.tail
    name = f"wgmma.mma_async.sync.aligned.m64n{columns}k{kind.k}.{kind.ptx}"
    return (
        f'asm volatile("{{ .reg .pred p; setp.ne.b32 p, %{b + 1}, 0; '
        f'{name} {{{accumulators}}}, {source}, %{b}, p{tail}; }}" : {outputs} : {inputs}, "n"({scale}));'
    )


def wait(kind: Kind, columns: int, groups: int) -> str:
    """Return inline assembly that waits until ``groups`` are in flight; it touches ``c``: no read comes before it."""
    outputs = ", ".join(f'"+{kind.letter}"(c[{i}])' for i in range(columns // 2))
    return f'asm volatile("wgmma.wait_group.sync.aligned {groups};" : {outputs} :: "memory");'


def fill(kind: Kind, nbytes: int) -> str:
    """Return CUDA that fills shared memory with random operands."""
    return f"""
  for (u32 i = threadIdx.x; i < {nbytes // 4}; i += blockDim.x) {{
    reinterpret_cast<u32*>(dynamic_shared)[i] = scrambled(i * 2654435761u + seed) {kind.mask};
  }}
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");"""


def _kernel(kind: Kind, columns: int, source: str, mode: str, batch: int) -> str:
    registers, drain = source == "rs", mode == "drain"
    first = operation(kind, columns, registers, "0") if drain else operation(kind, columns, registers)
    bound = 512 if columns <= WIDEST_OF_FOUR and not (drain and columns > 64) else 256
    total = f"{kind.element} total[{columns // 2}] = {{}};" if drain else ""
    add = f"REPEAT(i, {columns // 2}) total[i] += c[i];" if drain else ""
    result = "total" if drain else "c"
    return f"""
BOUNDED({bound}, {kind.prefix}_n{columns}_{source}_{mode}{batch}, u32 seed) {{
  {fill(kind, SHARED_BYTES)}
  const u64 a0 = descriptor(shared_base() + {B_BYTES} + {A_BYTES} * (threadIdx.x / 128));
  const u64 b0 = descriptor(shared_base());
  u32 a[4];
  REPEAT(i, 4) a[i] = scrambled(seed + 128 * i + threadIdx.x) {kind.mask};
  {kind.element} c[{columns // 2}] = {{}};
  {total}
  BEGIN
  LOOP REPEAT(g, {OPERATIONS // batch}) {{
    FENCE;
    REPEAT(j, {batch}) {{
      const u64 da = a0 + 2 * (j % 4), db = b0 + 2 * (j % 4);
      if (j == 0) {{ {first} }} else {{ {operation(kind, columns, registers)} }}
    }}
    COMMIT;
    {wait(kind, columns, 1 if mode == "stream" else 0)}
    {add}
  }}
  {wait(kind, columns, 0)}
  {kind.element} sum = 0;
  REPEAT(i, {columns // 2}) sum += {result}[i];
  END(static_cast<u32>(sum) + a[0])
}}
"""


@dataclass(frozen=True)
class Case:
    """A kernel and the numbers of warpgroups that run it."""

    kind: Kind
    columns: int
    source: str
    mode: str
    batch: int
    groups: tuple[int, ...]

    @property
    def kernel(self) -> str:
        """Name of the kernel."""
        return f"{self.kind.prefix}_n{self.columns}_{self.source}_{self.mode}{self.batch}"


def _cases() -> Iterator[Case]:
    half, byte = KINDS
    for source in ("ss", "rs"):
        for columns in COLUMNS:
            groups = (1, 2, 4) if columns <= WIDEST_OF_FOUR else (1, 2)
            yield Case(half, columns, source, "stream", 4, groups)
            yield Case(half, columns, source, "wait", 1, groups if columns in (8, 64) else (1,))
            yield Case(half, columns, source, "wait", 4, groups[:2])
            yield Case(byte, columns, source, "stream", 4, groups[:2])
            yield Case(byte, columns, source, "wait", 1, (1,))
    yield Case(half, 64, "ss", "stream", 1, (1, 2, 3, 4))
    for kind in KINDS:
        for columns in (64, 128):
            for batch in (1, 2, 4):
                yield Case(kind, columns, "ss", "drain", batch, (1, 2, 4) if columns == 64 else (1, 2))


CASES = tuple(_cases())


def _points() -> Iterator[Point]:
    for case in CASES:
        for groups in case.groups:
            yield Point(
                kernel=case.kernel,
                count=OPERATIONS * groups,
                warps=WARPS_PER_GROUP * groups,
                params={"warpgroups": groups},
                arguments=(np.uint32(1),),
                shared_bytes=SHARED_BYTES,
                trips=(16, 48),
                simulated=case.columns in SIMULATED or case.mode == "drain",
            )


def column_interval(kind: Kind, table: Table) -> float:
    """Return the cycles per column of N, where the tensor core is the limit."""
    wide, narrow = (
        table.value(f"{kind.prefix}_n{columns}_ss_stream4", warpgroups=2) for columns in (256, 128)
    )
    return (wide - narrow) / (256 - 128)


def register_interval(table: Table) -> float:
    """Return the least cycles of an operation with A in registers."""
    return table.value("f16_n8_rs_stream4", warpgroups=4)


BENCHMARK = Benchmark(
    name="wgmma",
    about="wgmma: SM cycles per operation by N, operand source, waits, drained accumulators and warpgroups",
    source=PRELUDE
    + "".join(_kernel(case.kind, case.columns, case.source, case.mode, case.batch) for case in CASES),
    points=tuple(_points()),
    feeds=(
        *(
            Feed(f"sm.tensor.wgmma.{kind.key}.column_interval_cycles", partial(column_interval, kind))
            for kind in KINDS
        ),
        Feed("sm.tensor.wgmma_register_interval_cycles", register_interval),
    ),
)
