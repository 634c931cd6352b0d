"""``tcsim calibrate``: microbenchmark readings -> the numbers of a GPU's YAML file, with their source.

The file is edited as text: only the values and sources that the readings feed change; comments and order stay.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gpu_kernels.micro.benchmark import Benchmark, Row, Table
from gpu_kernels.micro.collect import read_folder
from gpu_kernels.micro.registry import benchmarks
from sim.arch.load import SUFFIXES, available, gpu_directory, load_gpu
from sim.arch.spec import GpuSpec
from sim.commands.micro import Comparison, compare, simulated
from sim.commands.terminal import Table as Columns
from sim.commands.terminal import say, show
from sim.errors import ConfigError, TcsimError, unknown

WIDTH = 118
HEADER = ("benchmark", "point", "measured", "simulated", "error")
TOLERANCE = 0.02  # by which a microbenchmark's simulation may miss its measurement


@dataclass(frozen=True)
class Value:
    """One number (or curve) for the YAML file."""

    path: str
    value: Any
    source: str


def run(folder: Path, arch: str, out: Path, comparing: bool) -> None:
    """Write the calibrated file and say what changed; with ``comparing`` simulate every reading on it."""
    base = _base(arch)
    rows, about = read_folder(folder)
    found, missing = values(rows, about)
    text, absent = rewritten(base.read_text(encoding="utf-8"), found)
    out.write_text(text, encoding="utf-8")
    gpu = load_gpu(str(out))
    _say_changes(found, load_gpu(str(base)), missing, absent, base)
    if comparing:
        say_comparison(comparisons(rows, gpu))


def _base(arch: str) -> Path:
    if arch.endswith(SUFFIXES) or "/" in arch:
        path = Path(arch)
    else:
        path = gpu_directory() / f"{arch}.yaml"
        if not path.is_file():
            raise unknown("arch", arch, available())
    if not path.is_file():
        raise ConfigError(str(path), "no such file")
    return path


def values(rows: Sequence[Row], about: Mapping[str, Any]) -> tuple[list[Value], list[str]]:
    """Return what the readings say about the machine, and the paths that they are too few for."""
    found, missing = [], []
    for name, benchmark in benchmarks().items():
        own = [row for row in rows if row.benchmark == name]
        if own:
            source = f"measured: gpu_kernels/micro/{name}, {about['gpu']}, {about['date']}"
            for path, value in _fed(benchmark, Table(own, rows)):
                if value is None:
                    missing.append(path)
                else:
                    found.append(Value(path, value, source))
    return found, missing


def _fed(benchmark: Benchmark, table: Table) -> Iterator[tuple[str, Any]]:
    for feed in benchmark.feeds:
        try:
            yield feed.path, feed.value(table)
        except TcsimError:  # a reading that it needs is not there
            yield feed.path, None


# ------------------------------------------------------------------------------------- the file as text


def rewritten(text: str, found: Sequence[Value]) -> tuple[str, list[str]]:
    """Return the YAML text with the values replaced, and the paths that it does not have."""
    places = dict(_places(yaml.compose(text, Loader=yaml.SafeLoader), ()))
    edits, absent = [], []
    for each in found:
        if each.path in places:
            edits.append((*places[each.path], each))
        else:
            absent.append(each.path)
    for key, node, each in sorted(edits, key=lambda edit: -edit[0].start_mark.index):
        start, column = key.start_mark.index, key.start_mark.column
        end = start + len(_without_tail(text[start : node.end_mark.index]))
        text = text[:start] + _leaf_text(key.value, each, column) + text[end:]
    return text, absent


def _places(node: Any, path: tuple[str, ...]) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Yield the dotted path of every leaf with its key's and its value's node."""
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        inner = (*path, str(key.value))
        if isinstance(value, yaml.MappingNode):
            if any(own.value == "value" for own, _ in value.value):
                yield ".".join(inner), (key, value)
            else:
                yield from _places(value, inner)


def _without_tail(text: str) -> str:
    """Drop blank lines and comments after the last line of a value."""
    lines = text.split("\n")
    while lines and (not lines[-1].strip() or lines[-1].lstrip().startswith("#")):
        lines.pop()
    return "\n".join(lines)


def _leaf_text(key: str, each: Value, column: int) -> str:
    if isinstance(each.value, list):
        return _curve_text(key, each, column)
    line = f'{key}: {{value: {_number(each.value)}, source: "{each.source}"}}'
    if column + len(line) <= WIDTH:
        return line
    pad = " " * (column + 2)
    return f"{key}:\n{pad}value: {_number(each.value)}\n{pad}source: {_folded(each.source, column + 2)}"


def _curve_text(key: str, each: Value, column: int) -> str:
    pad = " " * (column + 2)
    points = (", ".join(f"{name}: {_number(value)}" for name, value in point.items()) for point in each.value)
    rows = "\n".join(f"{pad}  - {{{point}}}" for point in points)
    return f"{key}:\n{pad}value:\n{rows}\n{pad}source: {_folded(each.source, column + 2)}"


def _folded(source: str, column: int) -> str:
    if column + len(source) + 12 <= WIDTH:
        return f'"{source}"'
    pad = " " * (column + 2)
    return ">-\n" + textwrap.fill(source, WIDTH, initial_indent=pad, subsequent_indent=pad)


def _number(value: float) -> str:
    """Write a number as people do: without an exponent, 4 for 4.0."""
    return f"{value:.10f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


# ------------------------------------------------------------------------------------- what is said


def comparisons(rows: Sequence[Row], gpu: GpuSpec) -> list[Comparison]:
    """Simulate every reading that the simulator has a model of."""
    found: list[Comparison] = []
    for name, benchmark in benchmarks().items():
        own = [row for row in rows if row.benchmark == name]
        names = {row.point for row in own}
        points = [point for point in benchmark.points if point.name in names]
        found += compare(own, simulated(benchmark, gpu, points))
    return found


def say_comparison(found: Sequence[Comparison]) -> None:
    """Print measured, simulated, error; then how many are within the tolerance."""
    rows = tuple(
        (each.benchmark, each.point, f"{each.measured:.3f}", f"{each.simulated:.3f}", f"{each.error:+.1%}")
        for each in found
    )
    show(Columns(HEADER, rows, "measured and simulated, SM cycles", right=(2, 3, 4)))
    good = sum(abs(each.error) <= TOLERANCE for each in found)
    say(f"{good} of {len(found)} within {TOLERANCE:.0%}")


def _say_changes(
    found: Sequence[Value], before: GpuSpec, missing: Sequence[str], absent: Sequence[str], base: Path
) -> None:
    for each in found:
        say(f"{each.path}: {_shown(_value_of(before, each.path))} -> {_shown(each.value)}")
    for path in missing:
        say(f"{path}: too few readings, left as it was")
    for path in absent:
        say(f"{path}: {base.name} does not have it, left out")


def _shown(value: Any) -> str:
    return f"{len(value)} points" if isinstance(value, list | tuple) else str(value)


def _value_of(gpu: GpuSpec, path: str) -> Any:
    """Follow a dotted path; keys of ``mma`` hold dots themselves."""
    current: Any = gpu
    parts = path.split(".")
    while parts:
        if isinstance(current, Mapping):
            size = next((n for n in range(1, len(parts) + 1) if ".".join(parts[:n]) in current), 0)
            if not size:
                return None
            current, parts = current[".".join(parts[:size])], parts[size:]
        else:
            current, parts = getattr(current, parts[0]), parts[1:]
    return current
