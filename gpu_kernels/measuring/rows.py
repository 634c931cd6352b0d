"""One row per measured kernel and shape, as JSON lines; the reader is strict."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from pydantic import Field

from gpu_kernels.measuring.launches import Launch
from sim.config import Strict
from sim.errors import ConfigError
from sim.jsonl import read_records, to_text

SCHEMA_VERSION = 1
SUFFIX = ".jsonl"
FOLDER = Path(__file__).parent.parent / "measurements"

Size = Annotated[int, Field(strict=True, ge=1)]
Count = Annotated[int, Field(strict=True, ge=0)]
Positive = Annotated[float, Field(strict=True, gt=0)]
NotNegative = Annotated[float, Field(strict=True, ge=0)]
Text = Annotated[str, Field(strict=True, min_length=1)]
Flag = Annotated[bool, Field(strict=True)]
OptionValue = Annotated[int, Field(strict=True)] | Flag | Text


class Timing(Strict):
    """Steady state: graph replays over rotating weights; microseconds per call."""

    median_us: Positive
    spread_us: NotNegative  # between the quartiles of the replays
    minimum_us: Positive
    replays: Size
    calls: Size  # per replay
    copies: Size  # of weights and scales
    rotation_bytes: Count  # of all copies
    clock_mhz: Positive | None  # mean SM clock over the replays
    cublas_us: Positive | None  # cuBLAS on half operands of the same shape, measured the same way


class Counters(Strict):
    """Nsight Compute on single launches after a cache flush.

    The least over the launches; of DRAM bytes, cycles and duration the median. None: not available there.
    ``varying`` names the counts that were not the same in every launch.
    """

    launches: Size
    instructions: Count | None = None  # warp instructions
    tensor_instructions: Count | None = None
    shared_wavefronts: Count | None = None
    shared_wavefronts_load: Count | None = None
    shared_wavefronts_store: Count | None = None
    lsu_wavefronts: Count | None = None
    source_shared_wavefronts: Count | None = None  # memory_l1_wavefronts_shared: writes of cp.async too
    global_load_sectors: Count | None = None
    global_store_sectors: Count | None = None
    global_copy_sectors: Count | None = None  # cp.async
    l2_read_sectors: Count | None = None
    l2_write_sectors: Count | None = None
    dram_read_bytes: Count | None = None
    dram_write_bytes: Count | None = None
    elapsed_cycles: Count | None = None
    duration_ns: Count | None = None
    varying: tuple[str, ...] = ()


class Provenance(Strict):
    """Where a row comes from."""

    date: Annotated[str, Field(strict=True, pattern=r"^\d{4}-\d{2}-\d{2}$")]
    device: Text  # as the driver names it
    sms: Size
    l2_bytes: Size
    driver: str
    cuda_driver: Size  # 13000
    cuda_runtime: Size
    cupy: Text
    cublas: Size | None
    ncu: str | None


class Row(Strict):
    """One kernel on one shape; only verified results become rows."""

    schema_version: Annotated[int, Field(strict=True, ge=SCHEMA_VERSION, le=SCHEMA_VERSION)]
    gpu: Text  # name of the file in arch_configs/gpus
    scheme: Text
    options: dict[str, OptionValue]
    tile: Text
    m: Size
    n: Size
    k: Size
    grid: tuple[Size, Size, Size]
    program: Annotated[str, Field(strict=True, pattern=r"^[0-9a-f]{64}$")]  # SHA-256 of the cubin
    toolkit: Text
    relative_error: NotNegative  # of the norm, against float64
    max_error: NotNegative  # over the largest magnitude
    timing: Timing | None
    counters: Counters | None
    provenance: Provenance
    launch: Launch | None = None  # so that the row can be simulated when the kernel has changed


def load_rows(path: Path | str) -> tuple[Row, ...]:
    """Read a file of rows, or every file of rows in a folder, in the order of their names."""
    path = Path(path)
    if path.is_dir():
        files = sorted(path.glob(f"*{SUFFIX}"))
        if not files:
            raise ConfigError(str(path), f"no measurements (*{SUFFIX}) in this folder")
        return tuple(row for file in files for row in load_rows(file))
    return read_records(path, Row, "a row")


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write rows as JSON lines; the same rows give the same bytes."""
    path.write_text(to_text(rows), encoding="utf-8")
