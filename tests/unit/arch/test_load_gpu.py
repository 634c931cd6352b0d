"""GPU files: bundled names, ``extends``, overrides, and what each mistake says."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sim.arch.checks import mma_ops
from sim.arch.hash import config_hash
from sim.arch.load import available, gpu_directory, load_gpu, overridable
from sim.arch.spec import GpuSpec
from sim.errors import ConfigError

CURVES = ("dram.loaded_latency", "dram.stage_excess", "l2.busy_share")
H200 = load_gpu("h200")


def refusal(name: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_gpu(name, overrides)
    assert str(caught.value).isprintable()
    return str(caught.value)


def written(folder: Path, text: str, name: str = "mine.yaml") -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def value_at(gpu: GpuSpec, path: str) -> object:
    """Return what a dotted path names, through the model's own fields."""
    level: object = gpu
    rest = path
    while rest:
        if isinstance(level, dict):
            key = next(key for key in level if rest == key or rest.startswith(key + "."))
            level = level[key]
        else:
            key = rest.split(".")[0]
            level = getattr(level, key)
        rest = rest[len(key) + 1 :]
    return level


def test_bundled_gpus_are_found_by_file() -> None:
    assert set(available()) >= {"h200", "h200-64-banks", "h200-2x-dram", "h200-fast-mma"}


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("h200-64-banks", {"sm.shared_memory.banks": 2.0}),
        ("h200-2x-dram", {"dram.bandwidth_gb_per_s": 2.0, "dram.peak_gb_per_s": 2.0}),
        ("h200-fast-mma", {f"sm.tensor.mma.{key}.interval_cycles": 2 / 3 for key in H200.sm.tensor.mma}),
    ],
)
def test_hypothetical_gpus_change_only_what_they_say(name: str, changed: dict[str, float]) -> None:
    gpu = load_gpu(name)
    different = [path for path in overridable(gpu) if value_at(gpu, path) != value_at(H200, path)]
    assert sorted(different) == sorted(changed)
    for path, factor in changed.items():
        ratio = float(str(value_at(gpu, path))) / float(str(value_at(H200, path)))
        assert ratio == pytest.approx(factor, rel=0.05)
        assert gpu.sources[path].startswith("hypothetical:")
    assert (gpu.name, gpu.program_target) == (name, "sm_90a")


def test_override_sets_one_number_and_its_source() -> None:
    gpu = load_gpu("h200", ["sm.shared_memory.banks=64"])
    assert gpu.sm.shared_memory.banks == 64
    assert gpu.sources["sm.shared_memory.banks"] == "set by the user"
    assert config_hash(gpu) == config_hash(load_gpu("h200-64-banks"))


def test_override_reaches_keys_with_dots() -> None:
    gpu = load_gpu("h200", ["sm.tensor.mma.m16n8k16.f32.f16.interval_cycles=4"])
    assert gpu.sm.tensor.mma["m16n8k16.f32.f16"].interval_cycles == 4.0
    assert gpu.sm.tensor.mma["m16n8k16.f32.bf16"] == H200.sm.tensor.mma["m16n8k16.f32.bf16"]


def test_override_of_a_curve() -> None:
    curve = "[{utilization: 0, latency_ns: 100}, {utilization: 1, latency_ns: 200}]"
    points = load_gpu("h200", [f"dram.loaded_latency={curve}"]).dram.loaded_latency
    assert [(point.utilization, point.latency_ns) for point in points] == [(0, 100), (1, 200)]


def test_the_last_of_two_overrides_counts() -> None:
    assert load_gpu("h200", ["sm.count=100", "sm.count=50"]).sm.count == 50


