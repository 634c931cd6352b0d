"""MiniLM in NumPy: its embeddings are PyTorch's, and what the methods do to them."""

from __future__ import annotations

import numpy as np
import pytest

from workloads.accuracy import minilm, texts
from workloads.accuracy.encoder import encode
from workloads.accuracy.methods import FP32, method, tender
from workloads.accuracy.study import encoder_accuracy, layer_errors, minilm_accuracy, reference
from workloads.tender import integer

pytestmark = pytest.mark.accuracy
SENTENCES = ("A man is eating food.", "A man is eating a piece of bread.", "The girl is carrying a baby.")
# Of transformers 5.24 with PyTorch 2.14 in float32, eager attention: the first sentence's ids and numbers of its
# embedding, its cosine with the others. 0.7553 is also what the model's documentation prints for the first pair.
IDS = (101, 1037, 2158, 2003, 5983, 2833, 1012, 102)
EMBEDDING = [
    0.03324158,
    0.00440603,
    -0.00627697,
    0.04837873,
    -0.13870227,
    -0.03361742,
    0.10112837,
    -0.05438499,
]
COSINES = [0.7553371, -0.1049585]


def test_embeddings_are_those_of_pytorch() -> None:
    ids = minilm.tokens(SENTENCES)
    assert ids[0] == IDS
    found = encode(minilm.encoder(), ids, FP32)
    assert np.allclose(found.embeddings[0, :8], EMBEDDING, atol=1e-6)
    assert np.allclose(found.embeddings[0] @ found.embeddings[1:].T, COSINES, atol=1e-6)
    assert np.allclose(np.linalg.norm(found.embeddings, axis=1), 1, atol=1e-6)


def test_a_text_does_not_see_the_others() -> None:
    ids = minilm.tokens(SENTENCES)
    together, alone = (encode(minilm.encoder(), each, FP32).embeddings for each in (ids, ids[1:2]))
    assert np.allclose(together[1], alone[0], atol=1e-6)


def test_tenders_hardware_gives_the_embeddings_of_the_study() -> None:
    """The integer path step by step through all 24 linear layers and the attention: not one bit differs."""
    ids = minilm.tokens(SENTENCES[:1])
    stepwise, fast = (
        encode(minilm.encoder(), ids, tender(8, 8, True, summing)).embeddings
        for summing in (integer.accumulate, integer.accumulate_at_once)
    )
    assert np.array_equal(stepwise, fast)


def test_what_the_study_finds_on_real_activations() -> None:
    on = reference(minilm.encoder(), minilm.tokens(texts.sentences(12)))
    assert len(on.captured) == 24
    names = ("fp16", "int8_per_tensor", "tender_int8_g8", "int4_per_tensor", "tender_int4_g8")
    half, eight, tender8, four, tender4 = (encoder_accuracy(on, method(name)) for name in names)
    assert half.least_cosine > 0.99999 and half.neighbours_pct == 100
    assert tender8.cosine > 0.998 > eight.cosine > tender4.cosine > four.cosine
    assert tender8.median_db > eight.median_db + 5 and tender4.median_db > four.median_db + 4
    assert tender8.worst_db <= tender8.median_db
    assert tender8.after_db[-1] < tender8.median_db  # errors add up through the layers
    assert layer_errors(on, method("tender_int8_g8")) == tender8.layers


def test_the_study_can_be_asked_by_name() -> None:
    (found,) = minilm_accuracy(["int8_per_row"], SENTENCES)
    assert found.method == "int8_per_row" and found.cosine > 0.99
