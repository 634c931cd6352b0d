// FLUTE matmul on a machine with the extension lut_unit: layouts, arguments and results as in kernel.cu, to the bit.
//
// Look up    An instruction beside the tensor core turns a lane's codes into the mma's A operand, already scaled; see
//            lut_unit.cuh. Shared memory holds tokens and scales only, and no thread computes an address of an entry.
// Algorithm  As in kernel.cu: tokens and scales through a ring of STAGES stages, indices straight to registers a stage
//            ahead, look-ups one part of a k16 step ahead of the mma that takes them.

#include "/tcsim/matmul/common.cuh"
#include "/tcsim/matmul/lut_unit.cuh"

constexpr int BLOCK_BYTES = 128 * BITS;  // 16 outputs x 64 columns
constexpr int X_BYTES = BLOCKS * BM * ROW_BYTES;
constexpr int S_BYTES = 2 * BLOCKS * BN * 2;  // a row of scales per 32 columns
constexpr int STAGE_BYTES = X_BYTES + S_BYTES;
constexpr int S_CHUNKS = 2 * BLOCKS * BN / 8;
// Fragments that are looked up together, while those before them are multiplied: fewer where registers lack.
constexpr int PART = BM < 64 ? 2 : 1;
constexpr int PARTS = N_FRAGMENTS / PART;
constexpr int UNROLL = BM < 64 && BITS != 3 ? 2 : 1;  // stages: of two, what is loaded ahead need not be moved

static_assert(WARP_BLOCKS == 1, "a warp's indices of a stage are one block");
static_assert(S_CHUNKS <= THREADS, "one pass of scale copies");

// Load what no other CTA will ask for, if `enabled`; else keep what is there.
__device__ __forceinline__ void load_codes(unsigned (&r)[4], const unsigned char* block, bool enabled) {
    const int lane = threadIdx.x & 31;
    if constexpr (BITS == 4)
        asm volatile("{ .reg .pred p; setp.ne.b32 p, %5, 0;\n"
                     "@p ld.global.nc.L2::128B.v4.b32 {%0,%1,%2,%3}, [%4]; }\n"
                     : "+r"(r[0]), "+r"(r[1]), "+r"(r[2]), "+r"(r[3])
                     : "l"(block + lane * 16), "r"(static_cast<int>(enabled)));
    else
        asm volatile("{ .reg .pred p; setp.ne.b32 p, %3, 0;\n"
                     "@p ld.global.nc.L2::128B.v2.b32 {%0,%1}, [%2]; }\n"
                     : "+r"(r[0]), "+r"(r[1]) : "l"(block + lane * 8), "r"(static_cast<int>(enabled)));
    if constexpr (BITS == 3)
        asm volatile("{ .reg .pred p; setp.ne.b32 p, %2, 0;\n"
                     "@p ld.global.nc.L2::128B.b32 %0, [%1]; }\n"
                     : "+r"(r[2]) : "l"(block + 256 + lane * 4), "r"(static_cast<int>(enabled)));
}

__device__ __forceinline__ unsigned load_word(unsigned address) {
    unsigned r;
    asm volatile("ld.shared.b32 %0, [%1];\n" : "=r"(r) : "r"(address));
    return r;
}

// A warp's codes of one 64-column block.
struct Codes {
    unsigned r[N_FRAGMENTS][4];

    __device__ __forceinline__ Codes() {
#pragma unroll
        for (int i = 0; i < N_FRAGMENTS; ++i) r[i][0] = r[i][1] = r[i][2] = r[i][3] = 0;
    }

    // From `rows` rows of blocks that exist; others keep what is there, any code is in the table.
    __device__ __forceinline__ void load(const unsigned char* from, long long stride, int rows) {
#pragma unroll
        for (int i = 0; i < N_FRAGMENTS; ++i) load_codes(r[i], from + i * stride, i < rows);
    }
};

