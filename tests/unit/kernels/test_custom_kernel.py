"""A user's own kernel: what the launch file may say, and one line with file and line for what it may not."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from gpu_kernels import catalog
from gpu_kernels.compile import compile_cuda, compiler, disassemble
from gpu_kernels.custom import load_launch
from sim.errors import ConfigError, TcsimError
from sim.isa.launch import BufferRef

EXAMPLE = Path(catalog.__file__).parent / "examples" / "transpose.py"

HEAD = "import numpy as np\nfrom gpu_kernels.custom import CudaKernel, array, empty, output\n"
SOURCE = (
    'SOURCE = """\n'
    'extern "C" __global__ void saxpy(const float* x, float* y, float a, int n) {\n'
    "    int i = blockIdx.x * blockDim.x + threadIdx.x;\n"
    "    if (i < n) y[i] = a * x[i] + y[i];\n"
    "}\n"
    '"""\n'
)
GOOD = (
    'source=SOURCE, name="saxpy", grid=4, block=128, '
    'args=[np.ones(512, np.float32), output(512, "f4"), 2.0, 500]'
)


def _no_compiler() -> bool:
    try:
        compiler()
    except ConfigError:
        return True
    return False


pytestmark = [
    pytest.mark.compile,
    pytest.mark.skipif(_no_compiler(), reason="needs the extra [compile]"),
]


def write(folder: Path, call: str, head: str = HEAD + SOURCE) -> Path:
    path = folder / "my_launch.py"
    path.write_text(f"{head}kernel = CudaKernel({call})\n", encoding="utf-8")
    return path


def failure(path: Path) -> str:
    with pytest.raises(TcsimError) as caught:
        load_launch(path)
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(str(path), "FILE")


def test_arrays_and_numbers_become_buffers_and_typed_arguments(tmp_path: Path) -> None:
    launch = load_launch(write(tmp_path, GOOD))
    assert launch.grid == (4, 1, 1) and launch.block == (128, 1, 1)
    x, y, a, n = launch.args
    assert (x, y) == (BufferRef("args[0]"), BufferRef("args[1]"))
    assert (type(a), type(n)) == (np.float32, np.int32)
    assert [(b.nbytes, b.role, b.data is None) for b in launch.buffers] == [
        (2048, "activations", False),
        (2048, "output", True),
    ]
    assert [each.count for each in launch.classes] == [3, 1]


