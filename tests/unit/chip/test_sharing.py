"""L2 sends a line once to each cluster of SMs: counted against closed forms."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pytest

from sim.chip.sharing import merged_shares
from sim.isa.launch import Buffer, CtaClass, Dim3, KernelLaunch
from sim.isa.synthetic import assemble

SMS, CLUSTER = 132, 16.5


def launch_of(x: int, y: int = 1) -> KernelLaunch:
    buffers = (Buffer("a", 4096, "weights"), Buffer("b", 4096, "activations"))
    return KernelLaunch(
        assemble(["EXIT"], params=()), (x, y, 1), (32, 1, 1), 0, (), buffers, (CtaClass((0, 0, 0), x * y),)
    )


def reads(*units: Callable[[int, int], int]) -> Callable[..., npt.NDArray[np.int64]]:
    def probe(launch: KernelLaunch, ctas: Sequence[Dim3]) -> npt.NDArray[np.int64]:
        return np.array([[unit(x, y) for unit in units] for x, y, _ in ctas], np.int64)

    return probe


def test_own_data_is_sent_to_everyone_and_common_data_once_to_a_cluster() -> None:
    own, common = merged_shares(launch_of(SMS), SMS, CLUSTER, 1, reads(lambda x, y: x, lambda x, y: 7))
    assert own == 1.0
    assert common == pytest.approx(1 / CLUSTER, rel=0.04)  # clusters of 17 and 16


@pytest.mark.parametrize("sharers", [2, 4])
def test_neighbours_share_and_ctas_that_are_far_apart_do_not(sharers: int) -> None:
    """As measured: 8210 of 4550 bytes per cycle for pairs of neighbours, 4541 for CTAs 66 apart."""
    apart = SMS // sharers
    near, far = merged_shares(
        launch_of(SMS), SMS, CLUSTER, 1, reads(lambda x, y: x // sharers, lambda x, y: x % apart)
    )
    assert near == pytest.approx(1 / sharers, abs=0.06) and far == 1.0  # some groups lie across two clusters


def test_the_second_cta_of_an_sm_is_in_its_cluster() -> None:
    """CTA 132 runs on the SM of CTA 0."""
    same, _ = merged_shares(launch_of(2 * SMS), SMS, CLUSTER, 2, reads(lambda x, y: x % SMS, lambda x, y: x))
    assert same == 0.5


def test_what_was_not_seen_to_be_read_is_not_shared() -> None:
    assert merged_shares(
        launch_of(SMS), SMS, CLUSTER, 1, reads(lambda x, y: -1, lambda x, y: -1)
    ).tolist() == [1, 1]


def test_a_launch_of_one_cta_shares_nothing() -> None:
    assert merged_shares(launch_of(1), SMS, CLUSTER, 2, reads(lambda x, y: 0, lambda x, y: 0)).tolist() == [
        1,
        1,
    ]
