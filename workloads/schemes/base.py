"""What every quantized matmul scheme is: options, number format, packing, reference, closed forms."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from sim.errors import ConfigError, unknown
from workloads.shapes import check_sizes

Array = npt.NDArray[Any]
Arrays = dict[str, Array]
OptionValue = int | str | bool
Options = Mapping[str, OptionValue]


@dataclass(frozen=True)
class Option:
    """One choice a scheme leaves open; the type of ``default`` is the type of every value."""

    name: str
    default: OptionValue
    allowed: tuple[OptionValue, ...]
    doc: str
    measured: bool = True  # measuring suites vary it; not what only hypothetical hardware offers

    def check(self, value: object, where: str = "") -> OptionValue:
        """Return ``value`` if it is allowed; text from a command line is read as the option's type."""
        for choice in self.allowed:
            if _same(value, choice):
                return choice
        shown, choices = repr(value)[:60], ", ".join(_text(choice) for choice in self.allowed)
        raise ConfigError(where, f"option {self.name}: got {shown}, allowed: {choices}")


class Scheme(ABC):
    """One quantized matmul Y[m, n] = X[m, k] · W[n, k]^T.

    ``quantize`` turns weights into operands that describe themselves (codes, scales, ...); ``pack`` turns
    operands into the arrays a kernel reads, keyed by buffer name. Neither modifies its input.
    """

    name: ClassVar[str]
    doc: ClassVar[str]
    input_type: ClassVar[str]  # of both operands as the tensor core receives them
    weight_bits: ClassVar[int]  # of one stored weight, scales aside
    options: ClassVar[tuple[Option, ...]] = ()
    # Buffers whose values decide which addresses the kernel touches, and so how long it takes (look-ups): the
    # simulator executes CTAs with real data there. Packing must put the outputs (n) outermost in them, so that the
    # packed first outputs are a prefix of all.
    code_buffers: ClassVar[tuple[str, ...]] = ()

    def check_options(self, options: Options | None = None, where: str = "") -> dict[str, OptionValue]:
        """Return every option with its value, defaults filled in; refuse unknown names and values."""
        known = {option.name: option for option in self.options}
        given = dict(options or {})
        for name in given:
            if name not in known:
                raise unknown(f"option of {self.name}", name, known, where)
        return {
            name: option.check(given[name], where) if name in given else option.default
            for name, option in known.items()
        }

    def check_shape(self, m: int, n: int, k: int, options: Options | None = None, where: str = "") -> None:
        """Refuse sizes that the number format or the packing cannot hold."""
        check_sizes(m, n, k, where)
        self._check_shape(n, k, self.check_options(options, where), where)

    def flops(self, m: int, n: int, k: int) -> int:
        """Count floating-point operations: a multiplication and an addition per term."""
        return 2 * m * n * k

    def compulsory_bytes(self, m: int, n: int, k: int, options: Options | None = None) -> int:
        """Count the bytes no kernel can avoid moving: each input read once, the output written once."""
        checked = self.check_options(options)
        half = np.dtype(np.float16).itemsize
        return half * m * k + self.weight_bytes(n, k, checked) + half * m * n

    def reference(self, operands: Mapping[str, Array], x: Array) -> Array:
        """Multiply in float64 by the dequantized weights: the exact result up to float64 rounding, [m, n]."""
        product: Array = x.astype(np.float64) @ self.dequantize(operands).T
        return product

    def activations(
        self, generator: np.random.Generator, m: int, k: int, options: Options
    ) -> tuple[Array, Array]:
        """Draw normal activations: as ``reference`` multiplies them [m, k], and as the kernel reads them [m, ...]."""
        x = generator.standard_normal((m, k), dtype=np.float32).astype(np.float16)
        return x, x

    def draw(self, generator: np.random.Generator, n: int, k: int, options: Options) -> Arrays:
        """Quantize normal weights of variance 1/k; options are complete. Rows are drawn one after the other."""
        weight = generator.standard_normal((n, k), dtype=np.float32)
        weight *= np.float32(k**-0.5)
        return self.quantize(weight, options)

    def codes_matter(self, options: Options) -> bool:
        """Tell whether the values in ``code_buffers`` can change how long a kernel takes; options are complete."""
        return bool(self.code_buffers)

    @abstractmethod
    def _check_shape(self, n: int, k: int, options: Options, where: str) -> None:
        """Refuse sizes that are not multiples of what the format needs; options are complete."""

    @abstractmethod
    def weight_bytes(self, n: int, k: int, options: Options) -> int:
        """Count the bytes of W as stored, scales included; options are complete."""

    @abstractmethod
    def quantize(self, weight: Array, options: Options | None = None) -> Arrays:
        """Turn W [n, k] of float16 or float32 into the scheme's operands."""

    @abstractmethod
    def dequantize(self, operands: Mapping[str, Array]) -> Array:
        """Return the float64 weights [n, k] that the operands stand for."""

    @abstractmethod
    def pack(self, operands: Mapping[str, Array]) -> Arrays:
        """Lay operands out as the kernel reads them, keyed by buffer name."""

    @abstractmethod
    def unpack(self, arrays: Mapping[str, Array], n: int, k: int) -> Arrays:
        """Invert ``pack``."""


def available_schemes() -> tuple[str, ...]:
    """Name the schemes: every module in this folder but this one and private ones."""
    names = (path.stem for path in Path(__file__).parent.glob("*.py"))
    return tuple(sorted(name for name in names if name != "base" and not name.startswith("_")))


def get_scheme(name: str, where: str = "") -> Scheme:
    """Import the scheme called ``name``."""
    if name not in available_schemes():
        raise unknown("scheme", name, available_schemes(), where)
    scheme = importlib.import_module(f"workloads.schemes.{name}").SCHEME
    if not isinstance(scheme, Scheme):
        raise TypeError(f"workloads/schemes/{name}.py: SCHEME must be a Scheme")
    return scheme


def check_weight(weight: Array, largest: float, where: str = "weights") -> None:
    """Refuse what is not a matrix of finite numbers of magnitude up to ``largest``."""
    if weight.ndim != 2 or weight.size == 0 or weight.dtype.kind != "f":
        raise ConfigError(where, f"got {weight.dtype} of shape {weight.shape}, allowed: a float matrix")
    magnitude = max(float(weight.max()), -float(weight.min()))  # NaN if any weight is
    if not magnitude <= largest:
        raise ConfigError(where, f"got magnitude {magnitude:g}, allowed: up to {largest:g}, to fit float16")


def _same(value: object, choice: OptionValue) -> bool:
    if isinstance(value, str):
        return value == _text(choice)
    return type(value) is type(choice) and value == choice


def _text(choice: OptionValue) -> str:
    return str(choice).lower() if isinstance(choice, bool) else str(choice)
