"""``tcsim trace``: the timeline of one SM, for Perfetto."""

from __future__ import annotations

from pathlib import Path

from reports.trace import TraceEvent, write_trace
from sim.commands.selection import Request, select
from sim.commands.terminal import say
from sim.dse.files import make_directory


def run(request: Request, out: Path) -> None:
    """Simulate what was asked for and write who did what when."""
    selection = select(request)
    from sim.simulate import timeline

    make_directory(out.parent)
    spans = timeline(selection.launches, selection.gpu, selection.extensions)
    events = [
        TraceEvent(
            span.track, span.lane, span.name, span.start_cycle, span.duration_cycles, span.args, span.kind
        )
        for span in spans
    ]
    work = selection.workload
    metadata = {"arch": selection.gpu.name, "scheme": work.scheme, "m": work.m, "n": work.n, "k": work.k}
    write_trace(events, out, metadata)
    cycles = max((event.start_cycle + event.duration_cycles for event in events), default=0)
    issued = sum("sass" in event.args for event in events)
    say(f"wrote {out}: {issued:,} instructions on one SM in {cycles:,} cycles; open it at ui.perfetto.dev")
