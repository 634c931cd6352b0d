"""Sizes of a matmul Y[m, n] = X[m, k] · W[n, k]^T, and their limits."""

from __future__ import annotations

from sim.errors import ConfigError

MAX_SIZE = 2**20
MAX_ELEMENTS = 2**33


def check_sizes(m: int, n: int, k: int, where: str = "") -> None:
    """Refuse sizes that are not positive integers, or that no GPU could hold."""
    for name, size in (("M", m), ("N", n), ("K", k)):
        if isinstance(size, bool) or not isinstance(size, int):
            raise ConfigError(where, f"{name} must be a whole number; got {size!r}")
        if not 1 <= size <= MAX_SIZE:
            raise ConfigError(where, f"{name} must be from 1 to {MAX_SIZE}; got {_short(size)}")
    for name, elements in (("M*N", m * n), ("N*K", n * k), ("M*K", m * k)):
        if elements > MAX_ELEMENTS:
            raise ConfigError(where, f"{name} must be at most {MAX_ELEMENTS}; got {elements}")


def check_multiple(name: str, size: int, divisor: int, why: str = "", where: str = "") -> None:
    """Refuse a size that ``divisor`` does not divide."""
    if size % divisor:
        reason = f" ({why})" if why else ""
        raise ConfigError(where, f"{name} must be a multiple of {divisor}{reason}; got {size}")


def _short(size: int) -> str:
    return str(size) if abs(size) < 2**62 else "a number beyond 2^62"
