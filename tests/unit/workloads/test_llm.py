"""Models: layer shapes that are facts of the models, and config.json files good and bad."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sim.errors import ConfigError, TcsimError
from workloads.files import ROOT
from workloads.llm import Layer, load_model

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "model_type": "llama",
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-05,
    "tie_word_embeddings": False,
    "vocab_size": 128256,
}
OPT = {
    "ffn_dim": 16384,
    "hidden_size": 4096,
    "model_type": "opt",
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "vocab_size": 50272,
    "word_embed_proj_dim": 4096,
}


def _write(folder: Path, config: Any, name: str = "config.json") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(config if isinstance(config, str) else json.dumps(config, indent=2), encoding="utf-8")
    return path


def test_llama3_8b_layers() -> None:
    assert load_model("llama3-8b").linear_layers(lm_head=True) == (
        Layer("qkv_proj", 6144, 4096, 32),
        Layer("o_proj", 4096, 4096, 32),
        Layer("gate_up_proj", 28672, 4096, 32),
        Layer("down_proj", 4096, 14336, 32),
        Layer("lm_head", 128256, 4096, 1),
    )


def test_opt_has_neither_grouped_heads_nor_a_gate() -> None:
    assert load_model("opt-30b").linear_layers() == (
        Layer("qkv_proj", 3 * 7168, 7168, 48),
        Layer("o_proj", 7168, 7168, 48),
        Layer("fc1", 4 * 7168, 7168, 48),
        Layer("fc2", 7168, 4 * 7168, 48),
    )


@pytest.mark.parametrize(
    ("name", "qkv_n"),
    [("llama2-13b", 15360), ("llama2-70b", 10240), ("mistral-7b", 6144), ("qwen2-72b", 10240)],
)
def test_fused_qkv_counts_the_kv_heads(name: str, qkv_n: int) -> None:
    assert load_model(name).linear_layers()[0].n == qkv_n


@pytest.mark.parametrize(("config", "bundled"), [(LLAMA, "llama3-8b"), (OPT, "opt-6.7b")])
def test_config_json_equals_the_bundled_model(tmp_path: Path, config: dict[str, Any], bundled: str) -> None:
    model = load_model(_write(tmp_path / "My Model", config))
    assert model.name == "My-Model"
    assert model.linear_layers(lm_head=True) == load_model(bundled).linear_layers(lm_head=True)
    assert model.tied_embeddings == load_model(bundled).tied_embeddings


def test_config_json_defaults(tmp_path: Path) -> None:
    config = {key: value for key, value in LLAMA.items() if key != "num_key_value_heads"} | {"head_dim": None}
    model = load_model(str(_write(tmp_path, config, "tiny.json")))
    assert (model.name, model.num_kv_heads, model.head_dim) == ("tiny", 32, 128)


def test_head_dim_need_not_divide_the_hidden_size(tmp_path: Path) -> None:
    model = load_model(_write(tmp_path, LLAMA | {"head_dim": 256}))
    assert model.linear_layers()[0].n == (32 + 2 * 8) * 256
    assert model.linear_layers()[1].k == 32 * 256


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_size": None}, "hidden_size: missing"),
        ({"model_type": None}, "model_type: missing"),
        ({"model_type": "lama"}, "Did you mean 'llama'"),
        ({"model_type": ["llama"]}, "unknown model_type"),
        ({"model_type": "mistral", "num_key_value_heads": None}, "num_key_value_heads: missing"),
        ({"hidden_size": "4096"}, ":5: hidden_size: got '4096', allowed: a whole number"),
        ({"hidden_size": 4096.0}, "hidden_size: got 4096.0"),
        ({"vocab_size": True}, "vocab_size: got True"),
        ({"vocab_size": 0}, "vocab_size: got 0"),
        ({"num_hidden_layers": -3}, "num_hidden_layers: got -3"),
        ({"num_attention_heads": 7}, "num_attention_heads: got 7, allowed: a divisor"),
        ({"num_key_value_heads": 5}, "got 5, allowed: a divisor of the 32 heads"),
        ({"intermediate_size": 10**30}, "intermediate_size: got 1000"),
        ({"tie_word_embeddings": "no"}, "tie_word_embeddings: got 'no'"),
        ({"word_embed_proj_dim": 512}, "word_embed_proj_dim: got 512, allowed: the hidden_size 4096"),
        ({"head_dim": 2**20}, "got qkv_proj of"),
    ],
)
def test_bad_config_json_is_one_line(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = _write(tmp_path, LLAMA | change)
    with pytest.raises(ConfigError) as caught:
        load_model(path)
    text = str(caught.value)
    assert text.startswith(str(path)) and message in text and "\n" not in text


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", "null", '{"a": 1,}', "[" * 100_000, '{"a": ' + "9" * 5000 + "}"]
)
def test_no_json_is_one_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_model(_write(tmp_path, text))
    assert "\n" not in str(caught.value)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(sorted({*LLAMA, *OPT, "head_dim"})),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=5,
    ),
)
def test_any_value_loads_or_is_one_line(tmp_path: Path, key: str, value: Any) -> None:
    for config in (LLAMA, OPT):
        try:
            load_model(_write(tmp_path, config | {key: value}))
        except TcsimError as error:
            assert len(str(error).splitlines()) == 1


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60), st.sampled_from(["config.json", "model.yaml"]))
def test_any_bytes_load_or_are_one_line(tmp_path: Path, data: bytes, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(TcsimError) as caught:
        load_model(path)
    assert len(str(caught.value).splitlines()) == 1


def test_model_yaml_by_path(tmp_path: Path) -> None:
    text = (ROOT / "models" / "opt-13b.yaml").read_text(encoding="utf-8")
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    assert load_model(path).name == "mine"
    assert load_model(path).linear_layers() == load_model("opt-13b").linear_layers()


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("tied_embeddings", "tied_embedings", ":11: tied_embedings: unknown key"),
        ("hidden_size: 5120", "hidden_size: 5120.5", ":3: hidden_size: got 5120.5"),
        ("hidden_size: 5120", "hidden_size: yes", ":3: hidden_size: got"),
        ("num_kv_heads: 40", "num_kv_heads: 3", ":7: num_kv_heads: got 3, allowed: a divisor"),
        ("family: opt", "family: opt\nname: a b", ":3: name: got 'a b'"),
        ("vocab_size: 50272\n", "", "vocab_size: missing"),
    ],
)
def test_bad_model_yaml_is_one_line(tmp_path: Path, before: str, after: str, message: str) -> None:
    text = (ROOT / "models" / "opt-13b.yaml").read_text(encoding="utf-8")
    assert before in text
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace(before, after), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_model(path)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lama3-8b", "unknown model 'lama3-8b'. Did you mean 'llama3-8b'"),
        ("", "unknown model ''"),
        ("a\0b", "NUL"),
        ("no/such/config.json", "no such file"),
        (".", "unknown model"),
        ("./", "cannot be read"),
    ],
)
def test_model_that_does_not_exist(name: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_model(name)
    assert message in str(caught.value) and "\n" not in str(caught.value)
