// MX matmul: activations and weights in blocks of 32 columns of K with an E8M0 scale each, block-scaled mma with fp32
// sums, half result; any M, N a multiple of 8, K of 32. mx_w8a8: MXINT8, a byte per element. mx_w4a4 (FP4): MXFP4, two
// in a byte. The mma is hypothetical: see block_scaled.cuh.
//
// Layouts    X[M] rows of K elements and their K/32 scales, padded with zeros to 16 bytes. W[N][K] elements; its scales
//            are [stage][N] words, one or two each: a stage's are contiguous. Y[M][N] half.
// Algorithm  The FP16 kernel's pipeline, tiles and swizzle, on 128-byte rows of 128 or 256 columns, `k` in half-words; each
//            of a stage's four steps is one m16n8k32, a block, or one m16n8k64, two. A stage also has the scales of each
//            row. A lane holds the words that the mma wants of it: of two rows of weights in two lanes, of two tokens in
//            two more.
// Split K    As in the FP16 kernel.

#include "/tcsim/matmul/common.cuh"
#include "/tcsim/matmul/block_scaled.cuh"

constexpr int W_BYTES = BN * ROW_BYTES;
constexpr int X_BYTES = BM * ROW_BYTES;
constexpr int WORDS = FP4 ? 2 : 1;       // of a row's scales in a stage
constexpr int STEP_BYTES = FP4 ? 2 : 1;  // of these, what a step uses
constexpr int SCALE_ROWS = BN + BM;
constexpr int SCALE_BYTES = 4 * WORDS * SCALE_ROWS;
constexpr int STAGE_BYTES = W_BYTES + X_BYTES + (SCALE_BYTES + ROW_BYTES - 1) / ROW_BYTES * ROW_BYTES;  // rows are aligned
constexpr int NO_PART = -1;
constexpr int COPY_AT = VECTORS / 2;
constexpr int PAIRS = M_FRAGMENTS / 2;  // fragments of tokens are loaded, and scaled, two at a time
constexpr int SCALE_COPIES = (SCALE_ROWS + THREADS - 1) / THREADS;

static_assert(BLOCKS == 1 && WARPS_K == 1 && WM % 16 == 0, "one panel, fragments of 16 tokens");
static_assert(STEPS == 4 && STEPS * STEP_BYTES == 4 * WORDS, "a stage's scales are those of its steps");

__device__ __forceinline__ unsigned opaque(unsigned v) {
    asm volatile("mov.b32 %0, %0;\n" : "+r"(v));
    return v;
}

// Copy a row's scales if `issue`; write zeros without reading global memory if not `valid`.
__device__ __forceinline__ void copy_scales(unsigned to, const void* from, bool issue, bool valid) {
    asm volatile(
        "{ .reg .pred p; setp.ne.b32 p, %2, 0;\n"
        "@p cp.async.ca.shared.global [%0], [%1], %4, %3; }\n" ::"r"(to),
        "l"(from), "r"(static_cast<int>(issue)), "r"(valid ? 4 * WORDS : 0), "n"(4 * WORDS));
}

// This thread's rows of each stage's scales.
struct ScaleCopy {
    const unsigned char* source[SCALE_COPIES];
    unsigned step;  // bit i: row i is of the weights
    unsigned valid;
    int weights_step;

    __device__ __forceinline__ ScaleCopy(const unsigned char* x, const unsigned char* w_scales, int first_token,
                                         int first_output, int m, int n, int k, long long x_stride, int first_stage) {
        step = valid = 0;
        weights_step = 4 * WORDS * n;
#pragma unroll
        for (int i = 0; i < SCALE_COPIES; ++i) {
            const int row = i * THREADS + threadIdx.x;
            const bool weights = row < BN;
            const int output = first_output + row, token = first_token + row - BN;
            const bool exists = weights ? output < n : token < m;
            step |= weights << i, valid |= exists << i;
            source[i] = (weights ? w_scales + (static_cast<long long>(first_stage) * n + min(output, n - 1)) * 4 * WORDS
                                 : x + min(max(token, 0), m - 1) * x_stride + 2 * k + 4 * WORDS * first_stage);
        }
    }
    __device__ __forceinline__ void issue(unsigned to, bool enabled) const {
#pragma unroll
        for (int i = 0; i < SCALE_COPIES; ++i) {
            const int row = i * THREADS + threadIdx.x;
            copy_scales(to + 4 * WORDS * row, source[i], enabled && (SCALE_ROWS % THREADS == 0 || row < SCALE_ROWS),
                        valid >> i & 1);
        }
    }
    __device__ __forceinline__ void advance() {
#pragma unroll
        for (int i = 0; i < SCALE_COPIES; ++i) source[i] += step >> i & 1 ? weights_step : 4 * WORDS;
    }
};

