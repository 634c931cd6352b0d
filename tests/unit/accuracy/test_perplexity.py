"""OPT and Llama, streamed: logits and perplexities beside those of transformers, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sim.errors import ConfigError
from tests.unit.accuracy import tiny
from workloads.accuracy.methods import FP32, method
from workloads.accuracy.perplexity import HEAD_ROWS, _LogSum, open_decoder, perplexities, windows_of

# Of transformers 5.24 with PyTorch 2.14 in float32, eager attention, on the folders that tiny.write writes:
# the perplexity of IDS in windows of 32, the first logits of the last token, and three of token 40.
FOLDERS: dict[str, tuple[dict[str, Any], str, int]] = {
    "opt": (tiny.OPT, "F16", 1),
    "llama": (tiny.LLAMA, "BF16", 3),
    "llama3": (tiny.LLAMA3, "F32", 1),
}
TRANSFORMERS: dict[str, tuple[float, list[float], list[float]]] = {
    "opt": (320.5520942, [-0.99053925, 0.79031581, 1.52132916], [1.04613078, 0.06238007, 0.13390346]),
    "llama": (250.9321852, [-0.56866646, -0.20115590, -0.81657112], [0.55743605, 1.20271778, 1.53240240]),
    "llama3": (227.8855550, [-0.85955215, -0.35880804, -0.11719553], [-0.38473833, -0.59210217, -0.86094069]),
}


@pytest.fixture(scope="module", params=list(FOLDERS))
def named(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    config, kind, files = FOLDERS[request.param]
    return request.param, tiny.write(tmp_path_factory.mktemp(request.param), config, kind, files)


def logits(folder: Path, ids: list[int], window: int) -> np.ndarray:
    model, windows = open_decoder(folder), windows_of(len(ids), window)
    x = model.embed(np.array(ids), np.concatenate([np.arange(count) for count in windows]))
    for layer in range(tiny.LAYERS):
        x = model.block(layer).run(x, windows, FP32)
    return np.asarray(model.normalized(x) @ model.head(0, tiny.VOCABULARY).T)


def test_logits_and_perplexity_are_those_of_transformers(named: tuple[str, Path]) -> None:
    name, folder = named
    perplexity, last, middle = TRANSFORMERS[name]
    found = logits(folder, tiny.IDS, 32)
    assert np.allclose(found[-1, :3], last, atol=1e-5)
    assert np.allclose(found[40, 100:103], middle, atol=1e-5)
    (exact,) = perplexities(open_decoder(folder), tiny.IDS, 32, [])
    assert exact.method == "fp32" and exact.perplexity == pytest.approx(perplexity, rel=2e-6)


def test_a_token_sees_only_those_before_it_in_its_window(named: tuple[str, Path]) -> None:
    changed = [*tiny.IDS]
    changed[40] = (changed[40] + 1) % tiny.VOCABULARY
    before, after = (logits(named[1], ids, 32) for ids in (tiny.IDS, changed))
    same = np.abs(before - after).max(axis=1) < 1e-5
    assert same[:40].all() and not same[40:64].any() and same[64:].all()


def test_methods_run_side_by_side(named: tuple[str, Path]) -> None:
    chosen = [method(name) for name in ("fp16", "int8_per_row", "tender_int8_g4_all", "w4a16_g128")]
    steps: list[int] = []
    found = perplexities(
        open_decoder(named[1]), tiny.IDS, 32, chosen, lambda done, total, _: steps.append(done)
    )
    assert steps == list(range(5 * tiny.LAYERS + 1))
    exact, half, eight, tender, four = found
    assert abs(half.perplexity / exact.perplexity - 1) < 1e-3
    assert half.after_db[-1] > 60 > eight.after_db[-1] > 25 > four.after_db[-1] > 8
    assert tender.after_db[-1] > 25
    alone = perplexities(open_decoder(named[1]), tiny.IDS, 32, [method("int8_per_row")])[1]
    assert alone == eight


def test_the_reading_of_a_layer_is_the_same_from_one_file_or_many(tmp_path: Path) -> None:
    one, many = tiny.write(tmp_path / "a", tiny.LLAMA), tiny.write(tmp_path / "b", tiny.LLAMA, "F32", 4)
    assert np.array_equal(logits(one, tiny.IDS[:20], 32), logits(many, tiny.IDS[:20], 32))
    (many / "model.safetensors.index.json").unlink()  # then all files count
    assert np.array_equal(logits(one, tiny.IDS[:20], 32), logits(many, tiny.IDS[:20], 32))


def test_a_head_read_in_parts_has_the_same_loss() -> None:
    generator = np.random.default_rng(0)
    logit = (30 * generator.standard_normal((9, 100))).astype(np.float32)
    targets = generator.integers(0, 100, 9)
    whole, parts = _LogSum(9), _LogSum(9)
    whole.add(logit, targets)
    for first in range(0, 100, 7):
        parts.add(logit[:, first : first + 7], targets - first)
    wide = logit.astype(np.float64)
    want = np.mean(
        np.log(np.exp(wide - wide.max(1, keepdims=True)).sum(1)) + wide.max(1) - wide[range(9), targets]
    )
    assert whole.loss() == pytest.approx(want, rel=1e-6) and parts.loss() == pytest.approx(want, rel=1e-6)
    assert HEAD_ROWS > tiny.VOCABULARY


def test_windows_leave_out_what_predicts_nothing() -> None:
    assert windows_of(75, 32) == (32, 32, 11)
    assert windows_of(65, 32) == (32, 32)
    assert windows_of(1, 32) == ()


def edited(tmp_path: Path, base: dict[str, Any], **changes: Any) -> Path:
    folder = tiny.write(tmp_path, base)
    config = {key: value for key, value in {**base, **changes}.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize(
    ("base", "changes", "message"),
    [
        (tiny.OPT, {"do_layer_norm_before": False}, "do_layer_norm_before: got false, allowed: true"),
        (tiny.OPT, {"activation_function": "gelu"}, 'activation_function: got "gelu", allowed: "relu"'),
        (tiny.OPT, {"word_embed_proj_dim": 64}, "word_embed_proj_dim"),
        (tiny.LLAMA, {"hidden_act": "gelu"}, 'hidden_act: got "gelu", allowed: "silu"'),
        (tiny.LLAMA, {"rope_scaling": {"type": "yarn", "factor": 2}}, "unknown rope_type 'yarn'"),
        (tiny.LLAMA, {"rope_theta": -1}, "rope_theta: got -1, allowed: a number above 0"),
        (tiny.LLAMA, {"model_type": "gpt_neox"}, "unknown model_type 'gpt_neox'. Known: llama, opt"),
        (tiny.LLAMA, {"vocab_size": 200}, r"got shape \(160, 128\), allowed: \(200, 128\), by config.json"),
        (tiny.LLAMA, {"num_key_value_heads": 4}, r"k_proj.weight: got shape \(64, 128\)"),
        (tiny.LLAMA, {"num_hidden_layers": 3}, "unknown tensor 'model.layers.2"),
    ],
)
def test_a_model_that_would_be_computed_wrongly_is_refused(
    base: dict[str, Any], changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        perplexities(open_decoder(edited(tmp_path, base, **changes)), tiny.IDS, 32, [])


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no folder"):
        open_decoder(tmp_path / "none")
    with pytest.raises(ConfigError, match=r"config\.json: no such file"):
        open_decoder(tmp_path)
    folder = tiny.write(tmp_path, tiny.OPT)
    with pytest.raises(ConfigError, match=r"vocab_size: got 160, allowed: above the tokenizer's id 160"):
        perplexities(open_decoder(folder), [*tiny.IDS, 160], 32, [])
    with pytest.raises(ConfigError, match="got 1 tokens, allowed: 2 or more"):
        perplexities(open_decoder(folder), [5], 32, [])
    (folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(ConfigError, match="cannot be read"):
        open_decoder(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ConfigError, match=r"has no \.safetensors file"):
        open_decoder(folder)
