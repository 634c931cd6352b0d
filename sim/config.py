"""Strict YAML: every file becomes a frozen pydantic model, every mistake one line with file, line and key.

Scalars follow YAML 1.2's core schema (``1e3`` is a number; ``yes``, ``1:30``, ``1_000`` are text).
What a hostile or damaged file could do (alias bombs, recursion, endless devices, numbers of a million digits)
ends in a ConfigError as well.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator

from sim.errors import ConfigError, place, unknown

# What PyYAML lets through on damaged text besides its own errors: "\\UFFFFFFFF" is an OverflowError, say.
_PYYAML_SLIPS = (ValueError, ArithmeticError, LookupError, AttributeError, TypeError)

KeyPath = tuple[str | int, ...]
Scalar = str | int | float | bool | None
ModelT = TypeVar("ModelT", bound=BaseModel)

MAX_FILE_BYTES = 1 << 18
MAX_NODES = 100_000  # after aliases are expanded
MAX_TEXT_CHARACTERS = 1 << 22  # of all values, after aliases are expanded
MAX_DEPTH = 64
MAX_KEY_CHARACTERS = 128
MAX_NUMBER_CHARACTERS = 64
MAX_INTEGER = 2**62


class Strict(BaseModel):
    """Base of all that is read from a file: frozen, no unknown keys, no NaN, no text for a number."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=False)

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_text_for_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse what pydantic would quietly turn into a number: true, "12"."""
        wanted = cls.model_fields[str(info.field_name)].annotation
        if wanted in (int, float) and isinstance(value, bool | str):
            raise ValueError(f"a plain number{unit_of(str(info.field_name))}")
        return value


UNITS = {
    "_bytes_per_cycle": "bytes per SM cycle",
    "_gb_per_s": "GB/s (1e9 bytes)",
    "_pj_per_bit": "pJ per bit",
    "_pj_per_op": "pJ per operation",
    "_bytes": "bytes",
    "_cycles": "SM cycles",
    "_mhz": "MHz",
    "_ns": "ns",
    "_us": "µs",
    "_pj": "pJ",
    "_w": "W",
}


def unit_of(key: str) -> str:
    """Return `` in <unit>`` for a key whose name ends in a unit, else nothing."""
    return next((f" in {unit}" for suffix, unit in UNITS.items() if key.endswith(suffix)), "")


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


def dotted(key: KeyPath) -> str:
    """Join a key path with dots: ``('sm', 'count')`` -> ``sm.count``."""
    return ".".join(str(part) for part in key)


def load_yaml(path: Path) -> Document:
    """Parse one YAML file, remembering lines; refuse duplicate keys, non-string keys and what is not YAML."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
        text = content.decode("utf-8")
    except FileNotFoundError:
        raise ConfigError(str(path), "no such file") from None
    except (OSError, ValueError) as error:
        raise ConfigError(str(path), f"cannot be read: {_first_line(error)}") from None
    if len(content) > MAX_FILE_BYTES:
        raise ConfigError(str(path), f"larger than {MAX_FILE_BYTES} bytes")
    return parse_yaml(text, path)


def parse_yaml(text: str, path: Path) -> Document:
    """Parse YAML text; ``path`` names its origin in messages."""
    try:
        node = yaml.compose(text, Loader=_Loader)
    except RecursionError:
        raise ConfigError(str(path), f"nested deeper than {MAX_DEPTH} levels") from None
    except (yaml.YAMLError, *_PYYAML_SLIPS) as error:
        mark = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or _first_line(error)
        raise ConfigError(place(path, mark.line + 1 if mark else None), f"not valid YAML: {reason}") from None
    builder = _Builder(path)
    data = None if node is None else builder.build(node, ())
    return Document(path, data, builder.lines)


def validate(model: type[ModelT], document: Document, data: Any = None) -> ModelT:
    """Turn a document into ``model``; the first mistake becomes a one-line ConfigError."""
    return validate_data(model, document.data if data is None else data, document.where)


def validate_data(model: type[ModelT], data: Any, where: Callable[[KeyPath], str]) -> ModelT:
    """Turn plain data into ``model``; ``where`` tells from which place each key came."""
    if not isinstance(data, dict):
        raise ConfigError(where(()), f"got {shown(data)}, allowed: a mapping of keys")
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise _as_config_error(model, where, error) from None


def _as_config_error(
    model: type[BaseModel], where: Callable[[KeyPath], str], error: ValidationError
) -> ConfigError:
    errors = error.errors(include_url=False)
    # A mistyped key is also a missing one: name the typing error.
    first = next((entry for entry in errors if entry["type"] == "extra_forbidden"), errors[0])
    key: KeyPath = tuple(first["loc"])
    if first["type"] == "extra_forbidden":
        return unknown("key", key[-1], _known_keys(model, key[:-1]), where(key))
    if first["type"] == "missing":
        return ConfigError(where(key), "missing; it has no default")
    if first["type"] == "value_error" and isinstance(first["input"], dict | list):
        return ConfigError(where(key), first["msg"].removeprefix("Value error, "))  # a check across fields
    return ConfigError(where(key), f"got {shown(first['input'])}, allowed: {_allowed(first['msg'])}")


def _allowed(message: str) -> str:
    text = message.removeprefix("Value error, ").removeprefix("Input should be ")
    return text[:1].lower() + text[1:]


