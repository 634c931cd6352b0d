"""Transpose through shared memory: with PAD = 0 a column lies in one bank, with PAD = 1 in all 32."""

import numpy as np

from gpu_kernels.custom import CudaKernel, empty, output

SIZE, TILE, ROWS = 4096, 32, 8

SOURCE = """
extern "C" __global__ void transpose(const float* x, float* y, int size) {
    __shared__ float tile[TILE][TILE + PAD];
    const int column = blockIdx.x * TILE + threadIdx.x;
    const int row = blockIdx.y * TILE + threadIdx.y;
#pragma unroll
    for (int i = 0; i < TILE; i += ROWS)
        tile[threadIdx.y + i][threadIdx.x] = x[(row + i) * size + column];
    __syncthreads();
    const int out_column = blockIdx.y * TILE + threadIdx.x;
    const int out_row = blockIdx.x * TILE + threadIdx.y;
#pragma unroll
    for (int i = 0; i < TILE; i += ROWS)
        y[(out_row + i) * size + out_column] = tile[threadIdx.x][threadIdx.y + i];
}
"""

kernel = CudaKernel(
    source=SOURCE,
    name="transpose",
    defines={"TILE": TILE, "ROWS": ROWS, "PAD": 0},
    grid=(SIZE // TILE, SIZE // TILE),
    block=(TILE, ROWS),
    args=[empty((SIZE, SIZE), np.float32), output((SIZE, SIZE), np.float32), SIZE],
)
