"""The identity of a machine: its numbers, not what they are called or where they come from."""

from __future__ import annotations

import hashlib
import json

from sim.arch.spec import GpuSpec

HASH_CHARACTERS = 16
WORDS = {"name", "title", "status", "sources"}


def config_hash(spec: GpuSpec) -> str:
    """Return a short SHA-256 over what determines a simulation: the numbers, and which binaries it runs."""
    numbers = spec.model_dump(mode="json", exclude=WORDS)
    text = json.dumps(numbers, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:HASH_CHARACTERS]
