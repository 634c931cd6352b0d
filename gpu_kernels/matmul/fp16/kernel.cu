// FP16 matmul: Y[M,N] = X[M,K] * W[N,K]^T; half operands, fp32 accumulation, half result; any M, N and K multiples of 8.
//
// Layouts    X, W and Y row-major. In shared memory every stage holds BLOCKS panels of W and of X, rows of 64 halves
//            (128 bytes) whose eight 16-byte chunks are permuted by chunk ^ (row & 7): no bank conflicts.
// Algorithm  A ring of STAGES stages filled by cp.async; fragments by ldmatrix, double-buffered in registers across the
//            k16 steps, so that the tensor core never waits for shared memory; loads and copies go between the mma.
//            Rows and columns that do not exist are filled with zeros by the copy.
// Split K    grid.z slices of whole stages; see reduce_slices. Slices 0..longer_slices-1 have one stage more.
// Arguments  workspace: float[tiles][grid.z][BM*BN], counters: unsigned[tiles], zero; both unused when grid.z is 1.

#include "/tcsim/matmul/common.cuh"

constexpr int W_BYTES = BLOCKS * BN * ROW_BYTES;
constexpr int X_BYTES = BLOCKS * BM * ROW_BYTES;
constexpr int STAGE_BYTES = W_BYTES + X_BYTES;
constexpr int NO_PART = -1;
constexpr int COPY_AT = VECTORS / 2;  // the mma of a step before which its share of the copies stands, all together

// The weights' fragments of one k16 step.
struct WeightFragments {
    unsigned r[N_FRAGMENTS][4];
    __device__ __forceinline__ void load(unsigned panel, int first_row, int step, int part, int parts) {
        const int lane = threadIdx.x & 31;
        const unsigned address =
            panel + (first_row + (lane & 15)) * ROW_BYTES + (((2 * step + (lane >> 4)) ^ (lane & 7)) << 4);
#pragma unroll
        for (int i = 0; i < N_FRAGMENTS; ++i)
            if (i * parts / N_FRAGMENTS == part) ldmatrix_x4(r[i], address + i * 16 * ROW_BYTES);
    }
};

// The stages of a CTA, from copies to accumulators. WHOLE: everything that a stage holds exists.
struct Stages {
    PanelCopy<BN> w_copy;
    PanelCopy<BM> x_copy;
    unsigned base;
    int count;

    template <bool WHOLE>
    __device__ __forceinline__ void multiply(Accumulators& acc) {
        const int warp = threadIdx.x % GROUP >> 5, warp_block = threadIdx.x / GROUP * WARP_BLOCKS;
        const int warp_output = warp % WARPS_N * WN, warp_token = warp / WARPS_N * WM;
        const unsigned warp_weights = warp_block * BN * ROW_BYTES;  // this warp's first panels of W and of X in a stage
        const unsigned warp_tokens = W_BYTES + warp_block * BM * ROW_BYTES;
        const unsigned end = base + (STAGES - 1) * STAGE_BYTES;
        WeightFragments weights[2];
        TokenFragments tokens[2];
        weights[0].load(base + warp_weights, warp_output, 0, 0, 1);
        tokens[0].load(base + warp_tokens, warp_token, 0, 0, 1);

        unsigned read = base, write = end;
        for (int stage = 0; stage < count; ++stage) {
            const bool more = stage + STAGES - 1 < count;
#pragma unroll
            for (int step = 0; step < STEPS; ++step) {
                if (step == STEPS - 1) {  // the next stage must have arrived, and all warps have read this one
                    copy_wait<STAGES - 2>();
                    __syncthreads();
                    read = read == end ? base : read + STAGE_BYTES;
                }
                const int next = (step + 1) % STEPS;
                const unsigned next_weights = read + warp_weights + next / 4 * BN * ROW_BYTES;
                const unsigned next_tokens = read + warp_tokens + next / 4 * BM * ROW_BYTES;
#pragma unroll
                for (int q = 0; q < VECTORS; ++q) {  // one mma each, with the loads that go before it
                    const int j = q / N_FRAGMENTS, i = j % 2 ? N_FRAGMENTS - 1 - q % N_FRAGMENTS : q % N_FRAGMENTS;
                    weights[(step + 1) & 1].load(next_weights, warp_output, next % 4, q, VECTORS);
                    tokens[(step + 1) & 1].load(next_tokens, warp_token, next % 4, q, VECTORS);
                    w_copy.issue<WHOLE>(write, more, q == COPY_AT ? step : NO_PART, STEPS - 1);
                    x_copy.issue<WHOLE>(write + W_BYTES, more, q == COPY_AT ? step : NO_PART, STEPS - 1);
                    mma(acc[i][j], weights[step & 1].r[i], tokens[step & 1].r[j], acc[i][j]);
                }
                if (step == STEPS - 2) {
                    copy_commit();
                    w_copy.advance();
                    x_copy.advance();
                    write = write == end ? base : write + STAGE_BYTES;
                }
            }
        }
    }
};

extern "C" __global__ void __launch_bounds__(THREADS, CTAS_PER_SM)
fp16_matmul(const half_bits* __restrict__ x, const half_bits* __restrict__ w, half_bits* __restrict__ y,
            float* workspace, unsigned* counters, int m, int n, int k, int slice, int longer_slices, int group_shift) {
    extern __shared__ __align__(128) unsigned char shared[];
    const Place place(group_shift, slice, longer_slices);
    Stages stages = {PanelCopy<BN>(w, place.first_output, n, k, place.begin * BLOCKS * BLOCK_K),
                     PanelCopy<BM>(x, place.first_token, m, k, place.begin * BLOCKS * BLOCK_K), shared_address(shared), place.count};
#pragma unroll
    for (int s = 0; s < STAGES - 1; ++s) {
        stages.w_copy.issue(stages.base + s * STAGE_BYTES, s < place.count, 0, 1);
        stages.x_copy.issue(stages.base + s * STAGE_BYTES + W_BYTES, s < place.count, 0, 1);
        stages.w_copy.advance();
        stages.x_copy.advance();
        copy_commit();
    }

    Accumulators acc;
#pragma unroll
    for (int i = 0; i < N_FRAGMENTS; ++i)
#pragma unroll
        for (int j = 0; j < M_FRAGMENTS; ++j)
#pragma unroll
            for (int v = 0; v < 4; ++v) acc[i][j][v] = 0.f;

    copy_wait<STAGES - 2>();
    __syncthreads();
    if (place.first_token + BM <= m && place.first_output + BN <= n && k % (BLOCKS * BLOCK_K) == 0)
        stages.multiply<true>(acc);
    else
        stages.multiply<false>(acc);

    copy_wait<0>();
    __syncthreads();
    Results sum;
    add_warps(sum, acc, shared);
    if (gridDim.z > 1 && !reduce_slices(sum, workspace, counters, place.tile)) return;
    if (WARPS_K > 1) __syncthreads();
    store_tile(sum, shared, y, m, n, place.first_token, place.first_output);
}
