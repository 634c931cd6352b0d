"""FP16: half-precision weights and activations, accumulated in float32; the baseline of the others."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from workloads.schemes.base import Array, Arrays, Options, Scheme, check_weight
from workloads.shapes import check_multiple

_MAX_HALF = float(np.finfo(np.float16).max)
_ROW_ALIGNMENT = 8  # halves in 16 bytes, the widest access of one thread


class Fp16(Scheme):
    """X, W and Y in float16, W [n, k] row-major as it stands in a checkpoint."""

    name = "fp16"
    doc = "FP16 weights and activations, FP32 accumulation"
    input_type = "f16"
    weight_bits = 16

    def _check_shape(self, n: int, k: int, options: Options, where: str) -> None:
        why = "rows start at multiples of 16 bytes"
        check_multiple("K", k, _ROW_ALIGNMENT, why, where)
        check_multiple("N", n, _ROW_ALIGNMENT, why, where)

    def weight_bytes(self, n: int, k: int, options: Options) -> int:
        """Count two bytes per weight."""
        return 2 * n * k

    def quantize(self, weight: Array, options: Options | None = None) -> Arrays:
        """Round W to float16: ``weights`` [n, k]."""
        self.check_options(options)
        check_weight(weight, _MAX_HALF)
        return {"weights": np.ascontiguousarray(weight, dtype=np.float16)}

    def dequantize(self, operands: Mapping[str, Array]) -> Array:
        """Return the weights as float64."""
        return operands["weights"].astype(np.float64)

    def pack(self, operands: Mapping[str, Array]) -> Arrays:
        """Return ``weights`` [n, k] row-major."""
        return {"weights": np.ascontiguousarray(operands["weights"])}

    def unpack(self, arrays: Mapping[str, Array], n: int, k: int) -> Arrays:
        """Return the weights as a matrix again."""
        return {"weights": arrays["weights"].reshape(n, k)}


SCHEME = Fp16()
