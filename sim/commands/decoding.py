"""One step of a model as a sum, of generation or of a prompt: linear layers, attention, launches of the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sim.arch.spec import GpuSpec
from workloads.llm import Layer, Model

HALF_BYTES = 2
ATTENTION_KERNELS = 1  # of a decoder layer
OTHER_KERNELS = (
    5  # of a decoder layer: two norms, rotation with the KV cache's append, activation, a sum of residuals
)
HEAD = "lm_head"


@dataclass(frozen=True)
class LayerTime:
    """One kind of linear layer: its time, launch included, and how often it runs in a step."""

    name: str
    count: int
    us: float


@dataclass(frozen=True)
class DecodeStep:
    """The time of one step of a batch, in µs."""

    layers: tuple[LayerTime, ...]  # without the head
    head_us: float
    attention_us: float
    launches_us: float  # of kernels that are neither matmuls nor attention

    @property
    def linear_us(self) -> float:
        """Return the time of the decoder's linear layers."""
        return sum(each.count * each.us for each in self.layers)

    @property
    def total_us(self) -> float:
        """Return the time of the step."""
        return self.linear_us + self.head_us + self.attention_us + self.launches_us


def decode_step(
    model: Model, gpu: GpuSpec, layer_us: Mapping[str, float], batch: int, context_tokens: int
) -> DecodeStep:
    """Sum one step in which each of ``batch`` sequences, of ``context_tokens`` tokens so far, gets one more.

    ``layer_us``: layer, or lm_head, -> time of its matmul with M = batch. Attention is a launch and the KV cache read
    once in FP16, as fast as DRAM streams: no attention is faster. The other kernels move the hidden state alone, which
    stays in L2; each costs the launch of a graph's node. So the step is a lower bound for what is not linear.
    """
    launch_us = gpu.launch.graph_node_us + gpu.launch.ramp_us
    kv_bytes = 2 * HALF_BYTES * model.num_kv_heads * model.head_dim * context_tokens * batch
    stream_us = kv_bytes / (gpu.dram.bandwidth_gb_per_s * 1e3)
    return DecodeStep(
        tuple(_timed(layer, layer_us) for layer in model.linear_layers()),
        layer_us[HEAD],
        model.num_layers * (ATTENTION_KERNELS * launch_us + stream_us),
        model.num_layers * OTHER_KERNELS * launch_us,
    )


def prefill_step(model: Model, gpu: GpuSpec, layer_us: Mapping[str, float], tokens: int) -> DecodeStep:
    """Sum one pass over a prompt of ``tokens``; ``layer_us`` of lm_head is that of M = 1, the last token.

    Attention is a launch and its causal products at the tensor cores' peak in FP16, at the clock that they sustain; the
    other kernels are launches, as in ``decode_step``. Both are lower bounds.
    """
    launch_us = gpu.launch.graph_node_us + gpu.launch.ramp_us
    flops = 2 * 2 * tokens * tokens / 2 * model.num_heads * model.head_dim
    peak = gpu.sm.tensor.peak_ops_per_cycle["f16"] * gpu.sm.count * gpu.sm.sustained_clock_mhz
    return DecodeStep(
        tuple(_timed(layer, layer_us) for layer in model.linear_layers()),
        layer_us[HEAD],
        model.num_layers * (ATTENTION_KERNELS * launch_us + flops / peak),
        model.num_layers * OTHER_KERNELS * launch_us,
    )


def _timed(layer: Layer, layer_us: Mapping[str, float]) -> LayerTime:
    return LayerTime(layer.name, layer.count_per_model, layer_us[layer.name])
