"""Goals and tolerances: what passes, what fails, and that nothing passes by being absent."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reports.accuracy import blocks, with_blocks
from reports.validation import collect, csv_rows, render
from sim.errors import ConfigError
from sim.validation.comparison import Case, Comparison, CounterPair, Skipped, TimePair
from sim.validation.judgement import judge, judged_ape
from sim.validation.summary import Summary, summarize
from sim.validation.tolerances import Tolerances, load_tolerances

LIMITS = {"mape_pct": 4, "max_ape_pct": 12}
LOOSE = {"mape_pct": 10, "max_ape_pct": 30}
TOLERANCES = Tolerances.model_validate(
    {
        "short_us": 20,
        "short_error_us": 0.5,
        "time": {
            "default": {"goal": LIMITS, "tolerance": LOOSE},
            "w4a16": {"goal": LOOSE, "tolerance": LOOSE},
        },
        "counters": {
            "instructions": {"goal_pct": 0, "tolerance_pct": 0},
            "dram_bytes": {"goal_pct": 3, "tolerance_pct": 3, "at_least": 1000},
        },
        "gaps": [{"subject": "w4a16", "quantity": "mape_pct", "reason": "a reason that is long enough"}],
    }
)


def time(measured: float, at_clock: float, predicted: float | None = None) -> TimePair:
    return TimePair(measured, 0.01, 1600.0, at_clock, predicted or at_clock, 2000.0)


def row(pair: TimePair | None, scheme: str = "fp16", **counters: tuple[float, float]) -> Comparison:
    return Comparison(
        case=Case("h200", scheme, {}, "8x64", 16, 4096, 4096),
        source="rows.jsonl:1",
        kind="development",
        splits=2,
        ctas=128,
        resident=4,
        waves=1,
        bound="dram",
        time=pair,
        counters={name: CounterPair(*values) for name, values in counters.items()},
    )


def problems(*rows: Comparison, expected: bool = False, skipped: tuple[Skipped, ...] = ()) -> tuple[str, ...]:
    return summarize(rows, skipped, TOLERANCES, expected).problems


def test_a_row_within_its_tolerance_passes_and_its_goal_is_told_apart() -> None:
    mean, largest = judge([row(time(100, 106))], TOLERANCES)
    assert (mean.value, mean.passed, mean.reached) == (pytest.approx(6.0), True, False)
    assert (largest.value, largest.passed, largest.reached) == (pytest.approx(6.0), True, True)


def test_cycles_are_compared_each_at_its_own_clock() -> None:
    pair = time(100, 110, predicted=80)
    assert pair.error_pct("recorded_clock") == pytest.approx(10)
    assert pair.error_pct("predicted_clock") == pytest.approx(-20)
    assert pair.error_pct("cycles") == pytest.approx(0)  # 100 µs x 1600 MHz = 80 µs x 2000 MHz


@pytest.mark.parametrize(
    ("measured", "simulated", "judged"), [(10, 10.5, 0), (10, 10.6, 6), (25, 25.5, 2), (10, 9.5, 0)]
)
def test_half_a_microsecond_is_near_enough_below_twenty(
    measured: float, simulated: float, judged: float
) -> None:
    assert judged_ape(time(measured, simulated), TOLERANCES) == pytest.approx(judged)


def test_a_tolerance_that_is_missed_is_a_problem_with_its_worst_case() -> None:
    mean, largest = problems(row(time(100, 140)))
    assert mean == "fp16: mape_pct: 40, allowed: 10 (fp16 8x64 M=16 N=4096 K=4096)"
    assert largest.startswith("fp16: max_ape_pct: 40, allowed: 30")


def test_counters_must_be_exact_where_the_tolerance_is_zero() -> None:
    assert problems(row(None, instructions=(1e9, 1e9))) == ()
    assert len(problems(row(None, instructions=(1e9, 1e9 - 1)))) == 1


def test_small_counts_are_left_out_where_the_counter_says_so() -> None:
    assert problems(row(time(100, 100), dram_bytes=(999.0, 1.0))) == ()
    assert len(problems(row(time(100, 100), dram_bytes=(1000.0, 900.0)))) == 1


def test_nothing_checked_is_a_failure() -> None:
    assert problems() == ("nothing was checked: no row has a time or counters to compare",)
    assert problems(row(None)) == problems()


def test_what_is_missing_is_a_failure() -> None:
    assert problems(replace(row(time(100, 100)), missing=("timing.clock_mhz",))) == (
        "rows.jsonl:1: timing.clock_mhz: missing",
    )


def test_stale_rows_are_counted_and_rows_that_cannot_be_run_fail() -> None:
    good = row(time(100, 100))
    stale = Skipped(good.case, "rows.jsonl:2", "another program than was measured", stale=True)
    broken = replace(stale, stale=False, reason="cannot be simulated: warp 0 waits")
    summary = summarize([good], [stale, broken], TOLERANCES)
    assert summary.stale == summary.to_json()["stale"] == 1
    assert summary.problems == (
        "rows.jsonl:2: fp16 8x64 M=16 N=4096 K=4096: cannot be simulated: warp 0 waits",
    )
    assert len(problems(skipped=(stale,))) == 1


def test_the_recorded_rows_must_hold_what_has_a_tolerance() -> None:
    found = problems(row(time(100, 100), instructions=(5.0, 5.0)), expected=True)
    assert found == ("dram_bytes: nothing was compared", "w4a16: nothing was compared")


def test_the_json_has_the_agreed_keys() -> None:
    summary = summarize([row(time(100, 106), instructions=(5.0, 5.0))], [], TOLERANCES)
    record: dict[str, Any] = json.loads(json.dumps(summary.to_json(), allow_nan=False))
    assert record["cases"] == 1
    for part in (record["overall"], record["per_scheme"]["fp16"], record["per_kind"]["development"]):
        assert {"cases", "mape_pct", "max_ape_pct", "pearson_r", "cycles", "predicted_clock"} <= set(part)
    assert record["counters"]["instructions"] == {"rows": 1, "exact": 1, "within_noise": 0, "worst_pct": 0.0}


# ------------------------------------------------------------------------------------- the file


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time: {}\ncounters: {}", "time has no entry default"),
        (
            "time: {default: {goal: {mape_pct: 1, max_ape_pct: 2}}}\ncounters: {}",
            "time.default.tolerance: missing",
        ),
        ("time: {}\ncounters: {a: {goal_pct: -1, tolerance_pct: 0}}", "counters.a.goal_pct"),
    ],
)
def test_mistakes_in_the_file_are_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "tolerances.yaml"
    path.write_text(f"short_us: 20\nshort_error_us: 0.5\n{text}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=message) as caught:
        load_tolerances(path)
    assert "\n" not in str(caught.value)


# ------------------------------------------------------------------------------------- figure and documents


def summary_of(count: int) -> Summary:
    rows = [
        row(time(10.0 * i, 10.0 * i * (0.8 + 0.05 * i), 9.0 * i), ("fp16", "w4a16")[i % 2])
        for i in range(1, count + 1)
    ]
    return summarize(rows, [], TOLERANCES)


@pytest.mark.parametrize("count", [0, 1, 9])
def test_the_figure_is_drawn_and_always_the_same(count: int, tmp_path: Path) -> None:
    data = collect(summary_of(count).comparisons)
    first, second = (
        {path.name: path.read_bytes() for path in render(data, tmp_path / name)} for name in ("a", "b")
    )
    assert set(first) == {"validation.png", "validation.svg", "validation.csv"}
    assert first == second
    assert first["validation.csv"].count(b"\n") == count + 1


def test_the_farthest_off_are_those_outside_the_band() -> None:
    data = collect([row(time(100, 100 + error)) for error in (-30, 5, 12, -9, 40)])
    assert [dot.error_pct for dot in data.worst] == pytest.approx([40, -30, 12])
    assert data.inside == 2


def test_blocks_are_renewed_between_their_markers_and_nothing_else_changes() -> None:
    text = "before\n<!-- accuracy: times -->\nold\n<!-- accuracy: end -->\nafter\n"
    found = blocks(summary_of(4))
    once = with_blocks(text, found)
    assert once.startswith("before\n<!-- accuracy: times -->\n") and once.endswith(
        "\n<!-- accuracy: end -->\nafter\n"
    )
    assert "old" not in once and "| `fp16` | 2 |" in once
    assert with_blocks(once, found) == once
    with pytest.raises(ValueError, match="accuracy: end"):
        with_blocks("<!-- accuracy: times -->", found)


def test_rows_without_a_time_are_not_in_the_table_of_rows() -> None:
    assert len(list(csv_rows([row(None, instructions=(1.0, 1.0)), row(time(10, 11))]))) == 1
