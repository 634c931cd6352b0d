"""The identity of a machine: numbers only."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sim.arch.hash import config_hash
from sim.arch.load import available, load_gpu, overridable

H200 = load_gpu("h200")


def test_words_do_not_count() -> None:
    renamed = H200.model_copy(update={"name": "x", "title": "y", "status": "z", "sources": {}})
    assert config_hash(renamed) == config_hash(H200)


def test_the_binaries_it_runs_count() -> None:
    assert config_hash(H200.model_copy(update={"program_target": "sm_90"})) != config_hash(H200)


@pytest.mark.parametrize(
    "path", [p for p in overridable(H200) if p.endswith(("_ns", "_us", "_pj", "_pj_per_bit", "_w"))]
)
def test_each_number_counts(path: str) -> None:
    assert config_hash(load_gpu("h200", [f"{path}=0.61"])) != config_hash(H200)


def test_bundled_machines_differ() -> None:
    assert len({config_hash(load_gpu(name)) for name in available()}) == len(available())


def test_integers_and_floats_of_one_value_are_one() -> None:
    first, second = (load_gpu("h200", [f"l2.near_latency_cycles={text}"]) for text in ("250", "250.0"))
    assert config_hash(first) == config_hash(second)


def test_same_in_another_process(tmp_path: Path) -> None:
    imports = "import sys; from sim.arch.hash import config_hash; from sim.arch.load import load_gpu"
    code = f"{imports}; sys.stdout.write(config_hash(load_gpu('h200')))"
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout == config_hash(H200)
    assert len(done.stdout) == 16
