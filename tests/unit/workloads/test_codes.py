"""Codes that decide addresses: those drawn are those measured with, and a file's are the file's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sim.errors import ConfigError
from workloads.codes import codes_of_file, sample_codes, whole_codes
from workloads.operands import random_operands
from workloads.schemes.base import get_scheme
from workloads.weight_files import read_weight

FLUTE = get_scheme("flute")
OPTIONS = FLUTE.check_options({})


def test_the_sample_is_the_beginning_of_all_and_all_is_what_is_measured() -> None:
    whole = whole_codes(FLUTE, 512, 256, OPTIONS)
    sample = sample_codes(FLUTE, 512, 256, OPTIONS)
    assert sample is not None and sample.identity != whole.identity
    beginning = sample.arrays["weights"]
    np.testing.assert_array_equal(whole.arrays["weights"][: len(beginning)], beginning)
    for m in (1, 7):  # whatever M they were drawn with
        measured = random_operands(FLUTE, m, 512, 256, OPTIONS, seed=0).arrays["weights"]
        np.testing.assert_array_equal(whole.arrays["weights"], measured)


def test_codes_that_decide_nothing_are_not_drawn() -> None:
    assert sample_codes(get_scheme("fp16"), 64, 64, {}) is None


def test_identities_differ_where_codes_do() -> None:
    choices = ({}, {"bits": 3}, {"table": "uniform"}, {"codes": "random"}, {"group_size": 64})
    found = [sample_codes(FLUTE, 64, 256, FLUTE.check_options(choice)) for choice in choices]
    assert len({each.identity for each in found if each}) == len(choices)


@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_a_file_is_quantized(tmp_path: Path, kind: type) -> None:
    weight = np.random.default_rng(0).standard_normal((32, 256)).astype(kind)
    np.save(tmp_path / "w.npy", weight)
    codes, size = codes_of_file(FLUTE, tmp_path / "w.npy", OPTIONS)
    expected = FLUTE.pack(FLUTE.quantize(weight, OPTIONS))["weights"]
    assert size == (32, 256) and codes.identity.startswith("w.npy ")
    np.testing.assert_array_equal(codes.arrays["weights"], expected)


def _safetensors(path: Path, tensors: dict[str, tuple[str, np.ndarray]]) -> Path:
    header, data = {}, b""
    for name, (kind, values) in tensors.items():
        raw = values.tobytes()
        header[name] = {
            "dtype": kind,
            "shape": values.shape,
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    text = json.dumps({"__metadata__": {}, **header}).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def test_a_tensor_of_several_is_named(tmp_path: Path) -> None:
    half = np.arange(12, dtype=np.float16).reshape(3, 4)
    brain = (np.arange(8, dtype=np.float32).reshape(2, 4).view(np.uint32) >> 16).astype(np.uint16)
    tensors = {"a": ("F16", half), "b": ("BF16", brain), "c": ("I64", np.zeros((1, 1), np.int64))}
    path = _safetensors(tmp_path / "w.safetensors", {**tensors, "bias": ("F32", np.ones(4, np.float32))})
    np.testing.assert_array_equal(read_weight(Path(f"{path}:a")), half)
    np.testing.assert_array_equal(read_weight(Path(f"{path}:b")), np.arange(8).reshape(2, 4))
    with pytest.raises(ConfigError, match="c: got I64, allowed: F64, F32, F16, BF16"):
        read_weight(Path(f"{path}:c"))
    for name in ("", ":bias", ":d"):
        with pytest.raises(ConfigError, match=r"unknown matrix '.*'"):
            read_weight(Path(f"{path}{name}"))


def test_the_only_matrix_needs_no_name(tmp_path: Path) -> None:
    values = np.ones((2, 3), np.float32)
    path = _safetensors(tmp_path / "w.safetensors", {"w": ("F32", values)})
    np.testing.assert_array_equal(read_weight(path), values)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("w.bin", b"", "allowed: a file NAME.npy, NAME.safetensors"),
        ("w.npy", b"no array", r"is no \.npy file"),
        ("w.safetensors", b"\xff" * 16, r"is no \.safetensors file: a header of"),
        ("w.safetensors", b"\x02\0\0\0\0\0\0\0[]", r"is no \.safetensors file"),
    ],
)
def test_what_is_no_weight_is_one_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=message) as caught:
        read_weight(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_what_is_not_there_or_no_matrix_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_weight(tmp_path / "none.npy")
    np.save(tmp_path / "i.npy", np.zeros((2, 2), np.int32))
    with pytest.raises(ConfigError, match=r"got int32 of shape \(2, 2\), allowed: a float matrix"):
        read_weight(tmp_path / "i.npy")


def test_weights_beside_a_scheme_without_look_ups_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the time of fp16 does not depend on its weights"):
        codes_of_file(get_scheme("fp16"), tmp_path / "w.npy", {})
