"""``tcsim simulate``: one run, as text for people or as one JSON object."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from reports.naming import bound_words
from sim.commands.selection import Request, select
from sim.commands.terminal import Table, say, show
from sim.results import RunResult, SharedAccess

COUNTER_WORDS = {
    "ctas": "CTAs",
    "ctas_per_sm": "CTAs per SM",
    "l2_bytes": "L2 bytes",
    "dram_bytes": "DRAM bytes",
}
CONFLICTS = ("bank conflicts in line", "instruction", "wavefronts", "each", "ideal", "banks used", "source")
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
        show(Table(CONFLICTS, conflicts, right=(2, 3, 4)))
        say("")
    show(_stalls(result))
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
    return rows + _head_conflicts(result)


def _head_conflicts(result: RunResult) -> list[tuple[str, str]]:
    """Say what bank conflicts add; nothing if the kernel does not touch shared memory."""
    actual = sum(row.wavefronts for row in result.shared_accesses)
    ideal = sum(row.ideal for row in result.shared_accesses)
    if not result.shared_accesses:
        return []
    if actual <= ideal:
        return [("shared memory", "no bank conflicts")]
    share = f"{100 * (actual - ideal) / actual:.0f} % of the wavefronts are bank conflicts"
    return [("shared memory", f"{share}: {actual:,} where {ideal:,} would do")]


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
    lines: dict[tuple[str, str], list[SharedAccess]] = {}
    for row in result.shared_accesses:
        place = str(row.source_line) if row.source_line else f"0x{row.pc:x}"
        lines.setdefault((place, _opcode(row)), []).append(row)
    worst = sorted(lines.items(), key=lambda item: -sum(row.wavefronts - row.ideal for row in item[1]))
    found = ((place, opcode, _sums(rows), rows[0]) for (place, opcode), rows in worst[:LISTED_CONFLICTS])
    return tuple(
        (
            place,
            opcode,
            f"{actual:,}",
            f"{actual / executed:.3g}",
            f"{ideal / executed:.3g}",
            _banks(row),
            row.source or row.sass,
        )
        for place, opcode, (executed, actual, ideal), row in found
        if actual > ideal
    )


def _sums(rows: Sequence[SharedAccess]) -> tuple[int, int, int]:
    """Return executions, wavefronts, and wavefronts without conflicts."""
    executed = max(1, sum(row.executed for row in rows))
    return executed, sum(row.wavefronts for row in rows), sum(row.ideal for row in rows)


def _opcode(row: SharedAccess) -> str:
    words = (word for word in row.sass.split() if not word.startswith("@"))
    return next(words, "")


def _banks(row: SharedAccess) -> str:
    return f"{sum(words > 0 for words in row.banks)} of {len(row.banks)}" if row.banks else ""


def _stalls(result: RunResult) -> Table:
    """Show what warps do with their cycles, what takes most first."""
    total = sum(result.stalls.values()) or 1.0
    ranked = sorted(result.stalls.items(), key=lambda item: -item[1])
    rows = tuple(
        (name.replace("_", " "), _number(cycles), f"{100 * cycles / total:.1f}")
        for name, cycles in ranked
        if cycles
    )
    return Table(("a warp's cycles per instruction", "cycles", "%"), rows, right=(1, 2))


def _numbers(what: str, unit: str, numbers: Mapping[str, float], words: Mapping[str, str]) -> Table:
    rows = tuple(
        (words.get(name, name.replace("_", " ")), _number(value)) for name, value in numbers.items() if value
    )
    return Table((what, unit), rows, right=(1,))


def _number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.3f}"
