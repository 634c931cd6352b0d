"""``--weights``: the codes of a user's matrix lie behind the launches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sim.commands.selection import Request, select
from sim.errors import ConfigError
from workloads.schemes.base import get_scheme


def _request(
    scheme: str | None,
    n: int,
    weights: Path | None,
    kernel: Path | None = None,
    options: tuple[str, ...] = (),
) -> Request:
    return Request("h200", scheme, 16, n, 256, None, None, options, None, (), (), kernel, weights)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    np.save(tmp_path / "w.npy", np.random.default_rng(0).standard_normal((128, 256), dtype=np.float32))
    return tmp_path / "w.npy"


def test_a_file_is_what_look_ups_see(weights: Path) -> None:
    chosen = select(_request("flute", 128, weights, options=("bits=3",)))
    flute = get_scheme("flute")
    expected = flute.pack(flute.quantize(np.load(weights), {"bits": 3}))["weights"]
    for launch in chosen.launches:
        data = {buffer.name: buffer.data for buffer in launch.buffers}
        np.testing.assert_array_equal(data["weights"], expected)
        assert data["activations"] is None and launch.data_identity.startswith("w.npy ")
    assert str(chosen.workload.options["weights"]).startswith("w.npy ")


def test_without_a_file_they_are_drawn() -> None:
    for launch in select(_request("flute", 128, None)).launches:
        assert launch.data_identity.startswith("seed 0, 128 outputs")
    for launch in select(_request("fp16", 128, None)).launches:
        assert not launch.data_identity


def test_what_does_not_fit_is_refused(weights: Path) -> None:
    with pytest.raises(ConfigError, match="--weights: got a matrix 128 x 256, allowed: N x K = 256 x 256"):
        select(_request("flute", 256, weights))
    with pytest.raises(ConfigError, match="--weights: the time of fp16 does not depend on its weights"):
        select(_request("fp16", 128, weights))
    with pytest.raises(ConfigError, match="--weights: stands beside --kernel"):
        select(_request(None, 128, weights, kernel=Path("k.py")))
