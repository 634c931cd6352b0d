"""Read the sizes of a model from the config.json that Hugging Face checkpoints carry."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sim.config import Document, KeyPath
from sim.errors import ConfigError, unknown


@dataclass(frozen=True)
class _Family:
    """How one ``model_type`` spells its sizes; ``explicit`` keys must be given, having unusual defaults."""

    gated_mlp: bool = True
    intermediate: str = "intermediate_size"
    tied_by_default: bool = False
    explicit: tuple[str, ...] = ()


# From each architecture's configuration class in Hugging Face transformers.
_FAMILIES: Mapping[str, _Family] = {
    "llama": _Family(),
    "mistral": _Family(explicit=("num_key_value_heads",)),
    "qwen2": _Family(explicit=("num_key_value_heads",)),
    "qwen3": _Family(explicit=("num_key_value_heads", "head_dim")),
    "gemma": _Family(tied_by_default=True, explicit=("num_key_value_heads", "head_dim")),
    "gemma2": _Family(tied_by_default=True, explicit=("num_key_value_heads", "head_dim")),
    "phi3": _Family(),
    "opt": _Family(gated_mlp=False, intermediate="ffn_dim", tied_by_default=True),
    "gpt_neox": _Family(gated_mlp=False),
}
_SIZES = {"hidden_size": "hidden_size", "num_layers": "num_hidden_layers", "num_heads": "num_attention_heads"}


def load_config_json(path: Path) -> Document:
    """Translate a config.json into the keys of a model YAML; lines and mistakes refer to the JSON file."""
    source = _parse(path)
    kind = _required(source, "model_type")
    if not isinstance(kind, str) or kind not in _FAMILIES:
        raise unknown("model_type", kind, _FAMILIES, source.where(("model_type",)))
    family = _FAMILIES[kind]
    for key in family.explicit:
        _required(source, key)
    keys = {**_SIZES, "vocab_size": "vocab_size", "intermediate_size": family.intermediate}
    sizes = {ours: _size(source, theirs) for ours, theirs in keys.items()}
    _check_embedding_width(source, sizes["hidden_size"])
    keys |= {"num_kv_heads": "num_key_value_heads", "head_dim": "head_dim"}
    sizes["num_kv_heads"] = _size(source, "num_key_value_heads", sizes["num_heads"])
    sizes["head_dim"] = _head_dim(source, sizes)
    data = {
        **sizes,
        "source": str(path),
        "family": kind,
        "gated_mlp": family.gated_mlp,
        "tied_embeddings": _flag(source, "tie_word_embeddings", family.tied_by_default),
    }
    lines: dict[KeyPath, int] = {
        (ours,): source.lines[(theirs,)] for ours, theirs in keys.items() if (theirs,) in source.lines
    }
    return Document(path, data, lines)


def _parse(path: Path) -> Document:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(str(path), "no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), f"cannot be read: {str(error).splitlines()[0]}") from None
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}:{error.lineno}", f"not valid JSON: {error.msg}") from None
    except (ValueError, RecursionError):
        raise ConfigError(str(path), "not valid JSON: a number too long or nesting too deep") from None
    if not isinstance(data, dict):
        raise ConfigError(str(path), "got no JSON object, allowed: the config.json of a model")
    return Document(path, data, _key_lines(text, data))


def _key_lines(text: str, data: Mapping[str, Any]) -> dict[KeyPath, int]:
    """Find the line on which each top-level key first stands (JSON parsers do not tell)."""
    lines: dict[KeyPath, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        key = line.strip().lstrip("{ ").partition(":")[0].strip().strip('"')
        if key in data:
            lines.setdefault((key,), number)
    return lines


def _required(source: Document, key: str) -> Any:
    """Return the value of a key; null counts as missing."""
    value = source.data.get(key)
    if value is None:
        raise ConfigError(source.where((key,)), "missing; it has no default")
    return value


def _size(source: Document, key: str, default: int | None = None) -> int:
    value = source.data.get(key)
    if value is None and default is not None:
        return default
    value = _required(source, key)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(source.where((key,)), f"got {repr(value)[:60]}, allowed: a whole number from 1")
    return value


def _flag(source: Document, key: str, default: bool) -> bool:
    value = source.data.get(key)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise ConfigError(source.where((key,)), f"got {repr(value)[:60]}, allowed: true or false")
    return value


def _head_dim(source: Document, sizes: Mapping[str, int]) -> int:
    """Return the stated head size, or hidden size / heads, which must then divide."""
    hidden, heads = sizes["hidden_size"], sizes["num_heads"]
    if source.data.get("head_dim") is not None:
        return _size(source, "head_dim")
    if hidden % heads:
        where = source.where(("num_attention_heads",))
        raise ConfigError(where, f"got {heads}, allowed: a divisor of hidden_size {hidden}")
    return hidden // heads


def _check_embedding_width(source: Document, hidden: int) -> None:
    """Refuse OPT's narrow embeddings (opt-350m), whose extra projections are not modelled."""
    width = _size(source, "word_embed_proj_dim", hidden)
    if width != hidden:
        where = source.where(("word_embed_proj_dim",))
        raise ConfigError(where, f"got {width}, allowed: the hidden_size {hidden}")
