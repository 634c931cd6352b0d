// Tender matmul on Hopper's asynchronous units: int8 activations and weights in group order, int32 sums, half result; any M,
// N a multiple of 8, K of 32. See tender.cuh for what is computed and for the variants.
//
// Layouts    Those of tender_w8a8: X[M][K+16] bytes, a row's factor behind its codes; W[N][K]; scales: float[N]; Y[M][N]
//            half. Stages in shared memory as in wgmma.cuh; each of a panel's four steps of 32 columns is one m64nWMk32.
// Algorithm  That of fp16_wgmma. Warpgroups along K cross borders each for itself, and their sums meet at the end.
// Borders    may stand before any step. The loop over stages runs to the next one with a border, and has no code for borders.
//            That stage has code of its own: the steps before a border, what is to be done there, the steps behind it. To
//            shift or convert sums in registers, the warpgroup first waits for all of its wgmmas; those of another
//            warpgroup of the CTA go on meanwhile. A wgmma that shifts its own accumulator needs no wait.

#include "/tcsim/matmul/common.cuh"
#define TENDER_TYPES "s32.s8.s8.s32"
#include "/tcsim/matmul/tender.cuh"
#define WGMMA_COLUMNS 128
#define WGMMA_DEPTH "k32"
#define WGMMA_TYPES ".s32.s8.s8"
#define WGMMA_FLAGS ", p"
#define WGMMA_REGISTER "+r"
#include "/tcsim/matmul/wgmma.cuh"

constexpr int STAGE_STEPS = 4 * BLOCKS;  // of all warpgroups along K
constexpr int TRAILER_BYTES = 16;        // behind a row's codes

static_assert(WARP_BLOCKS == 1, "a warpgroup multiplies one panel of a stage");

using Sums = int[M_FRAGMENTS][4];
using Totals = float[M_FRAGMENTS][4];

// D = A * B + (D << 1) on a machine with the extension tender_accumulator.
__device__ __forceinline__ void shifted_wgmma(Sums& d, unsigned long long a, unsigned long long b) {
    asm volatile(WGMMA_WITH(WGMMA_TEXT, "pmevent 1;\n", WGMMA_OPERANDS) : WGMMA_QUADS : "l"(a), "l"(b), "r"(1));
}

// Add the sums times `worth` to the totals. Hopper converts as fast as it adds: no magic numbers.
__device__ __forceinline__ void dequantize(Totals& total, const Sums& acc, float worth) {
#pragma unroll
    for (int j = 0; j < M_FRAGMENTS; ++j)
#pragma unroll
        for (int v = 0; v < 4; ++v) total[j][v] += __int2float_rn(acc[j][v]) * worth;
}

__device__ __forceinline__ void shift(Sums& acc, int positions) {
#pragma unroll
    for (int j = 0; j < M_FRAGMENTS; ++j)
#pragma unroll
        for (int v = 0; v < 4; ++v)  // two pipes share the work
            acc[j][v] = v % 2 ? acc[j][v] << positions : acc[j][v] * (1 << positions);
}

// Return `v`, the same in all lanes, as a number that the compiler keeps in a uniform register and does not compute again.
__device__ __forceinline__ unsigned uniform(unsigned v) { return __shfl_sync(~0u, v, 0); }

// Where a warpgroup is among the borders; as Crossing, with one more known, so that nothing waits for constants.
struct Course {
    int border;            // the number of the next one
    unsigned next, after;  // the steps before which it and the one behind it lie

    __device__ __forceinline__ Course(const Borders& borders, unsigned step) {
        const Crossing start(borders, step);
        border = start.border, next = start.next, after = at(borders, border + 1);
    }

    __device__ __forceinline__ static unsigned at(const Borders& borders, int i) {
        return i < BORDERS ? borders.at[i] : ~0u;
    }

    // Pass the next border, before or at `step`, and those at the same place; return how many.
    __device__ __forceinline__ int pass(const Borders& borders, unsigned step) {
        int passed = 0;
        do {
            ++passed;
            next = after;
            after = at(borders, ++border + 1);
        } while (next <= step);
        return passed;
    }
};

// What a warpgroup does with the stages.
struct Consumer {
    unsigned weights, tokens;  // low words of the descriptors of its panels in the first stage
    unsigned full, empty;      // the first stage's barriers
    unsigned first_step;       // of its panel, in a stage
    unsigned hands_back;
    Ring ring;
    unsigned previous = 0;  // the barrier of a stage that is not handed back: its wgmmas may be under way; 0: none

    __device__ __forceinline__ Consumer(int warp, unsigned base, unsigned barriers)
        : full(uniform(barriers)), empty(full + STAGES * 8) {
        const int member = warp % (GROUP / 32), block = warp / (GROUP / 32);
        weights = uniform(low_word(base + (block * BN + member % WARPS_N / 4 * 64) * ROW_BYTES));
        tokens = uniform(low_word(base + W_BYTES + (block * BM + member / WARPS_N * WM) * ROW_BYTES));
        first_step = 4 * block;
        hands_back = opaque(threadIdx.x % 32 == 0);
    }

