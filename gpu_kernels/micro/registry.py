"""The microbenchmarks, found by their modules: each module with a ``BENCHMARK`` is one."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from pathlib import Path

from gpu_kernels.micro.benchmark import Benchmark
from sim.errors import unknown


@cache
def benchmarks() -> dict[str, Benchmark]:
    """Return every benchmark by its name."""
    found = {}
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if module.name == "__main__":
            continue
        benchmark = getattr(importlib.import_module(f"gpu_kernels.micro.{module.name}"), "BENCHMARK", None)
        if isinstance(benchmark, Benchmark):
            found[benchmark.name] = benchmark
    return dict(sorted(found.items()))


def get_benchmark(name: str) -> Benchmark:
    """Return one benchmark."""
    if name not in benchmarks():
        raise unknown("microbenchmark", name, benchmarks())
    return benchmarks()[name]
