"""OPT: learned positions, layer norms before attention and MLP, ReLU (arXiv:2205.01068), as in transformers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from workloads.accuracy.arrays import F32, Norm, relu
from workloads.accuracy.decoder import I64, Block, Config, Decoder, causal, open_tensors
from workloads.accuracy.methods import Affine, Method, Site

OFFSET = 2  # of the positions in their table
EPSILON = 1e-5
# As in Tender's released code: the last matmul's input is never negative, and has no bias subtracted.
QKV, ATTENTION_OUTPUT = Site("qkv"), Site("attention_output")
MLP_INPUT, MLP_OUTPUT = Site("mlp_input"), Site("mlp_output", signed=False, centred=False)
REFUSED = (
    ("do_layer_norm_before", True),
    ("activation_function", "relu"),
    ("layer_norm_elementwise_affine", True),
    ("_remove_final_layer_norm", False),
)


@dataclass(frozen=True, eq=False)
class OptBlock(Block):
    """Attention and MLP, each added to its input."""

    heads: int
    attention_norm: Norm
    qkv: Affine
    attention_output: Affine
    mlp_norm: Norm
    mlp_input: Affine
    mlp_output: Affine

    def run(self, x: F32, windows: Sequence[int], method: Method) -> F32:
        """Return the rows after the layer."""
        qkv = self.qkv.apply(self.attention_norm.apply(x), method, QKV)
        q, k, v = (qkv[:, part * x.shape[1] : (part + 1) * x.shape[1]] for part in range(3))
        mixed = causal(q, k, v, windows, (self.heads, self.heads), method)
        x = x + self.attention_output.apply(mixed, method, ATTENTION_OUTPUT)
        inner = relu(self.mlp_input.apply(self.mlp_norm.apply(x), method, MLP_INPUT))
        return x + self.mlp_output.apply(inner, method, MLP_OUTPUT)


class Opt(Decoder):
    """The model."""

    words = "embed_tokens.weight"

    @property
    def positions(self) -> int:
        """The most tokens of a window."""
        return int(self.config.number("max_position_embeddings", 2048))

    def embed(self, ids: I64, places: I64) -> F32:
        """Add the embeddings of words and places."""
        shape = self.positions + OFFSET, self.config.hidden
        table = self.tensors.read(f"{self.prefix}embed_positions.weight", *shape, rows=places + OFFSET)
        return self.embedded(ids) + table

    def block(self, layer: int) -> OptBlock:
        """Read a layer."""
        hidden, inner, name = self.config.hidden, self.config.inner, f"layers.{layer}"
        three = [f"{name}.self_attn.{part}_proj" for part in ("q", "k", "v")]
        return OptBlock(
            self.config.heads,
            self._norm(f"{name}.self_attn_layer_norm"),
            self.affine(three, [hidden] * 3, hidden),
            self.affine([f"{name}.self_attn.out_proj"], [hidden], hidden),
            self._norm(f"{name}.final_layer_norm"),
            self.affine([f"{name}.fc1"], [inner], hidden),
            self.affine([f"{name}.fc2"], [hidden], inner),
        )

    def _norm(self, name: str) -> Norm:
        hidden = self.config.hidden
        return Norm(self.read(f"{name}.weight", hidden), self.read(f"{name}.bias", hidden), EPSILON)

    def normalized(self, x: F32) -> F32:
        """Return the rows that the head multiplies."""
        return self._norm("final_layer_norm").apply(x)


def open_model(config: Config, folder: Path) -> Opt:
    """Open an OPT folder."""
    for key, only in REFUSED:
        config.only(key, only, only)
    return Opt(config, *open_tensors(folder, ("model.decoder.", "decoder."), Opt.words))
