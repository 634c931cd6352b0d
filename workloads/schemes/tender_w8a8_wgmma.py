"""Tender W8A8 by Hopper's asynchronous units: the numbers and the layout of ``tender_w8a8``, another kernel."""

from __future__ import annotations

from workloads.schemes.tender_w8a8 import TenderW8A8


class TenderW8A8Wgmma(TenderW8A8):
    """What TenderW8A8 is, multiplied by warpgroups (wgmma) from tiles that the copy engine (TMA) brings."""

    name = "tender_w8a8_wgmma"
    doc = "Tender, INT8 in groups of power-of-two scales, INT32 accumulation, by wgmma and TMA (sm_90a)"


SCHEME = TenderW8A8Wgmma()
