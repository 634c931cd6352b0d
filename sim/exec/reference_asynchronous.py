"""The twin's asynchronous instructions: mbarriers, the copy engine, wgmma. Whole arrays, PTX's words."""

from __future__ import annotations

from math import prod

import numpy as np

from sim.errors import TcsimError
from sim.exec.bulk import PARAMETERS_HIGH
from sim.exec.image import buffer_address
from sim.exec.reference_float import pack
from sim.exec.reference_integer import meaning
from sim.exec.reference_memory import ACCESSES, Mbarrier, Seen, addresses
from sim.exec.reference_state import LANE, LANES, Array, Group, Step
from sim.isa import opcodes as o
from sim.isa.launch import TensorMap
from sim.isa.opcodes import Kind, Op

# ---------------------------------------------------------------------------------------------------- mbarriers


def _shared_address(step: Step, at: int) -> int:
    """Return the one shared address that all active lanes name."""
    named = {int(address) & 0xFFFFFF for address in addresses(step, at)[step.active]}
    if len(named) != 1:
        raise TcsimError("the lanes name different mbarriers")
    return named.pop()


def _mbarrier(address: int, seen: Seen) -> Mbarrier:
    found = [each for each in seen.mbarriers if each.address == address]
    if not found:
        raise TcsimError(f"no mbarrier at shared address {address:#x}")
    return found[-1]


def _initialise(step: Step, seen: Seen) -> None:
    """SYNCS.EXCH: the expected arrivals come as 2^20 less their number, shifted left by one."""
    word = int(step.bits(4)[np.argmax(step.active)])
    expected = (1 << 20) - (word >> 1 & 0xFFFFF)
    number = len(seen.mbarriers)
    seen.mbarriers.append(Mbarrier(number, _shared_address(step, 1), expected, expected))
    seen.access.mbarrier = number


def _arrive(step: Step, seen: Seen) -> None:
    mbarrier = _mbarrier(_shared_address(step, 1), seen)
    words = step.bits(4)[step.active].astype(np.int64)
    arrivals = int(words.sum()) if step.modified(o.COUNT_REGISTER) else len(words)
    seen.access.mbarrier, seen.access.phase = mbarrier.number, mbarrier.completed + 1
    seen.access.arrivals = 0 if step.modified(o.NO_ARRIVAL) else arrivals
    seen.access.tx = int(words.sum()) if step.modified(o.TX_REGISTER) else 0
    mbarrier.report(seen.access.arrivals, seen.access.tx)


def wait_phase(step: Step, group: Group, seen: Seen) -> None:
    """SYNCS.PHASECHK.TRYWAIT: hold the group while the phase of the given parity is the current one."""
    if not step.active.any():
        group.pc += 1
        return
    mbarrier = _mbarrier(_shared_address(step, 1), seen)
    parity = int(step.bits(4)[np.argmax(step.active)]) >> 31
    group.held = mbarrier.completed % 2 == parity
    if not group.held:
        seen.access.mbarrier, seen.access.phase = mbarrier.number, mbarrier.completed
        step.write_truth(0, np.ones(LANES, bool))
        group.pc += 1


@meaning(Op.ELECT)
def elect(step: Step) -> None:
    """Name the lowest of the active lanes that the predicate lets stand."""
    candidates = LANE[step.active & step.truth(2)]
    leader = candidates[:1]
    step.write(1, np.full(LANES, leader.sum(), np.uint32))
    step.write_truth(0, np.isin(LANE, leader))


@meaning(Op.SET_REGISTERS)
def set_registers(step: Step) -> None:
    """There are always registers enough here."""
    if step.slots[0].kind in (Kind.PRED, Kind.UPRED):
        step.write_truth(0, np.ones(LANES, bool))


# ---------------------------------------------------------------------------------------------------- copies


def _uniform(step: Step, index: int, offset: int = 0) -> int:
    return int(step.warp.uniform[step.slots[index].value + offset])


def _tensor_copy(step: Step, seen: Seen) -> None:
    """UTMALDG, UTMASTG: consecutive uniform registers hold shared address, mbarrier (of a load) and coordinates."""
    loads, rank = Op(step.operation) == Op.TENSOR_LOAD, step.modifiers & o.RANK_MASK
    key = _uniform(step, 4) | _uniform(step, 4, 1) << 32
    if key not in seen.maps or len(seen.maps[key].dims) != rank:
        raise TcsimError("no tensor map at this address")
    first = 2 if loads else 1
    words = np.array([_uniform(step, 1, first + d) for d in range(rank)], np.uint32)
    _move(step, seen, seen.maps[key], [int(word) for word in words.view(np.int32)])


