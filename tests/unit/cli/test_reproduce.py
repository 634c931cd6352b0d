"""``tcsim reproduce``: a small paper from file to rows, the decode step as a sum, mistakes in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sim.arch.load import load_gpu
from sim.cli import run
from sim.commands.decoding import OTHER_KERNELS, decode_step
from workloads.llm import load_model

A100 = load_gpu("a100-sxm-80gb")
MODEL = """
source: "https://example.org"
family: llama
hidden_size: 512
intermediate_size: 1024
num_layers: 3
num_heads: 4
num_kv_heads: 4
head_dim: 128
vocab_size: 1024
gated_mlp: false
"""
PAPER = """
title: Small
reference: "arXiv:0"
how: stated
claims:
  - name: layer
    machine: a100-sxm-80gb
    quantity: speedup
    method: {{scheme: w4a16}}
    against: {{scheme: fp16}}
    matmuls: {{m: [1, 8], shapes: [[8192, 2048]]}}
    published: [1, 5]
    source: "table 1"
  - name: step
    machine: a100-sxm-80gb
    quantity: step_ms
    method: {{scheme: fp16}}
    decode: {{model: {model}, context_tokens: 64}}
    published: 1
    source: "table 2"
    note: "too small a model"
"""


@pytest.fixture
def paper(tmp_path: Path) -> Path:
    model = tmp_path / "small.yaml"
    model.write_text(MODEL, encoding="utf-8")
    path = tmp_path / "paper.yaml"
    path.write_text(PAPER.format(model=model), encoding="utf-8")
    return path


@pytest.mark.jit
def test_a_paper_becomes_rows_with_their_ratio_and_reason(
    paper: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(["reproduce", "--claims", str(paper), "--json", "--workers", "1", "--out", str(out)]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    layer, step = found["rows"]
    assert layer["simulated_low"] <= layer["simulated"] <= layer["simulated_high"]
    assert layer["simulated_low"] > 1 and layer["ratio"] == 1  # within the range
    assert step["simulated"] == pytest.approx(step["ratio"])  # of 1 ms
    assert 3 * 4 * 2e-3 < step["simulated"] < 1  # twelve matmuls of at least 2 us
    assert "linear layers" in step["computed"] and step["source"] == "table 2"
    assert {path.name for path in out.iterdir()} == {
        f"reproduction.{kind}" for kind in ("md", "csv", "png", "svg")
    }


def test_tender_takes_no_time_and_says_what_is_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["reproduce", "--claims", "tender"]) == 0
    said = capsys.readouterr().out
    assert "2.63 x" in said and "as published" in said and "What the paper does not say" in said


def test_an_unknown_paper_is_named_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["reproduce", "--claims", "lutgemm"]) == 2
    assert "unknown paper 'lutgemm'. Did you mean 'lut_gemm'" in capsys.readouterr().err


def test_a_decode_step_is_the_sum_of_its_parts() -> None:
    model = load_model("llama3-8b")
    times = {"qkv_proj": 10.0, "o_proj": 8.0, "gate_up_proj": 30.0, "down_proj": 16.0, "lm_head": 300.0}
    step = decode_step(model, A100, times, batch=2, context_tokens=1000)
    launch = A100.launch.graph_node_us + A100.launch.ramp_us
    kv_us = (
        2 * 2 * 8 * 128 * 1000 * 2 / (A100.dram.bandwidth_gb_per_s * 1e3)
    )  # 8 heads of 128 in FP16, two sequences
    assert step.linear_us == pytest.approx(32 * 64)
    assert step.attention_us == pytest.approx(32 * (launch + kv_us))
    assert step.launches_us == pytest.approx(32 * OTHER_KERNELS * launch)
    assert step.total_us == step.linear_us + 300.0 + step.attention_us + step.launches_us


def test_a_decode_step_needs_every_layer() -> None:
    with pytest.raises(KeyError, match="qkv_proj"):
        decode_step(load_model("opt-6.7b"), A100, {"lm_head": 1.0}, 1, 0)
