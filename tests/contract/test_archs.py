"""What every bundled GPU must have; a new file in ``arch_configs/gpus`` is tested by being there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import BaseModel

from sim.arch.hash import config_hash
from sim.arch.leaves import SOURCE_KINDS
from sim.arch.load import available, gpu_directory, load_gpu
from sim.arch.spec import BusyShare, LoadedLatency, StageExcess

NAMES = available()
CURVES = (BusyShare, LoadedLatency, StageExcess)


def numbers(value: object, path: str) -> Iterator[str]:
    """Yield the dotted path of each number (a curve is one), independently of the loader."""
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from numbers(getattr(value, name), f"{path}.{name}")
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from numbers(inner, f"{path}.{name}")
    elif isinstance(value, int | float) or (isinstance(value, tuple) and isinstance(value[0], CURVES)):
        yield path.removeprefix(".")


@pytest.mark.parametrize("name", NAMES)
def test_every_number_has_a_source_of_a_known_kind(name: str) -> None:
    gpu = load_gpu(name)
    sources = gpu.sources
    assert sorted(numbers(gpu.model_copy(update={"sources": {}}), "")) == sorted(sources)
    for path, source in sources.items():
        kind, _, text = source.partition(":")
        assert kind in SOURCE_KINDS, path
        assert len(text.strip()) > 5, path


@pytest.mark.parametrize("name", NAMES)
def test_name_is_the_file(name: str) -> None:
    assert load_gpu(name).name == name
    assert (gpu_directory() / f"{name}.yaml").read_text(encoding="utf-8").isascii()


@pytest.mark.parametrize("name", NAMES)
def test_no_source_is_private_to_the_authors(name: str) -> None:
    for path, source in load_gpu(name).sources.items():
        assert "/" + "work" not in source and "/" + "tmp" not in source, path


@pytest.mark.parametrize("name", NAMES)
def test_assumptions_say_why(name: str) -> None:
    for path, source in load_gpu(name).sources.items():
        if source.startswith("assumed:"):
            assert len(source) > 30, path


@pytest.mark.parametrize("name", NAMES)
def test_loading_is_repeatable(name: str) -> None:
    assert load_gpu(name) == load_gpu(name)
    assert config_hash(load_gpu(name)) == config_hash(load_gpu(name))


def test_h200_mma_sync_reaches_two_thirds_of_the_tensor_core() -> None:
    """2719 of 4096 operations per cycle and SM were measured."""
    gpu = load_gpu("h200")
    interval = gpu.sm.tensor.mma["m16n8k16.f32.f16"].interval_cycles
    rate = 4096 * gpu.sm.sub_cores / interval
    assert rate == pytest.approx(2719, rel=0.05)
    assert 0.60 < rate / gpu.sm.tensor.peak_ops_per_cycle["f16"] < 0.68
