// FLUTE matmul: Y[M,N] = X[M,K] * (T[Q[N,K]] * S)^T; half X, T, S and Y, BITS-bit indices Q, one scale per `group` columns.
// Any M; N a multiple of 16, K of 64, the group a multiple of 32 (or all of K).
//
// Layouts    Indices in fragment order, blocks of 16 outputs x 64 columns of 128 * BITS contiguous bytes, K fastest; see
//            workloads/schemes/flute.py. A lane's four pairs of indices of a k16 step are four bytes of a register, so
//            that pair j becomes register j of the mma's A operand. Scales are half[K/group][N/16][8][2], those of
//            rows g and g + 8 side by side. X and Y are row-major; X is staged as in the FP16 kernel.
// Look up    Two indices at a time, in a table of half pairs in shared memory: one 4-byte load per register of the
//            operand. The table stands there COPIES times, entry after entry, and lane l reads copy l % COPIES: with
//            32 copies each lane has a bank to itself. Filled by 16-byte stores, before the first barrier.
//            Then the pair is multiplied by its row's scale (one rounding, 2^-11 of each weight).
// Algorithm  Tokens and scales come through a ring of STAGES stages of BLOCKS 64-column blocks, filled by cp.async. Indices
//            go straight to registers, 16 bytes per lane, a stage ahead: each is used by one warp only, and the pipe of
//            shared memory is what limits this kernel. Look-ups run one k16 step ahead.
// Split K    grid.z slices of whole stages; see reduce_slices.
// Arguments  pairs: the table of pairs. group_inverse: ceil(2^31 / (group / 32)), so that (column / 32) * group_inverse
//            >> 31 is the row of the scales; 0 where one row serves all of K. workspace, counters: as in the FP16 kernel.

#include "/tcsim/matmul/common.cuh"

constexpr int BLOCK_BYTES = 128 * BITS;  // 16 outputs x 64 columns
constexpr int ENTRIES = 1 << 2 * BITS;   // pairs of indices
constexpr int X_BYTES = BLOCKS * BM * ROW_BYTES;
constexpr int S_BYTES = 2 * BLOCKS * BN * 2;  // a row of scales per 32 columns
constexpr int STAGE_BYTES = X_BYTES + S_BYTES;

constexpr int S_CHUNKS = 2 * BLOCKS * BN / 8;

// Where an entry has 256 bytes its number is a byte of the offset, which one PRMT puts there.
constexpr bool BYTE_OFFSETS = ENTRY_BYTES == 256;
constexpr int ENTRY_SHIFT = ENTRY_BYTES == 256 ? 8 : ENTRY_BYTES == 128 ? 7 : ENTRY_BYTES == 64 ? 6 : ENTRY_BYTES == 32 ? 5 : 2;
constexpr int T_BYTES = ENTRIES << ENTRY_SHIFT;  // before the stages
constexpr int T_CHUNKS = ENTRIES * COPIES / 4;  // 16-byte chunks of the copied table
constexpr int T_PASSES = (T_CHUNKS + THREADS - 1) / THREADS;

static_assert(1 << ENTRY_SHIFT == ENTRY_BYTES && (BYTE_OFFSETS ? COPIES == 32 : ENTRY_BYTES == 4 * COPIES), "copies");
static_assert(WARP_BLOCKS == 1, "a warp's indices of a stage are one block");
static_assert(S_CHUNKS <= THREADS, "one pass of scale copies");

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

__device__ __forceinline__ unsigned load_word(unsigned address) {
    unsigned r;
    asm volatile("ld.shared.b32 %0, [%1];\n" : "=r"(r) : "r"(address));
    return r;
}

// Fill the table's copies from the pairs in global memory.
__device__ __forceinline__ void fill_table(unsigned table, const unsigned* pairs) {
    uint4 v[T_PASSES];
#pragma unroll
    for (int pass = 0; pass < T_PASSES; ++pass) {
        const int chunk = pass * THREADS + threadIdx.x;
        if (T_CHUNKS % THREADS != 0 && chunk >= T_CHUNKS) continue;
        if (COPIES == 1) {
            v[pass] = reinterpret_cast<const uint4*>(pairs)[chunk];
        } else {
            const unsigned pair = pairs[chunk / (COPIES / 4)];
            v[pass] = {pair, pair, pair, pair};
        }
    }
#pragma unroll
    for (int pass = 0; pass < T_PASSES; ++pass) {
        const int chunk = pass * THREADS + threadIdx.x;
        if (T_CHUNKS % THREADS != 0 && chunk >= T_CHUNKS) continue;
        const unsigned to = table + (BYTE_OFFSETS ? chunk / 8 * 256 + chunk % 8 * 16 : chunk * 16);
        asm volatile("st.shared.v4.b32 [%0], {%1,%2,%3,%4};\n" ::"r"(to), "r"(v[pass].x), "r"(v[pass].y), "r"(v[pass].z),
                     "r"(v[pass].w) : "memory");
    }
}

