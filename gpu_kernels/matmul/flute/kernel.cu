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
// Algorithm  A ring of STAGES stages of BLOCKS 64-column blocks, filled by cp.async; look-ups run one k16 step ahead.
// Split K    grid.z slices of whole stages; see reduce_slices.
// Arguments  pairs: the table of pairs. group_inverse: ceil(2^31 / (group / 32)), so that (column / 32) * group_inverse
//            >> 31 is the row of the scales; 0 where one row serves all of K. workspace, counters: as in the FP16 kernel.

#include "/tcsim/matmul/common.cuh"

constexpr int BLOCK_BYTES = 128 * BITS;  // 16 outputs x 64 columns
constexpr int ENTRIES = 1 << 2 * BITS;   // pairs of indices
constexpr int W_BYTES = BN / 16 * BLOCKS * BLOCK_BYTES;
constexpr int X_BYTES = BLOCKS * BM * ROW_BYTES;
constexpr int S_BYTES = 2 * BLOCKS * BN * 2;  // a row of scales per 32 columns
constexpr int STAGE_BYTES = W_BYTES + X_BYTES + S_BYTES;

constexpr int W_ROW_CHUNKS = BLOCKS * BLOCK_BYTES / 16;  // 16-byte chunks of a row of blocks in a stage
constexpr int W_CHUNKS = BN / 16 * W_ROW_CHUNKS;
constexpr int W_PASSES = (W_CHUNKS + THREADS - 1) / THREADS;
constexpr int S_CHUNKS = 2 * BLOCKS * BN / 8;

// Of 256 bytes, an entry's place is a byte of the offset, which one PRMT puts there; for 4 bits that would be 64 KB.
constexpr bool BYTE_OFFSETS = BITS < 4 && COPIES == 32;
constexpr int ENTRY_SHIFT = BYTE_OFFSETS ? 8 : COPIES == 32 ? 7 : COPIES == 16 ? 6 : COPIES == 8 ? 5 : COPIES == 4 ? 4 : 2;
constexpr int T_CHUNKS = ENTRIES * COPIES / 4;  // 16-byte chunks of the copied table
constexpr int T_PASSES = (T_CHUNKS + THREADS - 1) / THREADS;

static_assert(BYTE_OFFSETS || 1 << ENTRY_SHIFT == 4 * COPIES, "1, 4, 8, 16 or 32 copies");
static_assert(S_CHUNKS <= THREADS, "one pass of scale copies");

// Copies the packed indices of a stage: [BN/16][BLOCKS][BLOCK_BYTES], linear.
struct IndexCopy {
    const unsigned char* source;  // the tile's first block of the next stage
    unsigned offset[W_PASSES];    // of this thread's chunks from there
    int blocks_left[W_PASSES];    // blocks from the chunk's on that exist; none if its row does not

    __device__ __forceinline__ IndexCopy(const unsigned char* w, int first_output, int n, int k, int first_block) {
        const long long stride = static_cast<long long>(k / BLOCK_K) * BLOCK_BYTES;
        source = w + first_output / 16 * stride + static_cast<long long>(first_block) * BLOCK_BYTES;
#pragma unroll
        for (int pass = 0; pass < W_PASSES; ++pass) {
            const int chunk = pass * THREADS + threadIdx.x, row = chunk / W_ROW_CHUNKS, column = chunk % W_ROW_CHUNKS;
            offset[pass] = row * static_cast<unsigned>(stride) + column * 16;
            blocks_left[pass] = first_output + row * 16 < n ? k / BLOCK_K - first_block - column / (BLOCK_BYTES / 16) : 0;
        }
    }

    __device__ __forceinline__ void issue(unsigned to, bool enabled) const {
#pragma unroll
        for (int pass = 0; pass < W_PASSES; ++pass) {
            const int chunk = pass * THREADS + threadIdx.x;
            copy16(to + chunk * 16, source + offset[pass], enabled && ((pass + 1) * THREADS <= W_CHUNKS || chunk < W_CHUNKS),
                   blocks_left[pass] > 0);
        }
    }

