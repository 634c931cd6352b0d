"""Check that a wheel holds the tracked files of the packages, no other: ``check_wheel.py WHEEL CHECKOUT``."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterable
from pathlib import Path

# One of each kind of data that the installed command cannot do without.
SUFFIXES = (".py", ".yaml", ".json", ".cu", ".cuh", ".cubin.xz", ".listing.json.xz")


def packages(checkout: Path) -> tuple[str, ...]:
    """Return the folders that pyproject.toml puts into the wheel."""
    project = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))
    return tuple(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])


def tracked(checkout: Path, folders: Iterable[str]) -> set[str]:
    """Return the files of the folders that git knows."""
    command = ["git", "-C", str(checkout), "ls-files", "-z", "--", *folders]
    listing = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {name for name in listing.split("\0") if name}


def mistakes(inside: Iterable[str], wanted: set[str]) -> list[str]:
    """Compare the names in a wheel with those wanted, one line per mistake."""
    packed = {name for name in inside if ".dist-info/" not in name and not name.endswith("/")}
    lines = [f"missing: {name}" for name in sorted(wanted - packed)]
    lines += [f"unwanted: {name}" for name in sorted(packed - wanted)]
    lines += [f"no {end} at all" for end in SUFFIXES if not any(name.endswith(end) for name in packed)]
    return lines


def main(wheel: Path, checkout: Path) -> int:
    """Print what is wrong with the wheel, or how many files it holds."""
    with zipfile.ZipFile(wheel) as archive:
        inside = archive.namelist()
    found = mistakes(inside, tracked(checkout, packages(checkout)))
    sys.stdout.write("\n".join(found or [f"{wheel.name}: {len(inside)} files, as tracked"]) + "\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
