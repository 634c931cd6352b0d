"""Every report there is draws every set of results, whole, silently and always the same."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from reports import registry
from sim.errors import ConfigError, TcsimError
from sim.results import RunResult, SharedAccess

LAYERS = ((6144, 4096), (4096, 4096), (28672, 4096), (4096, 14336), (128256, 4096))
SIZES = tuple(1 << power for power in range(9))
MACHINES = {  # banks, DRAM GB/s, mma.sync TFLOP/s
    "h200": (32, 4400.0, 650.0),
    "h200-64-banks": (64, 4400.0, 650.0),
    "h200-2x-dram": (32, 8800.0, 650.0),
    "h200-fast-mma": (32, 4400.0, 989.0),
}
KERNELS = {
    "fp16": (
        (
            "LDGSTS.E.BYPASS.LTC128B.128 [R13+0x4000], desc[UR8][R6.64]",
            "cp_async(&tile_a[stage][row][swizzled], a + offset);",
            1,
            4,
        ),
        (
            "LDSM.16.M88.4 R20, [R50+UR4+0x800]",
            "ldmatrix(fragment_a[i], tile_a[stage] + row * TILE_K);",
            1,
            4,
        ),
        (
            "LDSM.16.MT88.4 R36, [R52+UR4+0x8800]",
            "ldmatrix(fragment_b[j], tile_b[stage] + column * TILE_K);",
            1,
            4,
        ),
        (
            "STS.64 [R3+0x410], R24",
            "reinterpret_cast<float2*>(partial)[index] = make_float2(c[0], c[1]);",
            1,
            2,
        ),
        ("LDS.128 R8, [R2]", "const float4 sum = reinterpret_cast<const float4*>(partial)[thread];", 1, 4),
    ),
    "w4a16": (
        (
            "LDGSTS.E.BYPASS.LTC128B.128 [R11], desc[UR6][R4.64]",
            "cp_async(&weights[stage][thread], packed + offset);",
            1,
            4,
        ),
        (
            "LDS.128 R28, [R44+0x1000]",
            "const uint4 codes = weights[stage][lane];  // $q$ four fragments",
            1,
            4,
        ),
        ("LDS.U16 R5, [R45+0x9000]", "const half scale = scales[stage][group * TILE_N + column];", 2, 1),
        ("LDSM.16.M88.4 R20, [R50]", "ldmatrix(fragment, activations[stage] + row * TILE_K);", 1, 4),
        ("STS.64 [R3], R24", "partial[row][column] = make_float2(c[0], c[1]);", 4, 2),
    ),
}


def accesses(scheme: str, banks: int, factor: int) -> tuple[SharedAccess, ...]:
    """Make the rows of a kernel whose conflicts shrink with the banks."""
    rows = []
    for number, (sass, source, conflict, words) in enumerate(KERNELS[scheme]):
        ways = max(1, conflict * 32 // banks)
        ideal = max(1, words * 32 // banks)
        asked = tuple(ways * ideal if bank % max(1, conflict) == 0 else 0 for bank in range(banks))
        executed = 1000 * factor * (number + 1)
        rows.append(
            SharedAccess(
                0x200 + 16 * number,
                sass,
                88 + number,
                executed,
                executed * ideal * ways,
                executed * ideal,
                asked,
                source,
            )
        )
    return tuple(rows)


def result(arch: str, scheme: str, m: int, n: int, k: int, machine: tuple[int, float, float]) -> RunResult:
    """Make a plausible result: slowest of DRAM, tensor core and launch, none at its roof."""
    banks, dram, mma = machine
    flops = 2 * m * n * k
    bytes_ = n * k * (2 if scheme == "fp16" else 0.53) + 2 * m * (n + k)
    dram_us = bytes_ / dram / 1e3 / (0.93 if n > 5000 else 0.8)
    tensor_us = flops / mma / 1e6 / (0.8 if scheme == "fp16" else 0.62) + n / 9000
    time = (dram_us**4 + tensor_us**4) ** 0.25 + 2.1
    bound = max((dram_us, "dram"), (tensor_us, "tensor"), (2.1, "launch"))[1]
    share = tensor_us / time
    stalls = {
        "issued": 1.0,
        "wait": 0.9,
        "long_scoreboard": 9 * (1 - share),
        "short_scoreboard": 1.2,
        "math_pipe_throttle": 5 * share,
        "barrier": 0.7,
        "not_selected": 0.3,
    }
    roofs = {"tensor_tflops": 989.0, "mma_tflops": mma, "dram_gb_per_s": dram}
    return RunResult(
        arch=arch,
        scheme=scheme,
        m=m,
        n=n,
        k=k,
        options={} if scheme == "fp16" else {"group_size": 128},
        extensions=(),
        time_us=time,
        cycles=time * 1830,
        clock_mhz=1830.0,
        bound_by=bound,
        bound_text="Bound.",
        breakdown_us={bound: time - 2.1, "launch": 2.1},
        stalls=stalls,
        counters={},
        energy_uj=1.0,
        flops=flops,
        compulsory_bytes=int(bytes_),
        config_hash="0",
        version="0",
        shared_accesses=accesses(scheme, banks, max(1, n * k // 2**22)),
        roofs={**roofs, "l2_gb_per_s": 11000.0, "shared_gb_per_s": 30900.0 * banks / 32},
    )


def sweep(machines: int, layers: int) -> list[RunResult]:
    """Make results for so many machines and layers, two schemes and nine M."""
    base = list(MACHINES.items())
    chosen = [(name if turn == 0 else f"{name}-b", spec) for turn in range(2) for name, spec in base][
        :machines
    ]
    return [
        result(name, scheme, m, n, k, spec)
        for name, spec in chosen
        for scheme in KERNELS
        for n, k in LAYERS[:layers]
        for m in SIZES
    ]


def bare() -> list[RunResult]:
    """Return one result without any detail."""
    full = result("h200", "fp16", 16, 64, 64, MACHINES["h200"])
    return [
        RunResult.from_json(
            {**full.to_json(), "roofs": {}, "shared_accesses": (), "stalls": {}, "breakdown_us": {}}
        )
    ]


def draw(name: str, results: Sequence[RunResult], out_dir: Path) -> dict[str, bytes]:
    """Render one report and return the bytes of its files."""
    return {path.name: path.read_bytes() for path in registry.render([name], results, out_dir)}


@pytest.mark.parametrize("name", registry.available())
@pytest.mark.parametrize("results", [bare(), sweep(1, 1)[:1], sweep(8, 5)], ids=["bare", "tiny", "big"])
def test_report_writes_its_three_files_and_nothing_else(
    name: str, results: list[RunResult], tmp_path: Path
) -> None:
    files = draw(name, results, tmp_path / "new" / "folder")
    assert set(files) == {f"{name}.png", f"{name}.svg", f"{name}.csv"}
    assert {path.name for path in (tmp_path / "new" / "folder").iterdir()} == set(files)
    assert files[f"{name}.png"].startswith(b"\x89PNG")
    assert b"</svg>" in files[f"{name}.svg"]
    assert files[f"{name}.csv"].count(b"\n") >= 1


@pytest.mark.parametrize("name", registry.available())
def test_report_gives_the_same_bytes_twice(name: str, tmp_path: Path) -> None:
    results = sweep(2, 2)
    assert draw(name, results, tmp_path / "a") == draw(name, results, tmp_path / "b")


@pytest.mark.parametrize("name", registry.available())
def test_report_keeps_every_run_in_its_csv(name: str, tmp_path: Path) -> None:
    draw(name, sweep(2, 2), tmp_path)
    with (tmp_path / f"{name}.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    programs_times_machines_times_rows = 2 * 2 * 5
    assert len(rows) == (programs_times_machines_times_rows if name == "bank_conflicts" else 2 * 2 * 2 * 9)
    assert {row["machine"] for row in rows} == {"h200", "h200-64-banks"}


def test_unknown_report_is_named_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown report 'roofline2'. Did you mean 'roofline'\?"):
        registry.render(["roofline2"], bare(), tmp_path)


def test_no_results_is_a_mistake_of_the_user(tmp_path: Path) -> None:
    with pytest.raises(TcsimError, match="no results"):
        registry.render([], [], tmp_path)


def test_unwritable_directory_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError, match=r"roofline\.png: cannot write") as caught:
        registry.render(["roofline"], bare(), tmp_path / "file" / "out")
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_finding_the_reports_does_not_import_matplotlib() -> None:
    code = (
        "import sys; from reports import registry as r; r.available(); sys.exit('matplotlib' in sys.modules)"
    )
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
