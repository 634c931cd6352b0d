"""What the reports collect, against numbers worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from reports import bank_conflicts, bounds, roofline, stalls
from reports.naming import layer_name, m_range, natural_key, plain, scheme_names
from sim.errors import ConfigError
from sim.results import STALLS, RunResult, SharedAccess

ROOFS = {"dram_gb_per_s": 1000.0, "tensor_tflops": 100.0}


def run(arch: str = "a", m: int = 16, time_us: float = 10.0, **changes: Any) -> RunResult:
    """Make a result: 2e9 flop over 2e7 bytes, which is 100 flop per byte."""
    values: dict[str, Any] = dict.fromkeys(("bound_text", "config_hash", "version"), "")
    values |= {
        "breakdown_us": {},
        "stalls": {},
        "counters": {},
        "options": {},
        "extensions": (),
        "roofs": ROOFS,
    }
    values |= {"arch": arch, "scheme": "fp16", "m": m, "n": 64, "k": 32, "bound_by": "dram"}
    values |= {"time_us": time_us, "cycles": time_us * 1000, "clock_mhz": 1000.0, "energy_uj": 0.0}
    values |= {"flops": 2 * 10**9, "compulsory_bytes": 2 * 10**7}
    return RunResult(**{**values, **changes})


def access(pc: int = 0, executed: int = 10, wavefronts: int = 40, ideal: int = 10) -> SharedAccess:
    """Make a four-way conflict."""
    return SharedAccess(pc, "LDS R0, [R1]", 7, executed, wavefronts, ideal, (4, 0), "x = s[i];")


def test_names() -> None:
    assert layer_name(run()) == "64×32"
    assert (m_range(1, 1), m_range(1, 64)) == ("1", "1-64")
    assert sorted(["SM 10", "SM 2"], key=natural_key) == ["SM 2", "SM 10"]
    assert plain("a\t b\n漢") == "a b ?"
    assert plain("abcdefgh", 6) == "abc..."


def test_only_options_that_differ_become_part_of_the_scheme_name() -> None:
    runs = [
        run(options={"group": 64, "zero": 1}),
        run(options={"group": 128, "zero": 1}),
        run(scheme="x", options={"group": 1}),
    ]
    assert scheme_names(runs) == ("fp16 group=64", "fp16 group=128", "x")


def test_roofline_point_is_flop_over_bytes_and_over_time() -> None:
    point = roofline.collect([run(time_us=40.0)]).panels[0].lines[0].points[0]
    assert point.intensity == 100.0
    assert point.tflops == pytest.approx(50.0)
    assert point.roof_tflops == 100.0  # 1000 GB/s · 100 flop/B = 100 TFLOP/s, just the tensor peak
    assert point.percent == pytest.approx(50.0)


def test_roofline_roof_is_the_lower_of_dram_and_tensor() -> None:
    low = run(roofs={**ROOFS, "dram_gb_per_s": 300.0})
    assert roofline.collect([low]).panels[0].lines[0].points[0].roof_tflops == pytest.approx(30.0)


def test_roofline_keeps_the_fastest_of_equal_runs_in_the_order_of_m() -> None:
    line = roofline.collect([run(m=2, time_us=30.0), run(m=1), run(m=2, time_us=20.0)]).panels[0].lines[0]
    assert [(point.m, round(point.tflops)) for point in line.points] == [(1, 200), (2, 100)]


def test_roofline_without_roofs_has_no_percentages() -> None:
    panel = roofline.collect([run(roofs={})]).panels[0]
    assert (panel.roofs, roofline.finding(panel)) == ((), "")


def test_roofline_finding_gives_the_range_of_the_schemes() -> None:
    runs = [run(m=1, time_us=40.0), run(m=1, time_us=80.0, scheme="x"), run(m=8, time_us=25.0)]
    panel = roofline.collect(runs).panels[0]
    assert roofline.finding(panel) == "25-50 % of the roof at M = 1, 80 % at M = 8"
    assert roofline.finding(panel, each=True).startswith("fp16 50 % / x 25 % of the roof at M = 1")


def test_bounds_of_neighbouring_m_merge() -> None:
    runs = [
        run(m=m, bound_by=bound) for m, bound in ((128, "tensor"), (1, "dram"), (64, "dram"), (256, "tensor"))
    ]
    (row,) = bounds.bound_table(runs)
    assert row.text == "M 1-64 DRAM, M 128-256 tensor core"
    assert (
        row.sentence == "On a, fp16 64×32 is bound by DRAM at M = 1-64 and by the tensor core at M = 128-256."
    )


def test_a_bound_that_returns_is_told_twice() -> None:
    runs = [run(m=m, bound_by=bound) for m, bound in ((1, "launch"), (2, "dram"), (4, "launch"))]
    assert bounds.bound_table(runs)[0].text == "M 1 launch, M 2 DRAM, M 4 launch"


def test_speed_up_in_words() -> None:
    base = [run("base", m, 10.0) for m in (1, 4, 16, 256)]
    fast = [run("fast", m, time) for m, time in ((1, 5.0), (4, 5.0), (16, 5.05), (256, 10.0))]
    (told,) = bounds.speed_ups([*base, *fast])
    assert told.text == "fast: 1.99x faster at M <= 16, unchanged at M = 256"
    (turned,) = bounds.speed_ups([*base, *fast], base="fast")
    assert turned.text == "base: 1.99x slower at M <= 16, unchanged at M = 256"


def test_speed_up_is_the_geometric_mean_of_common_runs() -> None:
    runs = [
        run("a", n=1),
        run("a", n=2),
        run("b", n=1, time_us=2.5),
        run("b", n=2, time_us=10.0),
        run("b", n=3, time_us=1.0),
    ]
    (told,) = bounds.speed_ups(runs)
    assert told.spans[0][3] == pytest.approx(2.0)  # sqrt(4 · 1)
    assert told.text == "b: 2.00x faster at M = 16"


def test_speed_ups_are_told_scheme_by_scheme_where_these_differ() -> None:
    runs = [run("a"), run("a", scheme="x"), run("b", time_us=5.0), run("b", scheme="x", time_us=8.0)]
    told = bounds.speed_ups_told([*runs, run("c"), run("c", scheme="x")])
    assert [each.text for each in told] == [
        "b, fp16: 2.00x faster at M = 16",
        "b, x: 1.25x faster at M = 16",
        "c: unchanged at M = 16",
    ]
    assert [each.short for each in told[:2]] == ["fp16 2.00x at M = 16", "x 1.25x at M = 16"]


def test_unchanged_machine_and_machine_without_common_runs() -> None:
    runs = [run("a", 1), run("a", 2), run("b", 1), run("b", 2), run("c", 3)]
    assert [told.text for told in bounds.speed_ups(runs)] == ["b: unchanged at every M"]
    with pytest.raises(ConfigError, match="unknown machine 'd'"):
        bounds.speed_ups(runs, base="d")


def test_speed_ups_that_change_smoothly_are_told_as_at_most_three_ranges() -> None:
    sizes = [1 << power for power in range(9)]
    fast = [run("b", m, 10.0 / (1 + power / 8)) for power, m in enumerate(sizes)]
    (told,) = bounds.speed_ups([*(run("a", m) for m in sizes), *fast])
    assert len(told.spans) <= 3
    assert (told.spans[0][0], told.spans[-1][1]) == (1, 256)


def test_bank_conflicts_add_up_over_runs_and_rank_by_extra_wavefronts() -> None:
    clean = access(pc=16, executed=1000, wavefronts=1000, ideal=1000)
    report = bank_conflicts.collect([run(m=m, shared_accesses=(clean, access())) for m in (1, 2)])
    (program,) = report.programs
    assert [row.pc for row in program.instructions] == [0, 16]
    assert program.instructions[0].accesses[0].executed == 20
    assert (program.instructions[0].accesses[0].each, program.instructions[0].accesses[0].ideal_each) == (
        4.0,
        1.0,
    )
    assert program.totals("a") == (2080, 2020)
    assert bank_conflicts.verdict(program) == "2.9 % of wavefronts are conflicts"
    found = bank_conflicts.finding(report.programs)
    assert found == "Bank conflicts: LDS takes 4 wavefronts where 1 would do, line 7"
    told = bank_conflicts.conclusion(report.programs)
    assert told == "That LDS leaves 50 % of the 2 banks idle. "  # 4 words in 4 wavefronts of 2 banks


def test_bank_conflicts_on_more_banks_only() -> None:
    wide = SharedAccess(0, "@P0 LDSM.16 R0, [R1]", 7, 10, 40, 20, (2,) * 64, "load(x);")
    clean = SharedAccess(0, "@P0 LDSM.16 R0, [R1]", 7, 10, 40, 40, (4,) * 32, "load(x);")
    report = bank_conflicts.collect([run("a", shared_accesses=(clean,)), run("b", shared_accesses=(wide,))])
    (program,) = report.programs
    assert (
        bank_conflicts.finding(report.programs)
        == "No bank conflicts on 32 banks; on 64 banks LDSM.16 takes 4 wavefronts where 2 would do"
    )
    assert bank_conflicts.conclusion(report.programs) == "That LDSM.16 leaves 50 % of the 64 banks idle. "
    verdict = "conflict-free on 32 banks; 50 % of wavefronts are conflicts on 64 banks"
    assert bank_conflicts.verdict(program) == verdict


def test_instructions_of_a_line_that_do_the_same_are_one_row() -> None:
    rows = (access(), access(pc=16, executed=30, wavefronts=120, ideal=30), access(pc=32, wavefronts=10))
    (program,) = bank_conflicts.collect([run(shared_accesses=rows)]).programs
    first, second = bank_conflicts.merged(program.instructions)
    assert (first.count, first.accesses[0].executed, first.accesses[0].wavefronts) == (2, 40, 160)
    assert (second.count, second.pc) == (1, 32)


def test_runs_of_one_tile_are_one_program_whatever_the_split() -> None:
    whole = run(m=1, tile="fp16 8x64", shared_accesses=(access(),))
    split = run(m=4, tile="fp16 8x64 split 4", shared_accesses=(access(), access(pc=16)))
    other = run(m=8, tile="fp16 16x64", shared_accesses=(access(),))
    programs = bank_conflicts.collect([whole, split, other]).programs
    assert [program.name for program in programs] == ["fp16 8x64 (M 1-4)", "fp16 16x64 (M 8)"]
    executed = {row.pc: row.accesses[0].executed for row in programs[0].instructions}
    assert executed == {0: 20, 16: 10}


def test_bank_conflicts_of_equal_machines_are_one_row() -> None:
    better = (access(wavefronts=20),)
    runs = [
        run("a", shared_accesses=(access(),)),
        run("b", shared_accesses=(access(),)),
        run("c", shared_accesses=better),
    ]
    groups = bank_conflicts.collect(runs).programs[0].instructions[0].groups()
    assert [machines for _, machines in groups] == [("a", "b"), ("c",)]


def test_programs_of_one_scheme_are_told_apart() -> None:
    runs = [run(m=1, shared_accesses=(access(),)), run(m=64, shared_accesses=(access(pc=32),))]
    assert [program.name for program in bank_conflicts.collect(runs).programs] == [
        "fp16 program 1 of 2 (M 1)",
        "fp16 program 2 of 2 (M 64)",
    ]


def test_conflict_free_is_said_in_words() -> None:
    report = bank_conflicts.collect([run(shared_accesses=(access(wavefronts=10),))])
    assert bank_conflicts.verdict(report.programs[0]) == "conflict-free"
    assert bank_conflicts.finding(report.programs) == "No bank conflicts: every wavefront is ideal"


def test_stalls_name_the_largest_reason() -> None:
    (bar,) = stalls.collect([run(stalls={"issued": 6.0, "wait": 1.0, "barrier": 3.0}), run()]).bars
    assert bar.total == 10.0
    assert bar.worst == "barrier 30 %"
    assert len(bar.cycles) == len(STALLS)
    assert stalls.finding([bar]) == "Largest stall on a: barrier 30 % at M = 16"


def test_stalls_figure_keeps_both_ends_of_m_when_it_must_choose() -> None:
    bars = stalls.collect(
        [run(m=m, n=n, stalls={"wait": 1.0}) for m in range(1, 10) for n in range(1, 11)]
    ).bars
    rows = stalls.selected(bars)
    assert {m for m, _, _ in rows} == {1, 9}
    assert len(rows) == 20
