"""Text to token ids, by the ``tokenizer.json`` of a Hugging Face folder; needs the package ``tokenizers``."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sim.errors import ConfigError, TcsimError

FILE = "tokenizer.json"
INSTALL = "pip install '.[accuracy]'"


def load_tokenizer(folder: Path) -> Any:
    """Return the tokenizer, which neither cuts nor fills up what it is given."""
    try:
        tokenizers: Any = importlib.import_module("tokenizers")
    except ImportError:
        raise TcsimError(f"text needs the package tokenizers: {INSTALL}") from None
    if not (folder / FILE).exists():
        raise ConfigError(str(folder), f"has no {FILE}; save the tokenizer there as a fast one")
    try:
        found = tokenizers.Tokenizer.from_file(str(folder / FILE))
    except Exception as error:  # the library raises a bare Exception
        raise ConfigError(str(folder / FILE), f"is no tokenizer: {error}") from None
    found.no_padding()
    found.no_truncation()
    return found


def encode(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Return the ids of each text, with the special tokens that the model expects around it."""
    return [list(each.ids) for each in tokenizer.encode_batch(list(texts))]
