"""JSON lines, one strict record per line: every mistake is one line with file, line and key."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from sim.config import KeyPath, Strict, dotted, validate_data
from sim.errors import ConfigError, place

MAX_LINE_CHARACTERS = 1 << 16
Record = TypeVar("Record", bound=Strict)


def read_records(path: Path, kind: type[Record], what: str) -> tuple[Record, ...]:
    """Read a file of records; ``what`` names one in messages: "a row"."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise ConfigError(str(path), "no such file") from None
    except (OSError, ValueError) as error:
        raise ConfigError(str(path), f"cannot be read: {str(error).splitlines()[0]}") from None
    return tuple(
        _read(path, number, text, kind, what) for number, text in enumerate(lines, 1) if text.strip()
    )


def _read(path: Path, number: int, text: str, kind: type[Record], what: str) -> Record:
    def where(key: KeyPath) -> str:
        return place(path, number, dotted(key))

    if len(text) > MAX_LINE_CHARACTERS:
        raise ConfigError(where(()), f"{what} of {len(text)} characters, allowed: {MAX_LINE_CHARACTERS}")
    try:
        data = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        reason = (str(error).splitlines() or ["nested too deep"])[0]
        raise ConfigError(where(()), f"not {what}: {reason}") from None
    return validate_data(kind, data, where)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found


def to_text(records: Iterable[Strict]) -> str:
    """Return records as JSON lines; the same records give the same text."""
    return "".join(json.dumps(each.model_dump(mode="json"), separators=(",", ":")) + "\n" for each in records)
