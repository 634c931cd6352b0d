"""What every matmul kernel must keep, by discovery: a new scheme's folder is tested without a new test."""

from __future__ import annotations

import hashlib
import lzma
from dataclasses import replace

import numpy as np
import pytest

from gpu_kernels import catalog
from gpu_kernels.compile import compiler
from gpu_kernels.matmul.tiling import FLOAT_BYTES
from gpu_kernels.programs.build import TARGETS, Recipe, recipes, stale
from gpu_kernels.programs.store import FOLDER, load_program, read_manifest
from sim.arch.load import load_gpu
from sim.errors import ConfigError
from sim.exec.execute import execute
from sim.extensions import with_extensions
from sim.isa.launch import BYTE_ROLES, Argument, BufferRef, KernelLaunch, TensorMap
from sim.sm.banks import ideal_wavefronts, wavefronts
from workloads.schemes.base import available_schemes, get_scheme

H200 = load_gpu("h200")
SCHEMES = catalog.available()
TILES = [(scheme, name) for scheme in SCHEMES for name in catalog.tiles(scheme)]
HALF_BYTES = 2
SHAPES = [(1, 4096, 4096), (17, 4112, 4160), (256, 1024, 8192), (4096, 4096, 4096), (3, 64, 64)]


def _splits_k(scheme: str) -> bool:
    return any(tile.splits_k for tile in catalog.tiles(scheme).values())


def _installed_toolkit() -> str:
    try:
        return compiler().version()
    except ConfigError:
        return "no compiler"


def test_every_kernel_has_a_scheme_and_every_scheme_a_kernel() -> None:
    assert available_schemes() == SCHEMES


@pytest.mark.parametrize(("scheme", "tile"), TILES)
def test_a_tile_is_called_what_it_is(scheme: str, tile: str) -> None:
    chosen = catalog.tiles(scheme)[tile]
    assert tile == chosen.name
    assert tile.split("-")[0] == f"{chosen.tokens}x{chosen.outputs}"
    assert get_scheme(scheme).check_options(dict(chosen.options)).items() >= chosen.options.items()


@pytest.mark.parametrize(("scheme", "tile"), TILES)
def test_programs_use_no_local_memory_and_fit_as_promised(scheme: str, tile: str) -> None:
    chosen = catalog.tiles(scheme)[tile]
    program = load_program(scheme, tile, H200.program_target)
    assert not [text for text in program.text if "LDL" in text or "STL" in text], "registers were spilled"
    assert chosen.resident(H200, program) >= chosen.ctas_per_sm
    assert program.name == catalog.module(scheme).KERNEL


@pytest.mark.parametrize(("scheme", "tile"), TILES)
def test_instructions_name_lines_of_the_kernel(scheme: str, tile: str) -> None:
    program = load_program(scheme, tile, H200.program_target)
    last = len(catalog.source_lines(program))
    assert program.source_line.max() <= last
    tensor = program.source_line[program.mma >= 0]
    named = ["mma(" in catalog.source_lines(program)[line - 1] for line in tensor]
    assert len(tensor) or not program.mma_names
    if not any(name.startswith("wgmma") for name in program.mma_names):  # wgmmas bear a neighbour's line
        assert 32 * named.count(False) <= len(tensor)  # the compiler misplaces up to 2 of 64


@pytest.mark.parametrize(("scheme", "tile"), TILES)
def test_wgmmas_stay_asynchronous(scheme: str, tile: str) -> None:
    """Where the compiler cannot tell who uses an accumulator, it awaits every wgmma, or adds one to close a group."""
    program = load_program(scheme, tile, H200.program_target)
    drains = [text for text in program.text if text == "WARPGROUP.DEPBAR.LE gsb0, 0x0"]
    assert len(drains) <= 2, "at the end, and where a group's sums are used"
    assert not [text for text in program.text if "GMMA" in text and " RZ, gdesc[URZ]" in text]


def _launches(scheme: str) -> list[KernelLaunch]:
    options = get_scheme(scheme).check_options({})
    every = []
    for m, n, k in SHAPES:
        usable = {**options, "group_size": -1} if "group_size" in options and k % 128 else options
        every += [
            catalog.launches(scheme, m, n, k, {**usable, **chosen.options}, H200, tile)[0]
            for tile, chosen in catalog.tiles(scheme).items()
        ]
    return every