// Load 16 or 8 bytes, or 4, that no other CTA will ask for.
__device__ __forceinline__ void load_once(unsigned (&r)[4], const unsigned char* from, bool enabled) {
    asm volatile("{ .reg .pred p; setp.ne.b32 p, %5, 0;\n"
                 "@p ld.global.nc.L2::128B.v4.b32 {%0,%1,%2,%3}, [%4]; }\n"
                 : "+r"(r[0]), "+r"(r[1]), "+r"(r[2]), "+r"(r[3]) : "l"(from), "r"(static_cast<int>(enabled)));
}

__device__ __forceinline__ void load_once(unsigned (&r)[2], const unsigned char* from, bool enabled) {
    asm volatile("{ .reg .pred p; setp.ne.b32 p, %3, 0;\n"
                 "@p ld.global.nc.L2::128B.v2.b32 {%0,%1}, [%2]; }\n"
                 : "+r"(r[0]), "+r"(r[1]) : "l"(from), "r"(static_cast<int>(enabled)));
}

__device__ __forceinline__ void load_once(unsigned& r, const unsigned char* from, bool enabled) {
    asm volatile("{ .reg .pred p; setp.ne.b32 p, %2, 0;\n"
                 "@p ld.global.nc.L2::128B.b32 %0, [%1]; }\n"
                 : "+r"(r) : "l"(from), "r"(static_cast<int>(enabled)));
}

// A warp's indices of one 64-column block.
struct Indices {
    unsigned low[N_FRAGMENTS][BITS == 4 ? 4 : 2];
    unsigned top[N_FRAGMENTS];  // of 3 bits, the highest ones

    __device__ __forceinline__ Indices() {
#pragma unroll
        for (int i = 0; i < N_FRAGMENTS; ++i) low[i][0] = low[i][1] = low[i][BITS == 4 ? 2 : 0] = low[i][BITS == 4 ? 3 : 1] = top[i] = 0;
    }

    // From `rows` rows of blocks that exist; others keep what is there, any index is in the table.
    __device__ __forceinline__ void load(const unsigned char* from, long long stride, int rows) {
        const int lane = threadIdx.x & 31;
#pragma unroll
        for (int i = 0; i < N_FRAGMENTS; ++i) {
            load_once(low[i], from + i * stride + lane * (BITS == 4 ? 16 : 8), i < rows);
            if (BITS == 3) load_once(top[i], from + i * stride + 256 + lane * 4, i < rows);
        }
    }

    // The four pairs of indices of a k16 step, a byte each.
    __device__ __forceinline__ unsigned pairs(int i, int step) const {
        if constexpr (BITS == 4) {
            return low[i][step];
        } else {
            const unsigned nibbles = low[i][step / 2] >> 4 * (step % 2) & 0x0f0f0f0fu;
            return BITS == 2 ? nibbles : nibbles | ((step < 2 ? top[i] << (4 - 2 * step) : top[i] >> (2 * step - 4)) & 0x30303030u);
        }
    }
};

// The scales of a warp's rows g and g + 8, for the first and the last 32 columns of a block.
struct Scales {
    unsigned r[2][N_FRAGMENTS];

    __device__ __forceinline__ void load(unsigned stage, int first_output, int block) {
        const unsigned s = stage + X_BYTES + (2 * block * BN + first_output) * 2 + (threadIdx.x & 31) / 4 * 4;
#pragma unroll
        for (int i = 0; i < N_FRAGMENTS; ++i) r[0][i] = load_word(s + i * 32), r[1][i] = load_word(s + BN * 2 + i * 32);
    }
};

constexpr int PART = 2;  // fragments that are looked up together, while those before them are multiplied
constexpr int PARTS = N_FRAGMENTS / PART;
constexpr int UNROLL = BM < 64 ? 2 : 1;  // stages: of two, what is loaded ahead need not be moved; for many tokens registers lack

// The A operands of a part of a k16 step, not yet scaled.
struct Values {
    unsigned r[PART][4];

    // The offset of entry and copy is a shift and a LOP3, or one PRMT; the table's own address is in the instruction.
    __device__ __forceinline__ void look_up(const unsigned char* table, const Indices& indices, int step, int part) {
        const unsigned copy = threadIdx.x % COPIES * 4;
#pragma unroll
        for (int i = 0; i < PART; ++i) {
            const unsigned pairs = indices.pairs(part * PART + i, step);
#pragma unroll
            for (int j = 0; j < 4; ++j) {
                const int up = ENTRY_SHIFT - 8 * j;
                const unsigned entry = up > 0 ? pairs << (up > 0 ? up : 0) : pairs >> (up > 0 ? 0 : -up);
                const unsigned offset = BYTE_OFFSETS ? __byte_perm(pairs, copy, 0x5504 | j << 4)
                                                     : entry & (ENTRIES - 1) << ENTRY_SHIFT | copy;
                r[i][j] = *reinterpret_cast<const unsigned*>(table + offset);
            }
        }
    }
};

