"""``tcsim study accumulator``: a tiny study from end to end, its file's mistakes with their lines, the bundled file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sim.arch.load import load_gpu
from sim.cli import run
from sim.commands.decoding import OTHER_KERNELS, decode_step, prefill_step
from sim.commands.study_config import DEFAULT, Accumulator, load_study
from sim.commands.study_numerics import groups_for
from sim.commands.study_points import kernel, on_machine, variants
from sim.errors import ConfigError, TcsimError
from sim.extensions import get_extension
from workloads.llm import load_model

Invoke = Callable[..., tuple[int, str, str]]
MODEL = """
source: "made up"
family: llama
hidden_size: 256
intermediate_size: 512
num_layers: 2
num_heads: 2
num_kv_heads: 1
head_dim: 128
vocab_size: 512
gated_mlp: false
"""
TINY = """
title: A tiny study
models: [MODEL]
decode: {m: [8], context_tokens: 64}
prefill: {m: []}
schemes: [tender_w8a8]
groups: [2]
profile: even
accumulators: [{name: first}, {name: slow, bubble_cycles: 500}]
borders: {m: [8], n: 256, k: 256, groups: [1, 2], profile: even}
widths: {bits: [8], groups: [2], shifts: [1], widths: [16, 32]}
hardware: {unit: dot, operand_bits: 8, length: 32}
grouping: {schemes: [tender_w8a8], m: [8], n: 64, groups: [2]}
orders: {m: [8], k: 1024, chunks: 2, bits: 8, groups: 2, drift_octaves: [0]}
accuracy: {profiles: [llm_int8_6.7b], minilm: false, groups: [1, 2]}
contenders:
  - {name: FP16, scheme: fp16, accuracy: fp16}
  - {name: Tender, scheme: tender_w8a8, options: {variant: extension, groups: 2}, accuracy: tender_int8_g2}
