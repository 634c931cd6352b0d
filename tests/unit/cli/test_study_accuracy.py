"""``tcsim study accuracy``: what it prints and writes, and one line for every mistake."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sim.cli import run
from sim.commands import study_accuracy
from tests.unit.accuracy import tiny
from workloads.accuracy.texts import sentences

Invoke = Callable[..., tuple[int, str, str]]


@pytest.fixture
def invoke(capsys: pytest.CaptureFixture[str]) -> Invoke:
    """Run ``tcsim study accuracy`` in this process."""

    def call(*arguments: object) -> tuple[int, str, str]:
        status = run(["study", "accuracy", *map(str, arguments)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Write a tiny OPT with a byte-level tokenizer, and a text beside it."""
    tokenizers: Any = pytest.importorskip(
        "tokenizers", reason="needs the extra [accuracy]: tokenizers is not installed"
    )
    folder = tiny.write(tmp_path / "tiny-opt", {**tiny.OPT, "vocab_size": 300})
    shapes = {**tiny.opt_shapes(), "model.decoder.embed_tokens.weight": (300, tiny.HIDDEN)}
    tiny.safetensors(folder / "model.safetensors", tiny.drawn(shapes))
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    words = {character: number for number, character in enumerate(alphabet)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(words, []))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.save(str(folder / "tokenizer.json"))
    (tmp_path / "text.txt").write_text("\n".join(sentences(8)), encoding="utf-8")
    return folder


def test_a_users_model_gets_a_table_a_figure_and_its_numbers(
    invoke: Invoke, model: Path, tmp_path: Path
) -> None:
    text, out = tmp_path / "text.txt", tmp_path / "out"
    asked = (
        "--model-dir",
        model,
        "--text",
        text,
        "--tokens",
        100,
        "--schemes",
        "int8_per_row,tender_int4_g4",
    )
    status, shown, err = invoke(*asked, "--out", out)
    assert (status, err) == (0, "")
    assert "tiny-opt: 100 tokens of text.txt in windows of 32" in shown
    files = {"perplexity.png", "perplexity.svg", "perplexity.csv", "perplexity_layers.csv"}
    assert {path.name for path in out.iterdir()} == files
    with (out / "perplexity.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["scheme"] for row in rows] == ["fp32", "int8_per_row", "tender_int4_g4"]
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    status, shown, err = invoke(*asked, "--out", out, "--json")
    record = json.loads(shown)
    assert (status, shown.count("\n"), record["window"]) == (0, 1, 32)
    assert [f"{each['perplexity']}" for each in record["schemes"]] == [row["perplexity"] for row in rows]
    assert record["schemes"][0]["last_layer_db"] is None
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--schemes", "int9"], "--schemes: unknown scheme 'int9'"),
        (["--schemes", ","], "--schemes: got no name, allowed: "),
        (["--tokens", "5"], "--tokens, --window: are for --model-dir"),
        (["--model-dir", "nowhere"], "--text: missing; --model-dir needs the text"),
        (["--text", "nowhere"], "nowhere: cannot be read"),
        (["--model-dir", "nowhere", "--text", __file__], "nowhere: is no folder"),
    ],
)
def test_a_mistake_is_one_line(invoke: Invoke, arguments: list[str], message: str) -> None:
    status, out, err = invoke(*arguments)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert message in err


def test_a_study_that_does_not_exist_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["study", "acuracy"]) == 2
    assert capsys.readouterr().err.startswith("tcsim study: No such command 'acuracy'.")


@pytest.mark.accuracy
def test_minilm_gets_tables_a_figure_and_json(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_accuracy, "GROUPS", (1, 8))
    text, out = tmp_path / "text.txt", tmp_path / "out"
    text.write_text("\n".join(sentences(5)), encoding="utf-8")
    status, shown, err = invoke("--text", text, "--schemes", "fp16,tender_int8_g8", "--out", out, "--json")
    record = json.loads(shown)
    assert (status, err, shown.count("\n")) == (0, "", 1)
    assert "no outlier channels" in record["label"] and record["text"] == "5 texts"
    assert [each["scheme"] for each in record["schemes"]] == ["fp16", "tender_int8_g8"]
    assert len(record["layers"]) == 2 * 24
    tables = {"accuracy.csv", "accuracy_layers.csv", "accuracy_groups.csv"}
    assert {path.name for path in out.iterdir()} == {*tables, "accuracy.png", "accuracy.svg"}
