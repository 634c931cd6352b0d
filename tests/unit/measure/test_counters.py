from __future__ import annotations

import pytest

from gpu_kernels.measuring.counters import (
    CORE,
    EXTRA,
    Expected,
    Launched,
    choose_metrics,
    command,
    match,
    parse_csv,
    summarize,
)
from gpu_kernels.measuring.rows import Counters
from sim.errors import TcsimError

RAW_PAGE = """==PROF== Connected to process 4242 (/usr/bin/python3.12)
==PROF== Profiling "fp16_matmul" - 0: 0%....50%....100% - 6 passes
==PROF== Profiling "fp16_matmul" - 1: 0%....50%....100% - 6 passes
==PROF== Disconnected from process 4242
"ID","Process ID","Process Name","Host Name","Kernel Name","Context","Stream","Block Size","Grid Size","Device","CC",\
"dram__bytes_read.sum","gpu__time_duration.sum","l1tex__data_pipe_lsu_wavefronts_mem_shared.sum",\
"sm__inst_executed_pipe_tensor_op_hmma.sum","smsp__inst_executed.sum"
"","","","","","","","","","","","byte","ns","","inst","inst"
"0","4242","python3.12","127.0.0.1","fp16_matmul","1","13","(128, 1, 1)","(16, 4, 2)","0","9.0",\
"33,555,456","9,216","1,234,568","65,536","2,000,001"
"10","4242","python3.12","127.0.0.1","w4a16_matmul","1","13","(64, 1, 1)","(1, 64, 2)","0","9.0",\
"8,650,752.00","7,000","1.2e3","n/a","512"
"2","4242","python3.12","127.0.0.1","fp16_matmul","1","13","(128, 1, 1)","(16, 4, 2)","0","9.0",\
"33,555,458","9,000","1,234,567","65,536","2,000,001"
==WARNING== something at the end, 1,2,3
"""

QUERY = """Device NVIDIA H200 (GH100)
----------------------------------------------------- --------------- --------- -----------------------------
Metric Name                                           Metric Type     Metric Unit Metric Description
----------------------------------------------------- --------------- --------- -----------------------------
smsp__inst_executed                                   Counter         inst      # of warp instructions executed
smsp__inst_executed_pipe_tensor_op_hmma               Counter         inst      # of warp instructions
sm__cycles_elapsed                                    Counter         cycle     # of cycles elapsed on SM
dram__bytes_read                                      Counter         byte      # of bytes read from DRAM
l1tex__t_sectors_pipe_lsu_mem_global_op_ldgsts        Counter         sector    # of sectors requested
"""


def test_rows_come_in_the_order_of_their_numbers_with_separators_and_units_read() -> None:
    launches = parse_csv(RAW_PAGE)
    assert [each.kernel for each in launches] == ["fp16_matmul", "fp16_matmul", "w4a16_matmul"]
    first, second, last = launches
    assert first.grid == (16, 4, 2) and first.block == (128, 1, 1)
    assert first.metrics["smsp__inst_executed.sum"] == 2_000_001
    assert second.metrics["dram__bytes_read.sum"] == 33_555_458
    assert last.metrics["l1tex__data_pipe_lsu_wavefronts_mem_shared.sum"] == 1200
    assert "sm__inst_executed_pipe_tensor_op_hmma.sum" not in last.metrics, "n/a is not a number"


def test_scaled_units_are_undone() -> None:
    text = RAW_PAGE.replace('"byte","ns"', '"Mbyte","us"')
    first = parse_csv(text)[0]
    assert first.metrics["dram__bytes_read.sum"] == 33_555_456e6
    assert first.metrics["gpu__time_duration.sum"] == 9_216e3
    assert first.metrics["smsp__inst_executed.sum"] == 2_000_001


def test_a_page_without_units_and_full_signatures_is_read_too() -> None:
    text = RAW_PAGE.replace('"","","","","","","","","","","","byte","ns","","inst","inst"\n', "")
    text = text.replace('"fp16_matmul"', '"fp16_matmul(const unsigned short *, int)"')
    assert [each.kernel for each in parse_csv(text)][:2] == ["fp16_matmul"] * 2


@pytest.mark.parametrize(
    "text", ["", "==ERROR== The user does not have permission\n", '"ID","Kernel Name"\n']
)
def test_no_rows_is_no_launches(text: str) -> None:
    assert parse_csv(text) == []


def test_only_metrics_of_the_chip_are_asked_for() -> None:
    assert choose_metrics(QUERY) == {
        "instructions": "smsp__inst_executed.sum",
        "tensor_instructions": "smsp__inst_executed_pipe_tensor_op_hmma.sum",
        "dram_read_bytes": "dram__bytes_read.sum",
        "elapsed_cycles": "sm__cycles_elapsed.max",
        "global_copy_sectors": "l1tex__t_sectors_pipe_lsu_mem_global_op_ldgsts.sum",
    }


@pytest.mark.parametrize("query", ["", "==ERROR== no device\n"])
def test_without_a_list_the_usual_metrics_are_asked_for(query: str) -> None:
    assert choose_metrics(query) == {name: choices[0] for name, choices in CORE.items()}


def test_every_metric_has_a_field() -> None:
    assert {*CORE, *EXTRA, "source_shared_wavefronts"} == set(Counters.model_fields) - {"launches", "varying"}


def test_the_command_leaves_the_clocks_alone_and_filters_kernels() -> None:
    line = command("ncu", ["a.sum", "b.max"], ["w", "f", "f"], "log.csv", ["python", "-m", "x"])
    assert line[line.index("--clock-control") + 1] == "none"
    assert line[line.index("--kernel-name") + 1] == "regex:^(f|w)$"
    assert line[line.index("--metrics") + 1] == "a.sum,b.max"
    assert line[-3:] == ["python", "-m", "x"]


PLAN = [
    Expected("fp16_matmul", (16, 4, 2), (128, 1, 1)),
    Expected("fp16_matmul", (16, 4, 2), (128, 1, 1)),
    Expected("w4a16_matmul", (1, 64, 2), (64, 1, 1)),
]


def test_launches_are_matched_with_the_plan_in_order() -> None:
    launches = parse_csv(RAW_PAGE)
    match(launches, PLAN)
    match(launches[:1], PLAN)  # stopped early: what is there is right
    with pytest.raises(TcsimError, match=r"launch 1 is fp16_matmul .* planned: w4a16_matmul"):
        match(launches, [PLAN[0], PLAN[2], PLAN[1]])
    with pytest.raises(TcsimError, match="saw 3 launches, planned: 2"):
        match(launches, PLAN[:2])


def test_counts_are_the_least_and_bytes_the_median() -> None:
    chosen = choose_metrics("")
    found = summarize(parse_csv(RAW_PAGE)[:2], chosen)
    assert found == {
        "launches": 2,
        "instructions": 2_000_001,
        "tensor_instructions": 65_536,
        "shared_wavefronts": 1_234_567,
        "dram_read_bytes": 33_555_457,
        "duration_ns": 9_108,
        "varying": ["shared_wavefronts"],
    }
    assert Counters.model_validate(found).varying == ("shared_wavefronts",)


def test_a_metric_that_no_launch_has_is_left_out() -> None:
    assert summarize([Launched("k", (1, 1, 1), (1, 1, 1), {})], choose_metrics("")) == {
        "launches": 1,
        "varying": [],
    }