def test_overrides_do_not_leak_into_the_next_load() -> None:
    load_gpu("h200", ["sm.count=1"])
    assert load_gpu("h200") == H200


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        (
            "sm.shared_memory.bnks=64",
            "--set: unknown path 'sm.shared_memory.bnks'. Did you mean 'sm.shared_memory.banks'?",
        ),
        ("l2.near_latency=2", "Did you mean 'l2.near_latency_cycles'?"),
        ("peak_gb_per_s=2", "Did you mean 'dram.peak_gb_per_s'?"),
        ("sm=2", "unknown path 'sm'"),
        ("sm.count", "got 'sm.count', allowed: dotted.path=value"),
        ("=3", "allowed: dotted.path=value"),
        ("sm.count=", "got None, allowed: a plain number"),
        ("sm.count=[1", "not valid YAML"),
        ("sm.count={a: 1}", "allowed: a plain number"),
        ("sm.count=1.5", "--set sm.count: got 1.5, allowed: a valid integer"),
        ("sm.count=0", "--set sm.count: got 0, allowed: greater than or equal to 1"),
        ("sm.count=1e18", "less than or equal to 65536"),
        (
            "sm.shared_memory.capacity_bytes=32kB",
            "got '32kB', allowed: a plain number in bytes, without a unit",
        ),
        ("l2.near_latency_cycles=true", "got True, allowed: a plain number in SM cycles"),
        ("sm.shared_memory.banks=48", "--set sm.shared_memory.banks: got 48, allowed: a power of two"),
        ("dram.loaded_latency=3", "--set dram.loaded_latency: got 3"),
        (
            "dram.loaded_latency=[{utilization: 0, latency_ns: x}, 1]",
            "dram.loaded_latency.0.latency_ns: got 'x', allowed: a plain",
        ),
    ],
)
def test_refused_overrides(override: str, expected: str) -> None:
    assert expected in refusal("h200", override)


def test_unknown_name_is_refused_with_the_nearest() -> None:
    assert refusal("h20") == f"unknown arch 'h20'. Did you mean 'h200'? Known: {', '.join(available())}"


def test_derived_file_of_the_user(tmp_path: Path) -> None:
    text = 'extends: h200\ntitle: Mine\nsm: {count: {value: 7, source: "assumed: a test"}}\n'
    gpu = load_gpu(written(tmp_path, text))
    assert (gpu.name, gpu.sm.count, gpu.sources["sm.count"]) == ("mine", 7, "assumed: a test")
    assert gpu.status == H200.status


def test_extends_may_name_a_file_beside_it(tmp_path: Path) -> None:
    written(tmp_path, (gpu_directory() / "h200.yaml").read_text(), "copy.yaml")
    gpu = load_gpu(written(tmp_path, "extends: ./copy.yaml\ntitle: B\n"))
    assert config_hash(gpu) == config_hash(H200)


