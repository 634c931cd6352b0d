"""The accumulator study's gains in words: the verdict, where the extension pays, how much a step leaves to gain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set

from reports.accumulator import IDEAL, WORDS, Study
from reports.accumulator_findings import (
    Gain,
    bits_of,
    counted,
    enough_groups,
    gains,
    overflowing,
    run_us,
    signed,
)
from reports.naming import unique

WORTH_PCT = 2.0  # a gain below this is called none


def place_words(each: Gain) -> str:
    """Name a place where a gain was found."""
    return f"{each.model}, {each.phase} M = {each.m}, {each.groups} groups"


def verdict(study: Study) -> Iterator[tuple[str, str]]:
    """Sum up: for which schemes it pays in a whole step, with groups that make sense."""
    worth: list[str] = []
    rest: list[str] = []
    for scheme in study.schemes:
        found = sensible(study, scheme)
        if found:
            best = max(found, key=lambda each: each.whole_pct)
            words = f"{scheme} ({signed(best.whole_pct)} %)"
            (worth if best.whole_pct >= WORTH_PCT else rest).append(words)
    if not worth and not rest:
        return
    parts = [
        *([f"pays for {', '.join(worth)}"] if worth else []),
        *([f"does not pay for {', '.join(rest)}"] if rest else []),
    ]
    yield (
        "verdict",
        f"on {study.arch} a tensor core that shifts its accumulators {' and '.join(parts)}: the most that a whole step "
        "gains over the best kernel without it, with groups whose sums fit INT32 and no more of them than the errors "
        f"ask for. Less than {WORTH_PCT:g} % is called nothing.",
    )


def sensible(study: Study, scheme: str) -> list[Gain]:
    """Return the gains with groups whose sums fit INT32 and no more than the errors ask for."""
    bits, found = bits_of(scheme), gains(study, scheme)
    fitting = [each for each in found if each.groups not in overflowing(study, bits)]
    counts = sorted({each.groups for each in fitting})
    least = next((count for count in counts if count >= enough_groups(study, bits)), max(counts, default=0))
    return [each for each in fitting if each.groups <= least]


def where_it_pays(study: Study) -> Iterator[tuple[str, str]]:
    """Say of each scheme where the extension pays."""
    for scheme in study.schemes:
        if found := gains(study, scheme):
            bits = bits_of(scheme)
            yield scheme, pays(found, overflowing(study, bits), bits) + _enough(study, scheme)


def _enough(study: Study, scheme: str) -> str:
    """Say what is gained with as many groups as the errors ask for."""
    found, every = sensible(study, scheme), {each.groups for each in gains(study, scheme)}
    counts = {each.groups for each in found}
    if not found or max(counts) >= max(every - overflowing(study, bits_of(scheme))):
        return ""
    best = max(found, key=lambda each: each.linear_pct)
    gain = f"with them it gains at most {signed(best.linear_pct)} %"
    return f" {counted(max(counts))} are enough for the errors measured here; {gain}."


def pays(found: Sequence[Gain], overflows: Set[int], bits: int) -> str:
    """Say where the extension pays, if it does; ``overflows``: groups with which sums do not fit INT32."""
    usable = [each for each in found if each.groups not in overflows] or found
    best = max(usable, key=lambda each: each.linear_pct)
    step = max(usable, key=lambda each: each.whole_pct)
    bound = max(usable, key=lambda each: each.bound_pct)
    worth = [each for each in usable if each.linear_pct >= WORTH_PCT]
    most = (
        f"at most {signed(best.linear_pct)} % in the linear layers over {WORDS[best.best]} ({place_words(best)}) and "
        f"{signed(step.whole_pct)} % in a whole step ({place_words(step)})"
    )
    limit = f"A shift that takes nothing at all would gain at most {signed(bound.bound_pct)} % in the linear layers"
    return f"the extension {_where(worth, step)}: {most}. {limit}.{_unusable(found, overflows, bits)}"


def _where(worth: Sequence[Gain], step: Gain) -> str:
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
    return f" With {best.groups} groups ({signed(best.linear_pct)} %) INT{bits} sums overflow INT32."


def steps(study: Study) -> Iterator[tuple[str, str]]:
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
                "head, attention and launches are the rest, and a gain shrinks by them.",
            )