    // D = D << 1, by a product of zeros in registers: an empty group's border.
    __device__ __forceinline__ void shift_by_wgmma(Sums& d) const {
        const auto b = descriptor(tokens);
        wgmma_begin();
        asm volatile(WGMMA_WITH(WGMMA_ZERO_TEXT, "pmevent 1;\n", WGMMA_OPERANDS) : WGMMA_QUADS : "l"(b), "l"(b), "r"(1));
        wgmma_commit();
    }

    // Multiply steps FROM to TO of a panel, as one group. CROSSED: there is a border before the first.
    template <int FROM, int TO, bool CROSSED>
    __device__ __forceinline__ void multiply_steps(Sums& acc) const {
        const unsigned a = weights + ring.index * (STAGE_BYTES / 16), b = tokens + ring.index * (STAGE_BYTES / 16);
        wgmma_begin();
#pragma unroll
        for (int step = FROM; step < TO; ++step) {
            const auto own_a = descriptor(a + 2 * step), own_b = descriptor(b + 2 * step);
            if (VARIANT == EXTENSION && CROSSED && step == FROM)
                shifted_wgmma(acc, own_a, own_b);
            else
                wgmma(acc, own_a, own_b, !(VARIANT == EXPLICIT && CROSSED && step == FROM));
        }
        wgmma_commit();
    }

    // The same for steps that are known when running; beyond the last one, `to` is the end. Straight code for each choice:
    // in a loop, each wgmma would be a group.
    template <bool CROSSED, int FROM = 0, int TO = STEPS>
    __device__ __forceinline__ void multiply_steps(Sums& acc, unsigned from, unsigned to) const {
        if (CROSSED && FROM < STEPS - 1 && from != FROM) {
            if constexpr (CROSSED && FROM < STEPS - 1) multiply_steps<CROSSED, FROM + 1>(acc, from, to);
        } else if (TO == STEPS ? to >= STEPS : to == TO) {
            multiply_steps<FROM, TO, CROSSED>(acc);
        } else if constexpr (TO > FROM + 1) {
            multiply_steps<CROSSED, FROM, TO - 1>(acc, from, to);
        }
    }

    __device__ __forceinline__ void await_stage() const { barrier_wait(full + ring.index * 8, ring.parity); }

    // Hand back the stage before: a group of this one is under way, and its own are done.
    __device__ __forceinline__ void hand_back_previous() {
        wgmma_wait<1>();
        hand_back();
    }

    __device__ __forceinline__ void hand_back() {
        if (previous && hands_back) barrier_arrive(previous);
        previous = 0;
    }

    __device__ __forceinline__ void leave_stage() {
        previous = empty + ring.index * 8;
        ring.advance();
    }

    // A stage without borders.
    __device__ __forceinline__ void multiply(Sums& acc) {
        await_stage();
        multiply_steps<0, STEPS, false>(acc);
        hand_back_previous();
        leave_stage();
    }

    // A stage with borders, whose first step is `at`: the steps before a border, what is to be done there, and so on.
    __device__ __forceinline__ void cross(Sums& acc, Totals& total, float& worth, Course& course, const Borders& borders,
                                          unsigned at) {
        unsigned step = WARPS_K > 1 && course.next < at ? 0 : course.next - at;
        int positions = course.pass(borders, at + step);
        await_stage();
        if (step > 0) {
            multiply_steps<false, 0, STEPS - 1>(acc, 0, step);
            hand_back_previous();
        }
#pragma unroll 1
        while (true) {
            if (VARIANT == EXTENSION) {
#pragma unroll 1
                for (int extra = 1; extra < positions; ++extra) shift_by_wgmma(acc);
            } else {
                wgmma_wait<0>();
                hand_back();
                if (VARIANT == EXPLICIT)
                    dequantize(total, acc, worth);
                else
                    shift(acc, positions);
                worth *= __int_as_float((127 - positions) << 23);
            }
            const unsigned to = course.next - at;
            multiply_steps<true>(acc, step, to);
            if (previous) hand_back_previous();
            if (to >= STEPS) break;
            step = to;
            positions = course.pass(borders, at + step);
        }
        leave_stage();
    }
};

