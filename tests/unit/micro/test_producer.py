"""The producer's kernels compute codes: in place, gathered and scattered the same ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gpu_kernels.micro.producer import ORDERS, producer_launch
from sim.exec.execute import execute
from sim.isa.launch import KernelLaunch

COLUMNS = 1024


def _codes(order: str, x: Any, inverse: Any, index: Any) -> Any:
    launch: KernelLaunch = producer_launch(order, 1, COLUMNS)
    data = {"x": x, "inverse": inverse, "order": index}
    buffers = tuple(replace(each, data=data.get(each.name, each.data)) for each in launch.buffers)
    done = execute(replace(launch, buffers=buffers), launch.classes[0], fold=False)
    return done.buffer("y").view(np.int8)


@pytest.mark.jit
def test_codes_are_rounded_to_even_and_put_where_the_order_says() -> None:
    random = np.random.default_rng(0)
    x = (random.standard_normal(COLUMNS) * 40).astype(np.float16)
    x[:4] = 0.5, 1.5, -2.5, 1000
    inverse = np.exp2(random.integers(-1, 2, COLUMNS)).astype(np.float32)
    inverse[:4] = 1
    natural = np.rint(x.astype(np.float64) * inverse).clip(-127, 127).astype(np.int8)
    order = random.permutation(COLUMNS).astype(np.uint16)  # column j holds channel order[j]
    place = np.argsort(order).astype(np.uint16)
    assert natural[:4].tolist() == [0, 2, -2, 127]
    assert np.array_equal(_codes("plain", x, inverse, order), natural)
    assert np.array_equal(_codes("gather", x, inverse[order], order), natural[order])
    assert np.array_equal(_codes("scatter", x, inverse, place), natural[order])
    assert ORDERS == ("plain", "gather", "scatter")
