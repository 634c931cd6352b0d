"""``tcsim predict``: what the simulator says of a measuring suite, written down before the suite is measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from gpu_kernels.measuring.cases import Case, suite_cases
from sim.arch.spec import GpuSpec
from sim.chip import accounting
from sim.chip.run import run_launch
from sim.commands.parallel import in_order
from sim.commands.selection import described_launches, machine
from sim.commands.terminal import progress_shown, say
from sim.dse.files import make_directory, write_whole
from sim.dse.run import default_workers
from sim.errors import ConfigError
from sim.jsonl import to_text
from sim.validation.prediction import CLOCKS_MHZ, SCHEMA_VERSION, Prediction

COUNTERS = (
    "instructions",
    "tensor_instructions",
    "shared_load_wavefronts",
    "shared_store_wavefronts",
    "global_load_sectors",
    "global_store_sectors",
    "dram_bytes",
)
Work = tuple[Case, str]


def run(suite: str, arch: str, out: Path, workers: int | None = None) -> None:
    """Predict every timed case of a suite and write the file."""
    if out.exists():
        raise ConfigError(str(out), "already exists; a prediction is not written again")
    make_directory(out.parent)
    work = [(case, arch) for case in suite_cases(suite, machine(arch)) if case.timed]
    if not work:
        raise ConfigError("--suite", f"no case of {suite} is timed")
    work.sort(key=lambda each: (each[0].scheme, each[0].tile, each[0].n, each[0].k, each[0].m))
    found = []
    with progress_shown() as progress:
        for prediction in _predictions(work, workers or default_workers()):
            found.append(prediction)
            progress(len(found), len(work), 0)
    write_whole(out, to_text(found))
    say(f"wrote {out}: {len(found)} predictions. Commit it before measuring:")
    say(f"  tcsim measure --suite {suite} --out DIR")


def _predictions(work: Sequence[Work], workers: int) -> Iterator[Prediction]:
    return in_order(_predict, work, workers)


def _predict(work: Work) -> Prediction:
    case, arch = work
    return predict(case, machine(arch))


def predict(case: Case, gpu: GpuSpec) -> Prediction:
    """Simulate one case at the clock that the simulator predicts and at fixed ones."""
    launch = described_launches(case.scheme, case.m, case.n, case.k, case.options, gpu, case.tile)[0]
    run = run_launch(launch, gpu)
    totals = accounting.counters(run, gpu)
    return Prediction(
        schema_version=SCHEMA_VERSION,
        gpu=gpu.name,
        scheme=case.scheme,
        options=dict(case.options),
        tile=case.tile,
        m=case.m,
        n=case.n,
        k=case.k,
        grid=launch.grid,
        program=launch.program.identity,
        time_us=run.time_us,
        clock_mhz=run.clock_mhz,
        clocks_mhz=CLOCKS_MHZ,
        times_us=tuple(run_launch(launch, gpu, clock).time_us for clock in CLOCKS_MHZ),
        counters={name: totals[name] for name in COUNTERS},
    )
