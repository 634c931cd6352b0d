"""What L2 need not send twice: lines that several SMs of one cluster of SMs (a GPC) ask for at the same time.

L2 answers a cluster once and the answer goes to every SM of it that has asked (gpu_kernels/micro/l2_sharing). CTAs with
consecutive numbers are in one cluster: the first of every SM, then the second, and so on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from sim.isa.launch import Dim3, KernelLaunch

F64 = npt.NDArray[np.float64]
Probe = Callable[[KernelLaunch, Sequence[Dim3]], npt.NDArray[np.int64]]
SAMPLED_CLUSTERS = 2  # the first and the one in the middle of a wave
NOT_READ = -1


def cta_at(grid: Dim3, index: int) -> Dim3:
    """Return the coordinates of the CTA that is started as number ``index``."""
    x, y, _ = grid
    return index % x, index // x % y, index // (x * y)


def merged_shares(launch: KernelLaunch, sms: int, cluster_sms: float, resident: int, probe: Probe) -> F64:
    """Return, for each buffer, the share of the bytes read from it that leave L2: 1 where SMs read data of their own.

    ``resident`` CTAs run on each of ``sms`` SMs, of which ``cluster_sms`` are in a cluster. ``probe`` tells which CTAs
    read the same data; two clusters of the first wave stand for all.
    """
    chosen = _sampled(min(launch.ctas, sms * resident), sms, cluster_sms)
    every = [index for cluster in chosen for index in cluster]
    if not every:
        return np.ones(len(launch.buffers))
    touches = probe(launch, [cta_at(launch.grid, index) for index in every])[:, : len(launch.buffers)]
    sent = np.zeros(len(launch.buffers))
    first = 0
    for cluster in chosen:
        sent += [_distinct(column) for column in touches[first : first + len(cluster)].T]
        first += len(cluster)
    shares: F64 = sent / len(every)
    return shares


def _sampled(ctas: int, sms: int, cluster_sms: float) -> list[list[int]]:
    """Return the numbers of the CTAs that run together in the sampled clusters; ``ctas`` run at a time."""
    last = int((min(ctas, sms) - 1) // cluster_sms)
    chosen = sorted({0, last // SAMPLED_CLUSTERS})
    members = [[index for index in range(ctas) if (index % sms) // cluster_sms == each] for each in chosen]
    return [each for each in members if each]


def _distinct(units: npt.NDArray[np.int64]) -> int:
    """Count the distinct data; what was not seen to be read is taken to be everyone's own."""
    known = units[units != NOT_READ]
    return len(np.unique(known)) + int((units == NOT_READ).sum())
