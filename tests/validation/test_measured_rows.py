"""Measured rows against the simulator: a sample by default, every row with ``-m validation``."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import pytest

from gpu_kernels.catalog import launches
from gpu_kernels.measuring.manifest import recorded_files
from gpu_kernels.measuring.rows import SUFFIX
from reports.accuracy import END, MARK
from reports.validation import csv_rows
from sim.commands.accuracy_docs import PAGES, ROOT, ROWS, generated
from sim.commands.comparing import Task, compare, recorded, tasks
from sim.commands.selection import machine
from sim.commands.validate import TOLERANCES, validate
from sim.errors import ConfigError
from sim.validation.comparison import Comparison, Skipped
from sim.validation.judgement import judged_ape
from sim.validation.summary import Summary
from sim.validation.tolerances import Tolerances, load_tolerances

pytestmark = pytest.mark.jit
GPU = "h200"
SAMPLE = 24
KEY = ("scheme", "options", "tile", "m", "n", "k", "measured_us")  # of a row in docs/accuracy.csv
RENEW = "stale: run tcsim validate --write-docs"
SAME = 2e-3  # of a time in docs/accuracy.csv: machines differ in the last bits of exp and log


@cache
def bounds() -> Tolerances:
    return load_tolerances(TOLERANCES)


@cache
def everything() -> tuple[Task, ...]:
    return tuple(tasks(None, GPU))


@cache
def sample() -> tuple[Task, ...]:
    """Take a timed row of every scheme, and rows of some tiles, timed and counted."""
    kinds: dict[tuple[str, str, bool], Task] = {}
    for task in sorted(everything(), key=lambda each: each.row.program + each.source[::-1]):
        kinds.setdefault((task.row.scheme, task.row.tile, task.row.timing is None), task)
    schemes = {kind[0]: task for kind, task in kinds.items() if not kind[2]}
    others = list(kinds.values())[:: max(1, len(kinds) // SAMPLE)]
    chosen = {task.source: task for task in (*schemes.values(), *others)}
    return tuple(list(chosen.values())[:SAMPLE])


@cache
def outcomes() -> tuple[Comparison | Skipped, ...]:
    return tuple(compare(task) for task in sample())


def compared() -> tuple[Comparison, ...]:
    """Return the sample's comparisons; between a change of every kernel and its measurement there are none."""
    found = tuple(each for each in outcomes() if isinstance(each, Comparison))
    if not found and all(isinstance(each, Skipped) and each.stale for each in outcomes()):
        pytest.skip("every recorded row is of a kernel that has changed since: measure again")
    return found


@cache
def summary() -> Summary:
    return validate(None, GPU)


# ------------------------------------------------------------------------------------- the sample


def test_the_sample_holds_every_scheme_times_and_counters() -> None:
    schemes = {task.row.scheme for task in everything()}
    assert {each.case.scheme for each in compared()} == schemes, "the others are stale: measure again"
    assert any(each.time for each in compared()) and any(each.counters for each in compared())


@pytest.mark.parametrize("counter", ["instructions", "tensor_instructions", "global_store_sectors"])
def test_what_is_executed_is_counted_exactly(counter: str) -> None:
    pairs = {each.case.label: each.counters[counter] for each in compared() if counter in each.counters}
    assert pairs and [label for label, pair in pairs.items() if pair.simulated != pair.measured] == []


def test_every_counter_and_time_of_the_sample_is_within_its_tolerance() -> None:
    off = [
        f"{each.case.label}: {name}: {pair.error_pct:+.2f} %"
        for each in compared()
        for name, pair in each.counters.items()
        if pair.measured >= bounds().counters[name].at_least
        and abs(pair.error_pct) > bounds().counters[name].tolerance_pct
    ]
    off += [
        f"{each.case.label}: {each.time.error_pct():+.1f} %"
        for each in compared()
        if each.time
        and judged_ape(each.time, bounds()) > bounds().of_scheme(each.case.scheme).tolerance.max_ape_pct
    ]
    assert off == []


def test_no_value_of_the_sample_is_missing() -> None:
    assert [each.missing for each in compared() if each.missing] == []


# ------------------------------------------------------------------------------------- what is refused


