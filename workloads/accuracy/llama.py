"""Llama: rotary positions, RMS norms, grouped queries, gated MLP (arXiv:2302.13971), as in transformers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sim.errors import unknown
from workloads.accuracy.arrays import F32, heads_of, joined, rms_norm, silu
from workloads.accuracy.decoder import I64, Block, Config, Decoder, causal, open_tensors
from workloads.accuracy.methods import Affine, Method, Site

# As in Tender's released code: only what comes from a norm has its biases subtracted.
QKV, ATTENTION_OUTPUT = Site("qkv"), Site("attention_output", centred=False)
MLP_INPUT, MLP_OUTPUT = Site("mlp_input"), Site("mlp_output", centred=False)
EPSILON, THETA, POSITIONS = 1e-6, 10000.0, 2048  # transformers' defaults
ROPES = ("default", "linear", "llama3")


@dataclass(frozen=True, eq=False)
class LlamaBlock(Block):
    """Attention and MLP, each added to its input."""

    config: Config
    epsilon: float
    turns: F32  # [head_dim / 2] radians per place
    attention_norm: F32
    qkv: Affine
    attention_output: Affine
    mlp_norm: F32
    mlp_input: Affine  # gate, then up
    mlp_output: Affine

    def run(self, x: F32, windows: Sequence[int], method: Method) -> F32:
        """Return the rows after the layer."""
        shape = self.config
        qkv = self.qkv.apply(rms_norm(x, self.attention_norm, self.epsilon), method, QKV)
        ends = np.cumsum([shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim])
        q, k, v = np.split(qkv, ends, axis=1)
        angles = (
            np.concatenate([np.arange(count, dtype=np.float32) for count in windows])[:, None] * self.turns
        )
        q, k = rotated(q, shape.heads, angles), rotated(k, shape.kv_heads, angles)
        mixed = causal(q, k, v, windows, (shape.heads, shape.kv_heads), method)
        x = x + self.attention_output.apply(mixed, method, ATTENTION_OUTPUT)
        both = self.mlp_input.apply(rms_norm(x, self.mlp_norm, self.epsilon), method, MLP_INPUT)
        gate, up = np.split(both, 2, axis=1)
        return x + self.mlp_output.apply(silu(gate) * up, method, MLP_OUTPUT)


def rotated(x: F32, heads: int, angles: F32) -> F32:
    """Turn each pair (i, i + d / 2) of each head's channels by its angle; angles [tokens, d / 2]."""
    first, second = np.split(heads_of(x, heads), 2, axis=2)
    cos, sin = np.cos(angles), np.sin(angles)
    return joined(np.concatenate((first * cos - second * sin, second * cos + first * sin), axis=2))


class Llama(Decoder):
    """The model."""

    words = "embed_tokens.weight"

    @property
    def positions(self) -> int:
        """The most tokens of a window."""
        return int(self.config.number("max_position_embeddings", POSITIONS))

    def embed(self, ids: I64, places: I64) -> F32:
        """Return the embeddings of words: places enter in the attention."""
        return self.embedded(ids)

    def block(self, layer: int) -> LlamaBlock:
        """Read a layer."""
        config, name = self.config, f"layers.{layer}"
        mine, shared = config.heads * config.head_dim, config.kv_heads * config.head_dim
        three = [f"{name}.self_attn.{part}_proj" for part in ("q", "k", "v")]
        both = [f"{name}.mlp.{part}_proj" for part in ("gate", "up")]
        return LlamaBlock(
            config,
            self._epsilon,
            turns(config),
            self.read(f"{name}.input_layernorm.weight", config.hidden),
            self.affine(three, [mine, shared, shared], config.hidden),
            self.affine([f"{name}.self_attn.o_proj"], [config.hidden], mine),
            self.read(f"{name}.post_attention_layernorm.weight", config.hidden),
            self.affine(both, [config.inner] * 2, config.hidden),
            self.affine([f"{name}.mlp.down_proj"], [config.hidden], config.inner),
        )

    @property
    def _epsilon(self) -> float:
        return self.config.number("rms_norm_eps", EPSILON)

    def normalized(self, x: F32) -> F32:
        """Return the rows that the head multiplies."""
        return rms_norm(x, self.read("norm.weight", self.config.hidden), self._epsilon)


def turns(config: Config) -> F32:
    """Return by how many radians each pair of channels turns per place [head_dim / 2]."""
    rope = _rope(config)
    theta = _number(rope, "rope_theta", config.number("rope_theta", THETA))
    radians = theta ** (-np.arange(0, config.head_dim, 2) / config.head_dim)
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind not in ROPES:
        raise unknown("rope_type", kind, ROPES, str(config.file))
    if kind == "linear":
        radians = radians / _number(rope, "factor", 1.0)
    if kind == "llama3":
        radians = _llama3(radians, rope)
    return radians.astype(np.float32)


def _rope(config: Config) -> Mapping[str, Any]:
    """Return what config.json says of rotation; ``rope_parameters`` since transformers 5."""
    found = config.all.get("rope_parameters") or config.all.get("rope_scaling") or {}
    return found if isinstance(found, Mapping) else {}


def _number(rope: Mapping[str, Any], key: str, default: float) -> float:
    got = rope.get(key, default)
    return float(got) if isinstance(got, int | float) else default


def _llama3(radians: np.ndarray[Any, np.dtype[np.float64]], rope: Mapping[str, Any]) -> Any:
    """Slow turns by ``factor`` where a period is longer than the training context, and in between smoothly."""
    factor, low, high = (
        _number(rope, key, default)
        for key, default in (("factor", 8.0), ("low_freq_factor", 1.0), ("high_freq_factor", 4.0))
    )
    periods = _number(rope, "original_max_position_embeddings", 8192.0) * radians / (2 * math.pi)
    kept = np.clip((periods - low) / (high - low), 0, 1)
    return radians * (kept + (1 - kept) / factor)


def open_model(config: Config, folder: Path) -> Llama:
    """Open a Llama folder."""
    config.only("hidden_act", "silu", "silu")
    turns(config)  # a rotation that is not known is refused now, not after a layer
    return Llama(config, *open_tensors(folder, ("model.", ""), Llama.words))
