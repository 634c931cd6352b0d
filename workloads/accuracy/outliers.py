"""Synthetic activations with the outlier statistics that were published of LLMs: what a small encoder does not show.

Channels without outliers are normal of standard deviation 1, cut at 3.5; each profile adds a few others.
Nothing else of a model is in them: neither its channels' correlations nor its weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from workloads.accuracy.arrays import F32
from workloads.tender import synthetic
from workloads.tender.decomposition import F64

LARGEST_ORDINARY = 3.5  # arXiv:2208.07339, appendix C: other features usually lie in [-3.5, 3.5]
CHANNELS = 4096  # of OPT-6.7B
ROWS, OUTPUTS = 256, 64
SEED = 0
_QUARTILE = 0.6744898  # of a normal distribution, in standard deviations: half the distance of its quartiles


@dataclass(frozen=True)
class Profile:
    """Channels with outliers: how many of 4096, in which share of the tokens, and the outliers' distribution."""

    name: str
    doc: str
    source: str
    channels: int = 0
    tokens: float = 1.0
    median: float = 0.0
    quartiles: float = 0.0  # the distance between them


_LLM_INT8 = "arXiv:2208.07339 (LLM.int8()), table 4"
PROFILES: Mapping[str, Profile] = MappingProxyType(
    {
        each.name: each
        for each in (
            Profile(
                "no_outliers", "the same channels, none with outliers", "what the others are compared with"
            ),
            Profile(
                "llm_int8_6.7b",
                "6 channels near -40 in 75 % of the tokens",
                f"{_LLM_INT8}, 6.7B: 6 one-sided outliers, quartiles (-44, -40, -35), 75 % of the tokens",
                6,
                0.75,
                -40.0,
                9.0,
            ),
            Profile(
                "llm_int8_13b",
                "7 channels near -58 in 73 % of the tokens",
                f"{_LLM_INT8}, 13B: 7 outliers, quartiles (-63, -58, -45), 73 % of the tokens",
                7,
                0.73,
                -58.0,
                18.0,
            ),
            Profile(
                "smoothquant",
                "6 channels a hundred times the others, in every token",
                "arXiv:2211.10438 (SmoothQuant), section 3: about 100 times most values, in few fixed channels, in all "
                "tokens, with a small variance across tokens; assumed: 6 channels, quartiles a tenth apart",
                6,
                1.0,
                100.0,
                10.0,
            ),
            Profile(
                "laplace",
                "channels' magnitudes spread over six octaves either way",
                "workloads.tender.synthetic: logarithms of a Laplace distribution, the largest 64 times the median",
            ),
        )
    }
)


@dataclass(frozen=True, eq=False)
class Operands:
    """X [256, 4096], normal weights [64, 4096], and which channels have outliers [4096]."""

    x: F32
    weight: F32
    outlying: npt.NDArray[np.bool_]


def operands(profile: Profile) -> Operands:
    """Draw a matmul; its outputs' deviation is 1 without outliers."""
    generator = np.random.default_rng(SEED)
    weight = generator.standard_normal((OUTPUTS, CHANNELS)) / CHANNELS**0.5
    outlying = np.zeros(CHANNELS, np.bool_)
    if profile.name == "laplace":
        x = synthetic.activations(ROWS, CHANNELS, generator)
    else:
        x = generator.standard_normal((ROWS, CHANNELS)).clip(-LARGEST_ORDINARY, LARGEST_ORDINARY)
        outlying[generator.choice(CHANNELS, profile.channels, replace=False)] = True
        x[:, outlying] = _with_outliers(x[:, outlying], profile, generator)
    return Operands(x.astype(np.float32), weight.astype(np.float32), outlying)


def _with_outliers(ordinary: F64, profile: Profile, generator: np.random.Generator) -> F64:
    deviation = profile.quartiles / (2 * _QUARTILE)
    outliers = profile.median + deviation * generator.standard_normal(ordinary.shape)
    return np.where(generator.random(ordinary.shape) < profile.tokens, outliers, ordinary)
