"""Speed of the executor: warp instructions a second on one core, tensor arithmetic included."""

from __future__ import annotations

import time
from typing import Any

import pytest

from gpu_kernels import catalog
from sim.arch.load import load_gpu
from sim.exec.execute import execute
from workloads.schemes.base import get_scheme

pytestmark = [pytest.mark.benchmark, pytest.mark.jit]
GOAL = 1e6  # warp instructions a second


@pytest.mark.benchmark(timer=time.process_time)
@pytest.mark.parametrize("scheme", ["fp16", "w4a16"])
def test_instructions_per_second(benchmark: Any, scheme: str) -> None:
    options = get_scheme(scheme).check_options({})
    tile = {"fp16": "128x128", "w4a16": "64x256"}[scheme]
    launch = catalog.launches(scheme, 128, 8192, 4096, options, load_gpu("h200"), tile)[0]
    execute(launch, launch.classes[0], fold=False)
    done = benchmark(execute, launch, launch.classes[0], fold=False)
    rate = len(done.trace.pc) / benchmark.stats["min"]
    benchmark.extra_info["warp_instructions_per_second"] = round(rate)
    assert rate > GOAL


def test_a_folded_launch(benchmark: Any) -> None:
    options = get_scheme("fp16").check_options({})
    launch = catalog.launches("fp16", 128, 8192, 16384, options, load_gpu("h200"), "128x128")[0]
    benchmark(execute, launch, launch.classes[0])
