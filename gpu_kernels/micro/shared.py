"""Shared memory: latency and rate of LDS, LDSM, STS and STSM by width and conflict degree."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gpu_kernels.micro.benchmark import LANES, Benchmark, Feed, Point, Table, words

UNROLL = 16
SHARED_BYTES = 16 * 1024  # the largest pattern, and a body's offsets behind it
STEP = 512  # bytes between the accesses of a body: the same banks again
WORDS = {32: 1, 64: 2, 128: 4}
MATRICES = (1, 2, 4)
WARPS = (1, 4, 8, 16)
ALL_WARPS = max(WARPS)

PRELUDE = r"""
// A chain through shared memory: every lane finds its own address where it looks.
static __device__ __forceinline__ u32 own_address(const u32* offsets) {
  const u32 p = shared_base() + offsets[lane_id()];
  asm volatile("st.volatile.shared.u32 [%0], %0;" ::"r"(p));
  return p;
}

// The same for LDSM: lane t receives word t % 4 of row t / 4 of the first matrix; there stands row t's address.
static __device__ __forceinline__ u32 own_row(const u32* offsets) {
  const u32 p = shared_base() + offsets[lane_id()];
  const u32 at = shared_base() + offsets[lane_id() / 4] + 4 * (lane_id() % 4);
  asm volatile("st.volatile.shared.u32 [%0], %1;" ::"r"(at), "r"(p));
  return p;
}
"""


def _registers(first: int, count: int) -> str:
    return ",".join(f"%{first + i}" for i in range(count))


def _chase_lds(bits: int) -> str:
    n = WORDS[bits]
    vector = f".v{n}" if n > 1 else ""
    target = f"{{{_registers(0, n)}}}" if n > 1 else "%0"
    outputs = ", ".join(f'"=r"(d[{i}])' for i in range(n))
    return f"""
MICRO(chase_lds{bits}, const u32* offsets) {{
  u32 d[{n}] = {{own_address(offsets)}};
  BEGIN
  LOOP REPEAT(j, {UNROLL}) {{
    asm volatile("ld.volatile.shared{vector}.u32 {target}, [%{n}];" : {outputs} : "r"(d[0]));
  }}
  END(d[0])
}}
"""


def _chase_ldsm(count: int) -> str:
    outputs = ", ".join(f'"=r"(d[{i}])' for i in range(count))
    return f"""
MICRO(chase_ldsm{count}, const u32* offsets) {{
  u32 d[{count}] = {{own_row(offsets)}};
  BEGIN
  LOOP REPEAT(j, {UNROLL}) {{
    asm volatile("ldmatrix.sync.aligned.m8n8.x{count}.shared.b16 {{{_registers(0, count)}}}, [%{count}];"
                 : {outputs} : "r"(d[0]) : "memory");
  }}
  END(d[0])
}}
"""


def _read(name: str, instruction: str, count: int) -> str:
    outputs = ", ".join(f'"=r"(d[j][{i}])' for i in range(count))
    target = f"{{{_registers(0, count)}}}" if count > 1 or "ldmatrix" in instruction else "%0"
    return f"""
MICRO({name}, const u32* offsets) {{
  const u32 p = shared_base() + offsets[lane_id()];
  u32 d[{UNROLL}][{count}] = {{}};
  BEGIN
  LOOP REPEAT(j, {UNROLL}) {{
    asm volatile("{instruction} {target}, [%{count}];" : {outputs} : "r"(p + {STEP} * j) : "memory");
  }}
  u32 total = 0;
  REPEAT(j, {UNROLL}) total += d[j][0];
  END(total)
}}
"""


def _write(name: str, instruction: str, count: int) -> str:
    values = ", ".join(f'"r"(d[{i}])' for i in range(count))
    source = f"{{{_registers(1, count)}}}" if count > 1 or "stmatrix" in instruction else "%1"
    return f"""
MICRO({name}, const u32* offsets) {{
  const u32 p = shared_base() + offsets[lane_id()];
  u32 d[{count}];
  REPEAT(i, {count}) d[i] = p * (i + 3);
  BEGIN
  LOOP REPEAT(j, {UNROLL}) {{
    asm volatile("{instruction} [%0], {source};" :: "r"(p + {STEP} * j), {values} : "memory");
  }}
  END(p)
}}
"""


def _vector(bits: int) -> str:
    return f".v{WORDS[bits]}.u32" if bits > 32 else ".u32"


def _source() -> Iterator[str]:
    yield PRELUDE
    for bits, count in WORDS.items():
        yield _chase_lds(bits)
        yield _read(f"lds{bits}", f"ld.volatile.shared{_vector(bits)}", count)
        yield _write(f"sts{bits}", f"st.volatile.shared{_vector(bits)}", count)
    for count in MATRICES:
        yield _chase_ldsm(count)
        yield _read(f"ldsm{count}", f"ldmatrix.sync.aligned.m8n8.x{count}.shared.b16", count)
        yield _write(f"stsm{count}", f"stmatrix.sync.aligned.m8n8.x{count}.shared.b16", count)


# --------------------------------------------------------------------- patterns: byte offset of each lane


def spread(degree: int) -> list[int]:
    """Let ``degree`` lanes of a 32-bit access fall on each bank they use, all on words of their own."""
    banks = LANES // degree
    return [4 * (LANES * (lane // banks) + lane % banks) for lane in range(LANES)]


def strided(stride: int) -> list[int]:
    """Return addresses ``stride`` bytes apart; at the access's own width there is no conflict."""
    return [lane * stride for lane in range(LANES)]


