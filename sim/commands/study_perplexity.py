"""``tcsim study accuracy --model-dir``: the perplexity of a language model that the user has, in each number format."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from reports.perplexity import PerplexityStudy, layer_rows, rows
from sim.commands.terminal import Table, progress_shown, say, show
from sim.errors import ConfigError
from workloads.accuracy.methods import FP32, Method
from workloads.accuracy.perplexity import open_decoder, perplexities, windows_of
from workloads.accuracy.tokens import encode, load_tokenizer

TOKENS, WINDOW = 2048, 2048


def run(
    folder: Path,
    text: str,
    text_name: str,
    methods: Sequence[Method],
    sizes: tuple[int | None, int | None],
    as_json: bool,
) -> PerplexityStudy:
    """Compute the perplexities of so many tokens in windows of some size, and show them."""
    model = open_decoder(folder)
    (ids,) = encode(load_tokenizer(folder), [text])
    ids, window = ids[: sizes[0] or TOKENS], min(sizes[1] or WINDOW, model.positions)
    if len(ids) < 2:
        raise ConfigError(text_name, f"got {len(ids)} tokens, allowed: 2 or more")
    with nullcontext(None) if as_json else progress_shown("steps", "multiplying", "starting") as progress:
        found = perplexities(model, ids, window, methods, progress)
    bits = {each.name: (each.weight_bits, each.activation_bits) for each in (FP32, *methods)}
    tokens = sum(windows_of(len(ids), window))
    study = PerplexityStudy(folder.resolve().name, text_name, tokens, window, bits, found)
    if as_json:
        say(json.dumps(finite(as_object(study)), allow_nan=False))
    else:
        _show(study)
    return study


def as_object(study: PerplexityStudy) -> dict[str, object]:
    """Return the study as JSON has it."""
    return {
        "model": study.model,
        "text": study.text,
        "tokens": study.tokens,
        "window": study.window,
        "schemes": rows(study),
        "layers": layer_rows(study),
    }


def finite(value: Any) -> Any:
    """Return a JSON value with null for numbers that are not finite: the dB of what has no error."""
    if isinstance(value, dict):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, list):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _show(study: PerplexityStudy) -> None:
    header = ("scheme", "bits W/A", "perplexity", "times fp32", "last layer dB")
    table = tuple(
        (
            row["scheme"],
            f"{row['weight_bits']:.4g}/{row['activation_bits']:.4g}",
            f"{row['perplexity']:.4g}" if row["perplexity"] >= 1e4 else f"{row['perplexity']:.3f}",
            f"{row['times_fp32']:.4g}",
            f"{row['last_layer_db']:.1f}" if math.isfinite(row["last_layer_db"]) else "",
        )
        for row in rows(study)
    )
    title = f"{study.model}: {study.tokens} tokens of {study.text} in windows of {study.window}"
    show(Table(header, table, title, right=(1, 2, 3, 4)))
