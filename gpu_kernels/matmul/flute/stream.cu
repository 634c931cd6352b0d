// FLUTE matmul for few tokens: arguments and results as in kernel.cu, indices of 4 bits or, in nibbles, of 3; groups of 64 * SPAN
// columns or more. See workloads/schemes/flute.py for the layouts.
//
// Warps      Each is on its own: it takes every (WARPS_K * FOLD)th span of SPAN blocks of its outputs, has a ring of STAGES
//            blocks of indices, tokens and scales to itself, and meets the others only to fill the table and to add up.
// Look up    As in kernel.cu, two indices at a time, 32 copies of each pair, 256 bytes apart: one PRMT makes the offset from a byte
//            of indices. Of 3 bits all 256 values of a byte have an entry, so that the nibbles' fourth bits need not be masked out.
//            REGISTER_STEPS says in which steps of a block the pairs of the first 8 columns come from registers instead, so that
//            shared memory and the integer pipe are about as busy: the low and the high bytes of the eight values are two
//            registers each, of which one PRMT takes four bytes, a nibble for each; two more PRMT put them together.
// Scales     Go to the sums of SPAN blocks, in fp32 (4 FFMA per fragment and 8 tokens), not to the weights: no rounding of its own.
// Order      A warp goes through a block part by part, of two rows of fragments, four steps of k16 each. Look-ups run one step
//            ahead; tokens of all four steps stay in registers. Without tokens 8..15 their mma are left out.
// Split K    grid.z slices of whole spans; see reduce_slices.
// FOLD       Warps beyond the first WARPS_K along K add their sums to those of the others before the common epilogue.

#include "/tcsim/matmul/common.cuh"
#include "/tcsim/matmul/optional_mma.cuh"

constexpr int K_WARPS = WARPS_K * FOLD;
constexpr int ALL_THREADS = 32 * WARPS_N * K_WARPS;
constexpr int BLOCK_BYTES = 128 * BITS;  // 16 outputs x 64 columns
constexpr int WORDS = BITS;              // registers of a lane's indices of a block
constexpr int PART = 2;                  // rows of fragments that are looked up together
constexpr int PARTS = (N_FRAGMENTS + PART - 1) / PART;

constexpr int PAIRS = 1 << 2 * BITS, ENTRIES = 256, ENTRY_BYTES = 256;
constexpr int T_BYTES = ENTRIES * ENTRY_BYTES;

constexpr int W_BYTES = N_FRAGMENTS * BLOCK_BYTES;
constexpr int X_BYTES = BM * ROW_BYTES;
constexpr int S_LANES = WN / 8;  // chunks of a row of scales
constexpr int STAGE_BYTES = (W_BYTES + X_BYTES + WN * 2 + 127) / 128 * 128;

static_assert(BITS == 4 || BITS == 3, "a nibble per index");
static_assert((ALL_THREADS & (ALL_THREADS - 1)) == 0, "as many entries of the table in each pass");
static_assert(PAIRS / 4 <= ALL_THREADS, "one pass of copies of the pairs");
static_assert(WARPS_M == 1 && PARTS > 1, "warps share no tokens; the last part begins when all indices of a block are read");
static_assert(S_LANES <= 32, "one pass of scale copies");
static_assert(STAGES >= 3, "a stage in use, one that has arrived, one under way");

// The compiler does not know where the value comes from, and keeps it instead of computing it anew.
__device__ __forceinline__ unsigned kept(unsigned value) {
    asm volatile("mov.b32 %0, %0;\n" : "+r"(value));
    return value;
}

// The bits of `a` where the mask has ones, those of `b` elsewhere.
__device__ __forceinline__ unsigned select(unsigned mask, unsigned a, unsigned b) { return (a & mask) | (b & ~mask); }

// The entry of the table of pairs that a byte of two nibbles stands for.
__device__ __forceinline__ int pair_of(int byte) {
    return BITS == 4 ? byte : (byte >> 1 & 3) | (byte >> 3 & 0xc) | (byte << 1 & 0x10) | (byte >> 2 & 0x20);
}

// The table of pairs comes first of all copies, to the bytes that its entries leave free: plain loads would be sunk below
// the other copies by the compiler, and all warps wait for the table. A word's place there:
__device__ __forceinline__ unsigned place_of(unsigned table, int pair) {
    return table + pair / 32 * ENTRY_BYTES + 128 + pair % 32 * 4;
}

