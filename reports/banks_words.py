"""The banks study in words: every sentence is computed from its results."""

from __future__ import annotations

from collections.abc import Sequence

from reports.banks_data import WORTH_PCT, Design, Gain, Looked, Study, banks_name
from reports.naming import bound_words, unique

SHOWN_KERNELS = 3  # in a line
FREE = 1.005  # wavefronts per look-up, up to which there are no conflicts to speak of


def conclusion(study: Study) -> list[str]:
    """Say in words what was found."""
    lines = [*_agreement(study.looked), *_conflicts(study), *_copies(study), *_banks(study)]
    for hardware, weights in unique((each.hardware, each.weights) for each in study.gains):
        rows = [each for each in study.gains if (each.hardware, each.weights) == (hardware, weights)]
        lines += _pays(f"{hardware}, weights of {weights}", rows)
    return [*lines, *_measured(study.own)]


def _agreement(looked: Sequence[Looked]) -> list[str]:
    """Compare simulated wavefronts with the closed form."""
    if not looked:
        return []
    worst = max(looked, key=lambda each: each.deviation_pct)
    return [
        f"Wavefronts per look-up: simulation and closed form differ by at most {worst.deviation_pct:.1f} % in "
        f"{len(looked)} cases ({worst.name}, {worst.codes} codes, {worst.machine}: {worst.wavefronts:.3f} simulated, "
        f"{worst.expected:.3f} expected)."
    ]


def _conflicts(study: Study) -> list[str]:
    """Say what a layout without conflicts would save, for the kernels that have some, and what the others take."""
    own = [each for each in study.own if each.codes == study.weights]
    costly = sorted((each for each in own if each.saved_pct >= WORTH_PCT), key=lambda each: -each.saved_pct)
    lines = [
        f"{each.name}: {each.wavefronts:.2f} wavefronts per look-up; without conflicts {each.ideal_us:.2f} instead of "
        f"{each.time_us:.2f} µs ({-each.saved_pct:.1f} %)."
        for each in costly
    ]
    free = [each.name for each in own if each.wavefronts < FREE]
    if free:
        lines.append(f"No conflicts on {banks_name(study.banks, study.bank_bytes)}: {', '.join(free)}.")
    cheap = [each.name for each in own if each not in costly and each.name not in free]
    if cheap:
        lines.append(f"Conflicts that cost less than {WORTH_PCT:g} % of the time: {', '.join(cheap)}.")
    return lines


def _copies(study: Study) -> list[str]:
    """Name the tables of which a few copies are no better than one."""
    lines = []
    for bits in unique(each.bits for each in study.designs):
        rows = [each for each in study.designs if _is_pair(study, each, bits)]
        single = next((each.expected for each in rows if each.copies == 1), None)
        worse = [each for each in rows if single is not None and each.copies > 1 and each.expected >= single]
        enough = [each.copies for each in rows if each.expected < FREE]
        if single is None:
            continue
        words = [f"one copy takes {single:.2f} wavefronts"]
        if worse:
            words.append(
                f"{', '.join(f'{each.copies} copies {each.expected:.2f}' for each in worse)}, no better"
            )
        if enough:
            words.append(f"no conflicts from {min(enough)} cop{'y' if min(enough) == 1 else 'ies'} on")
        lines.append(f"{bits}-bit codes in pairs, random: {'; '.join(words)}.")
    return lines


def _is_pair(study: Study, each: Design, bits: int) -> bool:
    machine = (each.banks, each.bank_bytes) == (study.banks, study.bank_bytes)
    return machine and each.bits == bits and each.codes_per_entry == 2


def _banks(study: Study) -> list[str]:
    """Say, for each other kind of banks, which kernels it makes faster or slower."""
    lines = []
    own = {each.name: each.time_us for each in study.own if each.codes == study.weights}
    for machine in unique(each.machine for each in study.looked):
        rows = [each for each in study.looked if each.machine == machine and each.codes == study.weights]
        change = {each.name: 100 * (own[each.name] / each.time_us - 1) for each in rows if each.name in own}
        faster = {name: pct for name, pct in change.items() if pct >= WORTH_PCT}
        slower = {name: pct for name, pct in change.items() if pct <= -WORTH_PCT}
        if machine != banks_name(study.banks, study.bank_bytes):
            lines.append(f"{machine}: faster: {_ranked(faster)}; slower: {_ranked(slower)}.")
    return lines


def _ranked(change: dict[str, float]) -> str:
    """List the largest changes and count the others."""
    ranked = sorted(change, key=lambda name: -abs(change[name]))
    listed = ", ".join(f"{name} ({change[name]:+.0f} %)" for name in ranked[:SHOWN_KERNELS])
    more = len(ranked) - SHOWN_KERNELS
    return (listed + (f" and {more} more" if more > 0 else "")) or "none"


def _pays(what: str, rows: Sequence[Gain]) -> list[str]:
    """Say where hardware pays, for each number of bits."""
    lines = []
    for bits in unique(each.bits for each in rows):
        these = [each for each in rows if each.bits == bits]
        paying = [each for each in these if each.pays]
        best = max(paying or these, key=lambda each: each.gain_pct)
        place = f"M = {best.m}, N×K = {best.n}×{best.k}, {best.kernel} over {best.software}"
        if not paying:
            lines.append(
                f"{what}, {bits} bits: not worth it here: at most {best.gain_pct:+.1f} % over the best software "
                f"kernel ({place})."
            )
            continue
        where = "; ".join(_where(paying, these))
        lines.append(
            f"{what}, {bits} bits: pays in {len(paying)} of {len(these)} cases, up to {best.gain_pct:+.1f} % "
            f"({place}; bound by {bound_words(best.software_bound_by)} before, energy {best.energy_pct:+.0f} %). "
            f"{where}."
        )
    return lines


def _where(paying: Sequence[Gain], rows: Sequence[Gain]) -> list[str]:
    """List the M at which it pays, for each shape."""
    found = []
    for n, k in unique((each.n, each.k) for each in rows):
        sizes = [str(each.m) for each in paying if (each.n, each.k) == (n, k)]
        found.append(f"{n}×{k}: {'M = ' + ', '.join(sizes) if sizes else 'nowhere'}")
    return found


def _measured(looked: Sequence[Looked]) -> list[str]:
    """Compare with measurements, where there are any of these launches."""
    errors = {each: error for each in looked if (error := each.error_pct) is not None}
    if not errors:
        return ["None of these launches was measured on this machine."]
    worst = max(errors, key=lambda each: abs(errors[each]))
    mean = sum(map(abs, errors.values())) / len(errors)
    return [
        f"Measured: {len(errors)} of these launches; predicted at the recorded clock with a mean error of {mean:.1f} "
        f"%, at most {errors[worst]:+.1f} % ({worst.name}, {worst.codes} codes)."
    ]
