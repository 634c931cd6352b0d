"""The executor equals its readable twin, instruction by instruction."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.isa.opcodes import Op
from tests.unit.exec.twins import ASYNCHRONOUS, CONTROL, MARKED, compare, is_nan, opcodes_of, random_line

BATCH = 16
OPERATIONS = [
    operation
    for operation in Op
    if operation not in CONTROL | ASYNCHRONOUS | MARKED and opcodes_of(operation)
]
EXACT = [operation for operation in OPERATIONS if operation != Op.MUFU]
ANY_NAN = {Op.HMMA, Op.RED, Op.ATOMG}  # NaN bits of a sum are the host's

pytestmark = pytest.mark.jit


@pytest.mark.parametrize("operation", EXACT, ids=lambda operation: operation.name)
def test_every_form_equals_the_twin(operation: Op) -> None:
    rng = np.random.default_rng(int(operation))
    opcodes = opcodes_of(operation)
    every = opcodes * max(1, 48 // len(opcodes))
    for first in range(0, len(every), BATCH):
        lines = [random_line(rng, opcode) for opcode in every[first : first + BATCH]]
        compare(lines, first, nans=operation in ANY_NAN)


@pytest.mark.parametrize("operation", EXACT, ids=lambda operation: operation.name)
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 6))
def test_random_instructions_equal_the_twin(operation: Op, seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    lines = [random_line(rng, str(rng.choice(opcodes_of(operation)))) for _ in range(count)]
    threads = 32 if operation in (Op.HMMA, Op.IMMA, Op.LDSM, Op.STSM) else int(rng.choice([32, 32, 19]))
    compare(lines, seed, threads, nans=operation in ANY_NAN)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_mixed_programs_equal_the_twin(seed: int) -> None:
    rng = np.random.default_rng(seed)
    operations = rng.choice(np.array([op for op in EXACT if op not in ANY_NAN]), 24)
    compare([random_line(rng, str(rng.choice(opcodes_of(Op(int(op)))))) for op in operations], seed)


@pytest.mark.parametrize("opcode", opcodes_of(Op.MUFU))
def test_special_functions_agree_to_one_unit_in_the_last_place(opcode: str) -> None:
    import tests.unit.exec.twins as twins

    rng = np.random.default_rng(3)
    launch = twins.launch_of(twins.program_of([f"{opcode} R{index}, R{index}" for index in range(40)]), rng)
    start = twins.Start.random(rng)
    a, b = twins.run_executor(launch, start).general[:40], twins.run_twin(launch, start).general[:40]
    nan = is_nan(a) & ((a & 0x7FFFFFFF) > 0x7F800000)
    np.testing.assert_array_equal(nan, (b & 0x7FFFFFFF) > 0x7F800000)
    distance = np.abs(a.view(np.int32).astype(np.int64) - b.view(np.int32))[~nan]
    assert distance.max() <= 1
