"""Random operands of a scheme, the same for the same seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workloads.schemes.base import Array, Arrays, Options, Scheme


@dataclass(frozen=True)
class Operands:
    """The inputs of one matmul, as the scheme and as the kernel sees them."""

    scheme: Scheme
    x: Array  # [m, k], float16 or what quantized activations stand for
    quantized: Arrays  # what Scheme.quantize returned
    arrays: Arrays  # packed, by buffer name, "activations" among them

    def reference(self) -> Array:
        """Return the float64 result [m, n]."""
        return self.scheme.reference(self.quantized, self.x)


def random_operands(
    scheme: Scheme, m: int, n: int, k: int, options: Options | None = None, seed: int = 0
) -> Operands:
    """Draw the scheme's activations and weights, so that outputs are of the order of one."""
    checked = scheme.check_options(options)
    scheme.check_shape(m, n, k, checked)
    x, activations = scheme.activations(np.random.default_rng(seed), m, k, checked)
    quantized = draw_weights(scheme, n, k, checked, seed)
    return Operands(scheme, x, quantized, {**scheme.pack(quantized), "activations": activations})


def draw_weights(scheme: Scheme, n: int, k: int, options: Options, seed: int) -> Arrays:
    """Draw and quantize W [n, k]; its first rows do not depend on n, nor any of it on M."""
    return scheme.draw(np.random.default_rng([seed, 1]), n, k, scheme.check_options(options))
