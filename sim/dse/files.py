"""Write whole files or none: a reader never sees half a table, not even after a full disk."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sim.errors import ConfigError


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the operating system's refusal to write ``path`` into one line."""
    try:
        yield
    except OSError as error:
        raise ConfigError(str(path), f"cannot be written: {error.strerror or error}") from None


def make_directory(path: Path) -> None:
    """Create a directory for results, and find out now whether files can be made in it."""
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass


def write_whole(path: Path, text: str) -> None:
    """Write ``text`` beside ``path``, then put it in its place in one step."""
    with writing(path):
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(name).chmod(0o644)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
