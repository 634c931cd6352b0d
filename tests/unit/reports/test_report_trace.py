"""The timeline follows Chrome's trace event format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reports.trace import TraceEvent, write_trace

EVENTS = [
    TraceEvent("SM 0 / sub-core 1", "warp 10", "FFMA", 30, 4, {"pc": "0x10"}),
    TraceEvent("SM 0 / sub-core 1", "warp 2", "HMMA", 10, 32),
    TraceEvent("SM 0 / pipes", "tensor", "HMMA", 10, 16),
    TraceEvent("SM 0 / sub-core 1", "copies", "cp.async", 5, 600, {"bytes": 512}, "async"),
    TraceEvent("SM 0 / sub-core 1", "copies", "cp.async", 7, 500, {"bytes": 512}, "async"),
    TraceEvent("SM 0 / sub-core 1", "warp 2", "bar.sync", 50, 0, {}, "instant"),
]


def load(path: Path, events: list[TraceEvent]) -> dict[str, Any]:
    """Write and parse a trace."""
    return dict(json.loads(write_trace(events, path, {"arch": "h200"}).read_text(encoding="utf-8")))


def test_times_are_thousandths_of_a_microsecond_rising_and_never_negative(tmp_path: Path) -> None:
    trace = load(tmp_path / "t.json", EVENTS)
    timed = [row for row in trace["traceEvents"] if row["ph"] != "M"]
    stamps = [row["ts"] for row in timed]
    assert stamps == sorted(stamps)
    assert stamps[0] == 0.005
    assert all(row["dur"] >= 0 for row in timed if row["ph"] == "X")
    assert trace["otherData"] == {"units": "1 ns on the screen is 1 SM cycle", "arch": "h200"}


def test_every_event_is_on_a_named_process_and_thread(tmp_path: Path) -> None:
    rows = load(tmp_path / "t.json", EVENTS)["traceEvents"]
    processes = {row["pid"]: row["args"]["name"] for row in rows if row["name"] == "process_name"}
    threads = {(row["pid"], row["tid"]): row["args"]["name"] for row in rows if row["name"] == "thread_name"}
    assert list(processes.values()) == ["SM 0 / pipes", "SM 0 / sub-core 1"]
    assert list(threads.values()) == ["tensor", "copies", "warp 2", "warp 10"]
    assert all((row["pid"], row["tid"]) in threads for row in rows if row["ph"] != "M")


def test_copies_are_pairs_of_their_own_and_barriers_instants(tmp_path: Path) -> None:
    rows = load(tmp_path / "t.json", EVENTS)["traceEvents"]
    ends = {row["id"]: row["ts"] for row in rows if row["ph"] == "e"}
    begins = {row["id"]: row["ts"] for row in rows if row["ph"] == "b"}
    assert sorted(begins.values()) == [0.005, 0.007]
    assert {number: round(ends[number] - begins[number], 3) for number in begins} == {3: 0.6, 4: 0.5}
    assert [row["name"] for row in rows if row["ph"] == "i"] == ["bar.sync"]


def test_enclosing_span_comes_first_and_bytes_are_the_same_twice(tmp_path: Path) -> None:
    nested = [TraceEvent("t", "l", "inner", 0, 5), TraceEvent("t", "l", "outer", 0, 9)]
    names = [row["name"] for row in load(tmp_path / "t.json", nested)["traceEvents"] if row["ph"] == "X"]
    assert names == ["outer", "inner"]
    first = (tmp_path / "t.json").read_bytes()
    load(tmp_path / "u.json", nested)
    assert (tmp_path / "u.json").read_bytes() == first


def test_empty_trace_is_valid(tmp_path: Path) -> None:
    assert load(tmp_path / "t.json", [])["traceEvents"] == []


@pytest.mark.parametrize("start, duration, kind", [(-1, 0, "span"), (0, -1, "span"), (0, 0, "flow")])
def test_impossible_events_cannot_be_made(start: int, duration: int, kind: str) -> None:
    with pytest.raises(ValueError, match="impossible"):
        TraceEvent("t", "l", "n", start, duration, {}, kind)