def rows(degree: int) -> list[int]:
    """Return rows of 16 bytes for LDSM; of the eight rows of a matrix ``degree`` share four banks."""
    per_matrix = [16 * (row // degree) + 128 * (row % degree) for row in range(8)]
    return [1024 * (lane // 8) + per_matrix[lane % 8] for lane in range(LANES)]


def _patterns(kernel: str) -> dict[int, list[int]]:
    """Return wavefronts -> offsets for one instruction."""
    kind = kernel.removeprefix("chase_")
    if kind in ("lds32", "sts32"):
        return {degree: spread(degree) for degree in (1, 2, 4, 8, 16, 32)}
    if kind[3] == "m":
        return {int(kind[4:]) * degree: rows(degree) for degree in (1, 2, 4, 8)}
    size = int(kind[3:]) // 8
    return {size // 4 * step: strided(size * step) for step in (1, 2, 4, 8)}


def _kernels(prefix: str) -> list[str]:
    loads = [f"{prefix}lds{bits}" for bits in WORDS] + [f"{prefix}ldsm{count}" for count in MATRICES]
    stores = [f"sts{bits}" for bits in WORDS] + [f"stsm{count}" for count in MATRICES]
    return loads if prefix else loads + stores


def _points() -> Iterator[Point]:
    for kernel in _kernels("chase_"):
        for waves, offsets in _patterns(kernel).items():
            yield _point(kernel, waves, offsets, 1, UNROLL)
    for kernel in _kernels(""):
        for waves, offsets in _patterns(kernel).items():
            few = waves == min(_patterns(kernel))
            for warps in WARPS if few else (ALL_WARPS,):
                yield _point(kernel, waves, offsets, warps, UNROLL * warps)
    for kernel in ("lds32", "lds128", "ldsm4"):  # four warps that share one sub-core's address unit
        waves, offsets = next(iter(_patterns(kernel).items()))
        params = {"wavefronts": waves, "warps": ALL_WARPS, "subcores": 1}
        yield Point(
            kernel,
            UNROLL * ALL_WARPS / 4,
            ALL_WARPS,
            1,
            1,
            params,
            (words("offsets", offsets),),
            SHARED_BYTES,
        )


def _point(kernel: str, waves: int, offsets: list[int], warps: int, count: int) -> Point:
    return Point(
        kernel=kernel,
        count=count,
        warps=warps,
        params={"wavefronts": waves, "warps": warps},
        arguments=(words("offsets", offsets),),
        shared_bytes=SHARED_BYTES,
    )


def _slope(table: Table) -> float:
    first, last = (table.value("chase_lds32", wavefronts=waves, warps=1) for waves in (1, 32))
    return (last - first) / 31


def _further_register(table: Table) -> float:
    """Return how much later LDS.128 comes than LDSM of as many wavefronts, per register beyond the first."""
    wide, matrices = (
        table.value(kernel, wavefronts=4, warps=1) for kernel in ("chase_lds128", "chase_ldsm4")
    )
    return (wide - matrices) / 3


def _sent_register(table: Table) -> float:
    """Return what two further registers of data add to a store of one warp, each: STS.128 against STS.64."""
    long, short = (table.value(f"sts{32 * n}", wavefronts=n, warps=1) for n in (4, 2))
    return (long - short) / 2


def _rate(kernel: str, waves: int) -> Callable[[Table], float]:
    return lambda table: table.value(kernel, wavefronts=waves, warps=ALL_WARPS)


FEEDS = (
    Feed(
        "sm.shared_memory.load_latency_cycles",
        lambda table: table.value("chase_lds32", wavefronts=1, warps=1),
    ),
    Feed("sm.shared_memory.extra_wavefront_latency_cycles", _slope),
    Feed("sm.shared_memory.further_register_latency_cycles", _further_register, whole=True),
    Feed("sm.load_store.register_interval_cycles", _sent_register, whole=True),
    Feed("sm.load_store.intake_interval_cycles", _rate("lds32", 1), whole=True),
    Feed(
        "sm.load_store.address_interval_cycles",
        lambda table: table.value("lds32", wavefronts=1, warps=ALL_WARPS, subcores=1),
        whole=True,
    ),
)

BENCHMARK = Benchmark(
    name="shared",
    about="LDS, LDSM, STS, STSM: latency of a chain, SM cycles per instruction, by wavefronts",
    source="".join(_source()),
    points=tuple(_points()),
    feeds=FEEDS,
)
