"""What the accuracy study measures, as pure functions: errors of each method on MiniLM and on published outliers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import median

import numpy as np
import numpy.typing as npt

from workloads.accuracy import minilm, texts
from workloads.accuracy.arrays import F32
from workloads.accuracy.encoder import Captured, Encoded, Encoder, encode
from workloads.accuracy.methods import FP32, Method, Site, method, tender_name, tender_output
from workloads.accuracy.outliers import PROFILES, Operands, operands
from workloads.tender.baselines import signal_to_noise_db
from workloads.tender.decomposition import Format

SENTENCES = 48
GROUPS = (1, 2, 4, 8, 14, 16, 20)
MINILM = "minilm"
_LAYER = Site("outliers")


@dataclass(frozen=True)
class LayerError:
    """One linear layer, given its float32 input: the power of its outputs over that of their error."""

    layer: int
    site: str
    sqnr_db: float


def median_db(errors: Sequence[LayerError]) -> float:
    """Return the middle of the layers' SQNRs."""
    return median(each.sqnr_db for each in errors)


@dataclass(frozen=True)
class EncoderAccuracy:
    """A method on the encoder, beside the same in float32."""

    method: str
    layers: tuple[LayerError, ...]  # each by itself
    after_db: tuple[float, ...]  # SQNR of the rows after each block, errors carried on from those before
    cosine: float  # of an embedding with the float32 one, mean of all texts
    least_cosine: float
    neighbours_pct: float  # texts whose nearest other text is the same

    @property
    def median_db(self) -> float:
        """The middle of the layers' SQNRs."""
        return median_db(self.layers)

    @property
    def worst_db(self) -> float:
        """The least of the layers' SQNRs."""
        return min(each.sqnr_db for each in self.layers)


@dataclass(frozen=True)
class OutlierAccuracy:
    """A method on a matmul of a profile of outliers.

    Outlier channels may carry most of the outputs' power; what a model loses first are the other channels. So
    ``ordinary_db`` sets the error beside the power that those contribute.
    """

    method: str
    profile: str
    sqnr_db: float
    ordinary_db: float


@dataclass(frozen=True)
class GroupAccuracy:
    """Tender with some number of groups: on MiniLM (middle of the layers) or a profile (ordinary channels)."""

    bits: int
    groups: int
    where: str
    sqnr_db: float
    wrapped_pct: float  # of the sums, that did not fit INT32


@dataclass(frozen=True, eq=False)
class Reference:
    """The texts in float32, with every linear layer's input."""

    encoder: Encoder
    ids: tuple[tuple[int, ...], ...]
    exact: Encoded
    captured: tuple[Captured, ...]


def reference(encoder: Encoder, ids: Sequence[Sequence[int]]) -> Reference:
    """Run the texts in float32."""
    captured: list[Captured] = []
    exact = encode(encoder, ids, FP32, captured)
    return Reference(encoder, tuple(tuple(each) for each in ids), exact, tuple(captured))


@cache
def minilm_reference(sentences: tuple[str, ...] = ()) -> Reference:
    """Run MiniLM on ``sentences``, by default those of ``texts``."""
    return reference(minilm.encoder(), minilm.tokens(sentences or texts.sentences(SENTENCES)))


def layer_errors(on: Reference, how: Method) -> tuple[LayerError, ...]:
    """Multiply every layer's float32 input."""
    return tuple(
        LayerError(each.layer, each.site.name, _error_db(each.x, each.weight, each.site, how))
        for each in on.captured
    )


def _error_db(x: F32, weight: F32, site: Site, how: Method) -> float:
    exact = x.astype(np.float64) @ weight.T.astype(np.float64)
    return signal_to_noise_db(exact, how.linear(x, weight, site))


def encoder_accuracy(on: Reference, how: Method) -> EncoderAccuracy:
    """Measure a method layer by layer, and from end to end."""
    found = encode(on.encoder, on.ids, how)
    cosines = (found.embeddings * on.exact.embeddings).sum(axis=1)
    same = _neighbours(found.embeddings) == _neighbours(on.exact.embeddings)
    return EncoderAccuracy(
        how.name,
        layer_errors(on, how),
        tuple(
            signal_to_noise_db(want.astype(np.float64), got)
            for want, got in zip(on.exact.after, found.after, strict=True)
        ),
        float(cosines.mean()),
        float(cosines.min()),
        100 * float(same.mean()),
    )


def _neighbours(embeddings: F32) -> npt.NDArray[np.intp]:
    similar = embeddings @ embeddings.T
    np.fill_diagonal(similar, -np.inf)
    nearest: npt.NDArray[np.intp] = np.argmax(similar, axis=1)
    return nearest


def minilm_accuracy(names: Iterable[str], sentences: tuple[str, ...] = ()) -> Iterator[EncoderAccuracy]:
    """Measure methods on MiniLM, one after the other."""
    on = minilm_reference(sentences)
    return (encoder_accuracy(on, method(name)) for name in names)


@cache
def _drawn(profile: str) -> Operands:
    return operands(PROFILES[profile])


def outlier_accuracy(name: str, profile: str) -> OutlierAccuracy:
    """Measure a method on a profile of outliers."""
    drawn = _drawn(profile)
    exact = drawn.x.astype(np.float64) @ drawn.weight.astype(np.float64).T
    got = method(name).linear(drawn.x, drawn.weight, _LAYER)
    total = signal_to_noise_db(exact, got)
    return OutlierAccuracy(name, profile, total, total + ordinary_share_db(drawn))


def ordinary_share_db(drawn: Operands) -> float:
    """Return the power that channels without outliers contribute to the outputs, beside all of it."""
    x, weight = drawn.x.astype(np.float64), drawn.weight.astype(np.float64)
    ordinary = x[:, ~drawn.outlying] @ weight[:, ~drawn.outlying].T
    return 10 * float(np.log10(np.square(ordinary).sum() / np.square(x @ weight.T).sum()))


def group_accuracy(bits: int, groups: int, where: str, on: Reference | None = None) -> GroupAccuracy:
    """Measure Tender with some number of groups on ``minilm``, or the encoder and texts of ``on``, or on a profile."""
    how = Format(bits=bits, groups=groups)
    if where == MINILM:
        captured = (on or minilm_reference()).captured
        outputs = [tender_output(each.x, each.weight, each.site, how) for each in captured]
        exact = [each.x.astype(np.float64) @ each.weight.T.astype(np.float64) for each in captured]
        level = median(signal_to_noise_db(want, got.y) for want, got in zip(exact, outputs, strict=True))
    else:
        drawn = _drawn(where)
        outputs = [tender_output(drawn.x, drawn.weight, _LAYER, how)]
        level = outlier_accuracy(tender_name(bits, groups), where).ordinary_db
    wrapped = sum(each.overflows for each in outputs) / sum(each.y.size for each in outputs)
    return GroupAccuracy(bits, groups, where, level, 100 * wrapped)
