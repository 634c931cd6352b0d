"""The computed part of the accumulator study in words: widths, shifts, groups, alignment, orders."""

from __future__ import annotations

from collections.abc import Iterator

from reports.accumulator import EXISTING, HARDWARE, Ends, Study
from reports.accumulator_findings import LOST_DB, needed_width
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
        if not counts:
            continue
        parts = []
        for groups in counts:
            widths = [needed_width(study, bits, groups, 1, mode) for mode in ("wrap", "saturate")]
            wrap, saturate = (f"{each}" if each else "more" for each in widths)
            parts.append(f"{groups}: {wrap}" + ("" if wrap == saturate else f" ({saturate} if it saturates)"))
        yield (
            "width",
            f"INT{bits}, bits of an accumulator that loses nothing on {study.places[0]}, by groups: {', '.join(parts)}."
            + _saturating(study, bits),
        )


def _saturating(study: Study, bits: int) -> str:
    """Say what saturation saves where INT32, or the widest that was tried, overflows."""
    rows = [each for each in study.overflow if (each.bits, each.shift, each.width) == (bits, 1, USUAL_BITS)]
    lost = [each for each in rows if each.overflows_per_million]
    if not lost:
        return f" INT{USUAL_BITS} never overflowed." if rows else ""
    worst = max(lost, key=lambda each: each.groups)
    pair = {each.mode: each.db for each in lost if each.groups == worst.groups}
    return (
        f" In {USUAL_BITS} bits {worst.groups} groups overflow: "
        + ", ".join(f"{db:.1f} dB if it {mode}s" for mode, db in pair.items())
        + "."
    )


def _shifts(study: Study) -> Iterator[tuple[str, str]]:
    widest = max((each.width for each in study.overflow), default=0)
    for bits in unique(each.bits for each in study.overflow):
        rows = [
            each for each in study.overflow if (each.bits, each.width, each.mode) == (bits, widest, "wrap")
        ]
        best = {
            shift: max((each.db for each in rows if each.shift == shift), default=0.0)
            for shift in sorted({each.shift for each in rows})
        }
        if len(best) > 1:
            levels = ", ".join(f"{shift}: {db:.1f} dB" for shift, db in best.items())
            yield "shift range", f"INT{bits}, best of all numbers of groups, by bits of a shift: {levels}."


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
        if (4 if "4" in scheme else 8) != bits:
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
                f"{scheme} {100 * (min(today) / base - 1):+.1f} % ({100 * (min(shifted) / base - 1):+.1f} %)"
            )
    return f", for so much time (with the extension) at M = {m}: {', '.join(parts)}" if parts else ""


def _ends(study: Study) -> Iterator[tuple[str, str]]:
    for scheme in unique(each.scheme for each in study.ends):
        rows = [each for each in study.ends if each.scheme == scheme]
        yield "ends of groups", f"{scheme}, steps of {rows[0].step}: {'; '.join(map(_end_words, rows))}."


def _end_words(each: Ends) -> str:
    lost = f"{each.padded_db - each.aligned_db:.1f} dB" if not each.overflows else "sums that overflow INT32"
    return (
        f"{each.groups} groups, M = {each.m}: alignment takes {100 * (each.aligned_us / each.padded_us - 1):+.1f} % "
        f"time against {each.zeros_pct:.1f} % zeros and loses {lost}"
    )


def _orders(study: Study) -> Iterator[tuple[str, str]]:
    for each in study.order_times:
        gather, scatter = each.gather_us - each.plain_us, each.scatter_us - each.plain_us
        yield (
            "orders",
            f"an order per chunk costs the producer of {each.m} × {each.k} activations {gather:+.1f} µs if it gathers, "
            f"{scatter:+.1f} µs if it scatters, on {each.plain_us:.1f} µs; an order for all chunks nothing.",
        )
    lost = [
        f"{each.own_db - each.shared_db:.1f} dB ({each.drift_octaves:g} octaves)"
        for each in study.order_levels
    ]
    if lost:
        yield "orders", f"one order for all chunks loses, by how far channels drift: {', '.join(lost)}."
