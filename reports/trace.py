"""Timelines for Perfetto and chrome://tracing, in Chrome's JSON trace event format.

The format counts microseconds; a cycle is written as 0.001, so that the viewer's nanosecond is one SM cycle.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reports.naming import natural_key
from reports.output import replace_file

KINDS = ("span", "async", "instant")
_UNITS = "1 ns on the screen is 1 SM cycle"


@dataclass(frozen=True)
class TraceEvent:
    """Something that happened, or lasted, on a lane of a track.

    A track is a group of lanes: ``SM 0 / sub-core 1`` with a lane per warp, or ``SM 0 / pipes``.
    Spans of a lane nest or follow each other; what overlaps freely, as copies in flight do, is ``async``.
    """

    track: str
    lane: str
    name: str
    start_cycle: int
    duration_cycles: int
    args: Mapping[str, Any] = field(default_factory=dict)
    kind: str = "span"  # one of KINDS; a barrier is an instant

    def __post_init__(self) -> None:
        if self.start_cycle < 0 or self.duration_cycles < 0 or self.kind not in KINDS:
            raise ValueError(f"impossible trace event: {self}")


def write_trace(events: Sequence[TraceEvent], path: Path, metadata: Mapping[str, Any] | None = None) -> Path:
    """Write the timeline of ``events``; ``metadata`` goes into the file's header."""

    def write(target: Path) -> None:
        header = json.dumps({"units": _UNITS, **(metadata or {})}, allow_nan=False)
        with target.open("w", encoding="utf-8") as stream:
            stream.write(f'{{"displayTimeUnit": "ns", "otherData": {header},\n"traceEvents": [\n')
            separator = ""
            for record in _records(events):
                stream.write(separator + json.dumps(record, allow_nan=False))
                separator = ",\n"
            stream.write("\n]}\n")

    return replace_file(path, write)


def _records(events: Sequence[TraceEvent]) -> Iterator[dict[str, Any]]:
    """Yield the names of tracks and lanes, then all events in the order of their time stamps."""
    lanes = sorted(
        {(event.track, event.lane) for event in events}, key=lambda lane: tuple(map(natural_key, lane))
    )
    tracks = {
        track: number for number, track in enumerate(dict.fromkeys(track for track, _ in lanes), start=1)
    }
    places = {lane: (tracks[lane[0]], number) for number, lane in enumerate(lanes, start=1)}
    yield from _names(tracks, places)
    stamped = [row for number, event in enumerate(events) for row in _stamped(event, places, number)]
    for _, record in sorted(stamped, key=lambda row: row[0]):
        yield record


def _names(
    tracks: Mapping[str, int], places: Mapping[tuple[str, str], tuple[int, int]]
) -> Iterator[dict[str, Any]]:
    for track, pid in tracks.items():
        yield {"ph": "M", "name": "process_name", "pid": pid, "args": {"name": track}}
        yield {"ph": "M", "name": "process_sort_index", "pid": pid, "args": {"sort_index": pid}}
    for (_, lane), (pid, tid) in places.items():
        yield {"ph": "M", "name": "thread_name", "pid": pid, "tid": tid, "args": {"name": lane}}
        yield {"ph": "M", "name": "thread_sort_index", "pid": pid, "tid": tid, "args": {"sort_index": tid}}


def _stamped(
    event: TraceEvent, places: Mapping[tuple[str, str], tuple[int, int]], number: int
) -> Iterator[tuple[tuple[int, int, int], dict[str, Any]]]:
    """Yield the event's records, each with its sort key; an enclosing span comes before what it encloses."""
    pid, tid = places[event.track, event.lane]
    end = event.start_cycle + event.duration_cycles
    start = (event.start_cycle, -event.duration_cycles, number)
    base = {"name": event.name, "pid": pid, "tid": tid, "ts": event.start_cycle / 1000}
    if event.kind == "instant":
        yield start, {**base, "ph": "i", "s": "t", "args": dict(event.args)}
    elif event.kind == "async":
        shared = {**base, "cat": event.lane, "id": number}
        yield start, {**shared, "ph": "b", "args": dict(event.args)}
        yield (end, 1, number), {**shared, "ph": "e", "ts": end / 1000}
    else:
        yield start, {**base, "ph": "X", "dur": event.duration_cycles / 1000, "args": dict(event.args)}
