"""Which launches an accumulator study simulates, and their results: each distinct one once, in all processes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, combinations
from pathlib import Path

from gpu_kernels import catalog
from reports.accumulator import HARDWARE, IDEAL, Method, Skipped
from sim.commands.evaluator import check, evaluate, key_of
from sim.commands.selection import machine
from sim.commands.terminal import progress_shown
from sim.dse.expand import Job, Point
from sim.dse.run import default_workers, run_jobs
from sim.dse.store import ResultStore
from sim.errors import TcsimError
from sim.extensions import available_extensions
from sim.results import RunResult
from workloads.schemes.base import OptionValue, get_scheme

EXTENSION = "tender_accumulator"
STORE = "results.sqlite"
MOST_EXTENSIONS = 2  # beside the accumulator, that one kernel asks for


@dataclass(frozen=True)
class Kernel:
    """A scheme with its options, and the accumulator that its marks ask for."""

    scheme: str
    options: tuple[tuple[str, OptionValue], ...] = ()
    accumulator: str = EXTENSION

    @property
    def variant(self) -> str:
        """Return how it crosses borders, empty if it has none."""
        return str(self._complete().get("variant", ""))

    def _complete(self) -> dict[str, object]:
        return dict(get_scheme(self.scheme).check_options(dict(self.options)))

    def method(self, extensions: Sequence[str]) -> Method:
        """Return it as the report names it."""
        options = dict(self.options)
        groups = int(options.get("groups", 0)) if self.variant else 0
        others = {key: value for key, value in options.items() if key not in ("variant", "groups", "profile")}
        return Method(
            self.scheme,
            self.variant,
            groups,
            ", ".join(f"{key}={value}" for key, value in sorted(others.items())),
            "+".join(each.partition(":")[0] for each in extensions),
        )


def kernel(
    scheme: str, options: Mapping[str, OptionValue], profile: str, accumulator: str = EXTENSION
) -> Kernel:
    """Return a kernel with options in a fixed order; ``ideal`` does not depend on the number of groups."""
    known = {option.name for option in get_scheme(scheme).options}
    chosen = dict(options)
    if "profile" in known:
        chosen.setdefault("profile", profile)
    if chosen.get("variant") == IDEAL:
        chosen["groups"] = 1
    elif "groups" in known and "variant" in known:
        chosen.setdefault("groups", get_scheme(scheme).check_options({})["groups"])
    return Kernel(scheme, tuple(sorted(chosen.items())), accumulator)


def variants(scheme: str, groups: Iterable[int], profile: str, accumulator: str = EXTENSION) -> list[Kernel]:
    """Return a scheme's variants with each number of groups."""
    allowed = next(option.allowed for option in get_scheme(scheme).options if option.name == "variant")
    return list(
        dict.fromkeys(
            kernel(scheme, {"variant": str(variant), "groups": count}, profile, accumulator)
            for variant in allowed
            for count in groups
        )
    )


@lru_cache(maxsize=4096)
def on_machine(arch: str, what: Kernel) -> tuple[str, ...] | TcsimError:
    """Return the extensions with which ``arch`` runs the kernel, as few as do, or why it cannot."""
    own = (what.accumulator,) if what.variant == HARDWARE else ()
    others = [name for name in available_extensions() if name != EXTENSION]
    options = get_scheme(what.scheme).check_options(dict(what.options))
    refusal: TcsimError = TcsimError("")
    for more in chain.from_iterable(combinations(others, count) for count in range(MOST_EXTENSIONS + 1)):
        try:
            catalog.launches(what.scheme, 16, 4096, 4096, options, machine(arch))
            check(Point(arch, (), (*own, *more), what.scheme, what.options, None, 16, 4096, 4096))
            return (*own, *more)
        except TcsimError as error:
            refusal = refusal if str(refusal) else error
    return refusal


@dataclass(frozen=True)
class Wanted:
    """One launch that the study wants to know of."""

    kernel: Kernel
    m: int
    n: int
    k: int


class Simulated:
    """Results by what was wanted; what the machine cannot run is in ``skipped``."""

    def __init__(
        self,
        arch: str,
        results: Mapping[Point, RunResult],
        points: Mapping[Wanted, Point],
        skipped: Sequence[Skipped],
    ):
        self.arch, self.skipped = arch, tuple(skipped)
        self._results, self._points = results, points

    def get(self, wanted: Wanted) -> RunResult | None:
        """Return the result, or None if it was not run."""
        point = self._points.get(wanted)
        return None if point is None else self._results.get(point)

    def method(self, what: Kernel) -> Method:
        """Return the kernel as the report names it."""
        found = on_machine(self.arch, what)
        return what.method(() if isinstance(found, TcsimError) else found)


def run(arch: str, wanted: Iterable[Wanted], workers: int | None, out: Path | None, quiet: bool) -> Simulated:
    """Simulate all that is wanted; a second run with the same ``out`` reads what the first one found."""
    points: dict[Wanted, Point] = {}
    skipped: dict[str, str] = {}
    for each in wanted:
        found = point_of(arch, each)
        if isinstance(found, Point):
            points[each] = found
        else:
            skipped.setdefault(*found)
    jobs = [Job(point, ()) for point in dict.fromkeys(points.values())]
    keys = [key_of(job.point) for job in jobs]
    with (
        ResultStore(out / STORE) if out is not None else nullcontext() as store,
        nullcontext(lambda done, total, failed: None) if quiet else progress_shown() as progress,
    ):
        outcomes = run_jobs(jobs, keys, evaluate, store, workers or default_workers(), progress)
    results = {}
    for job, outcome in zip(jobs, outcomes, strict=True):
        found_result = outcome.result()
        if found_result is None:
            raise TcsimError(f"{job.point.label}: {outcome.error}")
        results[job.point] = found_result
    return Simulated(arch, results, points, [Skipped(*each) for each in skipped.items()])


def point_of(arch: str, wanted: Wanted) -> Point | tuple[str, str]:
    """Return the point, or what cannot be run and why."""
    what = wanted.kernel
    extensions = on_machine(arch, what)
    if isinstance(extensions, TcsimError):
        return what.scheme, str(extensions).rpartition(": ")[2]
    try:
        return check(
            Point(arch, (), extensions, what.scheme, what.options, None, wanted.m, wanted.n, wanted.k)
        )
    except TcsimError as error:
        return f"{what.scheme}, N = {wanted.n}, K = {wanted.k}", str(error).rpartition(": ")[2]
