"""numba's ``njit`` with a cache that knows every source a function is compiled from.

numba looks at the age of a function's own file only, but a compiled function holds its callees and constants from
other files too: after a change in one of these a cached caller would go on with the old ones.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])
CONSTANTS = Path(__file__).parent / "isa"  # operation numbers and modifier bits are compiled in


# Nothing is allocated in compiled code: without reference counts it is nearly twice as fast.
_OPTIONS: dict[str, Any] = {"cache": True, "_nrt": False}


def entry(function: F) -> Any:
    """Compile a function that Python calls."""
    return _compiled(function, **_OPTIONS)


def inner(function: F) -> F:
    """Compile a function that only compiled functions call: without wrappers it takes a quarter less time."""
    return cast(F, _compiled(function, **_OPTIONS, no_cpython_wrapper=True, no_cfunc_wrapper=True))


def _compiled(function: F, **options: Any) -> Any:
    """Return numba's dispatcher, its cache bound to every file of the function's package."""
    compiled: Any = numba.njit(**options)(function)
    stored = getattr(getattr(compiled, "_cache", None), "_cache_file", None)
    if stored is not None:
        folder = Path(inspect.getfile(function)).parent
        stored._source_stamp = (stored._source_stamp, sources_digest(folder))
    return compiled


@cache
def sources_digest(folder: Path) -> str:
    """Hash the Python sources of a package and the constants that all of them share."""
    total = hashlib.sha256()
    for path in (*sorted(folder.glob("*.py")), CONSTANTS / "opcodes.py", CONSTANTS / "units.py"):
        total.update(path.name.encode() + b"\0" + path.read_bytes())
    return total.hexdigest()
