"""The accumulator study in words, computed from its rows: where the extension pays and where it does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass

from reports.accumulator import (
    DECODE,
    EXISTING,
    EXTENSION,
    HARDWARE,
    IDEAL,
    OPERANDS,
    SOFTWARE,
    WORDS,
    Method,
    Study,
)
from reports.accumulator_findings import (
    Gain,
    Slope,
    bits_of,
    choices,
    front,
    gains,
    overflowing,
    run_us,
    slopes,
)
from reports.accumulator_numbers import numbers
from reports.naming import unique
from workloads.accuracy.study import MINILM

WORTH_PCT = 2.0  # a gain below this is called none
MOSTLY_PCT = 50.0
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
        _accuracy,
        _front,
    )
    return [Statement(about, text) for part in parts for about, text in part(study)]


def place_words(each: Gain) -> str:
    """Name a place where a gain was found."""
    return f"{each.model}, {each.phase} M = {each.m}, {each.groups} groups"


def _pays(study: Study) -> Iterator[tuple[str, str]]:
    for scheme in study.schemes:
        if found := gains(study, scheme):
            yield scheme, pays(found, overflowing(study, bits_of(scheme)), bits_of(scheme))


def pays(found: Sequence[Gain], overflows: Set[int], bits: int) -> str:
    """Say where the extension pays, if it does; ``overflows``: groups with which sums do not fit INT32."""
    usable = [each for each in found if each.groups not in overflows] or found
    best = max(usable, key=lambda each: each.linear_pct)
    step = max(usable, key=lambda each: each.whole_pct)
    bound = max(usable, key=lambda each: each.bound_pct)
    worth = [each for each in usable if each.linear_pct >= WORTH_PCT]
    most = (
        f"at most {best.linear_pct:+.1f} % in the linear layers over {WORDS[best.best]} ({place_words(best)}) and "
        f"{step.whole_pct:+.1f} % in a whole step ({place_words(step)})"
    )
    limit = (
        f"A shift that takes nothing at all would gain at most {bound.bound_pct:+.1f} % in the linear layers"
    )
    return f"the extension {_verdict(worth, step)}: {most}. {limit}.{_unusable(found, overflows, bits)}"


def _verdict(worth: Sequence[Gain], step: Gain) -> str:
    if not worth:
        return "does not pay"
    where = "; ".join(unique(f"{each.phase} M = {each.m}, {each.groups} groups" for each in worth))
    if step.whole_pct < WORTH_PCT:
        return f"pays in the linear layers alone, not in a whole step, at {where}"
    return f"pays at {where}"


def _unusable(found: Sequence[Gain], overflows: Set[int], bits: int) -> str:
    """Say what it would gain where sums overflow: that is no gain."""
    lost = [each for each in found if each.groups in overflows]
    if not lost or len(lost) == len(found):
        return ""
    best = max(lost, key=lambda each: each.linear_pct)
    return f" With {best.groups} groups ({best.linear_pct:+.1f} %) INT{bits} sums overflow INT32."


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
        m = max((each.m for each in own), default=0)
        rows = [each for each in own if each.m == m]
        if rows:
            yield (
                "cost of a border",
                f"{scheme}, M = {m}: {', '.join(map(_border_words, rows))}.{_code(rows)}",
            )


def _border_words(each: Slope) -> str:
    name = f"shift in the tensor core, {each.accumulator}" if each.accumulator else WORDS[each.variant]
    share = 100 * each.border_ns / 1e3 / each.ideal_us
    return f"{name} {round(each.border_ns) + 0:.0f} ns ({abs(share):.1f} % of the matmul)"


def _code(rows: Sequence[Slope]) -> str:
    """Say whether the shift itself is what a border costs, or the code that kernels have around it."""
    software = [each.border_ns for each in rows if each.variant == SOFTWARE]
    hardware = [each.border_ns for each in rows if each.variant == HARDWARE]
    if not software or not hardware or software[0] <= 0:
        return ""
    left = 100 * hardware[0] / software[0]
    if left > MOSTLY_PCT:
        return (
            f" The shift is not what a border costs: {left:.0f} % of it stays with the extension, code that leaves and "
            "enters the loop."
        )
    return f" The extension takes {100 - left:.0f} % of it away."


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
            yield "what it saves", f"{scheme}, {_saved(max(found, key=lambda each: each.saved_mj))}."
    if areas:
        area = (
            f"{areas[0].value:.0f} um2 per SM, {areas[0].value * study.sms / 1e6:.2f} mm2 on {study.sms} SMs"
        )
        yield "what it saves", f"that is for {area}, {areas[0].rationale.partition(';')[0]}."


def _saved(best: Gain) -> str:
    us, mj = best.best_us - best.hardware_us, best.saved_mj
    words = [
        f"{'saves' if value > 0 else 'costs'} {abs(value):.0f} {unit}"
        for value, unit in ((us, "µs"), (mj, "mJ"))
    ]
    return f"{place_words(best)}, of {best.best_us / 1e3:.1f} ms of {WORDS[best.best]}: {' and '.join(words)}"


def _accuracy(study: Study) -> Iterator[tuple[str, str]]:
    """Say where errors were measured."""
    others = study.places[1:]
    yield (
        "accuracy",
        f"the Pareto front goes by the outliers of {study.places[0]}"
        + (f"; beside it stand {' and '.join(others)}" if others else "")
        + (", a small encoder without outlier channels" if MINILM in others else "")
        + ".",
    )


def _front(study: Study) -> Iterator[tuple[str, str]]:
    """Name the front: of the first place at every M, of the others at the last."""
    for where in study.places:
        for phase, m in study.phases if where == study.places[0] else study.phases[-1:]:
            found = choices(study, study.models[0], m, where)
            best = unique(each.contender.name for each in front(found))
            others = [each.contender.name for each in found if each.contender.name not in best]
            if found:
                rest = ", ".join(others) or "none"
                yield (
                    "Pareto front",
                    f"{phase} M = {m}, accuracy on {where}: {', '.join(best)}; dominated: {rest}.",
                )