"""


@pytest.fixture
def invoke(capsys: pytest.CaptureFixture[str]) -> Invoke:
    """Run ``tcsim study accumulator`` in this process."""

    def call(*arguments: object) -> tuple[int, str, str]:
        status = run(["study", "accumulator", *map(str, arguments)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """Write a tiny study of a tiny model."""
    model = tmp_path / "tiny.yaml"
    model.write_text(MODEL, encoding="utf-8")
    path = tmp_path / "study.yaml"
    path.write_text(TINY.replace("MODEL", str(model)), encoding="utf-8")
    return path


@pytest.mark.jit
def test_a_tiny_study_says_what_it_found_and_keeps_what_it_simulated(
    invoke: Invoke, tiny: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    status, shown, err = invoke("--config", tiny, "--out", out, "--json", "--workers", 1)
    assert (status, err, shown.count("\n")) == (0, "", 1)
    record = json.loads(shown)
    assert record["models"] == ["tiny"] and record["groups"] == [2]
    about = {each["about"] for each in record["conclusion"]}
    assert {"tender_w8a8", "cost of a border", "width", "Pareto front", "what it saves"} <= about
    variants_timed = {each["method"]["variant"] for each in record["timed"]}
    assert variants_timed == {"", "ideal", "extension", "software_shift", "explicit"}
    slow, fast = (
        next(
            each["time_us"]
            for each in record["borders"]
            if (each["accumulator"], each["method"]["groups"]) == (name, 2)
        )
        for name in ("slow", "first")
    )
    assert slow > fast  # by the bubbles of its only border
    assert (out / "accumulator.md").is_file() and (out / "results.sqlite").is_file()
    status, shown, err = invoke("--config", tiny, "--out", out, "--workers", 1)
    assert (status, err) == (0, "") and "points, all in the store" in shown


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("groups: [2]\nprofile", "groups: [3]\nprofile", "study.yaml:7: groups.0: got 3, allowed: 1, 2, 4"),
        (
            "[tender_w8a8]\ngroups",
            "[fp16]\ngroups",
            "study.yaml:6: schemes.0: unknown scheme with variants 'fp16'",
        ),
        ("bubble_cycles: 500", "bubbles: 5", "study.yaml:9: accumulators.1.bubbles: unknown key 'bubbles'"),
        ("scheme: fp16,", "scheme: fp15,", "study.yaml:17: contenders.0.scheme: unknown scheme"),
        ("accuracy: fp16", "accuracy: fp15", "study.yaml:17: contenders.0.accuracy: unknown scheme 'fp15'"),
        ("variant: extension", "variant: shifted", "study.yaml:18: contenders.1.options"),
        ("m: [8], context", "m: [], context", "study.yaml:4: decode.m: got no M, nor in prefill"),
        ("prefill: {m: []}", "prefill: {m: [8]}", "study.yaml:5: prefill.m: M = 8 stands in decode as well"),
        (
            "widths: [16, 32]",
            "widths: [16, 16]",
            "study.yaml:11: widths.widths: each value once",
        ),
        ("length: 32", "length: 31", "study.yaml:12: hardware: no synthesized dot INT8 x 31"),
        ("[llm_int8_6.7b]", "[llm]", "study.yaml:15: accuracy.profiles.0: unknown profile of outliers 'llm'"),
        ("name: Tender", "name: FP16", "study.yaml:18: contenders.1.name: 'FP16' stands twice"),
        ("name: slow", "name: first", "study.yaml:9: accumulators: a name stands twice"),
        ("title: A tiny study\n", "", "study.yaml:2: title: missing; it has no default"),
    ],
)
def test_a_mistake_in_the_file_is_one_line_with_its_place(
    invoke: Invoke, tiny: Path, old: str, new: str, message: str
) -> None:
    text = tiny.read_text(encoding="utf-8")
    assert old in text
    tiny.write_text(text.replace(old, new), encoding="utf-8")
    status, out, err = invoke("--config", tiny)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert message in err


def test_an_unknown_model_is_one_line(invoke: Invoke, tiny: Path) -> None:
    status, _, err = invoke("--config", tiny, "--model", "llama9")
    assert status == 2 and err.startswith("--model: unknown model 'llama9'")


def test_the_bundled_study_is_sound_and_a_model_takes_the_place_of_its_models() -> None:
    assert load_study().models != ("llama2-7b",)
    assert load_study(DEFAULT, "llama2-7b").models == ("llama2-7b",)


def test_an_accumulator_is_the_extension_with_its_own_numbers() -> None:
    assert Accumulator(name="plain").extension == "tender_accumulator"
    slow = get_extension(Accumulator(name="slow", latency_cycles=1, bubble_cycles=4).extension)
    assert slow == get_extension("tender_accumulator:bubble_cycles=4:latency_cycles=1")


def test_a_kernel_runs_with_the_hardware_that_its_marks_ask_for_and_no_more() -> None:
    shifted = kernel("tender_int4", {"variant": "extension", "groups": 8}, "even")
    plain = kernel("tender_int4", {"variant": "ideal", "groups": 8}, "even")
    assert on_machine("h200", shifted) == ("tender_accumulator", "int4_tensor_core")
    assert on_machine("h200", plain) == ("int4_tensor_core",)
    assert on_machine("a100-sxm-80gb", plain) == ()
    assert on_machine("h200", kernel("mx_w8a8", {}, "even")) == ("block_scaled_mma",)
    assert set(on_machine("h200", kernel("mx_w4a4", {}, "even"))) == {"block_scaled_mma", "int4_tensor_core"}
    refused = on_machine("a100-sxm-80gb", kernel("fp16_wgmma", {}, "even"))
    assert isinstance(refused, TcsimError)


def test_sums_without_borders_are_run_once() -> None:
    found = variants("tender_w8a8", (1, 8, 20), "outliers")
    assert sum(each.variant == "ideal" for each in found) == 1
    assert sum(each.variant == "extension" for each in found) == 3


@pytest.mark.parametrize(
    ("groups", "shift", "fewer"), [(8, 1, 8), (8, 2, 5), (8, 7, 2), (1, 4, 1), (20, 4, 6)]
)
def test_wider_shifts_need_fewer_groups(groups: int, shift: int, fewer: int) -> None:
    assert groups_for(groups, shift) == fewer
    assert (fewer - 1) * shift >= groups - 1


def test_a_prompt_costs_attention_by_the_square_of_its_length() -> None:
    gpu, model = load_gpu("h200"), load_model("opt-6.7b")
    times = {"lm_head": 5.0, **{layer.name: 10.0 for layer in model.linear_layers()}}
    short, long = (prefill_step(model, gpu, times, tokens) for tokens in (1024, 2048))
    launch = gpu.launch.graph_node_us + gpu.launch.ramp_us
    assert long.attention_us - 32 * launch == pytest.approx(4 * (short.attention_us - 32 * launch))
    assert long.launches_us == pytest.approx(32 * OTHER_KERNELS * launch)
    assert long.linear_us == decode_step(model, gpu, times, 1, 0).linear_us


def test_a_file_that_is_not_there_is_one_line() -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: no such file"):
        load_study(Path("nowhere.yaml"))


@pytest.mark.jit
def test_a_machine_that_runs_none_of_the_schemes_is_told_so(invoke: Invoke, tiny: Path) -> None:
    status, _, err = invoke("--config", tiny, "--arch", "a100-sxm-80gb", "--workers", 1, "--json")
    assert (status, err.count("\n")) == (2, 1)
    assert err.startswith("a100-sxm-80gb runs none of tender_w8a8: no program tender_w8a8")
