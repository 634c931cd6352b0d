"""The accumulator study in words, computed from its rows: where the extension pays and where it does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from reports.accumulator import (
    DECODE,
    EXISTING,
    EXTENSION,
    HARDWARE,
    IDEAL,
    OPERANDS,
    WORDS,
    Method,
    Study,
)
from reports.accumulator_findings import (
    Gain,
    Slope,
    choices,
    front,
    gains,
    run_us,
    slopes,
)
from reports.accumulator_numbers import numbers
from reports.naming import unique

WORTH_PCT = 2.0  # a gain below this is called none
BYTES, NIBBLES, BLOCKS = "tender_w4a4", "tender_int4", "mx_w8a8"


@dataclass(frozen=True)
class Statement:
    """One sentence or two, and what they are about."""

    about: str
    text: str


def conclusion(study: Study) -> list[Statement]:
    """Say what was found."""
    parts: tuple[Callable[[Study], Iterator[tuple[str, str]]], ...] = (
        _pays,
        _steps,
        _borders,
        _operands,
        _nibbles,
        _blocks,
        _costs,
        numbers,
        _front,
    )
    return [Statement(about, text) for part in parts for about, text in part(study)]


def place_words(each: Gain) -> str:
    """Name a place where a gain was found."""
    return f"{each.model}, {each.phase} M = {each.m}, {each.groups} groups"


def _pays(study: Study) -> Iterator[tuple[str, str]]:
    for scheme in study.schemes:
        found = gains(study, scheme)
        if found:
            yield scheme, _pays_words(found)


def _pays_words(found: Sequence[Gain]) -> str:
    best = max(found, key=lambda each: each.linear_pct)
    bound = max(found, key=lambda each: each.bound_pct)
    worth = [each for each in found if each.linear_pct >= WORTH_PCT]
    over = f"{best.linear_pct:+.1f} % over {WORDS[best.best]} ({place_words(best)})"
    whole = f"{best.whole_pct:+.1f} % of the whole step"
    limit = f"A shift that takes nothing at all would gain at most {bound.bound_pct:+.1f} %"
    if not worth:
        return f"the extension does not pay: at most {over}, {whole}. {limit}."
    wholly = [each for each in worth if each.whole_pct >= WORTH_PCT]
    verdict = (
        "the extension pays" if wholly else "the extension pays in the linear layers, not in the whole step,"
    )
    where = "; ".join(unique(f"{each.phase} M = {each.m}, {each.groups} groups" for each in worth))
    return f"{verdict} at {where}: up to {over}, {whole}; in {len(worth)} of {len(found)} places. {limit}."


def _steps(study: Study) -> Iterator[tuple[str, str]]:
    """Say how much of a step the linear layers are, with the fastest scheme that has variants."""
    for model in study.models:
        shares = []
        for phase, m in study.phases:
            times = [run_us(study, scheme, IDEAL, model, 1, m) for scheme in study.schemes]
            linear = min((us for us in times if us), default=0.0)
            if linear:
                share = 100 * linear / (linear + study.rest_of(model, phase, m).us)
                shares.append(f"{share:.0f} % ({phase} M = {m})")
        if shares:
            yield (
                "whole model",
                f"{model}: of a step with the fastest integers the linear layers are at most {', '.join(shares)}; "
                "head, attention and launches are the rest, so no border can cost more than that.",
            )


def _borders(study: Study) -> Iterator[tuple[str, str]]:
    found = slopes(study)
    for scheme in study.schemes:
        own = [each for each in found if each.scheme == scheme]
        if own:
            m = max(each.m for each in own)
            rows = [each for each in own if each.m == m]
            yield "cost of a border", f"{scheme}, M = {m}: {', '.join(map(_border_words, rows))}."


def _border_words(each: Slope) -> str:
    name = f"{WORDS[each.variant]}: {each.accumulator}" if each.accumulator else WORDS[each.variant]
    share = 100 * each.border_ns / 1e3 / each.ideal_us
    return f"{each.border_ns:.0f} ns ({share:.2f} % of the matmul) {name}"


def _operands(study: Study) -> Iterator[tuple[str, str]]:
    """Say whether packing shifts into operands makes the extension pointless for W4A4."""
    pairs = []
    for model in study.models:
        for groups in study.groups:
            for phase, m in study.phases:
                packed, shifted = (
                    run_us(study, BYTES, name, model, groups, m) for name in (OPERANDS, HARDWARE)
                )
                if packed and shifted and groups > 1:
                    pairs.append((100 * (packed / shifted - 1), f"{model}, {phase} M = {m}, {groups} groups"))
    if not pairs:
        return
    most, where = max(pairs)
    least, _ = min(pairs)
    if most < WORTH_PCT:
        yield (
            "W4A4",
            "the extension is pointless for INT4 codes in INT8 containers: shifts packed into the operands take "
            f"between {least:+.1f} % and {most:+.1f} % of its time, on today's tensor cores. Up to nine groups have "
            "no border at all.",
        )
    else:
        yield (
            "W4A4",
            "shifts packed into the operands do not replace the extension for INT4 codes in INT8 containers: they take "
            f"up to {most:+.1f} % more time than it ({where}), at best {least:+.1f} %.",
        )


def _nibbles(study: Study) -> Iterator[tuple[str, str]]:
    """Set INT4 tensor cores, whose operands have no spare bits, beside INT8 containers."""
    for phase, m in study.phases:
        best = {}
        for scheme, names in ((BYTES, EXISTING), (NIBBLES, EXISTING)):
            times = [run_us(study, scheme, name, study.models[0], study.groups[0], m) for name in names]
            best[scheme] = min((us for us in times if us), default=0.0)
        if all(best.values()) and (phase, m) in (study.phases[0], study.phases[-1]):
            ratio = best[BYTES] / best[NIBBLES]
            yield (
                "W4A4",
                f"INT4 tensor cores with shifts in registers are {ratio:.2f} times as fast as INT4 codes in INT8 "
                f"containers, {study.groups[0]} groups, {phase} M = {m}"
                + (": more than any accumulator that shifts can give." if ratio > 1.2 else "."),
            )


def _blocks(study: Study) -> Iterator[tuple[str, str]]:
    """Set the block-scaled mma beside Tender, both with mma.sync."""
    blocks = next((each for each in study.methods if each.scheme == BLOCKS), None)
    tender = study.method("tender_w8a8", HARDWARE, study.groups[0])
    if blocks is None or tender is None:
        return
    parts = [_ratio(study, blocks, tender, phase, m) for phase, m in study.phases]
    yield (
        "block-scaled mma",
        f"MXINT8 beside Tender with the extension, {study.groups[0]} groups, both by mma.sync: {', '.join(parts)}."
        + _levels(study),
    )


def _ratio(study: Study, one: Method, other: Method, phase: str, m: int) -> str:
    model = study.models[0]
    return f"{study.us(model, one, m) / study.us(model, other, m):.2f} of the time ({phase} M = {m})"


def _levels(study: Study) -> str:
    names = {each.accuracy for each in study.levels}
    tender = next((f"tender_int8_g{count}" for count in study.groups if f"tender_int8_g{count}" in names), "")
    if "mxint8" not in names or not tender:
        return ""
    parts = [
        f"{study.level('mxint8', where):.1f} dB and {study.level(tender, where):.1f} dB on {where}"
        for where in study.places
    ]
    return f" MXINT8 and {tender}: {', '.join(parts)}."


def _costs(study: Study) -> Iterator[tuple[str, str]]:
    """Set what the shifter costs beside what it saves."""
    areas = [each for each in study.hardware if (each.extension, each.name) == (EXTENSION, "area")]
    first = {each.position: each for each in study.shifters if each.shift_range == 1}
    if len(first) > 1:
        places = "; ".join(
            f"{position.replace('_', ' ')}: {each.area_pct:+.1f} % area, {each.delay_pct + 0:+.1f} % delay, "
            f"{each.mac_energy_pct:+.1f} % energy of every operation"
            for position, each in first.items()
        )
        yield "the shifter", f"one bit, {study.unit}: {places}."
    for scheme in study.schemes:
        found = [each for each in gains(study, scheme) if each.phase != DECODE] or gains(study, scheme)
        if areas and found:
            best = max(found, key=lambda each: each.saved_mj)
            saved = best.best_us - best.hardware_us
            yield (
                "what it saves",
                f"{scheme}, {place_words(best)}: {saved:.0f} µs and {best.saved_mj:.1f} mJ of "
                f"{best.best_us:.0f} µs per step against {WORDS[best.best]}, for "
                f"{areas[0].value * study.sms / 1e6:.2f} mm2 on {study.sms} SMs.",
            )


def _front(study: Study) -> Iterator[tuple[str, str]]:
    for phase, m in study.phases:
        found = choices(study, study.models[0], m, study.places[0])
        best = unique(each.contender.name for each in front(found))
        others = [each.contender.name for each in found if each.contender.name not in best]
        if found:
            yield (
                "Pareto front",
                f"{study.models[0]}, {phase} M = {m}, accuracy on {study.places[0]}: {', '.join(best)}; dominated: "
                f"{', '.join(others) or 'none'}.",
            )