__device__ __forceinline__ void copy_pairs(unsigned table, const unsigned* pairs) {
    copy16(place_of(table, threadIdx.x * 4), pairs + threadIdx.x * 4, threadIdx.x < PAIRS / 4, true);
    copy_commit();
}

// Make the 32 copies of each entry, 16 bytes at a time.
__device__ __forceinline__ void fill_table(unsigned table) {
    constexpr int PASS = ALL_THREADS / 8;  // entries
    unsigned v[ENTRIES / PASS];
#pragma unroll
    for (int pass = 0; pass < ENTRIES / PASS; ++pass)
        asm volatile("ld.shared.b32 %0, [%1];\n" : "=r"(v[pass]) : "r"(place_of(table, pair_of(pass * PASS + threadIdx.x / 8))));
    const unsigned to = table + threadIdx.x / 8 * ENTRY_BYTES + threadIdx.x % 8 * 16;
#pragma unroll
    for (int pass = 0; pass < ENTRIES / PASS; ++pass)
        asm volatile("st.shared.v4.b32 [%0], {%1,%1,%1,%1};\n" ::"r"(to + pass * PASS * ENTRY_BYTES), "r"(v[pass]) : "memory");
}

// Eight values in registers: the low bytes of 0..3 and 4..7, and the high ones.
struct Bytes {
    unsigned low[2], high[2];

    __device__ __forceinline__ void load(const unsigned char* table, unsigned copy) {
        unsigned r[8];  // pairs of which these values are the first
#pragma unroll
        for (int i = 0; i < 8; ++i) r[i] = *reinterpret_cast<const unsigned*>(table + 2 * i * ENTRY_BYTES + copy);
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            const unsigned a = __byte_perm(r[4 * i], r[4 * i + 1], 0x5140), b = __byte_perm(r[4 * i + 2], r[4 * i + 3], 0x5140);
            low[i] = __byte_perm(a, b, 0x5410), high[i] = __byte_perm(a, b, 0x7632);
        }
    }

    // The two pairs of values of the low four nibbles, each below 8.
    __device__ __forceinline__ void look_up(unsigned (&r)[4], unsigned nibbles) const {
        const unsigned l = __byte_perm(low[0], low[1], nibbles), h = __byte_perm(high[0], high[1], nibbles);
        r[0] = __byte_perm(l, h, 0x5140), r[1] = __byte_perm(l, h, 0x7362);
    }
};

// A lane's indices of 16 outputs x 64 columns.
struct Indices {
    unsigned r[WORDS];

    __device__ __forceinline__ void load(unsigned block) {
        const int lane = threadIdx.x & 31;
        if constexpr (BITS == 4) {
            asm volatile("ld.shared.v4.b32 {%0,%1,%2,%3}, [%4];\n"
                         : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(block + lane * 16));
        } else {
            asm volatile("ld.shared.v2.b32 {%0,%1}, [%2];\n" : "=r"(r[0]), "=r"(r[1]) : "r"(block + lane * 8));
            asm volatile("ld.shared.b32 %0, [%1];\n" : "=r"(r[2]) : "r"(block + 256 + lane * 4));
        }
    }

    // Eight nibbles, the pairs of a step. Of 3 bits, an index is the nibble's upper three; the lowest of three steps' nibbles
    // are the index of the last, and of a nibble whose lowest bit does not matter.
    __device__ __forceinline__ unsigned nibbles(int step) const {
        if (BITS == 4 || step < 3) return r[step];
        return select(0x88888888, r[2] << 3, select(0x44444444, r[1] << 2, r[0] << 1));
    }

    // The same with the indices in the lower three bits, and zeros above.
    __device__ __forceinline__ unsigned low_nibbles(int step) const {
        if (BITS == 4 || step < 3) return r[step] >> 1 & 0x77777777;
        return (r[2] << 2 & 0x44444444) | (r[1] << 1 & 0x22222222) | (r[0] & 0x11111111);
    }
};

// Where pairs are looked up.
struct Tables {
    const unsigned char* shared;
    unsigned copy;  // of this lane
    Bytes bytes;    // of 3 bits
};

// The A operands of a step of a part.
struct Values {
    unsigned r[PART][4];

