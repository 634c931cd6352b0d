"""``tcsim validate``: measured rows beside their simulation, and whether the tolerances are kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import gpu_kernels
from sim.commands.comparing import compare_all, tasks
from sim.commands.terminal import Table, complain, progress_shown, say, show
from sim.dse.files import make_directory, write_whole
from sim.dse.run import default_workers
from sim.validation.comparison import VARIANTS, Comparison, Skipped
from sim.validation.judgement import Check
from sim.validation.summary import Summary, summarize
from sim.validation.tolerances import load_tolerances

TOLERANCES = Path(gpu_kernels.__file__).parent / "measurements" / "tolerances.yaml"
LISTED, LISTED_PROBLEMS, STALE_REASONS = 5, 20, 3
RESULT = "validation.json"
VARIANT_WORDS = {
    "recorded_clock": "µs at the recorded clock",
    "cycles": "SM cycles, clock predicted",
    "predicted_clock": "µs, clock predicted",
}
KIND_WORDS = {"held_out": "held out", "development": "development", "unlabelled": "unlabelled"}
QUANTITY_WORDS = {"mape_pct": "MAPE", "max_ape_pct": "largest error", "error_pct": "largest error"}


def run(
    data: Path | None,
    arch: str,
    as_json: bool = False,
    out_dir: Path | None = None,
    workers: int | None = None,
    write_docs: bool = False,
) -> int:
    """Validate and return the exit status: 1 if a tolerance is missed, a value is missing, or nothing was checked."""
    if out_dir is not None:
        make_directory(out_dir)
    with nullcontext(None) if as_json else progress_shown() as progress:
        summary = validate(data, arch, workers, progress or (lambda done, total, failed: None))
    if as_json:
        say(json.dumps(summary.to_json(), allow_nan=False))
    else:
        _show(summary, arch)
    written = _write(summary, out_dir) if out_dir is not None else []
    if write_docs:
        from sim.commands.accuracy_docs import write

        written += write(summary)
    for path in () if as_json else written:
        say(f"wrote {path}")
    return _fail(summary)


def validate(
    data: Path | None,
    arch: str,
    workers: int | None = None,
    progress: Callable[[int, int, int], None] = lambda done, total, failed: None,
) -> Summary:
    """Compare every row; ``data`` None: those recorded for ``arch``, which must hold what has a tolerance."""
    tolerances = load_tolerances(TOLERANCES)
    outcomes = compare_all(tasks(data, arch), workers or default_workers(), progress)
    compared = [each for each in outcomes if isinstance(each, Comparison)]
    skipped = [each for each in outcomes if isinstance(each, Skipped)]
    return summarize(compared, skipped, tolerances, expected=data is None)


def _write(summary: Summary, out_dir: Path) -> list[Path]:
    from reports.validation import collect, render

    path = out_dir / RESULT
    write_whole(path, json.dumps(summary.to_json(), allow_nan=False, indent=1) + "\n")
    return [path, *render(collect(summary.comparisons), out_dir)]


def _show(summary: Summary, arch: str) -> None:
    rows = len(summary.comparisons) + len(summary.skipped)
    kinds = ", ".join(
        f"{sum(each.kind == kind for each in summary.comparisons)} {KIND_WORDS[kind]}"
        for kind in summary.kinds
    )
    say(
        f"{rows} rows on {arch}: {len(summary.comparisons)} compared ({kinds or 'none'}), {summary.stale} stale"
    )
    for table in _tables(summary):
        say("")
        show(table)
    _show_stale(summary)


def _tables(summary: Summary) -> Iterator[Table]:
    header: tuple[str, ...]
    if summary.schemes:
        header = ("time", "scheme", "rows", "cases", "MAPE %", "max %", "bias %", "r of log")
        yield Table(header, tuple(_time_rows(summary)), right=(3, 4, 5, 6, 7))
    if summary.foretold:
        header = ("predicted before measuring", "scheme", "rows", "MAPE %", "max %", "bias %", "r of log")
        yield Table(header, tuple(_foretold_rows(summary)), right=(2, 3, 4, 5, 6))
    if summary.counters:
        header = ("counter", "cases", "exact", "within 0.2 %", "beyond", "farthest %")
        yield Table(header, tuple(_counter_rows(summary)), right=(1, 2, 3, 4, 5))
    if summary.checks:
        header = ("checked", "what", "%", "goal", "tolerance", "")
        yield Table(header, tuple(map(_check_row, summary.checks)), right=(2, 3, 4))
    if worst := summary.worst(LISTED):
        header = ("farthest off, recorded clock", "measured µs", "simulated µs", "error %", "bound by")
        yield Table(header, tuple(map(_worst_row, worst)), right=(1, 2, 3))


def _time_rows(summary: Summary) -> Iterator[tuple[str, ...]]:
    kinds = summary.kinds if len(summary.kinds) > 1 else ()
    groups = [(scheme, "") for scheme in (*summary.schemes, "")] + [("", kind) for kind in kinds]
    for variant in VARIANTS:
        for scheme, kind in groups:
            if each := summary.accuracy.get((scheme, kind, variant)):
                r = "" if each.pearson_r is None else f"{each.pearson_r:.4f}"
                names = VARIANT_WORDS[variant], scheme or "all", KIND_WORDS.get(kind, "all")
                numbers = each.mape_pct, each.max_ape_pct
                yield (*names, str(each.cases), *(f"{v:.1f}" for v in numbers), f"{each.bias_pct:+.1f}", r)


def _foretold_rows(summary: Summary) -> Iterator[tuple[str, ...]]:
    for (scheme, variant), each in summary.foretold.items():
        r = "" if each.pearson_r is None else f"{each.pearson_r:.4f}"
        numbers = f"{each.mape_pct:.1f}", f"{each.max_ape_pct:.1f}", f"{each.bias_pct:+.1f}"
        yield VARIANT_WORDS[variant], scheme or "all", str(each.cases), *numbers, r


def _counter_rows(summary: Summary) -> Iterator[tuple[str, ...]]:
    for name, each in summary.counters.items():
        beyond = each.rows - each.exact - each.within_noise
        counts = (each.rows, each.exact, each.within_noise, beyond)
        yield (name.replace("_", " "), *map(str, counts), f"{each.worst_pct:+.2f}")


def _check_row(check: Check) -> tuple[str, ...]:
    verdict = "reached" if check.reached else "within tolerance" if check.passed else "MISSED"
    note = f"{verdict}, a known gap" if check.gap and not check.reached else verdict
    numbers = (f"{check.value:.2f}", f"{check.goal:g}", f"{check.tolerance:g}")
    return (check.subject.replace("_", " "), QUANTITY_WORDS[check.quantity], *numbers, note)


def _worst_row(each: Comparison) -> tuple[str, ...]:
    assert each.time is not None
    measured, simulated = each.time.pair(VARIANTS[0])
    name = f"{each.case.label} split {each.splits}" if each.splits > 1 else each.case.label
    return name, f"{measured:.2f}", f"{simulated:.2f}", f"{each.time.error_pct():+.1f}", each.bound


def _show_stale(summary: Summary) -> None:
    reasons = [each.reason for each in summary.skipped if each.stale]
    for reason in list(dict.fromkeys(reasons))[:STALE_REASONS]:
        say(f"stale: {reasons.count(reason)} rows: {reason}")


def _fail(summary: Summary) -> int:
    for problem in summary.problems[:LISTED_PROBLEMS]:
        complain(f"failed: {problem}")
    if len(summary.problems) > LISTED_PROBLEMS:
        complain(f"failed: {len(summary.problems) - LISTED_PROBLEMS} more")
    return 1 if summary.problems else 0
