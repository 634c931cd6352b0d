"""FP16 by Hopper's asynchronous units: the numbers and the layout of ``fp16``, another kernel."""

from __future__ import annotations

from workloads.schemes.fp16 import Fp16


class Fp16Wgmma(Fp16):
    """What Fp16 is, multiplied by warpgroups (wgmma) from tiles that the copy engine (TMA) brings."""

    name = "fp16_wgmma"
    doc = "FP16 weights and activations, FP32 accumulation, by wgmma and TMA (sm_90a)"


SCHEME = Fp16Wgmma()