    __device__ __forceinline__ void look_up(const Tables& tables, const Indices (&indices)[PART], int step, int rows) {
#pragma unroll
        for (int i = 0; i < PART; ++i) {
            if (i >= rows) continue;
            const bool from_registers = REGISTER_STEPS >> step & 1;
            if (from_registers) tables.bytes.look_up(r[i], indices[i].low_nibbles(step));
            const unsigned nibbles = from_registers && step == 3 ? indices[i].low_nibbles(step) << 1 : indices[i].nibbles(step);
#pragma unroll
            for (int j = from_registers ? 2 : 0; j < 4; ++j)
                r[i][j] = *reinterpret_cast<const unsigned*>(tables.shared + __byte_perm(nibbles, tables.copy, 0x5504 | j << 4));
        }
    }
};

// The two halves of a word.
__device__ __forceinline__ void to_floats(float (&to)[2], unsigned pair) {
    asm("{ .reg .b16 a, b; mov.b32 {a, b}, %2; cvt.f32.f16 %0, a; cvt.f32.f16 %1, b; }\n"
        : "=f"(to[0]), "=f"(to[1]) : "r"(pair));
}

// Copies a warp's indices, tokens and scales, block by block. What does not exist is not copied.
struct BlockCopy {
    static constexpr int X_PASSES = BM / 4;  // four rows of tokens each
    static constexpr int W_LANES = BLOCK_BYTES / 16;

    const unsigned char* w;  // this lane's chunk of the next block of the first row
    const half_bits *x, *s;  // likewise of the next block's tokens; of row 0 of the scales
    long long x_stride;  // bytes between rows of blocks, halves between the tokens of two passes
    int w_stride;
    unsigned unit, units, group_inverse, n;
    int rows, tokens;  // that exist, from this lane's on
    unsigned x_offset;
    bool copies_scales;

    __device__ __forceinline__ BlockCopy(const unsigned char* indices, const half_bits* x_, const half_bits* scales, int first_output,
                                         int first_token, int m, int n_, int k, int block, int end, unsigned inverse) {
        const int lane = threadIdx.x & 31, row = lane / 8, chunk = lane % 8;
        w_stride = k / BLOCK_K * BLOCK_BYTES;
        w = indices + static_cast<long long>(first_output / 16) * w_stride + static_cast<long long>(block) * BLOCK_BYTES + lane * 16;
        rows = lane < W_LANES ? (n_ - first_output) / 16 : 0;
        x = x_ + static_cast<long long>(first_token + row) * k + block * BLOCK_K + chunk * 8;
        x_stride = 4ll * k;
        tokens = m - first_token - row;
        x_offset = W_BYTES + swizzled(row, chunk);
        const int column = first_output + lane * 8;
        s = scales + column;
        copies_scales = lane < S_LANES && column < n_;
        unit = 2 * block;
        units = 2 * end;
        n = n_;
        group_inverse = inverse;
    }

    __device__ __forceinline__ void issue(unsigned to, int of_span) {
        const bool exists = unit < units;
        const unsigned lane = threadIdx.x & 31;
#pragma unroll
        for (int i = 0; i < N_FRAGMENTS; ++i)
            copy16(to + lane * 16 + i * BLOCK_BYTES, w + static_cast<long long>(i) * w_stride, exists && i < rows, true);
        const half_bits* token = x;
#pragma unroll
        for (int pass = 0; pass < X_PASSES; ++pass, token += x_stride)
            copy16((to + x_offset ^ pass % 2 * 64) + pass * 4 * ROW_BYTES, token, exists && 4 * pass < tokens, true);
        const unsigned scale_row = static_cast<unsigned long long>(unit) * group_inverse >> 31;
        copy16(to + W_BYTES + X_BYTES + lane * 16, s + scale_row * n, exists && copies_scales, true);
        copy_commit();
        const int step = (of_span + STAGES - 1) % SPAN == SPAN - 1 ? (K_WARPS - 1) * SPAN + 1 : 1;  // blocks to the next one
        w += step * BLOCK_BYTES;
        x += step * BLOCK_K;
        unit += 2 * step;
    }
};

