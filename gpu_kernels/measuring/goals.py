"""What the kernels' speed is judged on: the shapes of their goals, every tile that is worth trying."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from gpu_kernels import catalog
from gpu_kernels.measuring.cases import Case
from sim.arch.spec import GpuSpec
from workloads.schemes.base import OptionValue, get_scheme

DECODE = ((8192, 8192), (28672, 4096), (12288, 12288), (57344, 8192), (49152, 12288))
PREFILL = ((64, 8192, 8192), (256, 4096, 4096), (4096, 4096, 4096), (8192, 8192, 8192))
FEW = 2  # tokens up to which private tables are to beat cuBLAS


def goal_cases(gpu: GpuSpec) -> Iterator[Case]:
    """Go through the shapes that goals are stated for."""
    for (n, k), m in product(DECODE, (1, 16, 64)):
        yield from _tiles("w4a16", m, n, k, gpu)
    for (n, k), m in product(DECODE, (1, 16, 32)):
        yield from _tiles("flute", m, n, k, gpu, bits=4)
        yield from _tiles("flute", m, n, k, gpu, bits=3, layout="nibbles")
    for (n, k), bits in product(DECODE, (3, 4)):
        yield from _tiles("lut_gemm", 1, n, k, gpu, bits=bits, codes="random")
    for bits in (3, 4):
        yield from _tiles("lut_gemm", FEW, *DECODE[0], gpu, bits=bits, codes="random")
    for scheme, (m, n, k) in product(("fp16", "fp16_wgmma"), PREFILL):
        yield from _tiles(scheme, m, n, k, gpu)


def _tiles(scheme: str, m: int, n: int, k: int, gpu: GpuSpec, **options: OptionValue) -> Iterator[Case]:
    complete = get_scheme(scheme).check_options(options)
    for each in catalog.launches(scheme, m, n, k, complete, gpu):
        yield Case(scheme, complete, each.label.split()[1], m, n, k, timed=True)
