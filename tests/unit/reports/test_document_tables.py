"""The tables of the documents: the fastest tile of each shape, and microbenchmarks measured beside simulated."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reports.kernel_speed import Speed, fastest, speed_table
from reports.microbenchmarks import Reading, micro_csv, micro_table

ONE = Speed("w4a16", "group_size=128", "16x64", 16, 8192, 8192, 13.5, 29.0, 35_000_000)


def test_the_floor_is_a_launch_and_a_stream() -> None:
    assert replace(ONE, bytes=0).floor_us == 2.25
    assert replace(ONE, bytes=4_400_000_000).floor_us == pytest.approx(1002.25)


def test_the_fastest_tile_of_each_shape_is_shown() -> None:
    slower, other = replace(ONE, tile="16x128", time_us=14.0), replace(ONE, m=1, time_us=20.0)
    assert fastest([slower, ONE, other]) == sorted([ONE, other], key=lambda each: repr(each.m))
    lines = speed_table([slower, ONE, other]).splitlines()
    assert len(lines) == 4 and "16x128" not in lines[2] + lines[3]
    assert lines[2].startswith("| `w4a16` group_size=128 | 16x64 | 1 |")  # by M


def test_a_shape_without_cublas_has_empty_cells() -> None:
    assert speed_table([replace(ONE, cublas_us=None)]).endswith("|  |  |")
    assert speed_table([ONE]).endswith("| 29.00 | 2.15 |")


def test_microbenchmarks_are_counted_by_benchmark() -> None:
    readings = [
        Reading("mma", "a", 100.0, 101.0),
        Reading("mma", "b", 100.0, 90.0),
        Reading("x", "c", 2.0, 2.1),
    ]
    lines = micro_table(readings, 2.0).splitlines()
    assert lines[2] == "| `mma` | 2 | 1 | 5.5 % | -10.0 % | +1.0 % |"
    assert lines[-1] == "| all | 3 | 1 | 5.0 % | -10.0 % | +5.0 % |"
    assert micro_csv(readings).splitlines()[1] == "mma,a,100,101,+1.0"
