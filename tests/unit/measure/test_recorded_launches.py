"""A recorded launch with its archived program is the launch that was measured."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gpu_kernels.catalog import available, launches, tiles
from gpu_kernels.measuring.launches import Launch, archive, archived, record, restore
from gpu_kernels.measuring.rows import FOLDER, load_rows
from gpu_kernels.programs.store import FOLDER as BUNDLED
from gpu_kernels.programs.store import load_stem, read_manifest
from sim.arch.load import load_gpu
from sim.chip.run import launch_identity
from sim.errors import ConfigError
from sim.isa.launch import KernelLaunch
from workloads.schemes.base import get_scheme

GPU = load_gpu("h200")


def launch_of(scheme: str) -> KernelLaunch:
    tile = next(iter(tiles(scheme)))
    options = get_scheme(scheme).check_options(dict(tiles(scheme)[tile].options))
    return launches(scheme, 1, 1024, 4096, options, GPU, tile)[0]


@pytest.mark.parametrize("scheme", available())
def test_a_launch_survives_its_record(scheme: str) -> None:
    launch = launch_of(scheme)
    text = record(launch).model_dump_json()
    again = restore(Launch.model_validate(json.loads(text)), launch.grid, launch.program)
    bare = tuple(replace(each, data=None) for each in launch.buffers)
    assert launch_identity(again) == launch_identity(replace(launch, buffers=bare))
    assert [type(each) for each in again.args] == [type(each) for each in launch.args]
    assert again.classes == launch.classes and again.label == launch.label


def test_an_argument_of_another_type_is_refused() -> None:
    launch = replace(launch_of("fp16"), args=(np.float64(1.0),))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="an argument of type float64 cannot be recorded, allowed: int32"):
        record(launch)


def test_a_program_comes_back_from_the_archive_and_another_does_not(tmp_path: Path) -> None:
    import lzma

    program = launch_of("fp16").program
    stem = next(BUNDLED.glob(f"fp16_{next(iter(tiles('fp16')))}.sm_90a.listing.json.xz"))
    archive(tmp_path, program.identity, program.cubin, lzma.decompress(stem.read_bytes()))
    found = archived(tmp_path, program.identity)
    assert found is not None and found.identity == program.identity and found.text == program.text
    assert archived(tmp_path, "0" * 64) is None
    (tmp_path / "programs" / f"{program.identity[:16]}.cubin.xz").rename(
        tmp_path / "programs" / f"{'1' * 16}.cubin.xz"
    )
    (tmp_path / "programs" / f"{program.identity[:16]}.listing.json.xz").rename(
        tmp_path / "programs" / f"{'1' * 16}.listing.json.xz"
    )
    with pytest.raises(ConfigError, match="holds another program than its name says"):
        archived(tmp_path, "1" * 64)


def test_every_recorded_row_keeps_its_launch_and_its_program_is_bundled_or_archived() -> None:
    folder = FOLDER / "h200"
    kept = {path.name.partition(".")[0] for path in (folder / "programs").glob("*.cubin.xz")}
    rows = load_rows(folder)
    assert [row.tile for row in rows if row.launch is None] == []
    measured = {row.program[:16] for row in rows}
    stems = (stem for stem in read_manifest()["programs"] if stem.endswith(GPU.program_target))
    bundled = {load_stem(stem).identity[:16] for stem in stems}
    assert measured - bundled - kept == set(), "archive a kernel's program before it changes"
    assert kept - measured == set()
