// Tender matmul: int8 activations and weights in group order, int32 sums, half result; any M, N a multiple of 8, K of 32.
// tender_w4a4 is compiled from it as well, INT4 codes in bytes, and tender_int4, two in a byte.
// See tender.cuh for what is computed and for the variants.
//
// Layouts    X[M][K+16] bytes: a row's codes in group order, then its factor (float) and 12 bytes of nothing; the producer
//            of X (the layer before) quantizes and gathers, so the matmul sees contiguous columns. W[N][K] bytes in the
//            same order; it is the 16-row A operand. scales: float[N]. Y[M][N] half. Everything row-major.
// Algorithm  The FP16 kernel's pipeline, tiles and swizzle: two int8 columns lie where one half lay, so that a 128-byte
//            row of a panel holds 128 columns of K and each of its four steps is one m16n8k32. `k` counts half-words.
// Borders    may stand before any step. A stage without one is multiplied as in the FP16 kernel. One with a border has code of
//            its own, where each accumulator is shifted or converted right before the mma that goes on with it, while the
//            tensor core works on the others.
// Split K    As in the FP16 kernel; each slice first takes its sums to the last group's scale, so that they just add up.

#include "/tcsim/matmul/common.cuh"
#define TENDER_TYPES "s32.s8.s8.s32"
#include "/tcsim/matmul/tender.cuh"

constexpr int W_BYTES = BLOCKS * BN * ROW_BYTES;
constexpr int X_BYTES = BLOCKS * BM * ROW_BYTES;
constexpr int STAGE_BYTES = W_BYTES + X_BYTES;
constexpr int NO_PART = -1;
constexpr int COPY_AT = VECTORS / 2;  // the mma of a step before which its share of the copies stands, all together
constexpr int TRAILER = 8;            // half-words behind a row's codes

static_assert(WM % 16 == 0 && BLOCKS == 1, "fragments are loaded from one panel, 16 tokens at a time");
static_assert(WARPS_K == 1, "sums of warps along K would need integers in shared memory");

// The fragments of one k32 step. A lane's address in a panel is computed once: the step only flips bits of the chunk.
struct Fragments {
    unsigned weights[N_FRAGMENTS][4], tokens[M_FRAGMENTS][2];
    // Load share `part` of `parts`; weights_at, tokens_at: this lane's addresses at step 0 of a panel.
    __device__ __forceinline__ void load(unsigned weights_at, unsigned tokens_at, int step, int part, int parts) {
#pragma unroll
        for (int i = 0; i < N_FRAGMENTS; ++i)
            if (i * parts / N_FRAGMENTS == part) ldmatrix_x4(weights[i], (weights_at ^ (step << 5)) + i * 16 * ROW_BYTES);
#pragma unroll
        for (int i = 0; i < M_FRAGMENTS / 2; ++i) {
            if (i * parts / (M_FRAGMENTS / 2) != part) continue;
            unsigned q[4];
            ldmatrix_x4(q, (tokens_at ^ (step << 5)) + i * 16 * ROW_BYTES);
            tokens[2 * i][0] = q[0], tokens[2 * i][1] = q[1], tokens[2 * i + 1][0] = q[2], tokens[2 * i + 1][1] = q[3];
        }
    }
};

