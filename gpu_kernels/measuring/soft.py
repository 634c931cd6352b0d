"""What may fail without costing the rest of a session."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
_told: set[str] = set()


def attempt(what: str, action: Callable[[], T]) -> T | None:
    """Return the action's result; if it fails, say once why ``what`` is missing and return None.

    Every exception counts: compilers, drivers and libraries that are absent raise all kinds.
    """
    try:
        return action()
    except Exception as error:
        tell(f"without {what}: {describe(error)}")
        return None


def describe(error: BaseException) -> str:
    """Return an exception as one line."""
    lines = str(error).splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:200]}"


def tell(message: str) -> None:
    """Write a line to stderr, once."""
    if message not in _told:
        _told.add(message)
        sys.stderr.write(message + "\n")