struct Fragments {
    unsigned weights[N_FRAGMENTS][4], tokens[PAIRS][4];
    __device__ __forceinline__ void load(unsigned weights_at, unsigned tokens_at, int step, int part, int parts) {
#pragma unroll
        for (int i = 0; i < N_FRAGMENTS; ++i)
            if (i * parts / N_FRAGMENTS == part) ldmatrix_x4(weights[i], (weights_at ^ (step << 5)) + i * 16 * ROW_BYTES);
#pragma unroll
        for (int i = 0; i < PAIRS; ++i)
            if (i * parts / PAIRS == part) ldmatrix_x4(tokens[i], (tokens_at ^ (step << 5)) + i * 16 * ROW_BYTES);
    }
};

__device__ __forceinline__ void load_words(unsigned (&r)[WORDS], unsigned address) {
#if FP4
    asm volatile("ld.shared.v2.b32 {%0,%1}, [%2];\n" : "=r"(r[0]), "=r"(r[1]) : "r"(address));
#else
    asm volatile("ld.shared.b32 %0, [%1];\n" : "=r"(r[0]) : "r"(address));
#endif
}

// The words of a stage's scales that this lane gives to its mma.
struct Scales {
    unsigned weights[N_FRAGMENTS][WORDS], tokens[PAIRS][WORDS];
    // Load them from the stage's scales at `from`, of which this lane's first rows are `weights_row` and `tokens_row`.
    __device__ __forceinline__ void load(unsigned from, int weights_row, int tokens_row) {
#pragma unroll
        for (int i = 0; i < N_FRAGMENTS; ++i) load_words(weights[i], from + (weights_row + i * 16) * 4 * WORDS);
#pragma unroll
        for (int i = 0; i < PAIRS; ++i) load_words(tokens[i], from + (tokens_row + i * 16) * 4 * WORDS);
    }
};

