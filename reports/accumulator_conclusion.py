"""The accumulator study in words, computed from its rows: where the extension pays and where it does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from reports.accumulator import (
    DECODE,
    EXISTING,
    EXTENSION,
    HARDWARE,
    OPERANDS,
    SOFTWARE,
    WORDS,
    Study,
)
from reports.accumulator_findings import (
    Gain,
    Slope,
    bits_of,
    choices,
    counted,
    front,
    gains,
    run_us,
    signed,
    slopes,
)
from reports.accumulator_gains import WORTH_PCT, place_words, steps, verdict, where_it_pays
from reports.accumulator_numbers import numbers
from reports.naming import unique
from reports.shifter_cost import PLACES
from workloads.accuracy.study import MINILM

MOSTLY_PCT = 50.0
WORDS_OF: Mapping[str, str] = {str(key): words for key, words in PLACES.items()}  # of a shifter's place
BYTES, NIBBLES = "tender_w4a4", "tender_int4"
BLOCKS = (("mx_w8a8", "tender_w8a8", "mxint8"), ("mx_w4a4", NIBBLES, "mxfp4"))  # scheme, its rival, its error


@dataclass(frozen=True)
class Statement:
    """One sentence or two, and what they are about."""

    about: str
    text: str


def conclusion(study: Study) -> list[Statement]:
    """Say what was found."""
    parts: tuple[Callable[[Study], Iterator[tuple[str, str]]], ...] = (
        verdict,
        where_it_pays,
        steps,
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
            f"{signed(least)} % to {signed(most)} % more time than it, on today's tensor cores. Up to nine "
            "groups have no border at all.",
        )
    else:
        yield (
            "W4A4",
            "shifts packed into the operands do not replace the extension for INT4 codes in INT8 containers: they take "
            f"up to {signed(most)} % more time than it ({where}), at best {signed(least)} %.",
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
    """Set the block-scaled mma beside Tender with the extension, both with mma.sync and codes of as many bits."""
    for scheme, rival, accuracy in BLOCKS:
        blocks = next((each for each in study.methods if each.scheme == scheme), None)
        tender = study.method(rival, HARDWARE, study.groups[0])
        if blocks is None or tender is None:
            continue
        parts = [
            f"{study.us(study.models[0], blocks, m) / us:.2f} of the time ({phase} M = {m})"
            for phase, m in study.phases
            if (us := study.us(study.models[0], tender, m)) and study.us(study.models[0], blocks, m)
        ]
        yield (
            "block-scaled mma",
            f"{scheme} beside {rival} with the extension, {counted(study.groups[0])}: {', '.join(parts)}."
            + _levels(study, accuracy, bits_of(rival)),
        )


def _levels(study: Study, accuracy: str, bits: int) -> str:
    """Set the errors of a block format and of Tender side by side."""
    names = {each.accuracy for each in study.levels}
    wanted = [f"tender_int{bits}_g{count}" for count in study.groups]
    tender = next((name for name in wanted if name in names), "")
    if accuracy not in names or not tender:
        return ""
    parts = [
        f"{study.level(accuracy, where):.1f} dB and {study.level(tender, where):.1f} dB on {where}"
        for where in study.places
    ]
    return f" {accuracy} and {tender}: {', '.join(parts)}."


def _costs(study: Study) -> Iterator[tuple[str, str]]:
    """Set what the shifter costs beside what it saves."""
    areas = [each for each in study.hardware if (each.extension, each.name) == (EXTENSION, "area")]
    first = {each.position: each for each in study.shifters if each.shift_range == 1}
    if len(first) > 1:
        places = "; ".join(
            f"{WORDS_OF.get(position, position)}: {signed(each.area_pct)} % area, {signed(each.delay_pct)} % delay, "
            f"{signed(each.mac_energy_pct)} % energy of every operation"
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
