// FP16 matmul on Hopper's asynchronous units: Y[M,N] = X[M,K] * W[N,K]^T, half operands, fp32 accumulation, half result;
// any M, N and K multiples of 8.
//
// Layouts    X, W and Y row-major; stages in shared memory as in wgmma.cuh, a panel's row holds 64 halves.
// Algorithm  The roles of wgmma.cuh; a warpgroup multiplies 64 outputs by WM tokens with m64nWMk16 from shared memory,
//            with the wgmmas of one stage in flight.
//            One warp holds 16 outputs x WM tokens in the fragments of mma.m16n8, so the epilogue is the other kernels'.
//            K is not split over CTAs: a copy engine keeps enough in flight for an SM to stream alone.
// Registers  Nine warps leave 168 to a thread, enough for the 128 accumulators of m64n256: no setmaxnreg.

#include "/tcsim/matmul/common.cuh"
#define WGMMA_COLUMNS 64
#define WGMMA_DEPTH "k16"
#define WGMMA_TYPES ".f32.f16.f16"
#define WGMMA_FLAGS ", p, 1, 1, 0, 0"
#define WGMMA_REGISTER "+f"
#include "/tcsim/matmul/wgmma.cuh"

// Multiply all stages; one is handed back when the wgmmas of the next are under way and its own are done.
__device__ __forceinline__ void consume(float (&acc)[M_FRAGMENTS][4], int warp, int stages, unsigned base, unsigned full,
                                        unsigned empty) {
    const int member = warp % (GROUP / 32), first_block = warp / (GROUP / 32) * WARP_BLOCKS;
    const unsigned weights = base + (first_block * BN + member % WARPS_N / 4 * 64) * ROW_BYTES;
    const unsigned tokens = base + W_BYTES + (first_block * BM + member / WARPS_N * WM) * ROW_BYTES;
    const bool hands_back = threadIdx.x % 32 == 0;
    Ring ring;
    unsigned previous = 0;
#pragma unroll 1
    for (int stage = 0; stage < stages; ++stage) {
        barrier_wait(full + ring.index * 8, ring.parity);
        const unsigned a = low_word(weights + ring.index * STAGE_BYTES);
        const unsigned b = low_word(tokens + ring.index * STAGE_BYTES);
        wgmma_begin();
#pragma unroll
        for (int step = 0; step < STEPS; ++step) {
            const int block = step / 4 * ROW_BYTES / 16, chunk = step % 4 * 2;
            wgmma(acc, descriptor(a + block * BN + chunk), descriptor(b + block * BM + chunk));
        }
        wgmma_commit();
        wgmma_wait<1>();
        if (stage > 0 && hands_back) barrier_arrive(previous);
        previous = empty + ring.index * 8;
        ring.advance();
    }
    wgmma_wait<0>();
}

extern "C" __global__ void __launch_bounds__(THREADS + 32, CTAS_PER_SM)
fp16_wgmma_matmul(const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap w, half_bits* __restrict__ y,
                  int m, int n, int k, const __grid_constant__ TensorMap rest, int group_shift) {
    extern __shared__ __align__(1024) unsigned char shared[];
    __shared__ unsigned long long barriers[2 * STAGES];
    const unsigned base = shared_address(shared), full = shared_address(barriers), empty = full + STAGES * 8;
    const Place place(group_shift, (k + BLOCKS * BLOCK_K - 1) / (BLOCKS * BLOCK_K), 0);
    const int warp = __shfl_sync(~0u, threadIdx.x >> 5, 0);  // the same in all lanes, and the compiler sees it

    if (threadIdx.x == 0) {
        for (int stage = 0; stage < STAGES; ++stage) {
            barrier_init(full + stage * 8, 1);
            barrier_init(empty + stage * 8, CONSUMER_WARPS);
        }
        fence_barrier_init();
    }
    __syncthreads();
    if (warp == CONSUMER_WARPS) {
        if (threadIdx.x % 32 == 0) produce(x, rest, w, place, m, base, full, empty);
        return;
    }

    Accumulators acc;
#pragma unroll
    for (int j = 0; j < M_FRAGMENTS; ++j)
#pragma unroll
        for (int v = 0; v < 4; ++v) acc[0][j][v] = 0.f;
    consume(acc[0], warp, place.count, base, full, empty);
    __syncthreads();  // of the consumers: the producer has left
    Results sum;
    add_warps(sum, acc, shared);
    if (WARPS_K > 1) __syncthreads();
    store_tile(sum, shared, y, m, n, place.first_token, place.first_output);
}