extern "C" __global__ void __launch_bounds__(THREADS, CTAS_PER_SM)
tender_matmul(const half_bits* __restrict__ x, const half_bits* __restrict__ w, const float* __restrict__ scales,
              half_bits* __restrict__ y, float* workspace, unsigned* counters, int m, int n, int k,
              const __grid_constant__ Borders borders, int slice, int longer_slices, int group_shift) {
    extern __shared__ __align__(128) unsigned char shared[];
    __shared__ __align__(16) float scale_of[BN];
    __shared__ __align__(16) float factor_of[BM];
    mark_numbers();
    const unsigned base = shared_address(shared);
    const Place place(group_shift, slice, longer_slices);
    const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
    const int warp_output = warp % WARPS_N * WN, warp_token = warp / WARPS_N * WM;

    PanelCopy<BN> w_copy(w, place.first_output, n, k, place.begin * BLOCKS * BLOCK_K);
    PanelCopy<BM> x_copy(x, place.first_token, m, k, place.begin * BLOCKS * BLOCK_K);
    x_copy.stride += TRAILER;
    x_copy.source += static_cast<long long>(m - x_copy.rows_left) * TRAILER;

    for (int i = threadIdx.x; i < BN; i += THREADS)
        copy4(shared_address(scale_of + i), scales + min(place.first_output + i, n - 1), place.first_output + i < n);
    for (int i = threadIdx.x; i < BM; i += THREADS)
        copy4(shared_address(factor_of + i), x + min(place.first_token + i, m - 1) * x_copy.stride + k,
              place.first_token + i < m);

#pragma unroll
    for (int s = 0; s < STAGES - 1; ++s) {
        w_copy.issue(base + s * STAGE_BYTES, s < place.count, 0, 1);
        x_copy.issue(base + s * STAGE_BYTES + W_BYTES, s < place.count, 0, 1);
        w_copy.advance();
        x_copy.advance();
        copy_commit();
    }

    const int start[4] = {START, START, START, START};  // of a group, or of all of them
    Integers acc;
    float total[VECTORS][4];
    float worth = 1.f;  // of the present group's products, in units of the last one's scale
#pragma unroll
    for (int q = 0; q < VECTORS; ++q)
#pragma unroll
        for (int v = 0; v < 4; ++v) acc[q / M_FRAGMENTS][q % M_FRAGMENTS][v] = START, total[q][v] = 0.f;

    unsigned position = place.begin * STEPS;  // the step of K at which the stage with a border begins
    Crossing crossing(borders, position);
    if (VARIANT == EXPLICIT) {
        int positions = -crossing.border;
#pragma unroll
        for (int i = 0; i < BORDERS; ++i) positions += borders.at[i] != ~0u;
        worth = __int_as_float((127 + positions) << 23);
    }

    const unsigned lane_weights =
        opaque((warp_output + (lane & 15)) * ROW_BYTES + (((lane >> 4) ^ (lane & 7)) << 4));
    const unsigned lane_tokens = opaque(W_BYTES + (warp_token + (lane & 7) + (lane >> 4) * 8) * ROW_BYTES +
                                        (((lane >> 3 & 1) ^ (lane & 7)) << 4));
    w_copy.offset = opaque(w_copy.offset), w_copy.rows_left = opaque(w_copy.rows_left);
    x_copy.offset = opaque(x_copy.offset), x_copy.rows_left = opaque(x_copy.rows_left);
    Fragments fragments[2];
    copy_wait<STAGES - 2>();
    __syncthreads();
    fragments[0].load(base + lane_weights, base + lane_tokens, 0, 0, 1);

    unsigned read = base, write = base + (STAGES - 1) * STAGE_BYTES;
    const auto multiply_stage = [&](bool more, auto borders_inside) {
        constexpr bool INSIDE = decltype(borders_inside)::value;
#pragma unroll
        for (int step = 0; step < STEPS; ++step) {
            if (step == STEPS - 1) {  // the next stage must have arrived, and all warps have read this one
                copy_wait<STAGES - 2>();
                __syncthreads();
                read = read == base + (STAGES - 1) * STAGE_BYTES ? base : read + STAGE_BYTES;
            }
            const int next = (step + 1) % STEPS;
            const auto& now = fragments[step & 1];
            const int positions = INSIDE ? crossing.pass(borders, position + step) : 0;
#pragma unroll
            for (int q = 0; q < VECTORS; ++q) {  // one mma each, with the loads that go before it
                fragments[(step + 1) & 1].load(read + lane_weights, read + lane_tokens, next, q, VECTORS);
                w_copy.issue(write, more, q == COPY_AT ? step : NO_PART, STEPS - 1);
                x_copy.issue(write + W_BYTES, more, q == COPY_AT ? step : NO_PART, STEPS - 1);
                const int j = q / N_FRAGMENTS, i = j % 2 ? N_FRAGMENTS - 1 - q % N_FRAGMENTS : q % N_FRAGMENTS;
                if (!INSIDE) integer_mma(acc[i][j], now.weights[i], now.tokens[j], acc[i][j]);
            }
            if (INSIDE && positions == 0) {
#pragma unroll
                for (int q = 0; q < VECTORS; ++q) {
                    const int j = q / N_FRAGMENTS, i = j % 2 ? N_FRAGMENTS - 1 - q % N_FRAGMENTS : q % N_FRAGMENTS;
                    integer_mma(acc[i][j], now.weights[i], now.tokens[j], acc[i][j]);
                }
            } else if (INSIDE) {
                const int doubling = opaque(1 << positions);
#if VARIANT == 2
#pragma unroll 1
                for (int extra = 1; extra < positions; ++extra)
#pragma unroll
                    for (int q = 0; q < VECTORS; ++q) shifted_mma(acc[q / M_FRAGMENTS][q % M_FRAGMENTS]);
#endif
#pragma unroll
                for (int q = 0; q < VECTORS; ++q) {
                    const int j = q / N_FRAGMENTS, i = j % 2 ? N_FRAGMENTS - 1 - q % N_FRAGMENTS : q % N_FRAGMENTS;
                    const auto& a = now.weights[i];
                    const auto& b = now.tokens[j];
#if VARIANT == 0
#pragma unroll
                    for (int v = 0; v < 4; ++v) total[i * M_FRAGMENTS + j][v] += group_float(acc[i][j][v]) * worth;
                    integer_mma(acc[i][j], a, b, start);
#elif VARIANT == 1
#pragma unroll
                    for (int v = 0; v < 4; ++v)  // two pipes share the work
                        acc[i][j][v] = v % 2 ? acc[i][j][v] << positions : acc[i][j][v] * doubling;
                    integer_mma(acc[i][j], a, b, acc[i][j]);
#else
                    shifted_mma(acc[i][j], a, b);
#endif
                }
                if (VARIANT == EXPLICIT) worth *= __int_as_float((127 - positions) << 23);
            }
            if (step == STEPS - 2) {
                copy_commit();
                w_copy.advance();
                x_copy.advance();
                write = write == base + (STAGES - 1) * STAGE_BYTES ? base : write + STAGE_BYTES;
            }
        }
    };
    int stage = 0;
    while (true) {
        const int until = VARIANT == IDEAL ? place.count : min(static_cast<unsigned>(place.count), crossing.next / STEPS - place.begin);
        for (; stage < until; ++stage) multiply_stage(stage + STAGES - 1 < place.count, Flag<false>());
        if (VARIANT == IDEAL || stage == place.count) break;
        position = (place.begin + stage) * STEPS;
        multiply_stage(stage + STAGES - 1 < place.count, Flag<true>());
        ++stage;
    }

    int left = 0;  // positions between this slice's last group and the last one
    if (VARIANT == SOFTWARE_SHIFT || VARIANT == EXTENSION) {
        left = -crossing.border;
#pragma unroll
        for (int i = 0; i < BORDERS; ++i) left += borders.at[i] != ~0u;
    }
    copy_wait<0>();
    __syncthreads();
    Results result;
#if VARIANT == 0
#pragma unroll
    for (int q = 0; q < VECTORS; ++q)
#pragma unroll
        for (int v = 0; v < 4; ++v) total[q][v] += group_float(acc[q / M_FRAGMENTS][q % M_FRAGMENTS][v]) * worth;
    auto& sum = total;
#else
    int sum[VECTORS][4];
#pragma unroll
    for (int q = 0; q < VECTORS; ++q)
#pragma unroll
        for (int v = 0; v < 4; ++v) sum[q][v] = acc[q / M_FRAGMENTS][q % M_FRAGMENTS][v] << left;
#endif
    if (gridDim.z > 1 && !reduce_sums(sum, workspace, counters, place.tile)) return;
#pragma unroll
    for (int q = 0; q < VECTORS; ++q)
#pragma unroll
        for (int v = 0; v < 4; ++v) {
            const float scale = scale_of[warp_output + q / M_FRAGMENTS * 16 + v / 2 * 8 + lane / 4];
            const float factor = factor_of[warp_token + q % M_FRAGMENTS * 8 + lane % 4 * 2 + v % 2];
            result[q][v] = to_float(sum[q][v]) * scale * factor;
        }
    store_tile(result, shared, y, m, n, place.first_token, place.first_output);
}
