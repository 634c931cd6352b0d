"""What the causal language models have in common that the study runs: read layer by layer, attention, the head.

Tokens lie as rows [tokens, hidden], cut into windows whose tokens see each other. Only one layer's weights are in
memory at a time; the vocabulary's head is read in parts.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sim.errors import ConfigError
from workloads.accuracy.arrays import F32, heads_of, joined, softmax
from workloads.accuracy.checkpoint import Checkpoint, open_checkpoint
from workloads.accuracy.methods import Affine, Method
from workloads.huggingface import load_config_json

I64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Config:
    """The sizes of a model, and all that its config.json says."""

    file: Path
    family: str
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    inner: int  # of the MLP
    vocabulary: int
    tied: bool
    all: Mapping[str, Any]

    def only(self, key: str, allowed: object, default: object) -> None:
        """Refuse a model that says something else of ``key``."""
        got = self.all.get(key, default)
        if got != allowed:
            raise ConfigError(
                str(self.file), f"{key}: got {json.dumps(got)[:60]}, allowed: {json.dumps(allowed)}"
            )

    def number(self, key: str, default: float) -> float:
        """Return a number that is above 0."""
        got = self.all.get(key, default)
        if isinstance(got, bool) or not isinstance(got, int | float) or not got > 0:
            raise ConfigError(str(self.file), f"{key}: got {json.dumps(got)[:60]}, allowed: a number above 0")
        return float(got)


def read_config(folder: Path) -> Config:
    """Read a folder's config.json."""
    file = folder / "config.json"
    sizes = load_config_json(file).data
    return Config(
        file,
        sizes["family"],
        sizes["hidden_size"],
        sizes["num_layers"],
        sizes["num_heads"],
        sizes["num_kv_heads"],
        sizes["head_dim"],
        sizes["intermediate_size"],
        sizes["vocab_size"],
        sizes["tied_embeddings"],
        json.loads(file.read_text(encoding="utf-8-sig")),
    )


class Block(ABC):
    """One layer, in memory."""

    @abstractmethod
    def run(self, x: F32, windows: Sequence[int], method: Method) -> F32:
        """Return the rows [tokens, hidden] after the layer."""


@dataclass(frozen=True, eq=False)
class Decoder(ABC):
    """A model in a folder."""

    config: Config
    tensors: Checkpoint
    prefix: str  # of the tensors' names

    @property
    @abstractmethod
    def positions(self) -> int:
        """The most tokens of a window."""

    @abstractmethod
    def embed(self, ids: I64, places: I64) -> F32:
        """Return the rows of tokens at their places in their windows."""

    @abstractmethod
    def block(self, layer: int) -> Block:
        """Read a layer."""

    @abstractmethod
    def normalized(self, x: F32) -> F32:
        """Return the rows that the head multiplies."""

    @property
    @abstractmethod
    def words(self) -> str:
        """The name of the embedding of words."""

    def read(self, name: str, *shape: int) -> F32:
        """Return a tensor."""
        return self.tensors.read(self.prefix + name, *shape)

    def affine(self, names: Sequence[str], rows: Sequence[int], columns: int) -> Affine:
        """Return matrices that have the same input as one, with their biases where the file has some."""
        names = [self.prefix + name for name in names]
        weight = self.tensors.stacked([f"{name}.weight" for name in names], rows, columns)
        if f"{names[0]}.bias" not in self.tensors:
            return Affine(weight, None)
        biases = [self.tensors.read(f"{name}.bias", count) for name, count in zip(names, rows, strict=True)]
        return Affine(weight, np.concatenate(biases))

    def embedded(self, ids: I64) -> F32:
        """Return the embeddings of words."""
        shape = self.config.vocabulary, self.config.hidden
        return self.tensors.read(self.prefix + self.words, *shape, rows=ids)

    def head(self, first: int, count: int) -> F32:
        """Return the rows of the vocabulary's head from ``first`` on."""
        name = "lm_head.weight"
        if self.config.tied or name not in self.tensors:
            name = self.prefix + self.words
        shape = self.config.vocabulary, self.config.hidden
        return self.tensors.read(name, *shape, rows=slice(first, first + count))


def causal(q: F32, k: F32, v: F32, windows: Sequence[int], heads: tuple[int, int], method: Method) -> F32:
    """Return what each token gathers from itself and those before it in its window [tokens, heads * head_dim].

    ``heads``: of Q, and of K and V, each of which serves as many of Q's.
    """
    ends = np.cumsum(windows)[:-1]
    rows = zip(*(np.split(each, ends) for each in (q, k, v)), strict=True)
    return np.concatenate(
        [
            _window(heads_of(qs, heads[0]), heads_of(ks, heads[1]), heads_of(vs, heads[1]), method)
            for qs, ks, vs in rows
        ]
    )


def _window(q: F32, k: F32, v: F32, method: Method) -> F32:
    """Attend within one window, a head at a time: all heads' scores would be large."""
    scale, shared = np.float32(q.shape[2] ** -0.5), len(q) // len(k)
    later = np.triu(np.ones((q.shape[1], q.shape[1]), np.bool_), 1)
    found = []
    for head in range(len(q)):
        own, other = slice(head, head + 1), slice(head // shared, head // shared + 1)
        scores = method.scores(q[own], k[other]) * scale
        scores[:, later] = -np.inf
        found.append(method.values(softmax(scores), v[other]))
    return joined(np.concatenate(found))


def open_tensors(folder: Path, prefixes: Sequence[str], name: str) -> tuple[Checkpoint, str]:
    """Open a folder's tensors; return which prefix their names have."""
    tensors = open_checkpoint(folder)
    return tensors, next((each for each in prefixes if each + name in tensors), prefixes[0])
