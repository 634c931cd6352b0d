"""The memory image that a CTA finds: buffers, constant banks with the arguments, and tensor maps."""

from __future__ import annotations

import numpy as np

from sim.exec import bulk
from sim.exec.access import GLOBAL_BASE_HIGH, L1_SECTORS, LOCAL_BYTES, STACK_TOP
from sim.exec.mbarrier import MBARRIER_FIELDS, MBARRIERS
from sim.exec.state import Array, Memory
from sim.isa.decode import shared_window
from sim.isa.launch import BufferRef, CtaClass, KernelLaunch, TensorMap
from sim.isa.opcodes import Kind, Op
from sim.isa.operands import bank_base

PARAMETERS_AT = 0x198  # in bank 0 of sm_90: the generic address of the parameters
SCRATCH_WINDOW = 1 << 20  # bytes behind a buffer without data


def build_memory(launch: KernelLaunch, cta_class: CtaClass) -> Memory:
    """Lay out the memory image that a CTA of this class finds."""
    window = shared_window(launch.program.target)
    shared_bytes = window + launch.program.static_shared_bytes + launch.dynamic_shared_bytes
    shared = np.zeros((shared_bytes + 15) // 16 * 16, np.uint8)
    windows = np.array([_window(buffer.data, buffer.nbytes) for buffer in launch.buffers] or [16], np.int64)
    starts = np.concatenate([[0], np.cumsum(windows)[:-1]]).astype(np.int64)
    flat = np.zeros(int(windows.sum()), np.uint8)
    for buffer, start in zip(launch.buffers, starts, strict=False):
        if buffer.data is not None:
            raw = np.ascontiguousarray(buffer.data).view(np.uint8).reshape(-1)
            flat[start : start + len(raw)] = raw
    names = {buffer.name: index for index, buffer in enumerate(launch.buffers)}
    words = flat.view(np.uint32)
    for (name, offset), value in cta_class.patches.items():
        index = names[name]
        words[(starts[index] + offset % windows[index]) // 4] = np.uint32(value & 0xFFFFFFFF)
    sizes = np.array([buffer.nbytes for buffer in launch.buffers] or [0], np.int64)
    spills = bool(np.isin(launch.program.opcode, (int(Op.LDL), int(Op.STL))).any())
    local = np.zeros(32 * launch.warps * LOCAL_BYTES if spills else 16, np.uint8)
    return Memory(
        shared, shared.view(np.uint32), flat, words, starts, windows, sizes, _constants(launch),
        np.full(L1_SECTORS, -1, np.int64), local, local.view(np.uint32),
        np.zeros((MBARRIERS, MBARRIER_FIELDS), np.int64), np.zeros(1, np.int64), np.zeros(1, np.int64), _maps(launch),
    )  # fmt: skip


def _window(data: Array | None, nbytes: int) -> int:
    """Return after how many bytes the addresses of a buffer come back to its beginning."""
    bytes_behind = data.nbytes if data is not None else min(nbytes, SCRATCH_WINDOW)
    if bytes_behind < nbytes and bytes_behind % 256:
        raise ValueError(f"data that repeats must be a multiple of 256 bytes; got {bytes_behind}")
    return max(256, (bytes_behind + 255) // 256 * 256)


def buffer_address(index: int, offset: int = 0) -> int:
    """Return the global address at which the executor puts a buffer."""
    return ((GLOBAL_BASE_HIGH + index) << 32) + offset


def _constants(launch: KernelLaunch) -> Array:
    """Flatten the constant banks: block and grid sizes, stack pointer and arguments into bank 0."""
    program = launch.program
    used = program.operands[program.operands[:, :, 0] == int(Kind.CONST)][:, 1] >> 16
    banks = max([0, *program.constants, *used.tolist()]) + 1
    flat = np.zeros(bank_base(banks), np.uint8)
    for bank, data in program.constants.items():
        flat[bank_base(bank) : bank_base(bank) + len(data)] = np.frombuffer(data, np.uint8)
    flat[0:24].view(np.uint32)[:] = [*launch.block, *launch.grid]
    flat[0x28:0x2C].view(np.uint32)[0] = STACK_TOP
    names = {buffer.name: index for index, buffer in enumerate(launch.buffers)}
    if any(isinstance(value, TensorMap) for value in launch.args):
        flat[PARAMETERS_AT : PARAMETERS_AT + 8].view(np.uint32)[:] = program.param_base, bulk.PARAMETERS_HIGH
    for param, value in zip(program.params, launch.args, strict=True):
        if isinstance(value, TensorMap):
            raw = np.zeros(param.size, np.uint8)  # its bits are the driver's; see _maps
        elif isinstance(value, BufferRef):
            raw = np.array([buffer_address(names[value.name], value.offset_bytes)], np.uint64).view(np.uint8)
        else:
            raw = np.array([value]).view(np.uint8)
        at = program.param_base + param.offset
        flat[at : at + len(raw)] = raw
    return flat.view(np.uint32)


def _maps(launch: KernelLaunch) -> Array:
    """Lay out the tensor maps among the arguments by the address at which the kernel finds them."""
    names = {buffer.name: index for index, buffer in enumerate(launch.buffers)}
    rows = []
    for param, value in zip(launch.program.params, launch.args, strict=True):
        if isinstance(value, TensorMap):
            row = np.zeros(bulk.MAP_FIELDS, np.int64)
            row[bulk.AT] = launch.program.param_base + param.offset
            row[bulk.START] = buffer_address(names[value.buffer], value.offset_bytes)
            row[bulk.ELEMENT], row[bulk.RANK] = value.element_bytes, len(value.dims)
            row[bulk.SWIZZLE] = value.swizzle_bytes
            for field, values in (
                (bulk.DIMS, value.dims),
                (bulk.BOX, value.box),
                (bulk.STRIDES + 1, value.strides_bytes),
            ):
                row[field : field + len(values)] = values
            rows.append(row)
    return np.array(rows, np.int64).reshape(-1, bulk.MAP_FIELDS)
