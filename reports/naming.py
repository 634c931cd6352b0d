"""How runs are called in every report: machine, layer, scheme, and ranges of M."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TypeVar

from sim.results import RunResult

Item = TypeVar("Item")

BOUND_WORDS = {
    "dram": "DRAM",
    "l2": "L2",
    "shared_memory": "shared memory",
    "tensor": "tensor core",
    "issue": "issue slots",
    "latency": "latency",
    "launch": "launch",
}


def unique(items: Iterable[Item]) -> tuple[Item, ...]:
    """Return the distinct items in the order of their first appearance."""
    return tuple(dict.fromkeys(items))


def machine_name(result: RunResult) -> str:
    """Name the machine: the architecture, then its extensions behind plus signs."""
    return "+".join((result.arch, *result.extensions))


def layer_name(result: RunResult) -> str:
    """Name the layer by its weight matrix, N×K."""
    return f"{result.n}×{result.k}"


def scheme_names(results: Sequence[RunResult]) -> tuple[str, ...]:
    """Name the scheme of each result, with those of its options that differ between the results."""
    values: dict[tuple[str, str], set[str]] = {}
    for result in results:
        for key, value in result.options.items():
            values.setdefault((result.scheme, key), set()).add(str(value))
    varying = {key for key, seen in values.items() if len(seen) > 1}
    return tuple(_scheme_name(result, varying) for result in results)


def _scheme_name(result: RunResult, varying: set[tuple[str, str]]) -> str:
    extra = [f"{key}={value}" for key, value in result.options.items() if (result.scheme, key) in varying]
    return " ".join((result.scheme, *extra))


def tile_name(result: RunResult) -> str:
    """Name the tile that ran, without the scheme before it and the split of K behind it."""
    return result.tile.removeprefix(f"{result.scheme} ").partition(" split ")[0]


def bound_words(bound: str) -> str:
    """Return a bound's name for a reader; an unknown one keeps its key."""
    return BOUND_WORDS.get(bound, bound.replace("_", " "))


def m_range(first: int, last: int) -> str:
    """Write a range of M: ``16`` or ``1-64``."""
    return str(first) if first == last else f"{first}-{last}"


def natural_key(text: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key under which ``SM 2`` comes before ``SM 10``."""
    parts = re.split(r"(\d+)", text)
    return tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts if part)


def plain(text: str, limit: int = 0) -> str:
    """Return text that every font can draw on one line, cut to ``limit`` characters (0 = no limit)."""
    known = "".join(
        char if char.isprintable() and ord(char) < 0x250 else "?" for char in " ".join(text.split())
    )
    return known if not limit or len(known) <= limit else known[: limit - 3].rstrip() + "..."