def _known_keys(model: type[BaseModel], key: KeyPath) -> list[str]:
    """Walk from ``model`` down ``key`` and list the fields allowed there."""
    current: Any = model
    for part in key:
        fields = getattr(current, "model_fields", {})
        current = model_in(fields[part].annotation) if part in fields else model_in(current)
    return list(getattr(current, "model_fields", {}))


def model_in(annotation: Any) -> type[BaseModel] | None:
    """Find the pydantic model inside an annotation such as ``dict[str, Model]`` or ``Model | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        found = model_in(inner)
        if found is not None:
            return found
    return None


class _Loader(yaml.SafeLoader):
    """Composes nodes only; scalars are resolved by YAML 1.2's core schema instead of 1.1's."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 (PyYAML's own attribute)


_TAG = "tag:yaml.org,2002:"
_SCALARS: dict[str, tuple[re.Pattern[str], Callable[[str], Scalar], str]] = {
    _TAG + "null": (re.compile(r"~|null|Null|NULL|"), lambda text: None, "nN~"),
    _TAG + "bool": (
        re.compile(r"true|True|TRUE|false|False|FALSE"),
        lambda text: text.lower() == "true",
        "tTfF",
    ),
    _TAG + "int": (re.compile(r"[-+]?[0-9]+"), int, "-+0123456789"),
    _TAG + "float": (
        re.compile(
            r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
        ),
        lambda text: float(text.replace(".", "", 1) if text.lower().endswith(("inf", "nan")) else text),
        "-+.0123456789",
    ),
}
for _tag, (_pattern, _, _starts) in _SCALARS.items():
    _Loader.add_implicit_resolver(_tag, re.compile(f"^(?:{_pattern.pattern})$"), [*_starts])
_Loader.add_implicit_resolver(_TAG + "null", re.compile("^$"), [""])


class _Builder:
    """Turns composed nodes into plain data, counting what aliases expand to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: dict[KeyPath, int] = {}
        self.nodes = 0
        self.characters = 0

    def build(self, node: yaml.Node, key: KeyPath) -> Any:
        """Return the plain data of ``node``, which stands at ``key``."""
        self.lines.setdefault(key, node.start_mark.line + 1)
        self.nodes += 1
        if len(key) > MAX_DEPTH:
            raise ConfigError(place(self.path, self.lines[key]), f"nested deeper than {MAX_DEPTH} levels")
        if self.nodes > MAX_NODES:
            raise ConfigError(place(self.path, self.lines[key]), f"more than {MAX_NODES} values")
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, key)
        if node.tag not in (_TAG + "map", _TAG + "seq"):
            raise self._error(key, f"got the tag {shown(node.tag)}, allowed: plain mappings and lists")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, key)
        return [self.build(child, (*key, index)) for index, child in enumerate(node.value)]

    def _mapping(self, node: yaml.MappingNode, key: KeyPath) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            name = self._name(key_node)
            line = key_node.start_mark.line + 1
            if name in result:
                where = place(self.path, line, dotted((*key, name)))
                raise ConfigError(where, "stands twice in this mapping")
            self.lines[(*key, name)] = line
            result[name] = self.build(value_node, (*key, name))
        return result

    def _name(self, node: yaml.Node) -> str:
        where = place(self.path, node.start_mark.line + 1)
        if not isinstance(node, yaml.ScalarNode):
            raise ConfigError(where, "a key must be plain text")
        name = str(node.value)
        if len(name) > MAX_KEY_CHARACTERS or not name.isprintable():
            raise ConfigError(where, f"a key must be printable, at most {MAX_KEY_CHARACTERS} characters")
        return name

    def _scalar(self, node: yaml.ScalarNode, key: KeyPath) -> Scalar:
        self.characters += len(node.value)
        if self.characters > MAX_TEXT_CHARACTERS:
            raise self._error(key, f"more than {MAX_TEXT_CHARACTERS} characters")
        if node.tag == _TAG + "str":
            return self._text(node.value, key)
        if node.tag not in _SCALARS:
            raise self._error(key, f"got the tag {shown(node.tag)}, allowed: plain text and numbers")
        pattern, convert, _ = _SCALARS[node.tag]
        if not pattern.fullmatch(node.value):
            raise self._error(key, f"got {shown(node.value)}, allowed: what its tag says")
        if len(node.value) > MAX_NUMBER_CHARACTERS:
            raise self._error(key, f"got a number of {len(node.value)} characters")
        return self._bounded(convert(node.value), node.value, key)

    def _bounded(self, value: Scalar, text: str, key: KeyPath) -> Scalar:
        if isinstance(value, float) and not math.isfinite(value):
            raise self._error(key, f"got {text}, allowed: a finite number")
        if isinstance(value, int) and abs(value) > MAX_INTEGER:
            raise self._error(key, "got a number beyond 2^62")
        return value

    def _text(self, text: str, key: KeyPath) -> str:
        if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
            raise self._error(key, "is not valid Unicode text: it has half of a surrogate pair")
        return text

    def _error(self, key: KeyPath, message: str) -> ConfigError:
        return ConfigError(place(self.path, self.lines[key], dotted(key)), message)


def shown(value: object) -> str:
    """Return ``value`` as a message shows it: at most 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
