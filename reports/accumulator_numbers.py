"""The computed part of the accumulator study in words: widths, shifts, groups, alignment, orders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from reports.accumulator import EXISTING, HARDWARE, Overflow, Study
from reports.accumulator_findings import LOST_DB, bits_of, counted, needed_width, signed
from reports.naming import unique

USUAL_BITS = 32


def numbers(study: Study) -> Iterator[tuple[str, str]]:
    """Say what the numerics say."""
    yield from _widths(study)
    yield from _shifts(study)
    yield from _groups(study)
    yield from _ends(study)
    yield from _orders(study)


def _widths(study: Study) -> Iterator[tuple[str, str]]:
    for bits in unique(each.bits for each in study.overflow):
        counts = sorted({each.groups for each in study.overflow if (each.bits, each.shift) == (bits, 1)})
        parts = [f"{groups}: {_width_words(study, bits, groups)}" for groups in counts]
        if parts:
            yield (
                "width",
                f"INT{bits}, bits of an accumulator that loses nothing, by groups: {', '.join(parts)}."
                + _narrow(study, bits),
            )


def _width_words(study: Study, bits: int, groups: int) -> str:
    """Return the width that is needed wherever it was tried; what saturates may do with less."""
    places = unique(each.where for each in study.overflow)
    needed = {
        mode: [needed_width(study, where, bits, groups, mode) for where in places]
        for mode in ("wrap", "saturate")
    }
    words = [
        "more" if None in widths else str(max(width for width in widths if width is not None))
        for widths in needed.values()
    ]
    return words[0] if words[0] == words[1] else f"{words[0]} ({words[1]} if it saturates)"


def _narrow(study: Study, bits: int) -> str:
    """Say what saturation saves where INT32 overflows."""
    rows = [each for each in study.overflow if (each.bits, each.shift, each.width) == (bits, 1, USUAL_BITS)]
    lost = [each for each in rows if each.overflows_per_million]
    if not lost:
        return f" INT{USUAL_BITS} never overflowed." if rows else ""
    worst = max(lost, key=lambda each: each.groups)
    same = [each for each in lost if (each.groups, each.where) == (worst.groups, worst.where)]
    levels = ", ".join(f"{each.db:.1f} dB if it {each.mode}s" for each in same)
    return f" With {worst.groups} groups INT{USUAL_BITS} overflows: {levels} ({worst.where})."


def _shifts(study: Study) -> Iterator[tuple[str, str]]:
    """Say what larger steps between scales lose, with the number of groups that is best for each."""
    for where in unique(each.where for each in study.overflow):
        for bits in unique(each.bits for each in study.overflow):
            best: dict[int, Overflow] = {}
            for each in study.overflow:
                if (each.where, each.bits, each.mode) != (where, bits, "wrap"):
                    continue
                known = best.get(each.shift)
                if known is None or (each.db, -each.groups) > (known.db, -known.groups):
                    best[each.shift] = each
            levels = [
                f"{shift}: {each.db:.1f} dB with {counted(each.groups)}"
                for shift, each in sorted(best.items())
            ]
            if len(levels) > 1:
                yield "shift range", f"INT{bits} on {where}, by bits of a shift: {', '.join(levels)}."


def _groups(study: Study) -> Iterator[tuple[str, str]]:
    """Say what groups bring, and how many are enough."""
    for bits in unique(each.bits for each in study.by_groups):
        for where in study.places:
            rows = [each for each in study.by_groups if (each.bits, each.where) == (bits, where)]
            if not rows:
                continue
            best = max(each.db for each in rows)
            enough = min((each for each in rows if each.db >= best - LOST_DB), key=lambda each: each.groups)
            first = min(rows, key=lambda each: each.groups)
            wrapped = [each.groups for each in rows if each.wrapped_pct]
            yield (
                "groups",
                f"INT{bits} on {where}: {enough.groups} groups are enough, {enough.db:.1f} dB against {first.db:.1f} "
                f"with {first.groups}{_time_of(study, bits, enough.groups)}."
                + (f" INT32 wraps with {min(wrapped)}." if wrapped else ""),
            )


def _time_of(study: Study, bits: int, groups: int) -> str:
    """Say what so many groups take in time, with and without hardware, in the schemes of so many bits."""
    parts = []
    for scheme in study.schemes:
        if bits_of(scheme) != bits:
            continue
        m = max((each.m for each in study.borders), default=0)
        rows = [each for each in study.borders if (each.method.scheme, each.m) == (scheme, m)]
        alone = [each.time_us for each in rows if each.method.variant in EXISTING and each.method.groups == 1]
        today = [
            each.time_us for each in rows if each.method.variant in EXISTING and each.method.groups == groups
        ]
        shifted = [
            each.time_us for each in rows if each.method.variant == HARDWARE and each.method.groups == groups
        ]
        if alone and today and shifted:
            base = min(alone)
            parts.append(
                f"{scheme} {signed(100 * (min(today) / base - 1))} % ({signed(100 * (min(shifted) / base - 1))} %)"
            )
    return f", for so much time (with the extension) at M = {m}: {', '.join(parts)}" if parts else ""


def _ends(study: Study) -> Iterator[tuple[str, str]]:
    for scheme in unique(each.scheme for each in study.ends):
        rows = [each for each in study.ends if each.scheme == scheme]
        zeros = _range([each.zeros_pct for each in rows])
        saved = _range([100 * (1 - each.aligned_us / each.padded_us) for each in rows])
        lost = _range([each.padded_db - each.aligned_db for each in rows if not each.overflows])
        counts = unique(each.groups for each in rows if each.overflows)
        yield (
            "ends of groups",
            f"{scheme}, steps of {rows[0].step} columns: padding multiplies {zeros} % zeros; alignment saves "
            f"{saved} % of the time"
            + (f" and loses {lost} dB" if lost else "")
            + (f"; INT32 overflows with {', '.join(map(str, counts))} groups" if counts else "")
            + ".",
        )


def _range(values: Sequence[float]) -> str:
    if not values:
        return ""
    low, high = f"{min(values):.1f}", f"{max(values):.1f}"
    return low if low == high else f"{low} to {high}"


def _orders(study: Study) -> Iterator[tuple[str, str]]:
    for each in study.order_times:
        gather, scatter = each.gather_us - each.plain_us, each.scatter_us - each.plain_us
        yield (
            "orders",
            f"an order per chunk costs who quantizes {each.m} × {each.k} numbers {signed(gather)} µs if it gathers "
            f"and {signed(scatter)} µs if it scatters, on {each.plain_us:.1f} µs; an order for all chunks nothing.",
        )
    lost = [
        f"{each.own_db - each.shared_db:.1f} dB ({each.drift_octaves:g} octaves)"
        for each in study.order_levels
    ]
    if lost:
        yield "orders", f"one order for all chunks loses, by how far channels drift: {', '.join(lost)}."
