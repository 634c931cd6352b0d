"""Tiny OPT and Llama folders with seeded weights, as Hugging Face lays them out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

VOCABULARY, HIDDEN, INNER, LAYERS, POSITIONS = 160, 128, 256, 2, 32
IDS = np.random.default_rng(1).integers(0, VOCABULARY, 75).tolist()  # two windows and a part of one
SIZES = {
    "hidden_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "max_position_embeddings": POSITIONS,
    "vocab_size": VOCABULARY,
}
OPT: dict[str, Any] = {
    "model_type": "opt",
    "architectures": ["OPTForCausalLM"],
    "ffn_dim": INNER,
    "word_embed_proj_dim": HIDDEN,
    **SIZES,
}
LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "intermediate_size": INNER,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-5,
    **SIZES,
}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
LLAMA3 = {**LLAMA, "rope_parameters": LLAMA3_ROPE, "tie_word_embeddings": True, "attention_bias": True}
LLAMA3 |= {"mlp_bias": True, "head_dim": 64, "num_key_value_heads": 1}
STORED = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16}

Shapes = dict[str, tuple[int, ...]]


def opt_shapes() -> Shapes:
    found: Shapes = {
        "model.decoder.embed_tokens.weight": (VOCABULARY, HIDDEN),
        "model.decoder.embed_positions.weight": (POSITIONS + 2, HIDDEN),
        "model.decoder.final_layer_norm.weight": (HIDDEN,),
        "model.decoder.final_layer_norm.bias": (HIDDEN,),
    }
    for layer in range(LAYERS):
        name = f"model.decoder.layers.{layer}"
        linear = {f"self_attn.{part}_proj": (HIDDEN, HIDDEN) for part in ("q", "k", "v", "out")}
        linear |= {"fc1": (INNER, HIDDEN), "fc2": (HIDDEN, INNER)}
        for part, shape in linear.items():
            found |= {f"{name}.{part}.weight": shape, f"{name}.{part}.bias": shape[:1]}
        for norm in ("self_attn_layer_norm", "final_layer_norm"):
            found |= {f"{name}.{norm}.weight": (HIDDEN,), f"{name}.{norm}.bias": (HIDDEN,)}
    return found


def llama_shapes(config: Mapping[str, Any]) -> Shapes:
    size = config.get("head_dim", HIDDEN // 4)
    mine, shared = 4 * size, config["num_key_value_heads"] * size
    found: Shapes = {"model.embed_tokens.weight": (VOCABULARY, HIDDEN), "model.norm.weight": (HIDDEN,)}
    if not config.get("tie_word_embeddings"):
        found["lm_head.weight"] = (VOCABULARY, HIDDEN)
    for layer in range(LAYERS):
        name = f"model.layers.{layer}"
        attention = {"q": (mine, HIDDEN), "k": (shared, HIDDEN), "v": (shared, HIDDEN), "o": (HIDDEN, mine)}
        mlp = {"gate": (INNER, HIDDEN), "up": (INNER, HIDDEN), "down": (HIDDEN, INNER)}
        for group, parts in (("self_attn", attention), ("mlp", mlp)):
            for part, shape in parts.items():
                found[f"{name}.{group}.{part}_proj.weight"] = shape
                if config.get("attention_bias"):
                    found[f"{name}.{group}.{part}_proj.bias"] = shape[:1]
        for norm in ("input_layernorm", "post_attention_layernorm"):
            found[f"{name}.{norm}.weight"] = (HIDDEN,)
    return found


def drawn(shapes: Shapes) -> dict[str, np.ndarray]:
    """Draw matrices around 0 and vectors around a half; norms are far from trivial."""
    generator = np.random.default_rng(0)
    return {
        name: (0.15 if len(shape) > 1 else 0.2) * generator.standard_normal(shape, dtype=np.float32)
        + np.float32(0.5 if len(shape) == 1 else 0)
        for name, shape in shapes.items()
    }


def safetensors(path: Path, tensors: Mapping[str, np.ndarray], kind: str = "F32") -> None:
    """Write a .safetensors file; BF16 by cutting off the lower half."""
    header, data = {}, b""
    for name, values in tensors.items():
        raw = (values.view(np.uint32) >> 16 if kind == "BF16" else values).astype(STORED[kind]).tobytes()
        offsets = [len(data), len(data) + len(raw)]
        header[name] = {"dtype": kind, "shape": list(values.shape), "data_offsets": offsets}
        data += raw
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def write(folder: Path, config: Mapping[str, Any], kind: str = "F32", files: int = 1) -> Path:
    """Write a model's folder; its tensors in several files have an index."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    tensors = drawn(opt_shapes() if config["model_type"] == "opt" else llama_shapes(config))
    if files == 1:
        safetensors(folder / "model.safetensors", tensors, kind)
        return folder
    names: Sequence[str] = list(tensors)
    index = {}
    for number in range(files):
        file = f"model-{number + 1:05}-of-{files:05}.safetensors"
        safetensors(folder / file, {name: tensors[name] for name in names[number::files]}, kind)
        index |= dict.fromkeys(names[number::files], file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    return folder
