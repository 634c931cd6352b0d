"""Suites: their expansion, and mistakes in their files."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.errors import ConfigError
from workloads.files import ROOT
from workloads.llm import load_model
from workloads.schemes.base import get_scheme
from workloads.suite import Matmul, load_suite, model_matmuls


def _suite(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text("about: A suite of a test.\n" + text, encoding="utf-8")
    return path


def test_models_times_m(tmp_path: Path) -> None:
    matmuls = load_suite(_suite(tmp_path, "models: [llama3-8b, opt-13b]\nm: [1, 16]\n"))
    assert len(matmuls) == 2 * 4 * 2
    assert matmuls[0] == Matmul("llama3-8b/qkv_proj/m1", 1, 6144, 4096, "qkv_proj", "llama3-8b")
    assert matmuls[-1] == Matmul("opt-13b/fc2/m16", 16, 5120, 20480, "fc2", "opt-13b")


def test_lm_head_on_request(tmp_path: Path) -> None:
    matmuls = load_suite(_suite(tmp_path, "models: [llama3-8b]\nm: [1]\nlm_head: true\n"))
    assert [(x.layer, x.n, x.k) for x in matmuls][-1] == ("lm_head", 128256, 4096)


def test_shapes_with_and_without_names(tmp_path: Path) -> None:
    text = "shapes:\n  - {m: 1, n: 16, k: 64}\n  - {m: 2, n: 16, k: 64, name: two}\n"
    assert load_suite(_suite(tmp_path, text)) == (Matmul("m1_n16_k64", 1, 16, 64), Matmul("two", 2, 16, 64))


def test_a_model_beside_the_suite(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_bytes((ROOT / "models" / "opt-13b.yaml").read_bytes())
    assert load_suite(_suite(tmp_path, "models: [own.yaml]\nm: [1]\n"))[0].name == "own/qkv_proj/m1"


def test_decode_and_prefill_cover_their_range() -> None:
    assert {x.m for x in load_suite("decode")} == {2**i for i in range(9)}
    assert {x.m for x in load_suite("prefill")} == {512, 1024, 2048, 4096}


@pytest.mark.parametrize("scheme", ["fp16", "w4a16"])
@pytest.mark.parametrize("suite", ["decode", "prefill", "squares", "awkward"])
def test_both_first_schemes_take_the_bundled_suites(scheme: str, suite: str) -> None:
    for matmul in load_suite(suite):
        get_scheme(scheme).check_shape(matmul.m, matmul.n, matmul.k)


def test_squares_are_square_and_awkward_fits_no_tile() -> None:
    assert all(x.m == x.n == x.k for x in load_suite("squares"))
    assert all(x.m % 64 or x.n % 64 or x.k % 256 for x in load_suite("awkward"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "got an empty suite"),
        ("models: [llama3-8b]\n", ":2: models: needs the key 'm' beside it"),
        ("m: [1]\n", ":2: m: needs the key 'models' beside it"),
        ("models: [llama3-8c]\nm: [1]\n", "models.0: unknown model 'llama3-8c'. Did you mean 'llama3-8b'"),
        ("models: [none.yaml]\nm: [1]\n", "none.yaml: no such file"),
        ("models: [llama3-8b]\nm: [0]\n", "m.0: got 0"),
        ("models: [llama3-8b]\nm: [1.5]\n", "m.0: got 1.5"),
        ("models: [llama3-8b]\nm: [1, 1]\n", "'llama3-8b/qkv_proj/m1' stands twice"),
        ("models: [llama3-8b]\nm: [1048576]\n", "models.0: M*N must be at most"),
        ("shape: []\n", "Did you mean 'shapes'"),
        ("shapes:\n  - {m: 1, n: 16}\n", "shapes.0.k: missing"),
        ("shapes:\n  - {m: 1, n: 16, k: -64}\n", ":3: shapes.0.k: got -64"),
        ("shapes:\n  - {m: 1, n: 1048576, k: 1048576}\n", ":3: shapes.0: N*K must be at most"),
    ],
)
def test_bad_suites_are_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = _suite(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_suite(path)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_unknown_suite() -> None:
    with pytest.raises(ConfigError, match=r"unknown suite 'decoed'\. Did you mean 'decode'"):
        load_suite("decoed")


def test_model_matmuls_refuse_impossible_m() -> None:
    with pytest.raises(ConfigError, match="here: M must be from 1"):
        model_matmuls(load_model("llama3-8b"), [0], where="here")