// The tokens' fragments of a step. `at`: this lane's row and chunk of step 0; a step only flips bits of the chunk.
__device__ __forceinline__ void load_tokens(TokenFragments& to, unsigned at, int step) {
    if constexpr (BM == 8) {
        ldmatrix_x2(to.r[0][0], to.r[0][1], at ^ step << 5);
    } else {
#pragma unroll
        for (int i = 0; i < BM / 16; ++i) {
            unsigned q[4];
            ldmatrix_x4(q, (at ^ step << 5) + i * 16 * ROW_BYTES);
            to.r[2 * i][0] = q[0], to.r[2 * i][1] = q[1], to.r[2 * i + 1][0] = q[2], to.r[2 * i + 1][1] = q[3];
        }
    }
}

// The scales of rows g and g + 8 of a warp's fragments.
struct Scales {
    unsigned r[N_FRAGMENTS];

    __device__ __forceinline__ void load(unsigned from) {
#pragma unroll
        for (int i = 0; i < N_FRAGMENTS; ++i) asm volatile("ld.shared.b32 %0, [%1];\n" : "=r"(r[i]) : "r"(from + i * 32));
    }

    // Adds to the total what has been summed up, times the scales.
    __device__ __forceinline__ void add(Accumulators& total, const Accumulators& acc) const {
#pragma unroll
        for (int i = 0; i < N_FRAGMENTS; ++i) {
            float scale[2];
            to_floats(scale, r[i]);
#pragma unroll
            for (int j = 0; j < M_FRAGMENTS; ++j)
#pragma unroll
                for (int v = 0; v < 4; ++v) total[i][j][v] += acc[i][j][v] * scale[v >> 1];
        }
    }
};

// Add the sums of the warps beyond the first WARPS_K along K to theirs; the others are done.
__device__ __forceinline__ void fold(Accumulators& total, unsigned char* shared) {
    float4* tiles = reinterpret_cast<float4*>(shared) + WARPS_K * VECTORS * GROUP;
    const int layer = threadIdx.x / THREADS, slot = threadIdx.x % THREADS;
    if (layer > 0) {
#pragma unroll
        for (int i = 0; i < VECTORS; ++i) {
            const float* v = total[i / M_FRAGMENTS][i % M_FRAGMENTS];
            tiles[((layer - 1) * VECTORS + i) * THREADS + slot] = make_float4(v[0], v[1], v[2], v[3]);
        }
    }
    __syncthreads();
    if (layer > 0) return;
#pragma unroll
    for (int from = 0; from < FOLD - 1; ++from)
#pragma unroll
        for (int i = 0; i < VECTORS; ++i) {
            const float4 v = tiles[(from * VECTORS + i) * THREADS + slot];
            float* sum = total[i / M_FRAGMENTS][i % M_FRAGMENTS];
            sum[0] += v.x, sum[1] += v.y, sum[2] += v.z, sum[3] += v.w;
        }
}

