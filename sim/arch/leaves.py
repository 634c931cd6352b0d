"""The numbers of a GPU's YAML file: each is a leaf ``{value: ..., source: ...}`` at a dotted path."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from sim.arch.spec import GpuSpec
from sim.config import Document, KeyPath, shown, unit_of
from sim.errors import ConfigError, unknown

SOURCE_KINDS = ("datasheet", "measured", "paper", "literature", "assumed", "hypothetical")
EXTENDS = "extends"
PLAIN = ("name", "title", "compute_capability", "program_target", "status")  # text that needs no source
MAX_SOURCE_CHARACTERS = 1000
FORM = "{value: ..., source: ...}"


@dataclass(frozen=True)
class Leaf:
    """One number (or the points of one curve), where it comes from, and where it stands in a file."""

    value: Any
    source: str
    where: str


Leaves = Mapping[KeyPath, Leaf]


def read_leaves(
    document: Document, model: type[BaseModel] = GpuSpec, plain: Sequence[str] = PLAIN
) -> dict[KeyPath, Leaf]:
    """Return the numbers of one file; its ``plain`` text fields and ``extends`` are left out."""
    data = document.data
    if not isinstance(data, dict):
        raise ConfigError(document.where(), f"got {shown(data)}, allowed: a mapping of keys")
    known = [name for name in model.model_fields if name != "sources"] + [EXTENDS]
    for key in data:
        if key not in known:
            raise unknown("key", key, known, document.where((key,)))
    sections = {key: value for key, value in data.items() if key not in (*plain, EXTENDS)}
    return dict(_walk(model, sections, (), document))


def nested(leaves: Leaves) -> dict[str, Any]:
    """Return the values as nested mappings, as pydantic wants them."""
    result: dict[str, Any] = {}
    for key, leaf in leaves.items():
        level = result
        for part in key[:-1]:
            level = level.setdefault(str(part), {})
        level[str(key[-1])] = leaf.value
    return result


def _walk(annotation: Any, data: Any, key: KeyPath, document: Document) -> Iterator[tuple[KeyPath, Leaf]]:
    children = _children(annotation)
    if children is None:
        yield key, _leaf(data, key, document)
        return
    if not isinstance(data, dict):
        raise ConfigError(document.where(key), f"got {shown(data)}, allowed: a mapping of keys")
    for name, value in data.items():
        inner = children if not isinstance(children, dict) else children.get(name)
        if inner is None:
            raise unknown("key", name, children, document.where((*key, name)))
        yield from _walk(inner, value, (*key, name), document)


def _children(annotation: Any) -> Any:
    """Return {field: annotation} of a model, the one annotation of a dict's values, or None for a leaf."""
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        if issubclass(annotation, BaseModel):
            return {name: field.annotation for name, field in annotation.model_fields.items()}
        return None
    return get_args(annotation)[1] if get_origin(annotation) is dict else None


def _leaf(data: Any, key: KeyPath, document: Document) -> Leaf:
    where = document.where(key)
    if not isinstance(data, dict):
        raise ConfigError(where, f"got {shown(data)}, allowed: {FORM}, so that the number says its source")
    for name in data:
        if name not in ("value", "source"):
            raise unknown("key", name, ("value", "source"), document.where((*key, name)))
    for name in ("value", "source"):
        if data.get(name) is None:
            raise ConfigError(where, f"{name} missing; a number is {FORM}")
    source = _source(data["source"], document.where((*key, "source")))
    return Leaf(number_or_curve(data["value"], key, document.where((*key, "value"))), source, where)


def _source(source: Any, where: str) -> str:
    kinds = f"text that begins with one of {', '.join(kind + ':' for kind in SOURCE_KINDS)}"
    if not isinstance(source, str) or len(source) > MAX_SOURCE_CHARACTERS:
        raise ConfigError(where, f"got {shown(source)}, allowed: {kinds}")
    kind, colon, text = source.partition(":")
    if kind not in SOURCE_KINDS or not colon or not text.strip():
        raise ConfigError(where, f"got {shown(source)}, allowed: {kinds}")
    return source.strip()


def number_or_curve(value: Any, key: KeyPath, where: str) -> Any:
    """Return ``value`` if it is a number (or a list, checked later); text such as "32kB" is an error."""
    if isinstance(value, bool) or not isinstance(value, int | float | list):
        wanted = f"a plain number{unit_of(str(key[-1]))}"
        raise ConfigError(where, f"got {shown(value)}, allowed: {wanted}, without a unit")
    return value
