"""Finds the reports: every module of this package that has NAME, TITLE, ``collect`` and ``render``."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, cast

import reports
from sim.errors import TcsimError, unknown
from sim.results import RunResult


class Report(Protocol):
    """What a report module provides: a pure ``collect``, and a ``render`` that writes the files."""

    NAME: str
    TITLE: str

    def collect(self, results: Sequence[RunResult]) -> Any:
        """Return the frozen data of the report."""

    def render(self, data: Any, out_dir: Path) -> list[Path]:
        """Write ``NAME.png``, ``NAME.svg`` and ``NAME.csv`` and return their paths."""


@cache
def available() -> MappingProxyType[str, Report]:
    """Return all reports by name, sorted."""
    modules = [
        importlib.import_module(f"reports.{info.name}") for info in pkgutil.iter_modules(reports.__path__)
    ]
    found = {module.NAME: cast(Report, module) for module in modules if hasattr(module, "NAME")}
    return MappingProxyType(dict(sorted(found.items())))


def render(names: Iterable[str], results: Sequence[RunResult], out_dir: Path) -> list[Path]:
    """Write the named reports on ``results`` (all reports if no name is given) and return the files."""
    known = available()
    chosen = list(dict.fromkeys(names)) or list(known)
    for name in chosen:
        if name not in known:
            raise unknown("report", name, known)
    if not results:
        raise TcsimError("there are no results to report on")
    return [path for name in chosen for path in known[name].render(known[name].collect(results), out_dir)]