// The scales of a warp's rows g and g + 8, for the first and the last 32 columns of a block.
struct Scales {
    unsigned r[N_FRAGMENTS][2];

    __device__ __forceinline__ void load(unsigned stage, int first_output, int block) {
        const unsigned s = stage + X_BYTES + (2 * block * BN + first_output) * 2 + (threadIdx.x & 31) / 4 * 4;
#pragma unroll
        for (int i = 0; i < N_FRAGMENTS; ++i) r[i][0] = load_word(s + i * 32), r[i][1] = load_word(s + BN * 2 + i * 32);
    }
};

// Copies the scales of a stage: [2 * BLOCKS][BN], one row per 32 columns whatever the group.
struct ScaleCopy {
    const half_bits* source;  // this thread's chunk of row 0
    unsigned unit, units, n, group_inverse;
    bool active, valid;

    __device__ __forceinline__ ScaleCopy(const half_bits* s, int first_output, int n_, int k, int first_block,
                                         unsigned inverse) {
        const int column = first_output + threadIdx.x % (BN / 8) * 8;
        source = s + column;
        unit = 2 * first_block + threadIdx.x / (BN / 8);
        units = k / 32;
        n = n_;
        group_inverse = inverse;
        active = threadIdx.x < S_CHUNKS;
        valid = column < n;
    }

    __device__ __forceinline__ void issue(unsigned to, bool enabled) const {
        const unsigned row = static_cast<unsigned long long>(unit) * group_inverse >> 31;
        copy16(to + threadIdx.x * 16, source + row * n, enabled && active, valid && unit < units);
    }

    __device__ __forceinline__ void advance() { unit += 2 * BLOCKS; }
};

// The table along the lanes, from the first half of each pair whose second code is 0. Four registers that are the
// compiler's for good: it would make equal ones again before every look-up.
struct Table {
    unsigned r[4];

    __device__ __forceinline__ explicit Table(const unsigned* pairs) {
        const unsigned lane = threadIdx.x & 31;
        // The top bit of a 3-bit code is bit 4 of a pair's index.
        const unsigned first = 2 * lane & (1 << BITS) - 1, at = BITS == 3 ? (first & 3) | (first & 4) << 2 : first;
        asm volatile("prmt.b32 %0, %1, %2, 0x5410;\n" : "=r"(r[0]) : "r"(pairs[at]), "r"(pairs[at + 1]));
#pragma unroll
        for (int i = 1; i < 4; ++i) asm volatile("mov.b32 %0, 0;\n" : "=r"(r[i]));
    }
};