extern "C" __global__ void __launch_bounds__(THREADS, CTAS_PER_SM)
mx_matmul(const unsigned char* __restrict__ x, const half_bits* __restrict__ w, const unsigned char* __restrict__ w_scales,
          half_bits* __restrict__ y, float* workspace, unsigned* counters, int m, int n, int k, int slice,
          int longer_slices, int group_shift) {
    extern __shared__ __align__(128) unsigned char shared[];
    mark_sparse_as_scaled();
    const unsigned base = shared_address(shared);
    const Place place(group_shift, slice, longer_slices);
    const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
    const int warp_output = warp % WARPS_N * WN, warp_token = warp / WARPS_N * WM;
    const int trailer = (k / (FP4 ? 8 : 16) + 15) / 16 * 8;  // half-words of a row's scales

    PanelCopy<BN> w_copy(w, place.first_output, n, k, place.begin * BLOCK_K);
    PanelCopy<BM> x_copy(reinterpret_cast<const half_bits*>(x), place.first_token, m, k, place.begin * BLOCK_K);
    x_copy.stride += trailer;
    x_copy.source += static_cast<long long>(m - x_copy.rows_left) * trailer;
    ScaleCopy scale_copy(x, w_scales, place.first_token, place.first_output, m, n, k, 2 * x_copy.stride, place.begin);

#pragma unroll
    for (int s = 0; s < STAGES - 1; ++s) {
        const unsigned to = base + s * STAGE_BYTES;
        w_copy.issue(to, s < place.count, 0, 1);
        x_copy.issue(to + W_BYTES, s < place.count, 0, 1);
        scale_copy.issue(to + W_BYTES + X_BYTES, s < place.count);
        w_copy.advance();
        x_copy.advance();
        scale_copy.advance();
        copy_commit();
    }

    int acc[N_FRAGMENTS][M_FRAGMENTS][4] = {};
    const unsigned lane_weights =
        opaque((warp_output + (lane & 15)) * ROW_BYTES + (((lane >> 4) ^ (lane & 7)) << 4));
    const unsigned lane_tokens = opaque(W_BYTES + (warp_token + (lane & 7) + (lane >> 4) * 8) * ROW_BYTES +
                                        (((lane >> 3 & 1) ^ (lane & 7)) << 4));
    const unsigned lane_scales = opaque(W_BYTES + X_BYTES + ((lane & 1) * 8 + lane / 4) * 4 * WORDS);
    const bool gives_weights = (lane & 2) == 0;
    Fragments fragments[2];
    Scales scales;
    copy_wait<STAGES - 2>();
    __syncthreads();
    fragments[0].load(base + lane_weights, base + lane_tokens, 0, 0, 1);
    scales.load(base + lane_scales, warp_output, BN + warp_token);

    unsigned read = base, write = base + (STAGES - 1) * STAGE_BYTES;
    for (int stage = 0; stage < place.count; ++stage) {
        const bool more = stage + STAGES - 1 < place.count;
        unsigned given[WORDS][N_FRAGMENTS][PAIRS];
#pragma unroll
        for (int i = 0; i < N_FRAGMENTS; ++i)
#pragma unroll
            for (int j = 0; j < PAIRS; ++j)
#pragma unroll
                for (int word = 0; word < WORDS; ++word)
                    given[word][i][j] = gives_weights ? scales.weights[i][word] : scales.tokens[j][word];
        const auto multiply_step = [&](auto number) {
            constexpr int STEP = decltype(number)::value, BYTE = STEP * STEP_BYTES;
            if (STEP == STEPS - 1) {  // the next stage must have arrived, and all warps have read this one
                copy_wait<STAGES - 2>();
                __syncthreads();
                read = read == base + (STAGES - 1) * STAGE_BYTES ? base : read + STAGE_BYTES;
                scales.load(read + lane_scales, warp_output, BN + warp_token);
            }
            if (STEP == 1) scale_copy.issue(write + W_BYTES + X_BYTES, more);
#pragma unroll
            for (int q = 0; q < VECTORS; ++q) {  // one mma each, with the loads that go before it
                fragments[(STEP + 1) & 1].load(read + lane_weights, read + lane_tokens, (STEP + 1) % STEPS, q, VECTORS);
                w_copy.issue(write, more, q == COPY_AT ? STEP : NO_PART, STEPS - 1);
                x_copy.issue(write + W_BYTES, more, q == COPY_AT ? STEP : NO_PART, STEPS - 1);
                const int j = q / N_FRAGMENTS, i = j % 2 ? N_FRAGMENTS - 1 - q % N_FRAGMENTS : q % N_FRAGMENTS;
                scaled_mma(acc[i][j], fragments[STEP & 1].weights[i], fragments[STEP & 1].tokens[j / 2], j % 2,
                           Byte<BYTE % 4>(), given[BYTE / 4][i][j / 2]);
            }
            if (STEP == STEPS - 2) {
                copy_commit();
                w_copy.advance();
                x_copy.advance();
                scale_copy.advance();
                write = write == base + (STAGES - 1) * STAGE_BYTES ? base : write + STAGE_BYTES;
            }
        };
        multiply_step(Byte<0>());
        multiply_step(Byte<1>());
        multiply_step(Byte<2>());
        multiply_step(Byte<3>());
    }

    copy_wait<0>();
    __syncthreads();
    Results sum;
#pragma unroll
    for (int q = 0; q < VECTORS; ++q)
#pragma unroll
        for (int v = 0; v < 4; ++v) sum[q][v] = __int_as_float(acc[q / M_FRAGMENTS][q % M_FRAGMENTS][v]);
    if (gridDim.z > 1 && !reduce_slices(sum, workspace, counters, place.tile)) return;
    store_tile(sum, shared, y, m, n, place.first_token, place.first_output);
}
