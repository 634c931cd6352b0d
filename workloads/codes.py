"""Codes that decide addresses: what the kernel of a scheme with look-ups reads while it is simulated.

Such a kernel takes as long as its bank conflicts ask for, and these are a matter of the codes. So its CTAs are executed
with real ones: weights drawn with a stated seed and quantized, or a user's own.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from sim.errors import ConfigError
from workloads.operands import draw_weights
from workloads.schemes.base import Array, Arrays, Options, Scheme, get_scheme
from workloads.weight_files import read_weight

SEED = 0  # of the codes that are simulated, and of those that counters were measured with
SAMPLE_OUTPUTS = 256  # as many as most tiles have; a CTA with more sees the first ones again


@dataclass(frozen=True, eq=False)
class Codes:
    """Packed arrays by buffer name; shorter ones than the buffers repeat over them."""

    arrays: Arrays
    identity: str  # equal for equal arrays of the same scheme, options and K


def sample_codes(scheme: Scheme, n: int, k: int, options: Options) -> Codes | None:
    """Return the codes of the first outputs of the weights that ``SEED`` draws; None where codes decide nothing."""
    if not scheme.codes_matter(scheme.check_options(options)):
        return None
    return _drawn(scheme.name, min(n, SAMPLE_OUTPUTS), k, tuple(sorted(options.items())))


def whole_codes(scheme: Scheme, n: int, k: int, options: Options) -> Codes:
    """Return the codes of all outputs of the weights that ``SEED`` draws, those that counters are measured with."""
    return _drawn(scheme.name, n, k, tuple(sorted(options.items())))


def codes_of_file(scheme: Scheme, path: Path, options: Options) -> tuple[Codes, tuple[int, int]]:
    """Quantize a user's weights; return their codes, N and K."""
    if not scheme.codes_matter(scheme.check_options(options)):
        raise ConfigError("--weights", f"the time of {scheme.name} does not depend on its weights")
    operands, identity = quantized_file(scheme, path, options)
    n, k = operands["codes"].shape
    return codes_of(scheme, operands, identity), (n, k)


def quantized_file(scheme: Scheme, path: Path, options: Options) -> tuple[Arrays, str]:
    """Quantize a user's weights; return the operands, and what they are known by."""
    weight = read_weight(path)
    n, k = weight.shape
    scheme.check_shape(1, n, k, options, str(path))
    digest = hashlib.sha256(weight.tobytes()).hexdigest()
    return scheme.quantize(weight, options), f"{path.name} {digest[:16]}"


@lru_cache(maxsize=8)
def _drawn(scheme: str, n: int, k: int, options: tuple[tuple[str, int | str | bool], ...]) -> Codes:
    found = get_scheme(scheme)
    return codes_of(
        found, draw_weights(found, n, k, dict(options), SEED), f"seed {SEED}, {n} outputs, {options}"
    )


def codes_of(scheme: Scheme, operands: Arrays, identity: str) -> Codes:
    """Return what the kernel reads of operands."""
    packed: dict[str, Array] = dict(scheme.pack(operands))
    return Codes({name: packed[name] for name in scheme.code_buffers}, identity)
