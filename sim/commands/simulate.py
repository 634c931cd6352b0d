"""``tcsim simulate``: one run, as text for people or as one JSON object."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from reports.naming import bound_words
from sim.commands.selection import Request, select
from sim.commands.terminal import Table, say, show
from sim.results import RunResult

COUNTER_WORDS = {
    "ctas": "CTAs",
    "ctas_per_sm": "CTAs per SM",
    "l2_bytes": "L2 bytes",
    "dram_bytes": "DRAM bytes",
}
CONFLICTS = ("bank conflicts in line", "wavefronts", "without conflicts", "source")
LISTED_CONFLICTS = 5


def run(request: Request, as_json: bool) -> None:
    """Simulate what was asked for and write the result."""
    selection = select(request)
    from sim.simulate import simulate

    result = simulate(selection.workload, selection.launches, selection.gpu, selection.extensions)
    result = selection.named(result, request.overrides)
    if as_json:
        say(json.dumps(result.to_json(detail=False), allow_nan=False, default=_plain))
    else:
        _show(result)


def _plain(value: Any) -> Any:
    """Turn a NumPy scalar into what JSON knows."""
    return value.tolist()


def _show(result: RunResult) -> None:
    show(Table(("", ""), tuple(_head(result)), heading(result)))
    say("")
    show(_breakdown(result))
    say("")
    if conflicts := _conflicts(result):
        show(Table(CONFLICTS, conflicts, right=(1, 2)))
        say("")
    show(_numbers("stall", "cycles per instruction", result.stalls, {}))
    say("")
    show(_numbers("counter", "in the launch", result.counters, COUNTER_WORDS))


def heading(result: RunResult) -> str:
    """Name the run in one line."""
    options = ", ".join(f"{key}={value}" for key, value in result.options.items())
    sizes = f" M={result.m} N={result.n} K={result.k}" if result.m else ""
    extensions = "".join(f" + {name}" for name in result.extensions)
    return f"{result.scheme}{f' ({options})' if options else ''}{sizes} on {result.arch}{extensions}"


def _head(result: RunResult) -> list[tuple[str, str]]:
    spread = f" ± {result.spread_us:.2g}" if result.spread_us else ""
    rows = [
        ("time", f"{result.time_us:.2f}{spread} µs"),
        ("cycles", f"{result.cycles:,.0f} at {result.clock_mhz:.0f} MHz"),
        ("bound by", result.bound_text),
        ("energy", f"{result.energy_uj:,.1f} µJ"),
    ]
    if result.flops:
        rows.insert(2, ("rate", f"{result.flops / result.time_us / 1e6:,.1f} TFLOP/s"))
    if result.tile and result.tile != result.scheme:
        rows.append(("kernel", result.tile))
    return rows


def _breakdown(result: RunResult) -> Table:
    shares = sorted(result.breakdown_us.items(), key=lambda item: -item[1])
    rows = tuple(
        (bound_words(name), f"{time:.2f}", f"{100 * time / result.time_us:.1f}")
        for name, time in shares
        if time > 0
    )
    return Table(("time by what limits it", "µs", "%"), rows, right=(1, 2))


def _conflicts(result: RunResult) -> tuple[tuple[str, ...], ...]:
    """Return the source lines with the most wavefronts beyond the ideal, a line's instructions together."""
    lines: dict[tuple[str, str], list[int]] = {}
    for row in result.shared_accesses:
        where = (str(row.source_line), row.source) if row.source_line else (f"0x{row.pc:x}", "")
        total = lines.setdefault((where[0], where[1] or row.sass), [0, 0])
        total[0] += row.wavefronts
        total[1] += row.ideal
    worst = sorted(lines.items(), key=lambda item: item[1][1] - item[1][0])
    return tuple(
        (line, f"{actual:,}", f"{ideal:,}", source)
        for (line, source), (actual, ideal) in worst[:LISTED_CONFLICTS]
        if actual > ideal
    )


def _numbers(what: str, unit: str, numbers: Mapping[str, float], words: Mapping[str, str]) -> Table:
    rows = tuple(
        (words.get(name, name.replace("_", " ")), _number(value)) for name, value in numbers.items() if value
    )
    return Table((what, unit), rows, right=(1,))


def _number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.3f}"
