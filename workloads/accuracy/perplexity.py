"""Perplexity of a user's language model on a text, for several methods at once, streamed layer by layer.

As usual for these models: the whole text is cut into windows that do not overlap, a window's tokens see only those
before them in it, and the mean is over all tokens that were predicted. Norms, embeddings and the head stay in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sim.errors import ConfigError, unknown
from workloads.accuracy import llama, opt
from workloads.accuracy.arrays import F32
from workloads.accuracy.decoder import I64, Decoder, read_config
from workloads.accuracy.methods import FP32, Method
from workloads.tender.baselines import signal_to_noise_db

FAMILIES: dict[str, Callable[..., Decoder]] = {"llama": llama.open_model, "opt": opt.open_model}
HEAD_ROWS = 8192  # of the vocabulary at a time
Progress = Callable[[int, int, int], None]


@dataclass(frozen=True)
class Perplexity:
    """A method on a model and a text."""

    method: str
    perplexity: float
    after_db: tuple[float, ...]  # SQNR of the rows after each layer, errors carried on from those before


def open_decoder(folder: Path) -> Decoder:
    """Open the model in a Hugging Face folder."""
    if not folder.is_dir():
        raise ConfigError(str(folder), "is no folder; allowed: one with config.json and .safetensors files")
    config = read_config(folder)
    if config.family not in FAMILIES:
        raise unknown("model_type", config.family, FAMILIES, str(config.file))
    return FAMILIES[config.family](config, folder)


def windows_of(tokens: int, size: int) -> tuple[int, ...]:
    """Cut so many tokens into windows; a last one of a single token, which predicts nothing, is left out."""
    full, rest = divmod(tokens, size)
    return (*[size] * full, *([rest] if rest > 1 else []))


def perplexities(
    model: Decoder,
    ids: Sequence[int],
    window: int,
    methods: Sequence[Method],
    progress: Progress | None = None,
) -> tuple[Perplexity, ...]:
    """Run float32 and the methods side by side: each layer is read once."""
    windows = windows_of(len(ids), min(window, model.positions))
    if not windows:
        raise ConfigError("", f"got {len(ids)} tokens, allowed: 2 or more")
    tokens = _checked(ids, windows, model)
    places = np.concatenate([np.arange(count) for count in windows])
    rows = {each.name: model.embed(tokens, places) for each in (FP32, *methods)}
    after: dict[str, list[float]] = {name: [] for name in rows}
    for layer in range(model.config.layers):
        block = model.block(layer)
        for number, each in enumerate((FP32, *methods)):
            if progress is not None:
                progress(layer * len(rows) + number, model.config.layers * len(rows), 0)
            rows[each.name] = block.run(rows[each.name], windows, each)
            exact = rows[FP32.name].astype(np.float64)
            after[each.name].append(signal_to_noise_db(exact, rows[each.name]))
    if progress is not None:
        progress(model.config.layers * len(rows), model.config.layers * len(rows), 0)
    losses = _losses(model, {name: model.normalized(x) for name, x in rows.items()}, tokens, windows)
    with np.errstate(over="ignore"):  # a format that destroys the model
        return tuple(Perplexity(name, float(np.exp(losses[name])), tuple(after[name])) for name in rows)


def _checked(ids: Sequence[int], windows: Sequence[int], model: Decoder) -> I64:
    tokens = np.asarray(ids, np.int64)[: sum(windows)]
    if tokens.max() >= model.config.vocabulary:
        raise ConfigError(
            str(model.config.file),
            f"vocab_size: got {model.config.vocabulary}, allowed: above the tokenizer's id {tokens.max()}",
        )
    return tokens


def _losses(model: Decoder, rows: dict[str, F32], tokens: I64, windows: Sequence[int]) -> dict[str, float]:
    """Return the mean of -log p of the tokens that follow in their window."""
    ends = np.cumsum(windows)
    predicting = np.setdiff1d(np.arange(len(tokens)), ends - 1)
    targets = tokens[predicting + 1]
    sums = {name: _LogSum(len(predicting)) for name in rows}
    for first in range(0, model.config.vocabulary, HEAD_ROWS):
        head = model.head(first, HEAD_ROWS)
        for name, x in rows.items():
            sums[name].add(x[predicting] @ head.T, targets - first)
    return {name: each.loss() for name, each in sums.items()}


class _LogSum:
    """log of the sum of exponentials of logits that come in parts, and the targets' logits."""

    def __init__(self, rows: int) -> None:
        self.largest, self.total = np.full(rows, -np.inf), np.zeros(rows)
        self.target = np.zeros(rows)

    def add(self, logits: F32, targets: I64) -> None:
        """Add logits [rows, part]; ``targets`` are counted from the part's beginning."""
        largest = np.maximum(self.largest, logits.max(axis=1))
        self.total *= np.exp(self.largest - largest)
        self.total += np.exp(logits - largest[:, None].astype(np.float32)).sum(axis=1, dtype=np.float64)
        self.largest = largest
        here = np.flatnonzero((targets >= 0) & (targets < logits.shape[1]))
        self.target[here] = logits[here, targets[here]]

    def loss(self) -> float:
        """Return the mean of -log p."""
        return float(np.mean(self.largest + np.log(self.total) - self.target))