// Add what the warpgroups along K have, and deal the sums out among them. As add_warps of common.cuh, for any numbers.
template <class T>
__device__ __forceinline__ void add_warpgroups(T (&sum)[SHARE][4], const T (&own)[M_FRAGMENTS][4], unsigned char* shared) {
    const int group = threadIdx.x / GROUP, slot = threadIdx.x % GROUP;
    if (WARPS_K == 1) {
#pragma unroll
        for (int i = 0; i < SHARE; ++i)
#pragma unroll
            for (int v = 0; v < 4; ++v) sum[i][v] = own[i][v];
        return;
    }
    uint4* tiles = reinterpret_cast<uint4*>(shared);
#pragma unroll
    for (int i = 0; i < VECTORS; ++i) memcpy(&tiles[(group * VECTORS + i) * GROUP + slot], own[i], sizeof own[i]);
    __syncthreads();
#pragma unroll
    for (int i = 0; i < SHARE; ++i) {
        sum[i][0] = sum[i][1] = sum[i][2] = sum[i][3] = 0;
#pragma unroll
        for (int g = 0; g < WARPS_K; ++g) {
            T part[4];
            memcpy(part, &tiles[(g * VECTORS + group * SHARE + i) * GROUP + slot], sizeof part);
#pragma unroll
            for (int v = 0; v < 4; ++v) sum[i][v] += part[v];
        }
    }
    __syncthreads();
}

extern "C" __global__ void __launch_bounds__(THREADS + 32, CTAS_PER_SM)
tender_wgmma_matmul(const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap w,
                    const float* __restrict__ scales, half_bits* __restrict__ y, int m, int n, int k,
                    const __grid_constant__ TensorMap rest, const unsigned char* __restrict__ rows,
                    const __grid_constant__ Borders borders, int border_count, int group_shift) {
    extern __shared__ __align__(1024) unsigned char shared[];
    __shared__ unsigned long long barriers[2 * STAGES];
    __shared__ __align__(16) float scale_of[BN];
    __shared__ __align__(16) float factor_of[BM];
    const unsigned base = shared_address(shared), full = shared_address(barriers), empty = full + STAGES * 8;
    const Place place(group_shift, (k + BLOCKS * ROW_BYTES - 1) / (BLOCKS * ROW_BYTES), 0);
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
    const long long row_bytes = k + TRAILER_BYTES;
    for (int i = threadIdx.x; i < BN; i += THREADS)
        copy4(shared_address(scale_of + i), scales + min(place.first_output + i, n - 1), place.first_output + i < n);
    for (int i = threadIdx.x; i < BM; i += THREADS)
        copy4(shared_address(factor_of + i), rows + min(place.first_token + i, m - 1) * row_bytes + k,
              place.first_token + i < m);
    copy_commit();

    Sums acc;
    Totals total;
#pragma unroll
    for (int j = 0; j < M_FRAGMENTS; ++j)
#pragma unroll
        for (int v = 0; v < 4; ++v) acc[j][v] = 0, total[j][v] = 0.f;
    Consumer consumer(warp, base, full);
    Course course(borders, consumer.first_step);
    float worth = __int_as_float((127 + border_count - course.border) << 23);  // of the group's sums, in the last scale
    int step = consumer.first_step;
    const int end = place.count * STAGE_STEPS + step;
#pragma unroll 1
    while (true) {
        const int until = VARIANT == IDEAL ? end : min(end, static_cast<int>(course.next & 0x7fffffff) - STEPS + 1);
#pragma unroll 1
        for (; step < until; step += STAGE_STEPS) consumer.multiply(acc);
        if (VARIANT == IDEAL || step == end) break;
        consumer.cross(acc, total, worth, course, borders, step);
        step += STAGE_STEPS;
    }
    wgmma_wait<0>();
    copy_wait<0>();
    __syncthreads();  // of the consumers: the producer has left

#if VARIANT == 0
    dequantize(total, acc, worth);
    float sum[SHARE][4];
    add_warpgroups(sum, total, shared);
#else
    int sum[SHARE][4];
    const int left = VARIANT == IDEAL ? 0 : border_count - course.border;
#pragma unroll
    for (int j = 0; j < M_FRAGMENTS; ++j)
#pragma unroll
        for (int v = 0; v < 4; ++v) acc[j][v] <<= left;  // each warpgroup's by its own
    add_warpgroups(sum, acc, shared);
#endif
    Results result;
    const int lane = threadIdx.x & 31, member = warp % (GROUP / 32), own = warp / (GROUP / 32) * SHARE;
    const float* scale = scale_of + member % WARPS_N * WN + lane / 4;
    const float* factor = factor_of + member / WARPS_N * WM + own * 8 + lane % 4 * 2;
    const float low = scale[0], high = scale[8];
#pragma unroll
    for (int i = 0; i < SHARE; ++i) {
        if (i % 8 == 0) __syncwarp();  // no factor is loaded long before it is used: registers are few
        const float2 pair = *reinterpret_cast<const float2*>(factor + i * 8);
        result[i][0] = to_float(sum[i][0]) * low * pair.x, result[i][1] = to_float(sum[i][1]) * low * pair.y;
        result[i][2] = to_float(sum[i][2]) * high * pair.x, result[i][3] = to_float(sum[i][3]) * high * pair.y;
    }
    store_tile(result, shared, y, m, n, place.first_token, place.first_output);
}
