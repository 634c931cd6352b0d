"""How long a trace keeps each pipe of an SM busy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sim.isa.units import Unit
from sim.sm import layout as y
from sim.sm.columns import SmColumns

I64 = npt.NDArray[np.int64]

PIPES = {
    "alu": Unit.ALU,
    "fma": Unit.FMA,
    "imad": Unit.IMAD,
    "half": Unit.HALF,
    "xu": Unit.XU,
    "uniform": Unit.UNIFORM,
    "special": Unit.SPECIAL,
    "tensor": Unit.TENSOR,
}


def busy_cycles(columns: SmColumns, times: I64) -> dict[str, float]:
    """Return the cycles that each pipe is busy for rows executed ``times`` times each.

    ``load_store`` is the memory pipe that the sub-cores share, ``shared`` what wavefronts and shuffles take of it.
    """
    rows, m = columns.rows, columns.machine
    unit = rows[:, y.R_UNIT]
    interval = columns.static[rows[:, y.R_PC], y.S_INTERVAL] * times
    busy = {name: float(interval[unit == number].sum()) / y.TICKS for name, number in PIPES.items()}
    waves = np.maximum(1, rows[:, y.R_WAVEFRONTS]) * times
    accesses = np.isin(unit, (Unit.SHARED_LOAD, Unit.SHARED_STORE, Unit.SHUFFLE))
    served = int((rows[:, y.R_COST] * times)[accesses].sum())
    written = int(waves[unit == Unit.ASYNC_COPY].sum()) * m.copy_write_ticks
    operands = columns.static[rows[:, y.R_PC], y.S_OPERANDS] * times
    read = int(operands[unit == Unit.WGMMA].sum()) // y.WARPGROUP
    busy["shared"] = float(served + written + read) / y.TICKS
    busy["tensor"] += float(interval[unit == Unit.WGMMA].sum()) / y.TICKS
    asks = np.isin(unit, (Unit.GLOBAL_LOAD, Unit.GLOBAL_STORE, Unit.ATOMIC, Unit.ASYNC_COPY))
    busy["load_store"] = busy["shared"] + float((rows[:, y.R_COST] * times)[asks].sum()) / y.TICKS
    busy["issue"] = float(times.sum())
    return busy
