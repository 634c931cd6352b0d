"""Systolic arrays, cycle by cycle and bit by bit: the oracle of ``sim.array.timing``. Output-stationary first.

Operands enter at the left and top edges, each row and column one cycle after its neighbour (skew), and move one PE a
cycle. At a group's border a bubble enters with the stream: PEs that it reaches multiply nothing and shift their sum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sim import jit

I64 = npt.NDArray[np.int64]
BUBBLE = -1  # a step of the stream that shifts instead of multiplying


@dataclass(frozen=True)
class TileRun:
    """What an array did with one tile."""

    sums: I64  # [rows, columns]
    cycles: int  # until the last PE is done


def stream(group_sizes: tuple[int, ...], rescale_cycles: int = 1) -> I64:
    """Return the steps that enter the array: indices along the reduction, and bubbles between groups.

    An empty group still has its border: the sums before it must be shifted once more.
    """
    steps: list[int] = []
    first = 0
    for number, size in enumerate(group_sizes):
        steps += [BUBBLE] * rescale_cycles if number else []
        steps += range(first, first + size)
        first += size
    return np.array(steps, np.int64)


def run_tile(
    inputs: I64, weights: I64, group_sizes: tuple[int, ...] = (), rescale_cycles: int = 1, shift: int = 1
) -> TileRun:
    """Multiply inputs [rows, k] by weights [k, columns] on an array of exactly that size.

    ``group_sizes`` (they sum to k) cut the reduction; at each border the sums are shifted left by ``shift``. A bubble
    of several cycles shifts in its first.
    """
    sizes = group_sizes or (inputs.shape[1],)
    if sum(sizes) != inputs.shape[1] or inputs.shape[1] != weights.shape[0]:
        raise ValueError(
            f"groups of {sum(sizes)} channels for {inputs.shape[1]} inputs and {weights.shape[0]} weights"
        )
    steps = stream(sizes, rescale_cycles)
    shifts = np.zeros(len(steps), np.int64)
    borders = np.flatnonzero(steps == BUBBLE)
    shifts[borders[:: max(1, rescale_cycles)]] = shift
    sums = np.zeros((inputs.shape[0], weights.shape[1]), np.int64)
    cycles = _run(inputs.astype(np.int64), weights.astype(np.int64), steps, shifts, sums)
    return TileRun(sums, int(cycles))


def run_weight_stationary(inputs: I64, weights: I64) -> TileRun:
    """Multiply inputs [m, rows] by weights [rows, columns], which stay in the PEs of an array of exactly that size.

    The weights are pushed in from the top, a row a cycle. Then inputs enter at the left, each row of PEs one cycle
    after the one above it, and sums move down a PE a cycle, gathering a product in each.
    """
    if inputs.shape[1] != weights.shape[0]:
        raise ValueError(f"{inputs.shape[1]} inputs for {weights.shape[0]} rows of weights")
    rows, columns = weights.shape
    moving = np.zeros(
        (rows + 1, columns), np.int64
    )  # sums between the rows of PEs; the last have left the array
    sums = np.zeros((len(inputs), columns), np.int64)
    cycles = _run_down(inputs.astype(np.int64), weights.astype(np.int64), moving, sums)
    return TileRun(sums, rows + int(cycles))


@jit.entry
def _run_down(inputs, weights, moving, sums):  # type: ignore[no-untyped-def]
    """Advance the array until the last sum has left it; return the cycles."""
    rows, columns = weights.shape
    cycle = 0
    left = len(inputs) * columns
    while left > 0:
        for row in range(rows - 1, -1, -1):  # from below, so that a sum moves one PE
            for column in range(columns):
                at = cycle - row - column  # the input that has reached this PE
                if 0 <= at < len(inputs):
                    moving[row + 1, column] = moving[row, column] + inputs[at, row] * weights[row, column]
                    if row == rows - 1:
                        sums[at, column] = moving[rows, column]
                        left -= 1
        cycle += 1
    return cycle


@jit.entry
def _run(inputs, weights, steps, shifts, sums):  # type: ignore[no-untyped-def]
    """Advance the array until every PE has seen the whole stream; return the cycles."""
    rows, columns = sums.shape
    cycle = 0
    left = rows * columns * len(steps)
    while left > 0:
        for row in range(rows):
            for column in range(columns):
                at = cycle - row - column  # the step that has reached this PE
                if at < 0 or at >= len(steps):
                    continue
                step = steps[at]
                if step >= 0:
                    sums[row, column] += inputs[row, step] * weights[step, column]
                else:
                    sums[row, column] <<= shifts[at]
                left -= 1
        cycle += 1
    return cycle
