"""Rebuild the bundled programs: ``python -m gpu_kernels.programs.build``. Needs the extra [compile]."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from gpu_kernels import catalog
from gpu_kernels.compile import SHARED_HEADERS, VIRTUAL_ROOT, compile_cuda, compiler, digest, disassemble
from gpu_kernels.matmul.tiling import Tile
from gpu_kernels.programs.store import FOLDER, MANIFEST, read_manifest, stem, write_program
from sim.errors import TcsimError

TARGETS = ("sm_80", "sm_90a")  # sm_80 runs on 8.6 and 8.9 too; a scheme's launch.py may name its own TARGETS


@dataclass(frozen=True)
class Recipe:
    """What one bundled program is built from."""

    scheme: str
    tile: Tile
    target: str

    @property
    def stem(self) -> str:
        """Name of the program's files."""
        return stem(self.scheme, self.tile.name, self.target)

    @property
    def source_name(self) -> str:
        """The source's name in messages and line tables."""
        folder = getattr(catalog.module(self.scheme), "SOURCE", self.scheme)
        return f"matmul/{folder}/{self.tile.source}"

    @property
    def source(self) -> str:
        """The CUDA text."""
        return (catalog.FOLDER.parent / self.source_name).read_text(encoding="utf-8")

    def inputs(self, toolkit: str) -> str:
        """Hash everything that determines the binary."""
        headers = [
            f"{name}\n{path.read_text(encoding='utf-8')}"
            for name, path in sorted(SHARED_HEADERS.items())
            if f'#include "{VIRTUAL_ROOT}{name}"' in self.source
        ]
        return digest(
            self.source, *headers, json.dumps(self.tile.defines(), sort_keys=True), self.target, toolkit
        )

    def compile(self) -> bytes:
        """Build the cubin."""
        return compile_cuda(self.source, self.source_name, self.target, self.tile.defines())


def recipes() -> Iterator[Recipe]:
    """Go through every tile of every scheme and target."""
    for scheme in catalog.available():
        targets: tuple[str, ...] = getattr(catalog.module(scheme), "TARGETS", TARGETS)
        for tile in catalog.tiles(scheme).values():
            for target in tile.targets or targets:
                yield Recipe(scheme, tile, target)


def stale(toolkit: str, programs: dict[str, dict[str, str]]) -> list[str]:
    """Name the programs whose source, defines or toolkit are no longer those of the stored binary."""
    wanted = {recipe.stem: recipe.inputs(toolkit) for recipe in recipes()}
    return sorted(
        name
        for name in wanted.keys() | programs.keys()
        if wanted.get(name) != programs.get(name, {}).get("inputs", "")
    )


def build() -> list[str]:
    """Rebuild what is stale, drop what no recipe names, and write the manifest; return the rebuilt stems."""
    toolkit = compiler().version()
    old: dict[str, dict[str, str]] = read_manifest()["programs"] if MANIFEST.exists() else {}
    outdated = set(stale(toolkit, old))
    programs: dict[str, dict[str, str]] = {}
    for recipe in recipes():
        if recipe.stem in outdated:
            programs[recipe.stem] = _build_one(recipe, toolkit)
        else:
            programs[recipe.stem] = old[recipe.stem]
    for path in FOLDER.glob("*.xz"):
        if path.name.removesuffix(".xz").removesuffix(".cubin").removesuffix(".listing.json") not in programs:
            path.unlink()
    record = {"toolkit": toolkit, "programs": dict(sorted(programs.items()))}
    MANIFEST.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return sorted(outdated & programs.keys())


def _build_one(recipe: Recipe, toolkit: str) -> dict[str, str]:
    cubin = recipe.compile()
    (listing,) = disassemble(cubin, recipe.target, toolkit, recipe.source_name).values()
    write_program(recipe.stem, cubin, listing, recipe.source_name)
    return {"inputs": recipe.inputs(toolkit), "cubin": hashlib.sha256(cubin).hexdigest()}


def main() -> int:
    """Rebuild and say what was rebuilt."""
    try:
        rebuilt = build()
    except TcsimError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write("".join(f"rebuilt {name}\n" for name in rebuilt) or "nothing was stale\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
