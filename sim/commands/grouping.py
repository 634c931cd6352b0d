"""What groups that end at tensor instructions, and orders of channels per chunk, take in time: by simulated launches.

``workloads.tender.grouping`` and ``orders`` have the numerics; here a machine is added. All that is returned is frozen,
for a study to print.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gpu_kernels import catalog
from gpu_kernels.micro.producer import ORDERS, producer_launch
from sim.commands.selection import machine, workload
from sim.results import Workload
from sim.simulate import simulate
from workloads.schemes._tender import ROW_CHUNK, Tender
from workloads.schemes.base import OptionValue, get_scheme
from workloads.tender.decomposition import F64, Format
from workloads.tender.grouping import GroupingCost, TimeOf, grouping_cost
from workloads.tender.layout import Sizes, borders


@dataclass(frozen=True)
class Matmul:
    """The matmul whose groups vary: machine, scheme, variant, sizes but for K."""

    arch: str
    scheme: str
    variant: str
    m: int
    n: int
    extensions: tuple[str, ...] = ()

    @property
    def described(self) -> Tender:
        """The scheme."""
        found = get_scheme(self.scheme)
        assert isinstance(found, Tender)
        return found


def time_of(matmul: Matmul) -> TimeOf:
    """Return the function that simulates the matmul with groups of given sizes, on the best of its tiles."""
    options: dict[str, OptionValue] = matmul.described.check_options({"variant": matmul.variant})

    def simulated_us(sizes: Sizes) -> float:
        gpu, k = machine(matmul.arch), sum(sizes)
        at = {"borders": borders(sizes, matmul.described.step_columns)}
        launches = catalog.launches(matmul.scheme, matmul.m, matmul.n, k, options, gpu, operands=at)
        named = workload(matmul.scheme, matmul.m, matmul.n, k, options)
        return simulate(named, launches, gpu, matmul.extensions).time_us

    return simulated_us


def grouping_costs(
    matmul: Matmul, channels: Sequence[F64], groups: Sequence[int], seed: int = 0
) -> tuple[GroupingCost, ...]:
    """Compare padding with alignment for each set of channel maxima and number of groups, largest maxima first."""
    how, step = Format(bits=matmul.described.bits), matmul.described.step_columns
    return tuple(
        grouping_cost(maxima, replace(how, groups=count), time_of(matmul), step, seed)
        for maxima in channels
        for count in groups
    )


@dataclass(frozen=True)
class OrderCost:
    """What the layer before a matmul takes to bring M rows of K channels into an order of their chunk's own."""

    m: int
    k: int
    plain_us: float  # quantized in place: one order for all chunks, folded into weights offline
    gather_us: float  # read by an index at run time
    scatter_us: float  # stored by an index, where the producer quantizes anyway

    @property
    def gather_extra_us(self) -> float:
        """What an indexed load costs."""
        return self.gather_us - self.plain_us

    @property
    def scatter_extra_us(self) -> float:
        """What an indexed store costs."""
        return self.scatter_us - self.plain_us


def order_cost(arch: str, m: int, k: int) -> OrderCost:
    """Simulate the producer's kernels (``gpu_kernels/micro/producer``), a CTA per row; launch and ramp are in each.

    Rows of all chunks go by the same drawn order: bank conflicts are those of a random permutation in any case.
    """
    gpu = machine(arch)
    named = Workload("producer", m, 0, k, {"chunk_rows": ROW_CHUNK}, 0, 0)
    times = {order: simulate(named, [producer_launch(order, m, k)], gpu).time_us for order in ORDERS}
    return OrderCost(m, k, times["plain"], times["gather"], times["scatter"])
