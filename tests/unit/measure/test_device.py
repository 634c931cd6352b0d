from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gpu_kernels import catalog
from gpu_kernels.measuring.device import Device, addresses, arguments, import_cupy
from gpu_kernels.measuring.verify import WrongResultError, check, require_same, verify
from sim.arch.load import load_gpu
from sim.errors import TcsimError
from sim.isa.launch import BufferRef, KernelLaunch
from workloads.operands import Operands, random_operands
from workloads.schemes.base import get_scheme

H200 = load_gpu("h200")
M, N, K = 5, 136, 192


def fp16_case() -> tuple[KernelLaunch, Operands]:
    operands = random_operands(get_scheme("fp16"), M, N, K, seed=3)
    return catalog.launches("fp16", M, N, K, {}, H200, "8x64", operands.arrays)[0], operands


def test_arguments_are_64_bit_addresses_with_offset_and_scalars_as_they_are() -> None:
    launch, _ = fp16_case()
    shifted = replace(launch, args=(BufferRef("weights", 24), np.int32(-1), np.uint32(2**32 - 1)))
    got = arguments(shifted, {"weights": 2**40})
    assert got == (2**40 + 24, -1, 2**32 - 1)
    assert [type(each) for each in got] == [np.uint64, np.int32, np.uint32]
    assert [
        each.itemsize for each in arguments(launch, dict.fromkeys((b.name for b in launch.buffers), 0))
    ] == [each.size for each in launch.program.params]


def test_buffers_hold_data_zeros_or_poison(gpu: Any, cupy: Any) -> None:
    launch, operands = fp16_case()
    arrays = Device(cupy).place(launch)
    assert list(arrays) == [each.name for each in launch.buffers]
    assert np.array_equal(arrays["weights"].get().view(np.float16).reshape(N, K), operands.arrays["weights"])
    assert not arrays["counters"].get().any()
    assert np.isnan(arrays["output"].get().view(np.float16)).all()
    assert np.isnan(arrays["workspace"].get().view(np.float32)).all()


def test_a_resident_buffer_is_not_uploaded_again(gpu: Any, cupy: Any) -> None:
    launch, _ = fp16_case()
    device = Device(cupy)
    first = device.place(launch)
    assert device.place(launch, {"weights": first["weights"]})["weights"] is first["weights"]


def test_the_launch_is_the_one_described(gpu: Any, cupy: Any) -> None:
    launch, _ = fp16_case()
    device = Device(cupy)
    arrays = device.place(launch)
    for _ in range(2):
        device.run(launch, addresses(arrays))
    assert gpu.cubins == [launch.program.cubin], "loaded once, the program's own binary"
    assert len(gpu.calls) == 2
    call = gpu.calls[0]
    assert (call["grid"], call["block"]) == (launch.grid, launch.block)
    assert (call["shared_mem"], call["name"]) == (launch.dynamic_shared_bytes, launch.program.name)


def test_a_right_kernel_is_accepted_after_two_launches(gpu: Any, cupy: Any) -> None:
    launch, operands = fp16_case()
    device = Device(cupy)
    found, result = verify(device, launch, device.place(launch), operands.reference())
    assert 0 < found.relative_error < 4e-4 and 0 < found.max_error < 1e-3
    assert result.shape == (M, N) and len(gpu.calls) == 2


def _skips_the_last(gpu: Any, args: tuple[Any, ...], original: Any) -> None:
    y = gpu.view(int(args[2]), 2 * M * N).view(np.float16)
    before = y[-1:].copy()
    original(gpu, args)
    y[-1:] = before


def _off_by_two_percent(gpu: Any, args: tuple[Any, ...], original: Any) -> None:
    original(gpu, args)
    gpu.view(int(args[2]), 2 * M * N).view(np.float16)[:] *= np.float16(1.02)


def _other_bits_each_time(gpu: Any, args: tuple[Any, ...], original: Any) -> None:
    original(gpu, args)
    y = gpu.view(int(args[2]), 2 * M * N).view(np.uint16)
    y[0] ^= len(gpu.calls) & 1


def _leaves_a_counter(gpu: Any, args: tuple[Any, ...], original: Any) -> None:
    original(gpu, args)
    gpu.view(int(args[4]), 4)[:] = 1


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        (_skips_the_last, WrongResultError, "1 of 680 elements are NaN or were never written"),
        (_off_by_two_percent, WrongResultError, "relative error 0.0195"),
        (_other_bits_each_time, WrongResultError, "a second launch changed 1 of 680"),
        (_leaves_a_counter, AssertionError, "counters must be zero"),
    ],
)
def test_a_wrong_kernel_is_found(
    gpu: Any, cupy: Any, fault: Any, error: type[Exception], message: str
) -> None:
    launch, operands = fp16_case()
    original = gpu.kernel
    gpu.kernel = lambda g, args: fault(g, args, original)
    device = Device(cupy)
    with pytest.raises(error, match=message):
        verify(device, launch, device.place(launch), operands.reference())


def test_results_are_compared_by_bits() -> None:
    zero = np.zeros(4, np.float16)
    with pytest.raises(WrongResultError, match="the replays changed 4 of 4"):
        require_same(zero, -zero, "the replays")
    require_same(zero, zero.copy(), "the replays")


def test_accuracy_is_relative_to_the_norm_and_to_the_largest() -> None:
    reference = np.array([[3.0, 4.0, 0.0, 0.0]])
    found = check(np.array([[3.0, 4.0, 0.0, 2**-8]], np.float16), reference)
    assert found.relative_error == 2**-8 / 5 and found.max_error == 2**-8 / 4


def test_without_cupy_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "cupy", None)
    with pytest.raises(TcsimError, match="needs an NVIDIA GPU and CuPy"):
        import_cupy()
