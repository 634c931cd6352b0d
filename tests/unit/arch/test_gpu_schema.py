"""The JSON Schema for editors: in sync with the spec, and true of the bundled files."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from sim.arch.load import available, gpu_directory
from sim.arch.schema import gpu_schema, schema_file

SCHEMA = gpu_schema()


def test_committed_schema_is_in_sync() -> None:
    committed = json.loads(schema_file().read_text(encoding="utf-8"))
    assert committed == SCHEMA, "run: python -m sim.arch.schema"


def mistakes(schema: dict[str, Any], data: Any, path: str) -> list[str]:
    """Check the keywords that the schema uses; enough of JSON Schema to judge the bundled files."""
    if "$ref" in schema:
        return mistakes(SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]], data, path)
    kinds = {"object": dict, "array": list, "string": str, "integer": int, "number": int | float}
    if not isinstance(data, kinds[schema["type"]]):
        return [f"{path}: not {schema['type']}"]
    if isinstance(data, dict):
        return _object_mistakes(schema, data, path)
    if isinstance(data, list):
        return [found for item in data for found in mistakes(schema["items"], item, path)]
    if isinstance(data, str):
        return [] if re.search(schema.get("pattern", ""), data) else [f"{path}: pattern"]
    return [] if schema.get("minimum", data) <= data <= schema.get("maximum", data) else [f"{path}: range"]


def _object_mistakes(schema: dict[str, Any], data: dict[str, Any], path: str) -> list[str]:
    found = [f"{path}.{name}: missing" for name in schema.get("required", ()) if name not in data]
    for name, value in data.items():
        inner = schema.get("properties", {}).get(name)
        for pattern, candidate in schema.get("patternProperties", {}).items():
            inner = candidate if re.search(pattern, name) else inner
        found += [f"{path}.{name}: unknown"] if inner is None else mistakes(inner, value, f"{path}.{name}")
    return found


@pytest.mark.parametrize("name", available())
def test_bundled_files_follow_the_schema(name: str) -> None:
    data = yaml.safe_load((gpu_directory() / f"{name}.yaml").read_text(encoding="utf-8"))
    assert mistakes(SCHEMA, data, name) == []


@pytest.mark.parametrize(
    "data",
    [
        {"sm": {"count": 132}},
        {"sm": {"count": {"value": 132}}},
        {"sm": {"count": {"value": 0, "source": "assumed: x"}}},
        {"sm": {"count": {"value": 1, "source": "x"}}},
        {"sm": {"cuont": {"value": 1, "source": "assumed: x"}}},
        {"sm": {"tensor": {"mma": {"m16": {}}}}},
    ],
)
def test_schema_refuses_what_the_loader_refuses(data: dict[str, Any]) -> None:
    assert mistakes(SCHEMA, data, "file")