def _bulk_copy(step: Step, seen: Seen) -> None:
    """UBLKCP: a row of bytes, as a tensor of one dimension; the size comes in units of 16 bytes."""
    start = 4 if Op(step.operation) == Op.BULK_LOAD else 1
    address = _uniform(step, start) | _uniform(step, start, 1) << 32
    count = 16 * (int(step.bits(6)[0]) & 0xFFFF)
    index = next(i for i in range(len(seen.buffers)) if address >> 32 == buffer_address(i) >> 32)
    row = TensorMap.__new__(TensorMap)  # a size that no real map may have
    for name, value in {
        "buffer": seen.buffers[index], "element_bytes": 1, "dims": (count,), "strides_bytes": (), "box": (count,),
        "swizzle_bytes": 0, "offset_bytes": address & 0xFFFFFFFF,
    }.items():  # fmt: skip
        object.__setattr__(row, name, value)
    _move(step, seen, row, [0])


def _move(step: Step, seen: Seen, tensor: TensorMap, coordinates: list[int]) -> None:
    memory, index = step.warp.memory, seen.buffers.index(tensor.buffer)
    loads = Op(step.operation) in (Op.TENSOR_LOAD, Op.BULK_LOAD)
    at = 1 if Op(step.operation) != Op.BULK_STORE else 4
    target = _uniform(step, at) & 0xFFFFFF
    offset, present = _box_bytes(tensor, coordinates)
    if present.any() and (offset[present].max() >= memory.sizes[index] or offset[present].min() < 0):
        raise TcsimError("a box leaves its buffer")
    place = target + np.arange(len(offset))
    span = max(1, tensor.swizzle_bytes // 16)
    place = place ^ (place // 128 % span * 16)
    if memory.windows[index] >= memory.sizes[index]:
        source = memory.starts[index] + np.where(present, offset, 0)
        if loads:
            memory.shared[place] = np.where(present, memory.flat[source], 0)
        else:
            memory.flat[source[present]] = memory.shared[place[present]]
    access = seen.access
    access.lines, access.sectors = (
        len(np.unique(offset[present] // 128)),
        len(np.unique(offset[present] // 32)),
    )
    access.misses, access.buffer, access.tx = access.sectors, index, len(offset)
    if loads:
        mbarrier = _mbarrier(_uniform(step, 1, 1) & 0xFFFFFF, seen)
        access.mbarrier, access.phase = mbarrier.number, mbarrier.completed + 1
        mbarrier.report(0, -len(offset))


def _box_bytes(tensor: TensorMap, coordinates: list[int]) -> tuple[Array, Array]:
    """Return byte offsets in the buffer of a box's bytes, in their order in shared memory, and which exist."""
    strides = (tensor.element_bytes, *tensor.strides_bytes)
    offset = np.array([tensor.offset_bytes], np.int64)
    present = np.array([True])
    for d in range(len(tensor.dims)):  # each further dimension goes outside those before it
        places = coordinates[d] + np.arange(tensor.box[d])
        offset = (offset[None, :] + places[:, None] * strides[d]).ravel()
        present = (present[None, :] & ((places >= 0) & (places < tensor.dims[d]))[:, None]).ravel()
    assert len(offset) == prod(tensor.box)
    inner = np.arange(tensor.element_bytes)
    return (offset[:, None] + inner).ravel(), np.repeat(present, tensor.element_bytes)


# ---------------------------------------------------------------------------------------------------- wgmma


def _operand(step: Step, low: int, high: int, rows: Array) -> Array:
    """Return the 32 bytes of each row that a matrix descriptor names, uint8[rows, 32]."""
    start, leading, stride = (low & 0x3FFF) * 16, (low >> 16 & 0x3FFF) * 16, (high & 0x3FFF) * 16
    if high >> 17 & 7:
        raise TcsimError("base offset")
    pieces = np.arange(2)
    swizzle = {0: 16, 1: 128, 2: 64, 3: 32}[high >> 30]
    between = leading if swizzle == 16 else 16
    address = start + (rows // 8 * stride + rows % 8 * swizzle)[:, None] + pieces * between
    address = address ^ (address // 128 % (swizzle // 16) * 16)
    return np.reshape(step.warp.memory.shared[address[:, :, None] + np.arange(16)], (len(rows), 32))


def _fragment(step: Step) -> Array:
    """Return A of a warp from four registers, uint8[16, 32]: quadrants in (row block, column block) order."""
    number = step.slots[1].value
    tiles = [step.warp.register(number + part).view(np.uint8).reshape(8, 16) for part in range(4)]
    return np.hstack([np.vstack(tiles[:2]), np.vstack(tiles[2:])])


@meaning(Op.HGMMA, Op.IGMMA)
def multiply_warpgroup(step: Step) -> None:
    """D = A B (+ D, shifted where an extension says so): the warp's 16 of 64 rows."""
    columns = 8 * ((step.modifiers & o.COLUMNS_MASK) >> o.COLUMNS_SHIFT)
    words = [_uniform(step, 2, part) for part in range(4)]
    rows = 16 * (step.warp.number % 4) + np.arange(16)
    raw_a = _fragment(step) if step.slots[1].kind == Kind.REG else _operand(step, words[0], words[1], rows)
    a, b = (_numbers(step, raw) for raw in (raw_a, _operand(step, words[2], words[3], np.arange(columns))))
    accumulate = step.slots[4].kind == Kind.NONE or bool(step.truth(4)[np.argmax(step.active)])
    half = Op(step.operation) == Op.HGMMA and bool(step.modifiers & 1)
    c = _results(step, columns, half, a.dtype) if accumulate else np.zeros((16, columns), a.dtype)
    if Op(step.operation) == Op.IGMMA:
        c = c << ((step.modifiers & o.ACCUMULATOR_SHIFT_MASK) >> o.ACCUMULATOR_SHIFT)
    for inner in range(a.shape[1]):
        c = c + a[:, inner : inner + 1] * b[:, inner]
    _write_results(step, c, half)


def _numbers(step: Step, raw: Array) -> Array:
    """Return bytes or halves of either format as INT32 or FP32."""
    if Op(step.operation) == Op.IGMMA:
        return raw.view(np.int8).astype(np.int32)
    if step.modified(o.BF16):
        return (np.ascontiguousarray(raw).view(np.uint16).astype(np.uint32) << np.uint32(16)).view(np.float32)
    return np.ascontiguousarray(raw).view(np.float16).astype(np.float32)


def _results(step: Step, columns: int, half: bool, dtype: np.dtype[np.generic]) -> Array:
    """Return C, 16 x n: every 8 columns are an mma.sync accumulator."""
    number, c = step.slots[3].value, np.zeros((16, columns), dtype)
    for block in range(columns // 8):
        for side in range(2):
            rows, place = slice(8 * side, 8 * side + 8), slice(8 * block, 8 * block + 8)
            if half:
                word = step.warp.register(number if number == o.RZ else number + 2 * block + side)
                c[rows, place] = word.view(np.float16).reshape(8, 8)
            else:
                pair = [
                    step.warp.register(number if number == o.RZ else number + 4 * block + 2 * side + part)
                    for part in range(2)
                ]
                c[rows, place] = np.stack(pair, axis=1).view(dtype).reshape(8, 8)
    return c


def _write_results(step: Step, c: Array, half: bool) -> None:
    number = step.slots[0].value
    for block in range(c.shape[1] // 8):
        for side in range(2):
            pairs = np.ascontiguousarray(c[8 * side : 8 * side + 8, 8 * block : 8 * block + 8]).reshape(
                LANES, 2
            )
            if half:
                step.write_register(Kind.REG, number + 2 * block + side, pack(step, pairs.astype(np.float64)))
                continue
            for part in range(2):
                word = np.ascontiguousarray(pairs[:, part]).view(np.uint32)
                step.write_register(Kind.REG, number + 4 * block + 2 * side + part, word)


def parameter_address(offset: int) -> int:
    """Return the generic address of a byte of bank 0."""
    return PARAMETERS_HIGH << 32 | offset


ACCESSES.update(
    {
        Op.MBARRIER_INIT: _initialise, Op.MBARRIER_ARRIVE: _arrive, Op.TENSOR_LOAD: _tensor_copy,
        Op.TENSOR_STORE: _tensor_copy, Op.BULK_LOAD: _bulk_copy, Op.BULK_STORE: _bulk_copy,
    }
)  # fmt: skip
