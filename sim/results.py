"""What one simulated run says: the record that reports, sweeps and the JSON output share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

SCHEMA_VERSION = 1
BOUNDS = ("dram", "l2", "shared_memory", "tensor", "issue", "latency", "launch")
STALLS = (
    "issued",  # not a stall: the instruction went
    "wait",  # fixed stall count of the control code
    "long_scoreboard",  # a dependence counter held by global memory
    "short_scoreboard",  # a dependence counter held by shared memory, special functions, constants
    "math_pipe_throttle",  # the pipe is busy
    "mio_throttle",  # the memory queue is full
    "barrier",
    "membar",
    "dispatch_stall",  # register read ports
    "gmma",  # wgmmas of the warpgroup that are not done
    "not_selected",  # ready, but another warp went
)


@dataclass(frozen=True)
class Workload:
    """One quantized matmul, Y[m, n] = X[m, k] · W[n, k]^T, as the result names it."""

    scheme: str
    m: int
    n: int
    k: int
    options: Mapping[str, Any]
    flops: int
    compulsory_bytes: int
    input_type: str = "f16"  # of the tensor core's operands, a key of TensorCore.peak_ops_per_cycle


@dataclass(frozen=True)
class SharedAccess:
    """One static instruction that touches shared memory, counted over the whole launch."""

    pc: int  # byte address, 16 per instruction
    sass: str
    source_line: int  # in the CUDA source; 0 = unknown
    executed: int  # warp instructions
    wavefronts: int
    ideal: int  # wavefronts without any conflict
    banks: tuple[int, ...]  # words asked of each bank by one typical execution
    source: str = ""  # the CUDA line itself


@dataclass(frozen=True)
class RunResult:
    """One simulated kernel launch. Times in µs, cycles in SM cycles at ``clock_mhz``."""

    arch: str
    scheme: str
    m: int
    n: int
    k: int
    options: Mapping[str, Any]
    extensions: tuple[str, ...]
    time_us: float
    cycles: float
    clock_mhz: float
    bound_by: str  # one of BOUNDS
    bound_text: str  # one sentence
    breakdown_us: Mapping[
        str, float
    ]  # exclusive time on the critical path by what limits it (BOUNDS); sums to time_us
    stalls: Mapping[str, float]  # STALLS -> warp cycles per issued instruction
    counters: Mapping[
        str, float
    ]  # instructions, tensor_instructions, shared_load_wavefronts, ... over the launch
    energy_uj: float
    flops: int
    compulsory_bytes: int
    config_hash: str
    version: str
    tile: str = ""  # the configuration that ran, of those tried the fastest
    spread_us: float = 0.0  # half range over seeds of the latency jitter
    shared_accesses: tuple[SharedAccess, ...] = field(default=())
    roofs: Mapping[str, float] = field(
        default_factory=dict
    )  # tensor_tflops, mma_tflops, dram_gb_per_s, l2_gb_per_s, shared_gb_per_s

    def to_json(self, detail: bool = True) -> dict[str, Any]:
        """Return the JSON record; ``detail`` adds the per-instruction rows and the roofs."""
        record = {"schema_version": SCHEMA_VERSION, **asdict(self)}
        if not detail:
            record.pop("shared_accesses")
        return record

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> RunResult:
        """Rebuild a result from ``to_json``'s record."""
        fields = {key: value for key, value in record.items() if key != "schema_version"}
        rows = fields.pop("shared_accesses", ())
        accesses = tuple(SharedAccess(**{**row, "banks": tuple(row["banks"])}) for row in rows)
        return cls(**{**fields, "extensions": tuple(fields["extensions"]), "shared_accesses": accesses})


COUNTERS = (
    "ctas",
    "ctas_per_sm",
    "waves",
    "instructions",
    "tensor_instructions",
    "shared_load_wavefronts",
    "shared_store_wavefronts",
    "shared_copy_wavefronts",  # the write side of cp.async
    "shared_wavefronts_ideal",
    "global_load_sectors",
    "global_store_sectors",
    "l2_bytes",
    "dram_bytes",
)