@pytest.mark.parametrize("scheme", SCHEMES)
def test_launches_are_whole(scheme: str) -> None:
    for launch in _launches(scheme):
        assert sum(each.count for each in launch.classes) == launch.ctas, launch.label
        assert all(each.count > 0 for each in launch.classes)
        assert len({each.cta for each in launch.classes}) == len(launch.classes)
        for each in launch.classes:
            assert all(0 <= index < size for index, size in zip(each.cta, launch.grid, strict=True))
        assert [_size(arg) for arg in launch.args] == [param.size for param in launch.program.params]
        used = {arg.name for arg in launch.args if isinstance(arg, BufferRef)}
        used |= {arg.buffer for arg in launch.args if isinstance(arg, TensorMap)}
        assert used == {buffer.name for buffer in launch.buffers}
        assert all(buffer.role in BYTE_ROLES and buffer.nbytes > 0 for buffer in launch.buffers)


def _size(argument: Argument) -> int:
    if isinstance(argument, TensorMap):
        return 128
    return 8 if isinstance(argument, BufferRef) else argument.nbytes


@pytest.mark.parametrize("scheme", [each for each in SCHEMES if _splits_k(each)])
def test_split_k_has_one_last_arriver_per_tile_and_room_for_its_sums(scheme: str) -> None:
    split = [launch for launch in _launches(scheme) if launch.grid[2] > 1]
    assert split
    for launch in split:
        tiles, splits = launch.grid[0] * launch.grid[1], launch.grid[2]
        last = [each for each in launch.classes if each.patches]
        assert sum(each.count for each in last) == tiles
        sizes = {buffer.name: buffer for buffer in launch.buffers}
        assert sizes["counters"].zeroed and sizes["counters"].nbytes == FLOAT_BYTES * tiles
        for each in last:
            ((name, offset),) = each.patches
            assert name == "counters" and each.patches[(name, offset)] == splits - 1
            assert offset == 4 * (each.cta[1] * launch.grid[0] + each.cta[0])
        outputs = sizes["output"].nbytes // HALF_BYTES
        assert sizes["workspace"].nbytes % (tiles * splits * FLOAT_BYTES) == 0
        assert sizes["workspace"].nbytes >= splits * outputs * FLOAT_BYTES


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(("m", "ctas"), [(1, 64), (16, 96), (64, 128)])
def test_small_problems_are_cut_for_the_whole_gpu(scheme: str, m: int, ctas: int) -> None:
    """A decode layer of 4096 x 4096 has fewer tiles than an H200 has SMs, 132: K is cut until all but a few have work.

    Half of the SMs may stay idle where a tile is done in less time than its partial sums take (64 CTAs of ``w4a16``
    at M = 1 take 6.1 us, 128 take 6.6) and where a kernel cannot cut K.
    """
    ctas = ctas if _splits_k(scheme) else 64
    for launch in catalog.launches(scheme, m, 4096, 4096, get_scheme(scheme).check_options({}), H200):
        assert launch.ctas >= ctas, launch.label


@pytest.mark.parametrize("scheme", SCHEMES)
def test_large_problems_are_not_split(scheme: str) -> None:
    """But where tables of a slab of K take the shared memory, and no tensor core would need larger tiles."""
    for launch in catalog.launches(scheme, 8192, 8192, 4096, get_scheme(scheme).check_options({}), H200):
        assert launch.grid[2] == 1 or not launch.program.mma_names


@pytest.mark.jit
@pytest.mark.parametrize(
    ("scheme", "tile"), [at for at in TILES if catalog.tiles(at[0])[at[1]].conflict_free]
)
def test_no_access_to_shared_memory_has_a_bank_conflict(scheme: str, tile: str) -> None:
    """Swizzle, fragment order and padded output rows: as many wavefronts as there are phases, everywhere."""
    tokens = catalog.tiles(scheme)[tile].tokens
    options = get_scheme(scheme).check_options(dict(catalog.tiles(scheme)[tile].options))
    for n in (512, 65536):  # split and not
        (launch,) = catalog.launches(scheme, tokens, n, 1024, options, H200, tile)
        launch = replace(launch, program=with_extensions(launch.program))
        for each in launch.classes:
            patterns = execute(launch, each).trace.patterns
            memory = H200.sm.shared_memory
            assert np.array_equal(wavefronts(patterns, memory), ideal_wavefronts(patterns, memory)), (
                each.label
            )


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("m", [1, 8, 9, 16, 64, 65, 4096])
def test_hopeless_tiles_are_left_out(scheme: str, m: int) -> None:
    tokens = {tile.tokens for name, tile in catalog.tiles(scheme).items() if name in _tried(scheme, m)}
    every = [tile.tokens for tile in catalog.tiles(scheme).values()]
    largest, least = max(every), min(every)
    assert tokens
    assert max(tokens) < 2 * max(m, least)
    assert min(tokens) >= min(m, largest) / 4