def test_lines_are_those_of_the_python_file(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    program = load_launch(path).program
    store = [line for line, text in zip(program.source_line, program.text, strict=True) if "STG" in text]
    assert [catalog.source_lines(program)[line - 1].strip() for line in store] == [
        "if (i < n) y[i] = a * x[i] + y[i];"
    ]


def test_a_source_file_is_found_beside_the_launch_file(tmp_path: Path) -> None:
    text = "\n".join(SOURCE.splitlines()[1:-1])
    (tmp_path / "saxpy.cu").write_text(text, encoding="utf-8")
    launch = load_launch(write(tmp_path, GOOD.replace("SOURCE", '"saxpy.cu"'), HEAD))
    assert launch.program.source_name.endswith("saxpy.cu")
    assert len(catalog.source_lines(launch.program)) == len(text.splitlines())


def test_a_cubin_runs_without_its_source(tmp_path: Path) -> None:
    text = "\n".join(SOURCE.splitlines()[1:-1])
    (tmp_path / "saxpy.cubin").write_bytes(compile_cuda(text, "saxpy.cu"))
    launch = load_launch(write(tmp_path, GOOD.replace("source=SOURCE", 'cubin="saxpy.cubin"'), HEAD))
    assert launch.program.name == "saxpy"


def test_cxx_names_are_found(tmp_path: Path) -> None:
    launch = load_launch(write(tmp_path, GOOD, HEAD + SOURCE.replace('extern "C" ', "")))
    assert launch.program.name.startswith("_Z5saxpy")


def test_the_cuda_headers_are_there(tmp_path: Path) -> None:
    source = SOURCE.replace('"""\n', '"""\n#include <cuda_fp16.h>\n', 1)
    assert load_launch(write(tmp_path, GOOD, HEAD + source)).program.name == "saxpy"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("grid=4", "grid=0", r"FILE: grid: got 0, allowed"),
        ("grid=4", "grid=(1, 2, 3, 4)", r"FILE: grid: got \(1, 2, 3, 4\), allowed"),
        ("grid=4", "grid=4.5", r"FILE: grid: got 4.5, allowed"),
        ("block=128", "block=(64, 32)", r"FILE: block: got \(64, 32, 1\), allowed: up to 1024 threads"),
        ("block=128", 'block="x"', r"FILE: block: got 'x', allowed"),
        ('name="saxpy"', 'name="saxpi"', r"FILE: unknown kernel 'saxpi'. Did you mean 'saxpy'\?"),
        (", 500]", "]", r"FILE: args: got 3, allowed: 4, of 8, 8, 4, 4 bytes"),
        ("2.0, 500", "2.0, 2**40", r"FILE: args\[3\]: got 1099511627776, allowed: a number of 4 bytes"),
        ("2.0, 500", "np.float64(2.0), 500", None),
        ("2.0, 500", "np.ones(3), 500", r"FILE: args\[2\]: got an array, allowed: a number of 4 bytes"),
        ("2.0, 500", '"two", 500', r"FILE: args\[2\]: got str, allowed"),
        ("np.ones(512, np.float32)", "7.0", r"FILE: args\[0\]: got 4 bytes, allowed: 8"),
        ("np.ones(512, np.float32)", 'array([1], role="weigths")', r"Did you mean 'weights'"),
        ("source=SOURCE, ", "", r"FILE: give either source or cubin"),
        ("source=SOURCE", 'source="none.cu"', r"none.cu: No such file or directory"),
        ("source=SOURCE", 'cubin="my_launch.py"', r"not a cubin that nvdisasm can read"),
        ("block=128", "block=128, shared_bytes=-1", r"FILE: shared_bytes: got -1"),
        ("block=128", "block=128, classes={(9, 0, 0): 4}", r"FILE: classes: got \(9, 0, 0\), allowed: a CTA"),
        ("block=128", "block=128, classes={(0, 0, 0): 3}", r"FILE: classes: got 3 CTAs in all"),
        ("block=128", "blok=128", r"FILE:9: TypeError: .*blok"),
        ("block=128", "block=1 // 0", r"FILE:9: ZeroDivisionError"),
        ("block=128", "block=(", r"FILE:9: not valid Python"),
    ],
)
def test_mistakes_are_one_line_with_the_place(
    tmp_path: Path, old: str, new: str, message: str | None
) -> None:
    assert old in GOOD
    path = write(tmp_path, GOOD.replace(old, new))
    if message is None:
        load_launch(path)
    else:
        assert re.search(message, failure(path)), failure(path)


def test_an_error_in_the_cuda_text_names_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD, HEAD + SOURCE.replace("a * x[i]", "a * z[i]"))
    assert re.match(r"my_launch.py:6: identifier \"z\" is undefined", failure(path))


def test_a_file_without_a_kernel_and_no_file(tmp_path: Path) -> None:
    path = tmp_path / "empty.py"
    path.write_text("x = 1\n", encoding="utf-8")
    assert failure(path) == "FILE: kernel: got NoneType, allowed: a CudaKernel"
    assert failure(tmp_path / "none.py") == "FILE: no such file"


def test_the_example_shows_its_bank_conflict_line() -> None:
    program = load_launch(EXAMPLE).program
    lines = catalog.source_lines(program)
    loads = {
        lines[line - 1].strip()
        for line, text in zip(program.source_line, program.text, strict=True)
        if "LDS" in text
    }
    assert loads == {"y[(out_row + i) * size + out_column] = tile[threadIdx.x][threadIdx.y + i];"}


def test_inlined_lines_are_followed_to_the_source() -> None:
    header = "__device__ __forceinline__ float twice(float a) {\n  return 2.f * a;\n}\n"
    source = '#include "/tcsim/t.cuh"\nextern "C" __global__ void k(float* x) {\n  *x = twice(*x);\n}\n'
    cubin = compile_cuda(source, "t.cu", headers={"t.cuh": header})
    (listing,) = disassemble(cubin, "sm_90a", "t", "t.cu").values()
    (row,) = [row for row in listing.rows if row[1].startswith("F")]
    assert row[3] == 3