@cache
def today() -> Task:
    """Return a timed row as if it had been measured with today's kernel."""
    task = next(task for task in everything() if task.row.timing and task.row.scheme == "fp16")
    row = task.row
    launch = launches(row.scheme, row.m, row.n, row.k, row.options, machine(GPU), row.tile)[0]
    own = {"program": launch.program.identity, "grid": launch.grid}
    return replace(task, row=row.model_copy(update=own))


def changed(**fields: object) -> Task:
    return replace(today(), row=today().row.model_copy(update={"launch": None, **fields}))


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        (changed(program="0" * 64), "another program than was measured"),
        (changed(grid=(1, 2, 3)), "another grid than was measured"),
        (changed(tile="7x7"), "today's kernel does not run it: unknown tile of fp16 '7x7'"),
    ],
)
def test_rows_of_another_kernel_are_stale(task: Task, reason: str) -> None:
    outcome = compare(task)
    assert isinstance(outcome, Skipped) and outcome.stale and outcome.reason.startswith(reason)


def test_a_row_without_a_clock_misses_it() -> None:
    timing = today().row.timing
    assert timing is not None
    outcome = compare(changed(timing=timing.model_copy(update={"clock_mhz": None})))
    assert isinstance(outcome, Comparison) and outcome.missing == ("timing.clock_mhz",)


def test_a_gpu_without_measurements_is_named() -> None:
    with pytest.raises(
        ConfigError, match=r"unknown GPU with recorded measurements 'h2000'\. Did you mean 'h200'"
    ):
        recorded("h2000")


def test_every_recorded_file_says_whether_it_was_predicted_first() -> None:
    folder = recorded(GPU)
    assert set(recorded_files(folder)) == {path.name for path in folder.glob(f"*{SUFFIX}")}


# ------------------------------------------------------------------------------------- the documents


def rows_in_documents() -> dict[tuple[str, ...], dict[str, str]]:
    with (ROOT / ROWS).open(encoding="utf-8", newline="") as stream:
        return {tuple(row[key] for key in KEY): row for row in csv.DictReader(stream)}


def test_the_documents_hold_what_the_simulator_says_of_the_sample() -> None:
    known = rows_in_documents()
    stale = []
    for each in compared():
        case = each.case
        if each.time is None:
            continue
        (cells,) = csv_rows([each])
        row = known.get(tuple(str(cells[key]) for key in KEY))
        near = row and abs(float(row["recorded_clock_us"]) / each.time.recorded_clock_us - 1) < SAME
        stale += [] if near else [case.label]
    assert stale == [], RENEW


def test_readme_and_the_accuracy_page_show_the_same_table() -> None:
    pattern = re.compile(re.escape(MARK.format("times")) + "(.*?)" + re.escape(END), re.DOTALL)
    tables = [pattern.findall((ROOT / name).read_text(encoding="utf-8")) for name in PAGES[:2]]
    assert len(tables[0]) == 1 and tables[0] == tables[1], RENEW


# ------------------------------------------------------------------------------------- every row


@pytest.mark.validation
def test_every_tolerance_is_kept() -> None:
    assert summary().problems == ()


@pytest.mark.validation
def test_the_documents_are_what_the_command_writes() -> None:
    texts = generated(summary())
    assert [
        name for name, text in texts.items() if (ROOT / name).read_text(encoding="utf-8") != text
    ] == [], RENEW


def goals() -> list[object]:
    """Return every goal; one that is known to be missed is expected to be, and only as long as it is."""
    found = load_tolerances(TOLERANCES)
    quantities = [(scheme, name) for scheme in found.time for name in ("mape_pct", "max_ape_pct")]
    quantities += [(counter, "error_pct") for counter in found.counters]
    return [
        pytest.param(subject, name, marks=_expected(found.gap(subject, name)))
        for subject, name in quantities
        if subject != "default"
    ]


def _expected(gap: str) -> Sequence[pytest.MarkDecorator]:
    return [pytest.mark.xfail(reason=gap, strict=True, raises=AssertionError)] if gap else []


@pytest.mark.validation
@pytest.mark.parametrize(("subject", "quantity"), goals())
def test_goal(subject: str, quantity: str) -> None:
    check = next(each for each in summary().checks if (each.subject, each.quantity) == (subject, quantity))
    assert check.reached, f"{check.value:.3g} %, goal {check.goal:g} % ({check.worst})"