extern "C" __global__ void __launch_bounds__(ALL_THREADS, CTAS_PER_SM)
flute_matmul(const half_bits* __restrict__ x, const unsigned char* __restrict__ w, const half_bits* __restrict__ s,
             const unsigned* __restrict__ pairs, half_bits* __restrict__ y, float* workspace, unsigned* counters, int m, int n,
             int k, unsigned group_inverse, int slice, int longer_slices, int group_shift) {
    extern __shared__ __align__(128) unsigned char shared[];
    const Place place(group_shift, slice, longer_slices);
    const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
    const int first = place.begin * SPAN + warp / WARPS_N * SPAN, end = min(k / BLOCK_K, (place.begin + place.count) * SPAN);
    const bool many = m - place.first_token > 8;
    const int rest = (end - first) % (K_WARPS * SPAN);
    const int count = first < end ? (end - first) / (K_WARPS * SPAN) * SPAN + (rest < SPAN ? rest : SPAN) : 0;  // this warp's blocks
    const unsigned ring = shared_address(shared) + T_BYTES + warp * STAGES * STAGE_BYTES;

    copy_pairs(shared_address(shared), pairs);
    Tables tables = {shared, kept(lane * 4)};
    BlockCopy copy(w, x, s, place.first_output + warp % WARPS_N * WN, place.first_token, m, n, k, first, end, group_inverse);
#pragma unroll
    for (int stage = 0; stage < STAGES - 1; ++stage) copy.issue(ring + stage * STAGE_BYTES, stage - STAGES + 1 + STAGES * SPAN);
    copy_wait<STAGES - 1>();
    __syncthreads();
    fill_table(shared_address(shared));

    Accumulators total;
#pragma unroll
    for (int i = 0; i < VECTORS; ++i)
#pragma unroll
        for (int v = 0; v < 4; ++v) total[i / M_FRAGMENTS][i % M_FRAGMENTS][v] = 0.f;
    Accumulators acc;
    Scales scales;
    Indices indices[3][PART];
    Values values[2];
    TokenFragments tokens[4];
    const unsigned scales_of = kept(W_BYTES + X_BYTES + lane / 4 * 4);
    const unsigned tokens_of = kept(W_BYTES + swizzled((lane & 7) + (BM == 8 ? 0 : lane / 16 * 8), lane >> 3 & 1));
    const auto rows_of = [](int part) { return part < N_FRAGMENTS / PART ? PART : N_FRAGMENTS % PART; };
    const auto slot_of = [](int part) { return PARTS % 2 == 1 && part == PARTS - 1 ? 2 : part & 1; };
    const auto load = [&](int part, unsigned stage) {
#pragma unroll
        for (int i = 0; i < rows_of(part); ++i) indices[slot_of(part)][i].load(stage + (part * PART + i) * BLOCK_BYTES);
    };
    __syncthreads();
    if (REGISTER_STEPS != 0) tables.bytes.load(shared, tables.copy);
    copy_wait<STAGES - 2>();
    __syncwarp();
#pragma unroll
    for (int step = 0; step < 4; ++step) load_tokens(tokens[step], ring + tokens_of, step);
    load(0, ring);
    values[0].look_up(tables, indices[0], 0, rows_of(0));

    unsigned read = ring, write = ring + (STAGES - 1) * STAGE_BYTES;
    for (int block = 0; block < count; block += SPAN) {
#pragma unroll
        for (int u = 0; u < SPAN; ++u) {
            if (u > 0 && block + u >= count) continue;
            const bool last = u == SPAN - 1 || block + u + 1 >= count;  // of those that share their scales
            const unsigned next_stage = read == ring + (STAGES - 1) * STAGE_BYTES ? ring : read + STAGE_BYTES;
            copy.issue(write, u);
            write = write == ring + (STAGES - 1) * STAGE_BYTES ? ring : write + STAGE_BYTES;
#pragma unroll
            for (int part = 0; part < PARTS; ++part) {
                const int next_part = (part + 1) % PARTS, rows = rows_of(part);
#pragma unroll
                for (int step = 0; step < 4; ++step) {
                    if (next_part == 0 && step == 0) {  // the next block must have arrived, and all lanes have read this one
                        if (u == SPAN - 1) scales.load(read + scales_of);
                        copy_wait<STAGES - 2>();
                        __syncwarp();
                    }
                    if (step == 1) load(next_part, next_part == 0 ? next_stage : read);
                    if (step < 3)
                        values[step + 1 & 1].look_up(tables, indices[slot_of(part)], step + 1, rows);
                    else
                        values[0].look_up(tables, indices[slot_of(next_part)], 0, rows_of(next_part));
#pragma unroll
                    for (int i = 0; i < rows; ++i)
#pragma unroll
                        for (int j = 0; j < M_FRAGMENTS; ++j) {
                            float(&sum)[4] = acc[part * PART + i][j];
                            if (u == 0 && step == 0) sum[0] = sum[1] = sum[2] = sum[3] = 0.f;
                            if (j == 0)  // tokens 8..15 often do not exist
                                mma(sum, values[step & 1].r[i], tokens[step].r[j], sum);
                            else
                                optional_mma(sum, values[step & 1].r[i], tokens[step].r[j], many);
                        }
                    if (next_part == 0) load_tokens(tokens[step], next_stage + tokens_of, step);
                }
            }
            if (u < SPAN - 1 && last) scales.load(read + scales_of);
            if (last) scales.add(total, acc);
            read = next_stage;
        }
    }

    copy_wait<0>();
    __syncthreads();
    if (FOLD > 1) {
        fold(total, shared);
        if (threadIdx.x >= THREADS) return;
    }
    Results sum;
    add_warps(sum, total, shared);
    if (gridDim.z > 1 && !reduce_slices(sum, workspace, counters, place.tile)) return;
    if (WARPS_K > 1) __syncthreads();
    store_tile(sum, shared, y, m, n, place.first_token, place.first_output);
}
