"""Systolic arrays: closed forms against the array cycle by cycle, bit-exact rescaling, what the YAML must say."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.array.spec import Accelerator, available, load_accelerator
from sim.array.systolic import run_tile, run_weight_stationary
from sim.array.timing import Matmul, compute_cycles, effective_size, fetches, run_matmul, run_mixed
from sim.cli import run
from sim.errors import ConfigError

TENDER = load_accelerator("tender")


def sized(rows: int, columns: int) -> Accelerator:
    array = TENDER.array.model_copy(update={"rows": rows, "columns": columns})
    return TENDER.model_copy(update={"array": array})


def draw(m: int, n: int, k: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.integers(-8, 8, (m, k)), random.integers(-8, 8, (k, n))


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.lists(st.integers(0, 7), min_size=1, max_size=6))
def test_a_tile_takes_its_closed_form_and_shifts_bit_for_bit(m: int, n: int, sizes: list[int]) -> None:
    sizes[0] += 1
    k, groups = sum(sizes), len(sizes)
    inputs, weights = draw(m, n, k, m + 10 * n + 100 * k)
    found = run_tile(inputs, weights, tuple(sizes))
    edges = np.cumsum([0, *sizes])
    parts = (inputs[:, a:b] @ weights[a:b] for a, b in pairwise(edges))
    want = sum(part << (groups - 1 - index) for index, part in enumerate(parts))
    assert np.array_equal(found.sums, want)
    assert found.cycles == compute_cycles(sized(m, n), Matmul(m, n, k, 4, groups)) + 1  # it counts from zero


def test_the_published_form_without_bubbles() -> None:
    for m, n, k in ((64, 64, 1), (65, 64, 100), (256, 4096, 4096)):
        tiles = -(-m // 64) * -(-n // 64)
        assert compute_cycles(TENDER, Matmul(m, n, k, 4)) == tiles * (k + 126) - 1


def test_a_border_of_a_group_costs_one_cycle_of_each_tile() -> None:
    one, eight = (compute_cycles(TENDER, Matmul(128, 64, 512, 4, groups)) for groups in (1, 8))
    assert eight - one == 2 * 7


def test_operands_of_twice_the_bits_take_four_elements_each() -> None:
    assert effective_size(TENDER, 4) == (64, 64) and effective_size(TENDER, 8) == (32, 32)
    narrow, wide = (run_matmul(TENDER, Matmul(2048, 4096, 8192, bits)).compute_cycles for bits in (4, 8))
    assert 3.9 < wide / narrow < 4.0  # the skew is halved


def test_wider_operands_multiply_on_four_elements_and_add_once() -> None:
    energy = TENDER.energy.model_copy(update={"sram_pj_per_byte": 0, "dram_pj_per_byte": 0})
    machine, work = TENDER.model_copy(update={"energy": energy}), Matmul(128, 128, 128, 4)
    macs, multiply, add = 128**3, energy.multiply_pj, energy.accumulate_pj
    assert run_matmul(machine, work).energy_uj == pytest.approx(macs * (multiply + add) / 1e6)
    assert run_matmul(machine, replace(work, bits=8)).energy_uj == pytest.approx(
        macs * (4 * multiply + add) / 1e6
    )


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9))
def test_stationary_weights_take_their_closed_form(m: int, rows: int, columns: int) -> None:
    inputs, weights = draw(m, columns, rows, m + 10 * rows + 100 * columns)
    found = run_weight_stationary(inputs, weights)
    assert np.array_equal(found.sums, inputs @ weights)
    machine = sized(rows, columns).model_copy(update={"dataflow": "weight_stationary"})
    assert found.cycles == compute_cycles(machine, Matmul(m, columns, rows, 4)) + 1


def test_weight_stationary_loads_each_piece_of_the_weights_once() -> None:
    machine = TENDER.model_copy(update={"dataflow": "weight_stationary"})
    assert compute_cycles(machine, Matmul(100, 128, 64, 4)) == 2 * (64 + 100 + 126) - 1


def test_what_fits_a_buffer_is_read_once() -> None:
    rows = TENDER.buffers.input_bytes // 2 // 2048  # of 4096 elements in half of the buffer: one tile
    assert rows == TENDER.array.rows
    assert fetches(TENDER, Matmul(rows, 100_000, 4096, 4)) == (1, 1)
    # weights twice, rather than inputs a hundred times
    assert fetches(TENDER, Matmul(2 * rows, 100 * rows, 4096, 4)) == (1, 2)
    assert fetches(TENDER, Matmul(100 * rows, 2 * rows, 4096, 4)) == (2, 1)


def test_where_no_tile_fits_its_buffer_every_tile_streams_its_operands() -> None:
    assert fetches(TENDER, Matmul(2048, 4096, 16384, 4)) == (4096 // 64, 2048 // 64)
    assert fetches(TENDER, Matmul(2048, 4096, 16384, 8)) == (4096 // 32, 2048 // 32)


def test_no_matmul_is_faster_than_its_bytes_or_its_multiplications() -> None:
    for shape in (Matmul(1, 4096, 4096, 4), Matmul(2048, 4096, 4096, 4, 8), Matmul(7, 100, 33, 8)):
        done = run_matmul(TENDER, shape)
        rows, columns = effective_size(TENDER, shape.bits)
        assert done.cycles >= shape.macs / (rows * columns)
        least = (shape.m * shape.k + shape.n * shape.k) * shape.bits / 8
        assert done.dram_bytes >= least and done.cycles >= least / TENDER.dram_bytes_per_cycle


def test_a_decode_matmul_is_bound_by_dram_and_a_prefill_by_the_array() -> None:
    decode, prefill = (run_matmul(TENDER, Matmul(m, 4096, 4096, 4)) for m in (1, 2048))
    assert prefill.compute_cycles > prefill.dram_cycles
    faster = TENDER.model_copy(update={"dram_bytes_per_cycle": 2 * TENDER.dram_bytes_per_cycle})
    assert run_matmul(faster, Matmul(1, 4096, 4096, 4)).dram_cycles <= decode.dram_cycles / 2 + 1


def test_a_mixture_lies_between_its_parts() -> None:
    ant, work = load_accelerator("ant"), Matmul(2048, 4096, 4096, 1)
    cycles, _ = run_mixed(ant, work)
    parts = [run_matmul(ant, replace(work, bits=bits)).cycles for bits in (4, 8)]
    assert cycles == pytest.approx(sum(parts) / 2)


@pytest.mark.parametrize("name", available())
def test_every_number_of_every_accelerator_has_a_source(name: str) -> None:
    machine = load_accelerator(name)
    assert machine.name == name and len(machine.sources) >= 16
    assert run_matmul(machine, Matmul(64, 256, 256, machine.precision.operand_bits)).cycles > 0


def test_a_wrong_key_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("title: t\nstatus: s\ndataflow: output_stationary\narry: {}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"x\.yaml:4: arry: unknown key 'arry'\. Did you mean 'array'"):
        load_accelerator(str(path))


def test_the_command_times_a_model_on_every_array(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["accelerator", "--m", "2048", "--model", "opt-6.7b", "--groups", "8", "--json"]) == 0
    totals = {each["accelerator"]: each for each in json.loads(capsys.readouterr().out)}
    assert set(totals) == set(available())
    # of the same area; its own PEs composed for 8 bits take four times as long
    assert 1.8 < totals["int8"]["cycles"] / totals["tender"]["cycles"] < 2.1


def test_the_arrays_have_equal_areas() -> None:
    areas = {name: load_accelerator(name).array.area_mm2 for name in available()}
    assert all(abs(area / areas["tender"] - 1) < 0.03 for area in areas.values()), areas
