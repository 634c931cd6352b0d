"""Tender W8A8 (ISCA'24): INT8 weights and activations, groups of channels whose scales are powers of two apart."""

from __future__ import annotations

from workloads.schemes._tender import Tender


class TenderW8A8(Tender):
    """Signed bytes; see ``_tender``."""

    name = "tender_w8a8"
    doc = "Tender, INT8 weights and activations in groups of power-of-two scales, INT32 accumulation"
    input_type = "s8"
    weight_bits = 8
    bits = 8
    variants = ("software_shift", "explicit", "extension", "ideal")


SCHEME = TenderW8A8()
