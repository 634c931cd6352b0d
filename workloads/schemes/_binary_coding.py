"""Levels of binary-coded weights: fitted to groups of weights [groups, columns], and the codes nearest to these."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from workloads.schemes.base import Array

Codes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

_SMALLEST_STEP = 2.0**-14  # a group of equal weights needs some scale too
_FITTING_ROUNDS = 4
_RIDGE = 1e-3  # of a column's square: two planes of a group may be equal
_SHRINKS = np.linspace(1.0, 0.3, 8)  # of the range of a group, tried for few bits
_FEW_BITS = 2


def fit_uniform(grouped: Floats, bits: int) -> Array:
    """Return alphas and offset [groups, bits + 1] of levels over each group's range, a part of it for few bits."""
    low, high = grouped.min(axis=1), grouped.max(axis=1)
    best, error = _levels(low, high, bits), np.full(len(grouped), np.inf)
    for shrink in _SHRINKS if bits <= _FEW_BITS else ():
        middle, half = (low + high) / 2, (high - low) / 2 * shrink
        tried = _levels(middle - half, middle + half, bits)
        step, first = 2 * tried[:, :1], (tried[:, -1] - tried[:, :-1].sum(axis=1))[:, None]
        codes = np.clip(np.rint((grouped - first) / step), 0, 2**bits - 1)
        squares = np.square(first + codes * step - grouped).sum(axis=1)
        best[squares < error] = tried[squares < error]
        error = np.minimum(error, squares)
    return best


def _levels(low: Array, high: Array, bits: int) -> Array:
    step = np.maximum((high - low) / (2**bits - 1), _SMALLEST_STEP)
    return np.concatenate([step[:, None] * 2.0 ** np.arange(-1, bits - 1), (low + high)[:, None] / 2], axis=1)


def fit_planes(grouped: Floats, bits: int) -> Array:
    """Return alphas and offset [groups, bits + 1]: from even levels on, least squares and nearest levels in turn."""
    levels = fit_uniform(grouped, bits).astype(np.float64)
    for _ in range(_FITTING_ROUNDS):
        codes = nearest(grouped, levels)
        signs = [np.where(codes >> plane & 1, 1.0, -1.0) for plane in range(bits)]
        design = np.stack([*signs, np.ones_like(signs[0])], axis=2)  # [groups, columns, bits + 1]
        wanted = design.transpose(0, 2, 1) @ grouped[:, :, None].astype(np.float64)
        normal = design.transpose(0, 2, 1) @ design + _RIDGE * np.eye(bits + 1)
        levels = np.linalg.solve(normal, wanted)[..., 0]
    return levels


def nearest_even(grouped: Floats, levels: Array) -> Codes:
    """Do what ``nearest`` does, for evenly spaced levels."""
    exact = levels.astype(np.float32)
    first, step = exact[:, -1:] - exact[:, :-1].sum(axis=1, keepdims=True), 2 * exact[:, :1]
    codes = np.clip(np.rint((grouped - first) / step), 0, 2 ** (levels.shape[1] - 1) - 1)
    found: Codes = codes.astype(np.uint8)
    return found


def nearest(grouped: Floats, levels: Array) -> Codes:
    """Return the codes [groups, columns] of the levels nearest to the weights; levels [groups, bits + 1]."""
    bits = levels.shape[1] - 1
    signs = 2 * (np.arange(2**bits)[:, None] >> np.arange(bits) & 1) - 1
    values = (
        levels[:, -1:].astype(np.float64) + levels[:, :-1].astype(np.float64) @ signs.T
    )  # [groups, 2^bits]
    order = np.argsort(values, axis=1, kind="stable")
    values = np.take_along_axis(values, order, axis=1)
    borders = (values[:, 1:] + values[:, :-1]) / 2
    place = np.zeros(grouped.shape, np.int64)
    for step in reversed(range(bits)):  # binary search of all groups at once
        tried = place + (1 << step)
        place = np.where(grouped > np.take_along_axis(borders, tried - 1, axis=1), tried, place)
    return np.take_along_axis(order, place, axis=1).astype(np.uint8)