def _tried(scheme: str, m: int) -> tuple[str, ...]:
    return catalog.worth_trying(catalog.tiles(scheme), m, 4096)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(
    ("m", "n", "k"),
    [(0, 64, 64), (-1, 64, 64), (1, 63, 64), (1, 64, 63), (1, 64, 0), (2**31, 64, 64), (1, 2**40, 64)],
)
def test_impossible_sizes_are_named(scheme: str, m: int, n: int, k: int) -> None:
    for tile in catalog.tiles(scheme):
        with pytest.raises(ConfigError, match=r": [MNK]: got -?\d+, allowed"):
            catalog.launches(scheme, m, n, k, {}, H200, tile)


def test_matrices_beyond_device_memory_are_an_error() -> None:
    with pytest.raises(ConfigError, match=r"the matrices need \d+ bytes, h200 has \d+"):
        catalog.launches("fp16", 8, 2**20, 2**20, {}, H200, "8x64")


def test_a_tile_compiled_for_other_options_is_refused() -> None:
    with pytest.raises(ConfigError, match="got variant=ideal, allowed: variant=explicit"):
        catalog.launches("tender_w8a8", 8, 64, 64, {"variant": "ideal"}, H200, "16x128-explicit")
    for launch in catalog.launches("tender_w8a8", 8, 64, 64, {"variant": "ideal"}, H200):
        assert launch.label.split()[1].endswith("-ideal")


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"unknown tile of fp16 '128x129'. Did you mean '128x12.'"):
        catalog.launches("fp16", 8, 64, 64, {}, H200, "128x129")
    with pytest.raises(ConfigError, match=r"unknown scheme with a kernel 'fp61'. Did you mean 'fp16'"):
        catalog.launches("fp61", 8, 64, 64, {}, H200)


def test_too_little_shared_memory_is_an_error_only_for_the_tile_asked_for() -> None:
    small = load_gpu("h200", ["sm.shared_memory.cta_limit_bytes=75000"])
    with pytest.raises(ConfigError, match=r"tile 128x256 of fp16 needs 196608 bytes .* allowed: 75000"):
        catalog.launches("fp16", 4096, 4096, 4096, {}, small, "128x256")
    for launch in catalog.launches("fp16", 8, 4096, 4096, {}, small):
        assert launch.dynamic_shared_bytes <= 75000


@pytest.mark.parametrize("group", [32, 96, 0, 8192])
def test_impossible_groups_are_named(group: int) -> None:
    with pytest.raises(ConfigError, match=f"group_size: got {group}, allowed"):
        catalog.launches("w4a16", 8, 64, 4096, {"group_size": group}, H200, "8x64")


def test_operands_of_another_size_are_refused() -> None:
    with pytest.raises(ConfigError, match="operand weights: got 2 bytes, allowed: 8192"):
        catalog.launches("fp16", 8, 64, 64, {}, H200, "8x64", {"weights": np.zeros(1, np.float16)})


# ------------------------------------------------------------------------------------- the bundled binaries


def test_bundled_programs_are_those_of_the_sources() -> None:
    manifest = read_manifest()
    outdated = stale(manifest["toolkit"], manifest["programs"])
    assert not outdated, f"rebuild with python -m gpu_kernels.programs.build: {', '.join(outdated)}"


def test_a_changed_source_macro_or_compiler_is_noticed() -> None:
    manifest = read_manifest()
    every = sorted(manifest["programs"])
    assert stale("nvrtc 0.0", manifest["programs"]) == every
    assert stale(manifest["toolkit"], {}) == every
    extra = {**manifest["programs"], "fp16_1x1.sm_90a": {"inputs": "0", "cubin": "0"}}
    assert stale(manifest["toolkit"], extra) == ["fp16_1x1.sm_90a"]


def test_bundled_files_are_those_of_the_manifest() -> None:
    programs = read_manifest()["programs"]
    files = {path.name for path in FOLDER.glob("*.xz")}
    assert files == {f"{name}.{kind}.xz" for name in programs for kind in ("cubin", "listing.json")}
    for name, record in programs.items():
        cubin = lzma.decompress((FOLDER / f"{name}.cubin.xz").read_bytes())
        assert hashlib.sha256(cubin).hexdigest() == record["cubin"]
        assert b"/home/" not in cubin and b"/tmp/" not in cubin and b"site-packages" not in cubin


def test_bundled_files_are_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.glob("*.xz")) < 6 * 2**20


def test_every_target_of_a_gpu_file_is_built() -> None:
    assert H200.program_target in TARGETS


@pytest.mark.compile
@pytest.mark.skipif(_installed_toolkit() != read_manifest()["toolkit"], reason="needs the extra [compile]")
@pytest.mark.parametrize("recipe", tuple(recipes()), ids=lambda recipe: recipe.stem)
def test_compiling_again_gives_the_same_bytes(recipe: Recipe) -> None:
    assert hashlib.sha256(recipe.compile()).hexdigest() == read_manifest()["programs"][recipe.stem]["cubin"]