def test_derived_file_may_add_an_operation(tmp_path: Path) -> None:
    op = "".join(f"{key}_cycles: {{value: 12, source: 'assumed: x'}}, " for key in ("interval", "latency"))
    text = f"extends: h200\ntitle: T\nsm: {{tensor: {{mma: {{m16n8k32.f32.e4m3: {{{op}}}}}}}}}\n"
    gpu = load_gpu(written(tmp_path, text))
    assert gpu.sm.tensor.mma["m16n8k32.f32.e4m3"].interval_cycles == 12
    assert len(gpu.sm.tensor.mma) == len(H200.sm.tensor.mma) + 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "extends: h200-2x-dram\ntitle: T\n",
            "mine.yaml:1: extends: got 'h200-2x-dram', which itself extends 'h200'",
        ),
        ("extends: ./mine.yaml\ntitle: T\n", "which itself extends"),
        ("extends: h100\ntitle: T\n", "mine.yaml:1: extends: unknown arch 'h100'. Did you mean 'h200'?"),
        ("extends: ./none.yaml\ntitle: T\n", "none.yaml: no such file"),
        ("extends: 5\ntitle: T\n", "extends: got 5, allowed: the name of a GPU"),
        ("extends:\ntitle: T\n", "extends: got None, allowed: the name of a GPU"),
        ("extends: h200\n", "title: missing; it has no default"),
        ("extends: h200\ntitle: 5\n", "mine.yaml:2: title: got 5, allowed: a valid string"),
        (
            "extends: h200\ntitle: T\ndramm: {}\n",
            "mine.yaml:3: dramm: unknown key 'dramm'. Did you mean 'dram'?",
        ),
        ("extends: h200\ntitle: T\nsources: {}\n", "unknown key 'sources'"),
        (
            "extends: h200\ntitle: T\nsm: {count: 5}\n",
            "mine.yaml:3: sm.count: got 5, allowed: {value: ..., source: ...}",
        ),
        ("extends: h200\ntitle: T\nsm: {count: {value: 5}}\n", "mine.yaml:3: sm.count: source missing"),
        ("extends: h200\ntitle: T\nsm: {count: {source: 'assumed: x'}}\n", "sm.count: value missing"),
        (
            "extends: h200\ntitle: T\nsm: {count: {value: 5, source: me}}\n",
            "allowed: text that begins with one of datasheet:",
        ),
        ("extends: h200\ntitle: T\nsm: {count: {value: 5, source: 'assumed:'}}\n", "got 'assumed:'"),
        (
            "extends: h200\ntitle: T\nsm: {count: {value: 5, sauce: x}}\n",
            "unknown key 'sauce'. Did you mean 'source'?",
        ),
        ("extends: h200\ntitle: T\nsm: 5\n", "sm: got 5, allowed: a mapping of keys"),
        (
            "extends: h200\ntitle: T\nsm:\n  cuont:\n",
            "mine.yaml:4: sm.cuont: unknown key 'cuont'. Did you mean 'count'?",
        ),
        ("extends: h200\ntitle: T\nname: a b\n", "name: got 'a b'"),
        ("name: x\n", "missing; it has no default"),
        ("[]", "got [], allowed: a mapping of keys"),
        ("", "got None, allowed: a mapping of keys"),
    ],
)
def test_refused_files(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in refusal(written(tmp_path, text))


def test_an_error_in_the_base_names_the_base(tmp_path: Path) -> None:
    bundled = (gpu_directory() / "h200.yaml").read_text()
    written(tmp_path, bundled.replace("count: {value: 132", "count: {value: -1"), "base.yaml")
    assert "base.yaml:" in refusal(written(tmp_path, "extends: ./base.yaml\ntitle: T\n"))


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    text = 'extends: h200\ntitle: T\nsm: {count: {value: 7, source: "assumed: x"}}\n'
    assert load_gpu(written(tmp_path, text)).sm.count == 7
    assert load_gpu(written(tmp_path, text.replace("7", "70"))).sm.count == 70


def test_a_bundled_file_survives_yaml_round_trip(tmp_path: Path) -> None:
    data = yaml.safe_load((gpu_directory() / "h200.yaml").read_text())
    again = load_gpu(written(tmp_path, yaml.safe_dump(data)))
    assert again == H200


@pytest.mark.parametrize("path", [path for path in overridable(H200) if path not in CURVES])
def test_each_number_can_be_set_to_what_it_is(path: str) -> None:
    gpu = load_gpu("h200", [f"{path}={value_at(H200, path)}"])
    assert config_hash(gpu) == config_hash(H200)
    assert gpu.sources[path] == "set by the user"


@given(path=st.sampled_from(overridable(H200)), value=st.integers() | st.floats() | st.text(max_size=10))
def test_any_override_gives_a_spec_or_one_line(path: str, value: object) -> None:
    try:
        gpu = load_gpu("h200", [f"{path}={value}"])
    except ConfigError as error:
        assert str(error).isprintable()
        assert path in str(error)
    else:
        assert value_at(gpu, path) == float(str(value))


@given(text=st.text(max_size=30))
def test_any_text_as_name_or_override_is_one_line(text: str) -> None:
    for arguments in (("h200", [text]), (text, [])):
        with pytest.raises(ConfigError) as caught:
            load_gpu(*arguments)
        assert str(caught.value).isprintable()


def test_operations_of_an_mma() -> None:
    assert mma_ops("m16n8k16.f32.f16") == 4096
    assert mma_ops("m16n8k256.s32.b1") == 65536
