"""How often the codes of a weight matrix ask for each entry of a kernel's table: what its bank conflicts hang on."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from workloads.schemes._lut_packing import WORD
from workloads.schemes.base import Array, Options
from workloads.schemes.flute import pair_codes

F64 = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Asked:
    """Look-ups of one kind: lanes of a warp draw entries with the same chances."""

    share: float  # of all look-ups
    chances: F64  # [entries]


def entries_asked(scheme: str, operands: Mapping[str, Array], options: Options) -> tuple[Asked, ...]:
    """Return the kinds of look-ups into a table for all lanes or into copies of it; shares add up to 1."""
    if scheme == "flute":
        return (Asked(1.0, pairs_asked(operands["codes"], int(options["bits"]))),)
    return signs_asked(
        operands["codes"], int(options["bits"]), int(options["mu"]), options["table"] == "signed"
    )


def entries_equally(scheme: str, options: Options) -> tuple[Asked, ...]:
    """Return the kinds of look-ups of codes that are all equally frequent and independent of each other."""
    if scheme == "flute":
        entries = 4 ** int(options["bits"])
        return (Asked(1.0, np.full(entries, 1 / entries)),)
    columns, halved = Counter(_index_columns(int(options["mu"]))), int(options["table"] == "signed")
    sizes = {2 ** (size - halved): times / columns.total() for size, times in columns.items()}
    return tuple(Asked(share, np.full(size, 1 / size)) for size, share in sizes.items())


def pairs_asked(codes: Array, bits: int) -> F64:
    """Return how often codes [n, k] ask for each entry of FLUTE's table of pairs."""
    first, second = pair_codes(bits)
    entry = np.empty((2**bits, 2**bits), np.int64)
    entry[first, second] = np.arange(4**bits)
    return _chances(entry[codes[:, 0::2], codes[:, 1::2]], 4**bits)


def signs_asked(codes: Array, bits: int, mu: int, signed: bool) -> tuple[Asked, ...]:
    """Return how often the planes of codes [n, k] ask for LUT-GEMM's sums of ``mu`` columns.

    A kind is a plane and a number of columns: a word's last index has what is left of its 32. A signed table has the
    half whose top sign is -.
    """
    words, found = codes.reshape(len(codes), -1, WORD), defaultdict[tuple[int, int], list[Array]](list)
    begin, indices = 0, _index_columns(mu)
    for columns in indices:
        part = words[:, :, begin : begin + columns].astype(np.int64)
        begin += columns
        for plane in range(bits):
            index = ((part >> plane & 1) << np.arange(columns)).sum(axis=2)
            if signed:
                index = (index ^ -(index >> columns - 1)) & (1 << columns - 1) - 1
            found[plane, columns].append(index)
    return tuple(
        Asked(len(each) / bits / len(indices), _chances(np.concatenate(each), 1 << columns - signed))
        for (_, columns), each in found.items()
    )


def _index_columns(mu: int) -> list[int]:
    """Return the columns of each index of a word."""
    return [min(mu, WORD - begin) for begin in range(0, WORD, mu)]


def _chances(index: Array, entries: int) -> F64:
    counts: F64 = np.bincount(index.ravel(), minlength=entries) / index.size
    return counts