    __device__ __forceinline__ void advance() {
        source += BLOCKS * BLOCK_BYTES;
#pragma unroll
        for (int pass = 0; pass < W_PASSES; ++pass) blocks_left[pass] -= BLOCKS;
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

// A warp's indices and scales of one 64-column block.
struct Block {
    unsigned low[N_FRAGMENTS][BITS == 4 ? 4 : 2];
    unsigned top[N_FRAGMENTS];        // of 3 bits, the highest ones
    unsigned scales[N_FRAGMENTS][2];  // of the first and the last 32 columns; rows g and g + 8

    __device__ __forceinline__ void load(unsigned stage, int first_output, int block) {
        const int lane = threadIdx.x & 31;
        const unsigned w = stage + (first_output / 16 * BLOCKS + block) * BLOCK_BYTES;
        const unsigned s = stage + W_BYTES + X_BYTES + (2 * block * BN + first_output) * 2 + (lane >> 2) * 4;
#pragma unroll
        for (int i = 0; i < N_FRAGMENTS; ++i) {
            const unsigned from = w + i * BLOCKS * BLOCK_BYTES;
            if constexpr (BITS == 4)
                asm volatile("ld.shared.v4.b32 {%0,%1,%2,%3}, [%4];\n"
                             : "=r"(low[i][0]), "=r"(low[i][1]), "=r"(low[i][2]), "=r"(low[i][3]) : "r"(from + lane * 16));
            else
                asm volatile("ld.shared.v2.b32 {%0,%1}, [%2];\n" : "=r"(low[i][0]), "=r"(low[i][1]) : "r"(from + lane * 8));
            if (BITS == 3) top[i] = load_word(from + 256 + lane * 4);
            scales[i][0] = load_word(s + i * 32);
            scales[i][1] = load_word(s + BN * 2 + i * 32);
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

// The A operands of a k16 step, not yet scaled.
struct Values {
    unsigned r[N_FRAGMENTS][4];

    // The offset of entry and copy is a shift and a LOP3, or one PRMT; the table's own address is in the instruction.
    __device__ __forceinline__ void look_up(const unsigned char* table, const Block& block, int step) {
        const unsigned copy = threadIdx.x % COPIES * 4;
#pragma unroll
        for (int i = 0; i < N_FRAGMENTS; ++i) {
            const unsigned pairs = block.pairs(i, step);
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
    __shared__ __align__(128) unsigned char table[ENTRIES << ENTRY_SHIFT];
    const unsigned base = shared_address(shared);
    const Place place(group_shift, slice, longer_slices);
    const int warp = threadIdx.x % GROUP >> 5, warp_block = threadIdx.x / GROUP * WARP_BLOCKS;
    const int warp_output = warp % WARPS_N * WN, warp_token = warp / WARPS_N * WM;
    const unsigned warp_tokens = W_BYTES + warp_block * BM * ROW_BYTES;  // this warp's first panel of X in a stage

    IndexCopy w_copy(w, place.first_output, n, k, place.begin * BLOCKS);
    ScaleCopy s_copy(s, place.first_output, n, k, place.begin * BLOCKS, group_inverse);
    PanelCopy<BM> x_copy(x, place.first_token, m, k, place.begin * BLOCKS * BLOCK_K);

#pragma unroll
    for (int stage = 0; stage < STAGES - 1; ++stage) {
        const unsigned to = base + stage * STAGE_BYTES;
        w_copy.issue(to, stage < place.count);
        x_copy.issue(to + W_BYTES, stage < place.count, 0, 1);
        s_copy.issue(to + W_BYTES + X_BYTES, stage < place.count);
        w_copy.advance();
        x_copy.advance();
        s_copy.advance();
        copy_commit();
    }
    fill_table(shared_address(table), pairs);

    Accumulators total;
#pragma unroll
    for (int i = 0; i < VECTORS; ++i)
#pragma unroll
        for (int v = 0; v < 4; ++v) total[i / M_FRAGMENTS][i % M_FRAGMENTS][v] = 0.f;
    Block block;
    Values values[2];
    TokenFragments tokens[2];
    copy_wait<STAGES - 2>();
    __syncthreads();
    block.load(base, warp_output, warp_block);
    tokens[0].load(base + warp_tokens, warp_token, 0, 0, 1);
    values[0].look_up(table, block, 0);

    unsigned read = base, write = base + (STAGES - 1) * STAGE_BYTES;
    for (int stage = 0; stage < place.count; ++stage) {
        const bool more = stage + STAGES - 1 < place.count;
        const unsigned next_stage = read == base + (STAGES - 1) * STAGE_BYTES ? base : read + STAGE_BYTES;
#pragma unroll
        for (int step = 0; step < STEPS; ++step) {
            const int next = (step + 1) % STEPS;
            unsigned scales[N_FRAGMENTS];
#pragma unroll
            for (int i = 0; i < N_FRAGMENTS; ++i) scales[i] = block.scales[i][step / 2 % 2];
            if (next == 0) {  // the next stage must have arrived, and all warps have read the one before
                copy_wait<STAGES - 2>();
                __syncthreads();
            }
            const unsigned from = next == 0 ? next_stage : read;
            if (next % 4 == 0) block.load(from, warp_output, warp_block + next / 4);
            tokens[next & 1].load(from + warp_tokens + next / 4 * BM * ROW_BYTES, warp_token, next % 4, 0, 1);
            values[next & 1].look_up(table, block, next % 4);
            if (step == 0) {
                w_copy.issue(write, more);
                x_copy.issue(write + W_BYTES, more, 0, 1);
                s_copy.issue(write + W_BYTES + X_BYTES, more);
                copy_commit();
                w_copy.advance();
                x_copy.advance();
                s_copy.advance();
                write = write == base + (STAGES - 1) * STAGE_BYTES ? base : write + STAGE_BYTES;
            }
            unsigned weights[N_FRAGMENTS][4];
#pragma unroll
            for (int i = 0; i < N_FRAGMENTS; ++i) {
                weights[i][0] = scaled<0>(values[step & 1].r[i][0], scales[i]);
                weights[i][1] = scaled<1>(values[step & 1].r[i][1], scales[i]);
                weights[i][2] = scaled<0>(values[step & 1].r[i][2], scales[i]);
                weights[i][3] = scaled<1>(values[step & 1].r[i][3], scales[i]);
            }
#pragma unroll
            for (int i = 0; i < N_FRAGMENTS; ++i)
#pragma unroll
                for (int j = 0; j < M_FRAGMENTS; ++j)
                    mma(total[i][j], weights[i], tokens[step & 1].r[j], total[i][j]);
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
