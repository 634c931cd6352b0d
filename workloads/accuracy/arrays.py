"""The functions between the matmuls of a transformer, in float32."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]
Real = npt.NDArray[np.floating[Any]]

# Abramowitz and Stegun, 7.1.26: the error function within 1.5e-7, to which float32 adds its rounding
_ERF = (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)
_ERF_SLOPE = 0.3275911
_ONE = np.float32(1)


def layer_norm(x: F32, weight: F32, bias: F32, epsilon: float) -> F32:
    """Normalize each row to mean 0 and variance 1, then scale and shift."""
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = np.square(centred).mean(axis=-1, keepdims=True)
    normal: F32 = centred / np.sqrt(variance + np.float32(epsilon)) * weight + bias
    return normal


@dataclass(frozen=True, eq=False)
class Norm:
    """A layer norm: what it scales by and what it adds, and what keeps its denominator from 0."""

    weight: F32
    bias: F32
    epsilon: float

    def apply(self, x: F32) -> F32:
        """Normalize rows."""
        return layer_norm(x, self.weight, self.bias, self.epsilon)


def rms_norm(x: F32, weight: F32, epsilon: float) -> F32:
    """Divide each row by its root mean square, then scale."""
    normal: F32 = x / np.sqrt(np.square(x).mean(axis=-1, keepdims=True) + np.float32(epsilon)) * weight
    return normal


def softmax(x: F32) -> F32:
    """Return the exponentials of each row over their sum; a row's largest is subtracted first."""
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    found: F32 = powers / powers.sum(axis=-1, keepdims=True)
    return found


def erf(x: F32) -> F32:
    """Return the error function within 5e-7."""
    t: F32 = _ONE / (_ONE + np.float32(_ERF_SLOPE) * np.abs(x))
    series = np.zeros_like(t)
    for coefficient in _ERF:
        series += np.float32(coefficient)
        series *= t
    found: F32 = np.copysign(_ONE - series * np.exp(-x * x), x)
    return found


def gelu(x: F32) -> F32:
    """Return x times the normal distribution function, as BERT's "gelu"."""
    found: F32 = x * (_ONE + erf(x * np.float32(0.5**0.5))) * np.float32(0.5)
    return found


def silu(x: F32) -> F32:
    """Return x over 1 + exp(-x)."""
    found: F32 = x / (1 + np.exp(-np.clip(x, -80, None)))
    return found


def relu(x: F32) -> F32:
    """Return x where it is positive, else 0."""
    found: F32 = np.maximum(x, np.float32(0))
    return found


def heads_of(x: F32, heads: int) -> F32:
    """Split [m, heads * d] into [heads, m, d]."""
    return np.ascontiguousarray(x.reshape(len(x), heads, -1).transpose(1, 0, 2))


def joined(x: F32) -> F32:
    """Invert ``heads_of``."""
    return np.ascontiguousarray(x.transpose(1, 0, 2)).reshape(x.shape[1], -1)
