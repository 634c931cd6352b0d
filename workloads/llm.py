"""Large language models as lists of matmuls: the linear layers of one decoder, from YAML or config.json."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from sim.config import Document, Strict, load_yaml, validate
from sim.errors import ConfigError
from workloads.files import bundled_names, find_file
from workloads.huggingface import load_config_json
from workloads.shapes import MAX_SIZE

Size = Annotated[int, Field(strict=True, ge=1, le=MAX_SIZE)]


@dataclass(frozen=True)
class Layer:
    """One kind of linear layer, Y[m, n] = X[m, k] · W[n, k]^T, and how often it stands in the model."""

    name: str
    n: int
    k: int
    count_per_model: int


class Model(Strict):
    """The sizes of a decoder-only transformer that decide its matmuls; all are element counts."""

    name: str = Field(min_length=1)
    source: str
    family: str
    hidden_size: Size
    intermediate_size: Size
    num_layers: Size
    num_heads: Size
    num_kv_heads: Size
    head_dim: Size
    vocab_size: Size
    gated_mlp: bool
    tied_embeddings: bool = False
    parameters: int | None = Field(default=None, strict=True, ge=1)  # of the whole model, as published

    def linear_layers(self, lm_head: bool = False) -> tuple[Layer, ...]:
        """Return the linear layers in the order of execution, as serving systems fuse them."""
        hidden, count = self.hidden_size, self.num_layers
        heads = self.num_heads * self.head_dim
        kv = 2 * self.num_kv_heads * self.head_dim
        layers = (
            Layer("qkv_proj", heads + kv, hidden, count),
            Layer("o_proj", hidden, heads, count),
            *self._mlp(),
        )
        return (*layers, Layer("lm_head", self.vocab_size, hidden, 1)) if lm_head else layers

    def _mlp(self) -> tuple[Layer, Layer]:
        hidden, ffn, count = self.hidden_size, self.intermediate_size, self.num_layers
        if self.gated_mlp:
            return Layer("gate_up_proj", 2 * ffn, hidden, count), Layer("down_proj", hidden, ffn, count)
        return Layer("fc1", ffn, hidden, count), Layer("fc2", hidden, ffn, count)


def available_models() -> tuple[str, ...]:
    """Name the bundled models."""
    return bundled_names("models")


def load_model(name_or_path: str | Path, where: str = "", base: Path | None = None) -> Model:
    """Load a bundled model, a model YAML, or a Hugging Face config.json.

    ``where`` is the place a mistaken name is reported at; ``base`` the folder relative paths start from.
    """
    path = find_file("model", "models", str(name_or_path), where, base)
    document = load_config_json(path) if path.suffix.lower() == ".json" else load_yaml(path)
    if isinstance(document.data, dict):
        named = {"name": _name_of(path), **document.data}
        document = Document(document.path, named, document.lines)
    model = validate(Model, document)
    _check(model, document)
    return model


def _check(model: Model, document: Document) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", model.name):
        raise ConfigError(
            document.where(("name",)), f"got {model.name!r}, allowed: letters, digits, '.', '_' and '-'"
        )
    if model.num_heads % model.num_kv_heads:
        allowed = f"a divisor of the {model.num_heads} heads"
        raise ConfigError(document.where(("num_kv_heads",)), f"got {model.num_kv_heads}, allowed: {allowed}")
    for layer in model.linear_layers():
        if max(layer.n, layer.k) > MAX_SIZE:
            got = f"{layer.name} of {layer.n} x {layer.k}"
            raise ConfigError(document.where(), f"got {got}, allowed: up to {MAX_SIZE} each")


def _name_of(path: Path) -> str:
    """Name a model by its file, or by its folder where the file is called config.json as everywhere."""
    stem = path.resolve().parent.name if path.stem == "config" else path.stem
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem).lstrip("-._") or "model"
