"""Claims as data: what a file may not say."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.errors import ConfigError
from workloads.papers import load_paper

WHOLE = """
title: T
reference: "arXiv:0"
how: stated
claims:
  - name: one
    machine: h200
    quantity: time_us
    method: {scheme: fp16}
    matmuls: {m: [1], shapes: [[64, 64]]}
    published: 10
    source: "table 1"
"""


def written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "paper.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_whole_file_loads(tmp_path: Path) -> None:
    (claim,) = load_paper(written(tmp_path, WHOLE)).claims
    assert claim.ends == (10, 10)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('    source: "table 1"\n', "", "source: missing"),
        ("quantity: time_us", "quantity: speedup", "speedup without a key 'against'"),
        ("machine: h200", 'machine: ""', "got no machine for a scheme"),
        ("{scheme: fp16}", "{scheme: fp16, accelerator: ant}", "allowed: one of them"),
        ("{scheme: fp16}", "{accelerator: ant}", "schemes with matmuls or decode"),
        ("published: 10", "published: [4, 2]", "got a range from 4.0 to 2.0"),
        ("published: 10", "published: -1", "published"),
        (
            "published: 10",
            "published: 10\n    decode: {model: opt-6.7b, context_tokens: 1}",
            "got 2 of matmuls, decode and prefill",
        ),
        ("published: 10", "published: 10\n    bars: {opt-6.7b: 1}", "bars of other models"),
        ("quantity: time_us", "quantity: times", "quantity"),
    ],
)
def test_a_mistake_is_one_line_with_its_place(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(ConfigError, match=r"paper\.yaml:\d+") as caught:
        load_paper(written(tmp_path, WHOLE.replace(old, new)))
    assert message in str(caught.value) and "\n" not in str(caught.value)
