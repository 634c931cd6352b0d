"""Strict YAML: every file becomes a frozen pydantic model, every mistake one line with the file, line and key."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from sim.errors import ConfigError, place, unknown

KeyPath = tuple[str | int, ...]
ModelT = TypeVar("ModelT", bound=BaseModel)


class Strict(BaseModel):
    """Base of everything that is read from a file: frozen, no unknown keys, no NaN or infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=False)


@dataclass(frozen=True)
class Document:
    """One parsed YAML file: plain data and the line on which each key stands."""

    path: Path
    data: Any
    lines: dict[KeyPath, int] = field(default_factory=dict)

    def line(self, key: KeyPath) -> int | None:
        """Return the line of ``key``, or of its nearest ancestor that has one."""
        for end in range(len(key), -1, -1):
            if key[:end] in self.lines:
                return self.lines[key[:end]]
        return None

    def where(self, key: KeyPath = ()) -> str:
        """Return ``file:line: dotted.key`` for an error message."""
        return place(self.path, self.line(key), dotted(key))


class _Loader(yaml.SafeLoader):
    """SafeLoader without YAML 1.1's surprises is not to be had; numbers are checked after construction."""


def dotted(key: KeyPath) -> str:
    """Join a key path with dots: ``('sm', 'count')`` -> ``sm.count``."""
    return ".".join(str(part) for part in key)


def load_yaml(path: Path) -> Document:
    """Parse one YAML file, remembering lines; refuse duplicate keys, non-string keys and what is not YAML."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(str(path), "no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), f"cannot be read: {_first_line(error)}") from None
    try:
        node = yaml.compose(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or _first_line(error)
        raise ConfigError(place(path, mark.line + 1 if mark else None), f"not valid YAML: {reason}") from None
    lines: dict[KeyPath, int] = {}
    data = None if node is None else _construct(node, (), lines, path)
    return Document(path, data, lines)


def validate(model: type[ModelT], document: Document, data: Any = None) -> ModelT:
    """Turn a document into ``model``; the first mistake becomes a one-line ConfigError."""
    payload = document.data if data is None else data
    if not isinstance(payload, dict):
        raise ConfigError(document.where(), f"got {_shown(payload)}, allowed: a mapping of keys")
    try:
        return model.model_validate(payload)
    except ValidationError as error:
        raise _as_config_error(model, document, error) from None


def _as_config_error(model: type[BaseModel], document: Document, error: ValidationError) -> ConfigError:
    first = error.errors(include_url=False)[0]
    key: KeyPath = tuple(first["loc"])
    if first["type"] == "extra_forbidden":
        return unknown("key", key[-1], _known_keys(model, key[:-1]), document.where(key))
    if first["type"] == "missing":
        return ConfigError(document.where(key), "missing; it has no default")
    return ConfigError(document.where(key), f"got {_shown(first['input'])}, allowed: {_allowed(first['msg'])}")


def _allowed(message: str) -> str:
    text = message.removeprefix("Value error, ").removeprefix("Input should be ")
    return text[:1].lower() + text[1:]


def _known_keys(model: type[BaseModel], key: KeyPath) -> list[str]:
    """Walk from ``model`` down ``key`` and list the fields allowed there."""
    current: Any = model
    for part in key:
        fields = getattr(current, "model_fields", {})
        current = _model_in(fields[part].annotation) if part in fields else _model_in(current)
    return list(getattr(current, "model_fields", {}))


def _model_in(annotation: Any) -> Any:
    """Find the pydantic model inside an annotation such as ``dict[str, Model]`` or ``Model | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        found = _model_in(inner)
        if found is not None:
            return found
    return None


def _construct(node: yaml.Node, key: KeyPath, lines: dict[KeyPath, int], path: Path) -> Any:
    lines.setdefault(key, node.start_mark.line + 1)
    if len(key) > 64:
        raise ConfigError(place(path, lines[key]), "nested deeper than 64 levels")
    if isinstance(node, yaml.MappingNode):
        return _construct_mapping(node, key, lines, path)
    if isinstance(node, yaml.SequenceNode):
        return [_construct(child, (*key, index), lines, path) for index, child in enumerate(node.value)]
    return _scalar(node, key, lines, path)


def _construct_mapping(
    node: yaml.MappingNode, key: KeyPath, lines: dict[KeyPath, int], path: Path
) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise ConfigError(place(path, line), "a key must be plain text")
        name = str(key_node.value)
        if name in result:
            raise ConfigError(place(path, line, dotted((*key, name))), "stands twice in this mapping")
        lines[(*key, name)] = line
        result[name] = _construct(value_node, (*key, name), lines, path)
    return result


def _scalar(node: yaml.Node, key: KeyPath, lines: dict[KeyPath, int], path: Path) -> Hashable:
    try:
        value: Hashable = _Loader("").construct_object(node)
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise ConfigError(place(path, lines[key], dotted(key)), f"not readable: {_first_line(error)}") from None
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(place(path, lines[key], dotted(key)), f"got {node.value}, allowed: a finite number")
    if isinstance(value, int) and abs(value) > 2**62:
        raise ConfigError(place(path, lines[key], dotted(key)), "got a number beyond 2^62")
    return value


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
