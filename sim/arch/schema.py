"""JSON Schema of a GPU's YAML file, for editors: the spec's own schema each number as {value, source}."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import arch_configs
from sim.arch.leaves import EXTENDS, MAX_SOURCE_CHARACTERS, PLAIN, SOURCE_KINDS
from sim.arch.spec import BusyShare, GpuSpec, LoadedLatency, StageExcess
from sim.config import unit_of

DIALECT = "https://json-schema.org/draft/2020-12/schema"
POINTS = (
    LoadedLatency.__name__,
    StageExcess.__name__,
    BusyShare.__name__,
)  # of curves: their numbers have no source of their own


def gpu_schema() -> dict[str, Any]:
    """Return the JSON Schema of the files in ``arch_configs/gpus``.

    Nothing but a number's ``value`` and ``source`` is required, since a file with ``extends`` states only
    what differs; the loader says what is missing.
    """
    schema = GpuSpec.model_json_schema()
    definitions = schema.pop("$defs")
    for name, definition in definitions.items():
        if name not in POINTS:
            _loosen(definition)
    _loosen(schema, keep=PLAIN)
    del schema["properties"]["sources"]
    schema["properties"][EXTENDS] = {"type": "string", "description": "A GPU that this one differs from."}
    return {"$schema": DIALECT, **schema, "$defs": {**definitions, "Source": _source()}}


def schema_file() -> Path:
    """Return the committed copy of the schema."""
    return arch_configs.DIRECTORY / "gpu.schema.json"


def schema_text() -> str:
    """Return the schema as the committed file has it."""
    return json.dumps(gpu_schema(), indent=2, ensure_ascii=False) + "\n"


def _loosen(schema: dict[str, Any], keep: tuple[str, ...] = ()) -> None:
    """Make every number of one object a {value, source}, and nothing required."""
    schema.pop("required", None)
    properties = schema["properties"]
    for name in properties:
        if name not in keep:
            properties[name] = _sourced(name, properties[name])


def _sourced(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    if schema.get("type") in ("integer", "number", "array"):
        return _leaf(name, schema)
    patterns = schema.get("patternProperties")
    if patterns is None:
        return schema
    wrapped = {key: _sourced(name, inner) for key, inner in patterns.items()}
    return {**schema, "patternProperties": wrapped, "additionalProperties": False}


def _source() -> dict[str, Any]:
    return {
        "type": "string",
        "description": "Where a number comes from.",
        "pattern": f"^({'|'.join(SOURCE_KINDS)}):",
        "maxLength": MAX_SOURCE_CHARACTERS,
    }


def _leaf(name: str, value: dict[str, Any]) -> dict[str, Any]:
    bare = {key: item for key, item in value.items() if key != "title"}
    return {
        "type": "object",
        "title": value.get("title", name),
        "description": f"A number{unit_of(name)}, and where it comes from.",
        "properties": {"value": bare, "source": {"$ref": "#/$defs/Source"}},
        "required": ["value", "source"],
        "additionalProperties": False,
    }


if __name__ == "__main__":
    schema_file().write_text(schema_text(), encoding="utf-8")
