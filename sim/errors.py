"""What goes wrong by the user's hand: one line each, with the place, what was got, what is allowed and the nearest name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path


class TcsimError(Exception):
    """A user's mistake. The command prints it as one line and exits with status 2; anything else is a bug."""


class ConfigError(TcsimError):
    """A mistake in a file or an option: ``file:line: key: what was got, what is allowed``."""

    def __init__(self, where: str, message: str) -> None:
        super().__init__(f"{where}: {message}" if where else message)


class UnsupportedInstructionError(TcsimError):
    """An instruction outside the white list of (opcode, modifiers, operand kinds)."""


class DeadlockError(TcsimError):
    """No warp can ever go on; the message names the dependence each is blocked on."""


def place(path: Path | str, line: int | None = None, key: str = "") -> str:
    """Format ``file:line: key`` from what is known of it."""
    head = f"{path}:{line}" if line else str(path)
    return f"{head}: {key}" if key else head


def unknown(kind: str, got: object, known: Iterable[str], where: str = "") -> ConfigError:
    """Build the error for a name that does not exist: the only builder of such messages."""
    names = sorted(known)
    near = difflib.get_close_matches(str(got), names, n=1, cutoff=0.5)
    hint = f". Did you mean {near[0]!r}?" if near else "."
    return ConfigError(where, f"unknown {kind} {str(got)!r}{hint} Known: {', '.join(names) or 'none'}")
