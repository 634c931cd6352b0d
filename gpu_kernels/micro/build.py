"""Rebuild the microbenchmarks' binaries: ``python -m gpu_kernels.micro.build``. Needs the extra [compile]."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

from gpu_kernels.compile import VIRTUAL_ROOT, compile_cuda, compiler, digest, disassemble
from gpu_kernels.micro.benchmark import TARGET, Benchmark
from gpu_kernels.micro.programs.store import FOLDER, MANIFEST, read_manifest, stem, write_programs
from gpu_kernels.micro.registry import benchmarks
from sim.errors import TcsimError

HEADER = Path(__file__).parent / "common.cuh"
HEADER_NAME = "micro/common.cuh"


def source_text(benchmark: Benchmark) -> str:
    """Return the CUDA text as it is compiled."""
    return f'#include "{VIRTUAL_ROOT}{HEADER_NAME}"\n#line 1\n{benchmark.source}'


def inputs(benchmark: Benchmark, toolkit: str) -> str:
    """Hash everything that determines the binary."""
    return digest(source_text(benchmark), HEADER.read_text(encoding="utf-8"), TARGET, toolkit)


def compile_benchmark(benchmark: Benchmark) -> bytes:
    """Build the cubin of all kernels of one benchmark."""
    headers = {HEADER_NAME: HEADER.read_text(encoding="utf-8")}
    return compile_cuda(source_text(benchmark), f"micro/{benchmark.name}.cu", TARGET, headers=headers)


def stale(toolkit: str) -> list[str]:
    """Name the benchmarks whose source or toolkit are no longer those of the stored binary."""
    stored = read_manifest()["programs"]
    wanted = {stem(name, TARGET): inputs(each, toolkit) for name, each in benchmarks().items() if each.source}
    return sorted(
        key for key in wanted.keys() | stored.keys() if wanted.get(key) != stored.get(key, {}).get("inputs")
    )


def build() -> list[str]:
    """Rebuild what is stale, drop what no benchmark names, and write the manifest; return what was rebuilt."""
    toolkit = compiler().version()
    outdated, stored = set(stale(toolkit)), read_manifest()["programs"]
    programs: dict[str, dict[str, str]] = {}
    for name, benchmark in benchmarks().items():
        key = stem(name, TARGET)
        if benchmark.source:
            programs[key] = _build_one(benchmark, toolkit) if key in outdated else stored[key]
    for path in FOLDER.glob("*.xz"):
        if path.name.removesuffix(".xz").removesuffix(".cubin").removesuffix(".listing.json") not in programs:
            path.unlink()
    record = {"toolkit": toolkit, "programs": dict(sorted(programs.items()))}
    MANIFEST.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return sorted(outdated & programs.keys())


def _build_one(benchmark: Benchmark, toolkit: str) -> dict[str, str]:
    cubin = compile_benchmark(benchmark)
    listings = disassemble(cubin, TARGET, toolkit, f"micro/{benchmark.name}.cu")
    write_programs(stem(benchmark.name, TARGET), cubin, listings)
    return {"inputs": inputs(benchmark, toolkit), "cubin": hashlib.sha256(cubin).hexdigest()}


def main() -> int:
    """Rebuild and say what was rebuilt."""
    try:
        rebuilt = build()
    except TcsimError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write("".join(f"rebuilt {name}\n" for name in rebuilt) or "nothing was stale\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
