"""What goes wrong by the user's hand: one line each, with the place, what was got and what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

MAX_LISTED = 40  # names that an "unknown X" message lists in full
MAX_SHOWN_CHARACTERS = 120


class TcsimError(Exception):
    """A user's mistake. The command prints it as one line and exits with status 2; anything else is a bug."""


class ConfigError(TcsimError):
    """A mistake in a file or an option: ``file:line: key: what was got, what is allowed``."""

    def __init__(self, where: str, message: str) -> None:
        super().__init__(_one_line(f"{where}: {message}" if where else message))


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
    asked = str(got)[:MAX_SHOWN_CHARACTERS]
    near = [name for name in names if name.endswith("." + asked)]
    near = near or difflib.get_close_matches(asked, names, cutoff=0.5)
    hint = f". Did you mean {near[0]!r}?" if near else "."
    return ConfigError(where, f"unknown {kind} {asked!r}{hint} Known: {_listed(asked, names)}")


def _listed(asked: str, names: list[str]) -> str:
    """List the names, or of a long list those nearest to what was asked."""
    if len(names) <= MAX_LISTED:
        return ", ".join(names) or "none"
    near = difflib.get_close_matches(asked, names, n=5, cutoff=0.0)
    return f"{', '.join(near)}, ... ({len(names)} in all)"


def _one_line(text: str) -> str:
    """Escape what a terminal would not print as part of one line."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
