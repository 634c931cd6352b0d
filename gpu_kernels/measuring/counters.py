"""Hardware counters by Nsight Compute: which metrics, the command, and what its CSV says."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from sim.errors import TcsimError

# Ours -> Nsight Compute's, the first that the chip has. The first of CORE are asked for even if the list of
# metrics cannot be had.
CORE: dict[str, tuple[str, ...]] = {
    "instructions": ("smsp__inst_executed.sum", "sm__inst_executed.sum"),
    "tensor_instructions": (
        "sm__inst_executed_pipe_tensor_op_hmma.sum",
        "smsp__inst_executed_pipe_tensor_op_hmma.sum",
        "sm__inst_executed_pipe_tensor.sum",
        "smsp__inst_executed_pipe_tensor.sum",
    ),
    "shared_wavefronts": ("l1tex__data_pipe_lsu_wavefronts_mem_shared.sum",),
    "shared_wavefronts_load": ("l1tex__data_pipe_lsu_wavefronts_mem_shared_op_ld.sum",),
    "shared_wavefronts_store": ("l1tex__data_pipe_lsu_wavefronts_mem_shared_op_st.sum",),
    "global_load_sectors": ("l1tex__t_sectors_pipe_lsu_mem_global_op_ld.sum",),
    "l2_read_sectors": ("lts__t_sectors_op_read.sum",),
    "dram_read_bytes": ("dram__bytes_read.sum",),
    "dram_write_bytes": ("dram__bytes_write.sum",),
    "elapsed_cycles": ("sm__cycles_elapsed.max",),
    "duration_ns": ("gpu__time_duration.sum",),
}
EXTRA: dict[str, tuple[str, ...]] = {
    "lsu_wavefronts": ("l1tex__data_pipe_lsu_wavefronts.sum",),
    "global_store_sectors": ("l1tex__t_sectors_pipe_lsu_mem_global_op_st.sum",),
    "global_copy_sectors": (
        "l1tex__t_sectors_pipe_lsu_mem_global_op_ldgsts.sum",
        "l1tex__m_xbar2l1tex_read_sectors_mem_lg_op_ldgsts.sum",
    ),
    "l2_write_sectors": ("lts__t_sectors_op_write.sum",),
}
SOURCE = {
    "source_shared_wavefronts": "memory_l1_wavefronts_shared"
}  # by patching the kernel: a run of its own
MEDIANS = ("dram_read_bytes", "dram_write_bytes", "elapsed_cycles", "duration_ns")  # others: the least
SCALES = {
    **{"kbyte": 1e3, "mbyte": 1e6, "gbyte": 1e9},
    **{"us": 1e3, "usecond": 1e3, "ms": 1e6, "msecond": 1e6, "s": 1e9, "second": 1e9},
}
KERNEL, GRID, BLOCK = "Kernel Name", "Grid Size", "Block Size"
Dim3 = tuple[int, int, int]


@dataclass(frozen=True)
class Launched:
    """One profiled launch: what identifies it and its metrics."""

    kernel: str
    grid: Dim3
    block: Dim3
    metrics: Mapping[str, float]  # Nsight Compute's names


@dataclass(frozen=True)
class Expected:
    """A launch of the plan."""

    kernel: str
    grid: Dim3
    block: Dim3


def choose_metrics(query: str) -> dict[str, str]:
    """Return our names -> metrics, given what ``ncu --query-metrics`` printed (empty: unknown)."""
    known = {line.split()[0] for line in query.splitlines() if line.split()}
    if not {"smsp__inst_executed", "sm__inst_executed"} & known:
        return {name: choices[0] for name, choices in CORE.items()}
    chosen = {}
    for name, choices in {**CORE, **EXTRA}.items():
        found = [metric for metric in choices if metric.split(".")[0] in known]
        if found:
            chosen[name] = found[0]
    return chosen


def command(
    ncu: str, metrics: Iterable[str], kernels: Iterable[str], log: str, worker: Sequence[str]
) -> list[str]:
    """Return the command line that profiles the worker's launches of ``kernels``; clocks are left alone."""
    return [
        ncu,
        *("--clock-control", "none", "--cache-control", "all"),
        *("--csv", "--page", "raw", "--print-units", "base"),
        *("--kernel-name", f"regex:^({'|'.join(sorted(set(kernels)))})$"),
        *("--metrics", ",".join(metrics)),
        *("--log-file", log),
        *worker,
    ]


def parse_csv(text: str) -> list[Launched]:
    """Read the raw page: a header, a row of units, a row per launch; lines before and between are skipped."""
    lines = text.splitlines()
    start = next((i for i, line in enumerate(lines) if line.startswith('"ID"')), None)
    if start is None:
        return []
    table = [line for line in lines[start:] if line.startswith('"')]
    rows = list(csv.reader(io.StringIO("\n".join(table))))
    header, rest = rows[0], [row for row in rows[1:] if len(row) == len(rows[0])]
    units = dict(zip(header, rest[0], strict=True)) if rest and not rest[0][0].strip() else {}
    launches = [dict(zip(header, row, strict=True)) for row in rest if row[0].strip().isdigit()]
    return [_launched(row, units) for row in sorted(launches, key=lambda row: int(row["ID"]))]


def _launched(row: Mapping[str, str], units: Mapping[str, str]) -> Launched:
    metrics = {}
    for name, text in row.items():
        number = _number(text)
        if "__" in name or name in SOURCE.values():
            scale = SCALES.get(units.get(name, "").lower(), 1.0)
            if number is not None:
                metrics[name] = number * scale
    kernel = row.get(KERNEL, "").split("(")[0].strip()
    return Launched(kernel, _dim3(row.get(GRID, "")), _dim3(row.get(BLOCK, "")), metrics)


def _number(text: str) -> float | None:
    """Read a number that may have thousands separators; None for ``n/a`` and the like."""
    plain = text.replace(",", "").strip()
    return float(plain) if re.fullmatch(r"[-+]?\d+(\.\d*)?([eE][-+]?\d+)?", plain) else None


def _dim3(text: str) -> Dim3:
    """Read ``(16, 8, 1)`` or ``16x8x1``; what is not there is 1."""
    x, y, z = ([int(number) for number in re.findall(r"\d+", text)] + [1, 1, 1])[:3]
    return x, y, z


def match(launched: Sequence[Launched], plan: Sequence[Expected]) -> None:
    """Check that the profiled launches are those of the plan, in its order."""
    for index, (got, wanted) in enumerate(zip(launched, plan, strict=False)):
        if (got.kernel, got.grid, got.block) != (wanted.kernel, wanted.grid, wanted.block):
            raise TcsimError(
                f"Nsight Compute's launch {index} is {got.kernel} {got.grid} {got.block}, "
                f"planned: {wanted.kernel} {wanted.grid} {wanted.block}"
            )
    if len(launched) > len(plan):
        raise TcsimError(f"Nsight Compute saw {len(launched)} launches, planned: {len(plan)}")


def summarize(launched: Sequence[Launched], chosen: Mapping[str, str]) -> dict[str, object]:
    """Combine the launches of one case into the fields of ``rows.Counters``."""
    fields: dict[str, object] = {"launches": len(launched)}
    varying = []
    for name, metric in chosen.items():
        values = [each.metrics[metric] for each in launched if metric in each.metrics]
        if not values:
            continue
        fields[name] = round(median(values) if name in MEDIANS else min(values))
        if name not in MEDIANS and len(set(values)) > 1:
            varying.append(name)
    return {**fields, "varying": varying}