extern "C" __global__ void __launch_bounds__(THREADS, CTAS_PER_SM)
flute_matmul(const half_bits* __restrict__ x, const unsigned char* __restrict__ w, const half_bits* __restrict__ s,
             const unsigned* __restrict__ pairs, half_bits* __restrict__ y, float* workspace, unsigned* counters, int m, int n,
             int k, unsigned group_inverse, int slice, int longer_slices, int group_shift) {
    extern __shared__ __align__(128) unsigned char shared[];
    const unsigned base = shared_address(shared);
    const Place place(group_shift, slice, longer_slices);
    const int warp = threadIdx.x % GROUP >> 5, warp_block = threadIdx.x / GROUP;
    const int warp_output = warp % WARPS_N * WN, warp_token = warp / WARPS_N * WM;
    const unsigned warp_tokens = warp_block * BM * ROW_BYTES;  // this warp's panel of X in a stage

    ScaleCopy s_copy(s, place.first_output, n, k, place.begin * BLOCKS, group_inverse);
    PanelCopy<BM> x_copy(x, place.first_token, m, k, place.begin * BLOCKS * BLOCK_K);
    const long long stride = static_cast<long long>(k / BLOCK_K) * BLOCK_BYTES;  // of a row of blocks
    const int rows = (n - place.first_output - warp_output) / 16;
    int block = place.begin * BLOCKS + warp_block;  // the next one to load
    const int last_block = min(k / BLOCK_K, (place.begin + place.count) * BLOCKS);
    const unsigned char* source = w + (place.first_output + warp_output) / 16 * stride + static_cast<long long>(block) * BLOCK_BYTES;

    Codes ahead;
    ahead.load(source, stride, block < last_block ? rows : 0);
    const Table table(pairs);
#pragma unroll
    for (int stage = 0; stage < STAGES - 1; ++stage) {
        const unsigned to = base + stage * STAGE_BYTES;
        x_copy.issue(to, stage < place.count, 0, 1);
        s_copy.issue(to + X_BYTES, stage < place.count);
        x_copy.advance();
        s_copy.advance();
        copy_commit();
    }

    Accumulators total;
#pragma unroll
    for (int i = 0; i < VECTORS; ++i)
#pragma unroll
        for (int v = 0; v < 4; ++v) total[i / M_FRAGMENTS][i % M_FRAGMENTS][v] = 0.f;
    unsigned values[2][PART][4];
    TokenFragments tokens[2];
    Scales scales;
    copy_wait<STAGES - 2>();
    __syncthreads();
    Codes codes = ahead;
    block += BLOCKS;
    source += BLOCKS * BLOCK_BYTES;
    ahead.load(source, stride, block < last_block ? rows : 0);
    scales.load(base, warp_output, warp_block);
    tokens[0].load(base + warp_tokens, warp_token, 0, 0, 1);
#pragma unroll
    for (int i = 0; i < PART; ++i) look_up_mma(values[0][i], codes.r[i], scales.r[i], table.r, 0);

    unsigned read = base, write = base + (STAGES - 1) * STAGE_BYTES;
#pragma unroll UNROLL
    for (int stage = 0; stage < place.count; ++stage) {
        const bool more = stage + STAGES - 1 < place.count;
        const unsigned next_stage = read == base + (STAGES - 1) * STAGE_BYTES ? base : read + STAGE_BYTES;
#pragma unroll
        for (int part = 0; part < 4 * PARTS; ++part) {
            const int step = part / PARTS, next = (part + 1) % (4 * PARTS), next_step = next / PARTS;
            if (next == 0) {  // the next stage must have arrived, and all warps have read the one before
                copy_wait<STAGES - 2>();
                __syncthreads();
                codes = ahead;
                block += BLOCKS;
                source += BLOCKS * BLOCK_BYTES;
                ahead.load(source, stride, block < last_block ? rows : 0);
                scales.load(next_stage, warp_output, warp_block);
            }
            if (next % PARTS == 0)
                tokens[next_step & 1].load((next == 0 ? next_stage : read) + warp_tokens, warp_token, next_step, 0, 1);
            if (part == 0) {
                x_copy.issue(write, more, 0, 1);
                s_copy.issue(write + X_BYTES, more);
                copy_commit();
                x_copy.advance();
                s_copy.advance();
                write = write == base + (STAGES - 1) * STAGE_BYTES ? base : write + STAGE_BYTES;
            }
#pragma unroll
            for (int i = 0; i < PART; ++i) {
                const int row = next % PARTS * PART + i;
                look_up_mma(values[next & 1][i], codes.r[row], scales.r[row], table.r, next_step);
            }
#pragma unroll
            for (int i = 0; i < PART; ++i) {
                const int row = part % PARTS * PART + i;
#pragma unroll
                for (int j = 0; j < M_FRAGMENTS; ++j)
                    mma(total[row][j], values[part & 1][i], tokens[step & 1].r[j], total[row][j]);
            }
        }
        read = next_stage;
    }

    copy_wait<0>();
    __syncthreads();
    Results sum;
    add_warps(sum, total, shared);
    if (gridDim.z > 1 && !reduce_slices(sum, workspace, counters, place.tile)) return;
    if (WARPS_K > 1) __syncthreads();
    store_tile(sum, shared, y, m, n, place.first_token, place.first_output);
}
