"""A BERT encoder with mean pooling, in NumPy: the sentence-embedding models that ``transformers`` calls BertModel.

The texts of a batch lie below each other as rows [tokens, hidden], without padding; attention stays within a text.
A method's dynamic scales see the rows of all texts, as in a batch on a server.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sim.errors import ConfigError
from workloads.accuracy.arrays import F32, Norm, gelu, heads_of, joined, softmax
from workloads.accuracy.checkpoint import Checkpoint, open_checkpoint
from workloads.accuracy.methods import Affine, Method, Site

# Tender's authors quantize BERT as well, but released OPT and Llama only. As there, the input of the last matmul has
# no bias subtracted: most of it is near 0, where the middle of a channel's range is not. GELU goes below 0.
QKV, ATTENTION_OUTPUT = Site("qkv"), Site("attention_output")
MLP_INPUT, MLP_OUTPUT = Site("mlp_input"), Site("mlp_output", centred=False)
CAPTURED_ROWS = 256  # of each linear layer's input: one chunk of Tender's


@dataclass(frozen=True, eq=False)
class Block:
    """One layer: attention, then the MLP, each added to its input and normalized."""

    qkv: Affine
    attention_output: Affine
    attention_norm: Norm
    mlp_input: Affine
    mlp_output: Affine
    mlp_norm: Norm


@dataclass(frozen=True, eq=False)
class Encoder:
    """The whole model; ``words`` already hold the embedding of the only segment."""

    heads: int
    words: F32  # [vocabulary, hidden]
    positions: F32  # [most tokens, hidden]
    norm: Norm
    blocks: tuple[Block, ...]


@dataclass(frozen=True, eq=False)
class Captured:
    """What a linear layer multiplied in float32."""

    layer: int
    site: Site
    x: F32
    weight: F32


@dataclass(frozen=True, eq=False)
class Encoded:
    """Embeddings of unit length [texts, hidden], and the rows after each block [tokens, hidden]."""

    embeddings: F32
    after: tuple[F32, ...]


def load_encoder(folder: Path) -> Encoder:
    """Read a BertModel's config.json and tensors."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        sizes = [config[key] for key in ("hidden_size", "num_hidden_layers", "intermediate_size")]
        heads, epsilon = config["num_attention_heads"], config["layer_norm_eps"]
        shape = config["vocab_size"], config["max_position_embeddings"], config["type_vocab_size"]
        known = config["model_type"], config["hidden_act"], config.get("position_embedding_type", "absolute")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(str(folder / "config.json"), f"is no config of a BERT encoder: {error}") from None
    if known != ("bert", "gelu", "absolute"):
        raise ConfigError(str(folder / "config.json"), f"got {known}, allowed: bert, gelu, absolute")
    hidden, layers, inner = sizes
    tensors = open_checkpoint(folder)
    vocabulary, positions, segments = (
        tensors.read(f"embeddings.{name}_embeddings.weight", rows, hidden)
        for name, rows in zip(("word", "position", "token_type"), shape, strict=True)
    )
    norm = _norm(tensors, "embeddings.LayerNorm", hidden, epsilon)
    blocks = tuple(
        _block(tensors, f"encoder.layer.{layer}", hidden, inner, epsilon) for layer in range(layers)
    )
    return Encoder(heads, vocabulary + segments[0], positions, norm, blocks)


def _norm(tensors: Checkpoint, name: str, hidden: int, epsilon: float) -> Norm:
    return Norm(tensors.read(f"{name}.weight", hidden), tensors.read(f"{name}.bias", hidden), epsilon)


def _affine(tensors: Checkpoint, names: Sequence[str], n: int, k: int) -> Affine:
    weight = tensors.stacked([f"{name}.weight" for name in names], [n] * len(names), k)
    return Affine(weight, np.concatenate([tensors.read(f"{name}.bias", n) for name in names]))


def _block(tensors: Checkpoint, name: str, hidden: int, inner: int, epsilon: float) -> Block:
    three = [f"{name}.attention.self.{part}" for part in ("query", "key", "value")]
    return Block(
        _affine(tensors, three, hidden, hidden),
        _affine(tensors, [f"{name}.attention.output.dense"], hidden, hidden),
        _norm(tensors, f"{name}.attention.output.LayerNorm", hidden, epsilon),
        _affine(tensors, [f"{name}.intermediate.dense"], inner, hidden),
        _affine(tensors, [f"{name}.output.dense"], hidden, inner),
        _norm(tensors, f"{name}.output.LayerNorm", hidden, epsilon),
    )


def encode(
    encoder: Encoder, texts: Sequence[Sequence[int]], method: Method, captured: list[Captured] | None = None
) -> Encoded:
    """Run the texts' token ids through the model; the linear layers' inputs go to ``captured``."""
    run = _Run(encoder, method, [len(each) for each in texts], captured)
    ids = np.concatenate([np.asarray(each, np.int64) for each in texts])
    places = np.concatenate([np.arange(count) for count in run.lengths])
    x = encoder.norm.apply(encoder.words[ids] + encoder.positions[places])
    after = []
    for layer, block in enumerate(encoder.blocks):
        x = run.block(x, layer, block)
        after.append(x)
    means = np.stack([each.mean(axis=0) for each in run.per_text(x)])
    return Encoded(means / np.linalg.norm(means, axis=1, keepdims=True), tuple(after))


@dataclass(frozen=True, eq=False)
class _Run:
    """One pass of some texts."""

    encoder: Encoder
    method: Method
    lengths: list[int]
    captured: list[Captured] | None

    def per_text(self, x: F32) -> list[F32]:
        """Cut rows into those of each text."""
        return np.split(x, np.cumsum(self.lengths)[:-1])

    def linear(self, x: F32, layer: int, site: Site, affine: Affine) -> F32:
        """Multiply as the method does."""
        if self.captured is not None:
            self.captured.append(Captured(layer, site, x[:CAPTURED_ROWS], affine.weight))
        return affine.apply(x, self.method, site)

    def block(self, x: F32, layer: int, block: Block) -> F32:
        """Run one layer."""
        qkv = self.linear(x, layer, QKV, block.qkv)
        mixed = np.concatenate([self.attention(each) for each in self.per_text(qkv)])
        added = x + self.linear(mixed, layer, ATTENTION_OUTPUT, block.attention_output)
        x = block.attention_norm.apply(added)
        inner = gelu(self.linear(x, layer, MLP_INPUT, block.mlp_input))
        added = x + self.linear(inner, layer, MLP_OUTPUT, block.mlp_output)
        return block.mlp_norm.apply(added)

    def attention(self, qkv: F32) -> F32:
        """Return what each token of one text gathers from all of them [m, hidden]."""
        q, k, v = (heads_of(each, self.encoder.heads) for each in np.split(qkv, 3, axis=1))
        scale = np.float32(q.shape[2] ** -0.5)
        return joined(self.method.values(softmax(self.method.scores(q, k) * scale), v))