// a * (the low or the high half of the scales, twice)
template <int ROW>
__device__ __forceinline__ unsigned scaled(unsigned a, unsigned scales) {
    unsigned r;
    if constexpr (ROW == 0)
        asm("{ .reg .b16 a, b; .reg .b32 s; mov.b32 {a, b}, %2; mov.b32 s, {a, a}; mul.f16x2 %0, %1, s; }\n"
            : "=r"(r) : "r"(a), "r"(scales));
    else
        asm("{ .reg .b16 a, b; .reg .b32 s; mov.b32 {a, b}, %2; mov.b32 s, {b, b}; mul.f16x2 %0, %1, s; }\n"
            : "=r"(r) : "r"(a), "r"(scales));
    return r;
}

extern "C" __global__ void __launch_bounds__(THREADS, CTAS_PER_SM)
flute_matmul(const half_bits* __restrict__ x, const unsigned char* __restrict__ w, const half_bits* __restrict__ s,
             const unsigned* __restrict__ pairs, half_bits* __restrict__ y, float* workspace, unsigned* counters, int m, int n,
             int k, unsigned group_inverse, int slice, int longer_slices, int group_shift) {
    extern __shared__ __align__(128) unsigned char shared[];
    const unsigned base = shared_address(shared) + T_BYTES;
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

    Indices ahead;
    ahead.load(source, stride, block < last_block ? rows : 0);
#pragma unroll
    for (int stage = 0; stage < STAGES - 1; ++stage) {
        const unsigned to = base + stage * STAGE_BYTES;
        x_copy.issue(to, stage < place.count, 0, 1);
        s_copy.issue(to + X_BYTES, stage < place.count);
        x_copy.advance();
        s_copy.advance();
        copy_commit();
    }
    fill_table(shared_address(shared), pairs);

    Accumulators total;
#pragma unroll
    for (int i = 0; i < VECTORS; ++i)
#pragma unroll
        for (int v = 0; v < 4; ++v) total[i / M_FRAGMENTS][i % M_FRAGMENTS][v] = 0.f;
    Values values[2];
    TokenFragments tokens[2];
    Scales scales;
    copy_wait<STAGES - 2>();
    __syncthreads();
    Indices indices = ahead;
    block += BLOCKS;
    source += BLOCKS * BLOCK_BYTES;
    ahead.load(source, stride, block < last_block ? rows : 0);
    scales.load(base, warp_output, warp_block);
    tokens[0].load(base + warp_tokens, warp_token, 0, 0, 1);
    values[0].look_up(shared, indices, 0, 0);

    unsigned read = base, write = base + (STAGES - 1) * STAGE_BYTES;
#pragma unroll UNROLL
    for (int stage = 0; stage < place.count; ++stage) {
        const bool more = stage + STAGES - 1 < place.count;
        const unsigned next_stage = read == base + (STAGES - 1) * STAGE_BYTES ? base : read + STAGE_BYTES;
#pragma unroll
        for (int part = 0; part < 4 * PARTS; ++part) {
            const int step = part / PARTS, next = (part + 1) % (4 * PARTS), next_step = next / PARTS;
            unsigned scale[PART];
#pragma unroll
            for (int i = 0; i < PART; ++i) scale[i] = scales.r[step / 2][part % PARTS * PART + i];
            if (next == 0) {  // the next stage must have arrived, and all warps have read the one before
                copy_wait<STAGES - 2>();
                __syncthreads();
                indices = ahead;
                block += BLOCKS;
                source += BLOCKS * BLOCK_BYTES;
                ahead.load(source, stride, block < last_block ? rows : 0);
                scales.load(next_stage, warp_output, warp_block);
            }
            if (next % PARTS == 0)
                tokens[next_step & 1].load((next == 0 ? next_stage : read) + warp_tokens, warp_token, next_step, 0, 1);
            values[next & 1].look_up(shared, indices, next_step, next % PARTS);
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
                const unsigned(&v)[4] = values[part & 1].r[i];
                const unsigned weights[4] = {scaled<0>(v[0], scale[i]), scaled<1>(v[1], scale[i]), scaled<0>(v[2], scale[i]),
                                             scaled<1>(v[3], scale[i])};
                const int row = part % PARTS * PART + i;
#pragma unroll
                for (int j = 0; j < M_FRAGMENTS; ++j) mma(total[row][j], weights, tokens[step & 1].r[j], total[row][j]);
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
