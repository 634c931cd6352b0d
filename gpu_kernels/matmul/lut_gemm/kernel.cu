// LUT-GEMM: Y[M,N] = X[M,K] * W[N,K]^T with binary-coded weights, W[n,c] = sum over planes p < bits of
// alpha[p,n] * sign[p,n,c] + offset[n]; alpha and offset belong to a group of columns. No product is formed with a
// weight: MU columns' signs are an index into a table of the 2^MU signed partial sums of the activations.
// N a multiple of 16, K of 32; any M, TOKENS of them at a time.
//
// Units      A thread loads 16 bytes: four outputs x 32 columns of one plane, a word each. A word holds its columns'
//            signs in order (1: +), rotated left by ROTATE, so that the first index needs a mask only to be an offset.
// PRIVATE    Lanes are 32 words along K, so every lane looks into tables of its own, and these lie in a bank of its
//            own: entry e of all lanes is 32 words side by side. No two lanes ever meet in a bank. A warp has the same
//            four outputs in all lanes and adds up over lanes at the end. Entries: FP32, or two tokens in half.
//            Weights: [K/1024][N/4][bits][lanes][4 outputs], lanes = 32, fewer in the last slab;
//            scales: [K/1024][N/4][bits + 1][groups of the slab][4 outputs], the offset last.
// otherwise  Lanes are 32 quads of outputs, and all look into the same tables of half entries: as many bank
//            conflicts as the codes have it. SIGNED: tables hold the entries whose top sign is -, half as many; the top
//            bit of an index negates, the packing has inverted the others where it is 1. Bit 0 of a byte is then the sign.
//            Weights: [N/256][K/32][bits][256 outputs], fewer in the last block; scales: [K/group][bits + 1][N].
// Split K    grid.z; the CTA that arrives last adds the slices' FP32 sums in their order, so the bits are always the same.

typedef unsigned short half_bits;

constexpr int WORD = 32;                            // columns of a word
constexpr int CHUNKS = (WORD + MU - 1) / MU;        // look-ups of a word; the last index may have fewer bits
constexpr int ENTRIES = 1 << (SIGNED ? MU - 1 : MU);  // of a table
constexpr int WARPS = THREADS / 32;
constexpr int ROWS = 4;  // outputs of a unit
#if PRIVATE
constexpr int SLAB = 32 * WORD;            // columns of a CTA
constexpr int ROTATE = 7;                  // 128 bytes from entry to entry
constexpr int TABLE_BYTES = ENTRIES * 128;  // of the 32 lanes
#else
constexpr int SLAB = 128;  // columns of a step
constexpr int ROTATE = 1;  // 2 bytes from entry to entry
constexpr int TABLE_BYTES = ENTRIES * 2;
#endif
constexpr int WORDS_PER_STEP = SLAB / WORD;
constexpr unsigned ALL_PLUS = SIGNED ? 0x01010101u : 0xffffffffu;  // a word whose signs are all +, as it is packed

// ---------------------------------------------------------------------------------------------------- PTX wrappers

__device__ __forceinline__ unsigned shared_address(const void* pointer) {
    return static_cast<unsigned>(__cvta_generic_to_shared(pointer));
}

__device__ __forceinline__ float to_float(half_bits h) {
    float r;
    asm("cvt.f32.f16 %0, %1;\n" : "=f"(r) : "h"(h));
    return r;
}

__device__ __forceinline__ half_bits to_half(float f) {
    half_bits r;
    asm("cvt.rn.f16.f32 %0, %1;\n" : "=h"(r) : "f"(f));
    return r;
}

__device__ __forceinline__ float low_half(unsigned pair) { return to_float(static_cast<half_bits>(pair)); }

__device__ __forceinline__ float high_half(unsigned pair) { return to_float(static_cast<half_bits>(pair >> 16)); }

// Round two floats to half and pack them, `low` in the low half.
__device__ __forceinline__ unsigned pack_half2(float low, float high) {
    unsigned r;
    asm("cvt.rn.f16x2.f32 %0, %2, %1;\n" : "=r"(r) : "f"(low), "f"(high));
    return r;
}

__device__ __forceinline__ unsigned add_half2(unsigned a, unsigned b) {
    unsigned r;
    asm("add.f16x2 %0, %1, %2;\n" : "=r"(r) : "r"(a), "r"(b));
    return r;
}

__device__ __forceinline__ half_bits add_half(half_bits a, half_bits b) {
    half_bits r;
    asm("add.f16 %0, %1, %2;\n" : "=h"(r) : "h"(a), "h"(b));
    return r;
}

__device__ __forceinline__ unsigned load_shared(unsigned address) {
    unsigned r;
    asm volatile("ld.shared.b32 %0, [%1];\n" : "=r"(r) : "r"(address));
    return r;
}

__device__ __forceinline__ half_bits load_shared_half(unsigned address) {
    half_bits r;
    asm volatile("ld.shared.b16 %0, [%1];\n" : "=h"(r) : "r"(address));
    return r;
}

__device__ __forceinline__ void store_shared(unsigned address, unsigned value) {
    asm volatile("st.shared.b32 [%0], %1;\n" ::"r"(address), "r"(value) : "memory");
}

__device__ __forceinline__ void store_shared_half(unsigned address, half_bits value) {
    asm volatile("st.shared.b16 [%0], %1;\n" ::"r"(address), "h"(value) : "memory");
}

// Load 16 bytes that nobody writes if `valid`, else return zeros.
__device__ __forceinline__ uint4 load16(const void* from, bool valid) {
    uint4 r;
    asm volatile(
        "{ .reg .pred p; setp.ne.b32 p, %5, 0; mov.b32 %0, 0; mov.b32 %1, 0; mov.b32 %2, 0; mov.b32 %3, 0;\n"
        "@p ld.global.nc.L2::128B.v4.b32 {%0,%1,%2,%3}, [%4]; }\n"
        : "=&r"(r.x), "=&r"(r.y), "=&r"(r.z), "=&r"(r.w) : "l"(from), "r"(static_cast<int>(valid)));
    return r;
}

__device__ __forceinline__ uint2 load8(const void* from, bool valid) {
    uint2 r;
    asm volatile(
        "{ .reg .pred p; setp.ne.b32 p, %3, 0; mov.b32 %0, 0; mov.b32 %1, 0;\n"
        "@p ld.global.nc.v2.b32 {%0,%1}, [%2]; }\n"
        : "=&r"(r.x), "=&r"(r.y) : "l"(from), "r"(static_cast<int>(valid)));
    return r;
}

// Copy 16 or 8 bytes to shared memory if `enabled`.
__device__ __forceinline__ void copy16(unsigned to, const void* from, bool enabled) {
    asm volatile("{ .reg .pred p; setp.ne.b32 p, %2, 0; @p cp.async.cg.shared.global.L2::128B [%0], [%1], 16; }\n" ::"r"(to),
                 "l"(from), "r"(static_cast<int>(enabled)));
}

__device__ __forceinline__ void copy8(unsigned to, const void* from, bool enabled) {
    asm volatile("{ .reg .pred p; setp.ne.b32 p, %2, 0; @p cp.async.ca.shared.global [%0], [%1], 8; }\n" ::"r"(to), "l"(from),
                 "r"(static_cast<int>(enabled)));
}

__device__ __forceinline__ void copy_commit() { asm volatile("cp.async.commit_group;\n" ::: "memory"); }

template <int PENDING>
__device__ __forceinline__ void copy_wait() {
    asm volatile("cp.async.wait_group %0;\n" ::"n"(PENDING) : "memory");
}

__device__ __forceinline__ uint4 load_shared16(unsigned address) {
    uint4 r;
    asm volatile("ld.shared.v4.b32 {%0,%1,%2,%3}, [%4];\n" : "=r"(r.x), "=r"(r.y), "=r"(r.z), "=r"(r.w) : "r"(address));
    return r;
}

__device__ __forceinline__ uint2 load_shared8(unsigned address) {
    uint2 r;
    asm volatile("ld.shared.v2.b32 {%0,%1}, [%2];\n" : "=r"(r.x), "=r"(r.y) : "r"(address));
    return r;
}

__device__ __forceinline__ float shuffle_xor(float v, int mask) { return __shfl_xor_sync(0xffffffffu, v, mask); }

__device__ __forceinline__ void fence_gpu() { asm volatile("fence.acq_rel.gpu;\n" ::: "memory"); }

// ---------------------------------------------------------------------------------------------------- look-ups

// All signed sums of COUNT values; bit t of the index adds value t.
template <int COUNT>
__device__ __forceinline__ void signed_sums(float (&sums)[1 << COUNT], const float* values) {
    sums[0] = 0.f;
#pragma unroll
    for (int t = 0; t < COUNT; ++t)
#pragma unroll
        for (int i = (1 << t) - 1; i >= 0; --i) {
            sums[i + (1 << t)] = sums[i] + values[t];
            sums[i] -= values[t];
        }
}

// Byte offset in its table of index `chunk` of a word.
__device__ __forceinline__ unsigned index_offset(unsigned word, int chunk) {
    const int bits = chunk < CHUNKS - 1 ? MU : WORD - MU * (CHUNKS - 1);
    const unsigned mask = ((1u << (SIGNED ? bits - 1 : bits)) - 1) << ROTATE;
    return __funnelshift_r(word, word, chunk * MU) & mask;
}

// ---------------------------------------------------------------------------------------------------- results out

// Write a result (`whole`) or a slice's share of it to `to` if `enabled`: without a branch, so that the warp stays together.
__device__ __forceinline__ void store_result(void* to, float v, bool whole, bool enabled) {
    asm volatile(
        "{ .reg .pred p, q; setp.ne.b32 p, %3, 0; setp.ne.b32 q, %4, 0;\n"
        "@p st.global.b16 [%0], %1; @q st.global.f32 [%0], %2; }\n" ::"l"(to),
        "h"(to_half(v)), "f"(v), "r"(static_cast<int>(enabled && whole)), "r"(static_cast<int>(enabled && !whole))
        : "memory");
}

// True for the CTA that arrives last of the K slices of a tile; it resets the counter for the next launch.
__device__ __forceinline__ bool arrive(unsigned* counter) {
    __shared__ unsigned arrived;
    fence_gpu();
    __syncthreads();
    if (threadIdx.x == 0) arrived = atomicAdd(counter, 1u);
    __syncthreads();
    if (arrived != gridDim.z - 1) return false;
    if (threadIdx.x == 0) *counter = 0;
    fence_gpu();
    return true;
}

// Add the slices' sums of `rows` outputs x TOKENS, four outputs per thread, in the order of the slices.
__device__ __forceinline__ void add_slices(const float* partial, half_bits* y, int rows, int row_stride, int tokens, int n) {
    constexpr int BATCH = PRIVATE ? 8 : 16;  // slices whose loads are in flight together: there are more with shared tables
    const int quads = rows / ROWS;
    for (int i = threadIdx.x; i < quads * TOKENS; i += THREADS) {
        const int token = TOKENS == 1 ? 0 : i / quads, quad = TOKENS == 1 ? i : i % quads;
        const float4* next = reinterpret_cast<const float4*>(partial + token * row_stride) + quad;
        const long long stride = static_cast<long long>(row_stride) * TOKENS / ROWS;
        float4 sum = make_float4(0.f, 0.f, 0.f, 0.f);
#pragma unroll 1
        for (int z = 0; z < gridDim.z; z += BATCH, next += BATCH * stride) {
            float4 part[BATCH];
#pragma unroll
            for (int b = 0; b < BATCH; ++b) {
                part[b] = make_float4(0.f, 0.f, 0.f, 0.f);
                if (z + b < gridDim.z)
                    asm volatile("ld.global.cg.v4.f32 {%0,%1,%2,%3}, [%4];\n"
                                 : "=f"(part[b].x), "=f"(part[b].y), "=f"(part[b].z), "=f"(part[b].w)
                                 : "l"(next + b * stride));
            }
#pragma unroll
            for (int b = 0; b < BATCH; ++b) sum.x += part[b].x, sum.y += part[b].y, sum.z += part[b].z, sum.w += part[b].w;
        }
        if (token < tokens)
            *reinterpret_cast<uint2*>(y + static_cast<long long>(token) * n + quad * ROWS) =
                make_uint2(pack_half2(sum.x, sum.y), pack_half2(sum.z, sum.w));
    }
}

#if PRIVATE
// ---------------------------------------------------------------------------------------------------- bank = lane

constexpr int PARTS = WARPS / CHUNKS;           // warps that share the tables of one chunk
constexpr int PART_BITS = PARTS == 8 ? 3 : PARTS == 4 ? 2 : PARTS == 2 ? 1 : 0;
constexpr int VALUES = ROWS * TOKENS;           // sums of a thread
constexpr int UNIT_BYTES = 32 * 16, SCALE_BYTES = SLAB / 64 * ROWS * 2;  // of a stage; groups have 64 columns or more
constexpr int STAGE_BYTES = UNIT_BYTES + 2 * SCALE_BYTES;                // a warp's units, scales, offsets
static_assert(MU == 8 && !SIGNED, "tables of whole bytes");
static_assert((1 << PART_BITS) * CHUNKS == WARPS, "4, 8, 16 or 32 warps");

// This warp's part of the tables: the chunk warp / PARTS of each lane's word, top index bits warp % PARTS.
__device__ __forceinline__ void build(unsigned tables, const half_bits* x, int k, int first_column, int tokens) {
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, chunk = warp / PARTS, part = warp % PARTS;
    const int column = first_column + lane * WORD + chunk * MU;
    float low[TOKENS][8], high[TOKENS][1 << (5 - PART_BITS)];
#pragma unroll
    for (int m = 0; m < TOKENS; ++m) {
        const uint4 eight = load16(x + static_cast<long long>(m) * k + column, column < k && m < tokens);
        const float v[8] = {low_half(eight.x), high_half(eight.x), low_half(eight.y), high_half(eight.y),
                            low_half(eight.z), high_half(eight.z), low_half(eight.w), high_half(eight.w)};
        signed_sums<3>(low[m], v);
        signed_sums<5 - PART_BITS>(high[m], v + 3);
        float base = 0.f;
#pragma unroll
        for (int b = 0; b < PART_BITS; ++b) base += part >> b & 1 ? v[8 - PART_BITS + b] : -v[8 - PART_BITS + b];
#pragma unroll
        for (float& h : high[m]) h += base;
    }
    const unsigned to = tables + chunk * TABLE_BYTES + part * (TABLE_BYTES >> PART_BITS) + lane * 4;
#pragma unroll
    for (int h = 0; h < 1 << (5 - PART_BITS); ++h)
#pragma unroll
        for (int l = 0; l < 8; ++l) {
            const float first = low[0][l] + high[0][h];
            store_shared(to + (h * 8 + l) * 128,
                         TOKENS == 1 ? __float_as_uint(first) : pack_half2(first, low[TOKENS - 1][l] + high[TOKENS - 1][h]));
        }
}

// sums[t] += scale * (the table entries of a word)
__device__ __forceinline__ void look_up(float (&sums)[TOKENS], unsigned word, float scale, unsigned own_tables, unsigned lane4) {
    unsigned entry[CHUNKS];
#pragma unroll
    for (int c = 0; c < CHUNKS; ++c) entry[c] = load_shared(own_tables + (index_offset(word, c) | lane4) + c * TABLE_BYTES);
    if (TOKENS == 1) {
        const float low = __uint_as_float(entry[0]) + __uint_as_float(entry[1]);
        sums[0] += scale * (low + (__uint_as_float(entry[2]) + __uint_as_float(entry[3])));
    } else {
        const unsigned both = add_half2(add_half2(entry[0], entry[1]), add_half2(entry[2], entry[3]));
        sums[0] += scale * low_half(both);
        sums[TOKENS - 1] += scale * high_half(both);
    }
}

// Add VALUES sums over the warp's lanes; returns in lane l the total of value l / (32 / VALUES).
__device__ __forceinline__ float add_lanes(const float (&sums)[ROWS][TOKENS]) {
    const int lane = threadIdx.x & 31;
    float v[VALUES];
#pragma unroll
    for (int i = 0; i < VALUES; ++i) v[i] = sums[i / TOKENS][i % TOKENS];
    int mask = 16;
#pragma unroll
    for (int width = VALUES / 2; width > 0; width /= 2, mask /= 2)
#pragma unroll
        for (int i = 0; i < width; ++i) {
            const bool upper = lane & mask;
            const float keep = upper ? v[i + width] : v[i], give = upper ? v[i] : v[i + width];
            v[i] = keep + shuffle_xor(give, mask);
        }
#pragma unroll
    for (; mask > 0; mask /= 2) v[0] += shuffle_xor(v[0], mask);
    return v[0];
}

// quads: units of a plane that each warp of a row block works through, some of the last block beyond N;
// group_shift: log2 of the words that share a scale, 31 for all of them. All warps count alike, so no branch diverges.
extern "C" __global__ void __launch_bounds__(THREADS, CTAS_PER_SM)
lut_gemm_matmul(const half_bits* __restrict__ x, const unsigned char* __restrict__ w, const unsigned char* __restrict__ s,
                half_bits* __restrict__ y, float* workspace, unsigned* counters, int m, int n, int k, int bits,
                int group_shift, int quads) {
    extern __shared__ __align__(128) unsigned char shared[];
    const unsigned tables = shared_address(shared);
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    const int token = blockIdx.y * TOKENS, tokens = min(TOKENS, m - token);
    const int slab = blockIdx.z, first_column = slab * SLAB;
    const int lanes = min(32, (k - first_column) / WORD);  // words of this slab
    const int block_rows = quads * WARPS * ROWS, first_row = blockIdx.x * block_rows;
    const int rows = min(block_rows, n - first_row), own_row = warp * quads * ROWS;  // rows count from first_row

    // What a warp copies: lanes their units, the first lanes the scales of the slab's groups.
    const int units = quads * bits, own_units = min(quads, (rows - own_row) / ROWS) * bits;
    const int groups = ((lanes - 1) >> group_shift) + 1;  // of this slab
    const int first_group = slab * WORDS_PER_STEP >> group_shift;
    const long long row = first_row + own_row;
    const unsigned char* unit = w + (static_cast<long long>(first_column / WORD) * n + row * lanes) * bits * 4 + lane * 16;
    const unsigned char* scale = s + (static_cast<long long>(first_group) * n + row * groups) * (bits + 1) * 2 + lane * 8;
    const int unit_stride = lanes * 16, scale_stride = groups * 8;
    const int lane_units = lane < lanes ? own_units : 0, lane_scales = lane < groups ? own_units : 0;
    const unsigned ring = tables + CHUNKS * TABLE_BYTES + warp * STAGES * STAGE_BYTES, own_words = ring + lane * 16;
    const unsigned own_copies = ring + UNIT_BYTES + lane * 8;
    const unsigned own_scales = ring + UNIT_BYTES + min(lane >> group_shift, groups - 1) * 8;

    int fetched = 0, plane_fetched = 0;
    auto fetch = [&](int stage) {
        copy16(own_words + stage * STAGE_BYTES, unit, fetched < lane_units);
        copy8(own_copies + stage * STAGE_BYTES, scale, fetched < lane_scales);
        const bool last = ++plane_fetched == bits;  // plane: the offset lies behind its scales
        copy8(own_copies + stage * STAGE_BYTES + SCALE_BYTES, scale + scale_stride, last && fetched < lane_scales);
        unit += unit_stride;
        scale += last ? 2 * scale_stride : scale_stride;
        plane_fetched = last ? 0 : plane_fetched;
        ++fetched;
        copy_commit();
    };
#pragma unroll
    for (int i = 0; i < STAGES - 1; ++i) fetch(i);
    build(tables, x + static_cast<long long>(token) * k, k, first_column, tokens);
    __syncthreads();

    const unsigned lane4 = lane * 4;
    float column_sum[TOKENS] = {};
    look_up(column_sum, ALL_PLUS, 1.f, tables, lane4);

    const int tile = blockIdx.y * gridDim.x + blockIdx.x;
    float* slices = workspace + static_cast<long long>(tile) * gridDim.z * block_rows * TOKENS;
    half_bits* out = y + static_cast<long long>(token) * n + first_row;
    // Which sum this lane has after add_lanes, and where it goes.
    const int value = lane / (32 / VALUES), value_token = value % TOKENS, first_at = own_row + value / TOKENS;
    const bool whole = gridDim.z == 1;
    char* to = whole ? reinterpret_cast<char*>(out + static_cast<long long>(value_token) * n + first_at)
                     : reinterpret_cast<char*>(slices + (slab * TOKENS + value_token) * block_rows + first_at);
    const int step = whole ? ROWS * 2 : ROWS * 4;
    int to_write = lane % (32 / VALUES) == 0 && value_token < tokens ? own_units : 0;

    float sums[ROWS][TOKENS] = {};
    int plane = 0;
#pragma unroll 1
    for (int first = 0; first < units; first += STAGES) {
#pragma unroll
        for (int i = 0; i < STAGES; ++i) {
            if (first + i >= units) break;
            copy_wait<STAGES - 2>();
            __syncwarp();  // all lanes' copies are there, and all have read the stage that is filled next
            const uint4 words = load_shared16(own_words + i * STAGE_BYTES);
            const uint2 scales = load_shared8(own_scales + i * STAGE_BYTES);
            fetch((i + STAGES - 1) % STAGES);
            const unsigned four[ROWS] = {words.x, words.y, words.z, words.w};
            const float alpha[ROWS] = {low_half(scales.x), high_half(scales.x), low_half(scales.y), high_half(scales.y)};
#pragma unroll
            for (int r = 0; r < ROWS; ++r) look_up(sums[r], four[r], alpha[r], tables, lane4);
            if (++plane < bits) continue;
            plane = 0;
            const uint2 offsets = load_shared8(own_scales + i * STAGE_BYTES + SCALE_BYTES);
            const float z[ROWS] = {low_half(offsets.x), high_half(offsets.x), low_half(offsets.y), high_half(offsets.y)};
#pragma unroll
            for (int r = 0; r < ROWS; ++r)
#pragma unroll
                for (int t = 0; t < TOKENS; ++t) sums[r][t] += z[r] * column_sum[t];
            store_result(to, add_lanes(sums), whole, first + i < to_write);
            to += step;
#pragma unroll
            for (int r = 0; r < ROWS; ++r)
#pragma unroll
                for (int t = 0; t < TOKENS; ++t) sums[r][t] = 0.f;
        }
    }
    copy_wait<0>();
    if (gridDim.z > 1 && arrive(counters + tile)) add_slices(slices, out, rows, block_rows, tokens, n);
}

#else
// ---------------------------------------------------------------------------------------------------- tables for all lanes

constexpr int BLOCK_ROWS = 256;  // of the packing
constexpr int TABLES = WORDS_PER_STEP * CHUNKS;
constexpr int BASES = ENTRIES / 8;  // a thread makes eight entries, with every choice of the three top index bits
constexpr int LOW_BITS = MU - 3 - SIGNED;
static_assert(TOKENS == 1, "one token: a half per entry");
static_assert(!SIGNED || MU == 8, "the packing of signs is that of bytes");

// Make the tables of SLAB columns.
__device__ __forceinline__ void build(unsigned tables, const float* columns) {
#pragma unroll 1
    for (int job = threadIdx.x; job < TABLES * BASES; job += THREADS) {
        const int table = job / BASES, base = job % BASES, chunk = table % CHUNKS;
        const float* v = columns + table / CHUNKS * WORD + chunk * MU;
        float value[MU];
#pragma unroll
        for (int t = 0; t < MU; ++t) value[t] = chunk * MU + t < WORD ? v[t] : 0.f;
        float high[8], low = SIGNED ? -value[MU - 1] : 0.f;
        signed_sums<3>(high, value + LOW_BITS);
#pragma unroll
        for (int t = 0; t < LOW_BITS; ++t) low += base >> t & 1 ? value[t] : -value[t];
#pragma unroll
        for (int h = 0; h < 8; ++h) store_shared_half(tables + table * TABLE_BYTES + (h * BASES + base) * 2, to_half(low + high[h]));
    }
}

// The sum of a word's table entries; `tables` are the word's.
__device__ __forceinline__ float look_up(unsigned tables, unsigned word) {
    half_bits entry[CHUNKS];
#pragma unroll
    for (int c = 0; c < CHUNKS; ++c) entry[c] = load_shared_half(tables + index_offset(word, c) + c * TABLE_BYTES);
#if SIGNED
    // The signs of chunks 0 and 2 are bits 0 and 16, those of 1 and 3 bits 8 and 24.
    const unsigned even = __byte_perm(entry[0], entry[2], 0x5410) ^ (word << 15 & 0x80008000u);
    const unsigned odd = __byte_perm(entry[1], entry[3], 0x5410) ^ (word << 7 & 0x80008000u);
    const unsigned sum = add_half2(even, odd);
    return low_half(sum) + high_half(sum);
#else
#pragma unroll
    for (int width = 1; width < CHUNKS; width *= 2)
#pragma unroll
        for (int c = 0; c + width < CHUNKS; c += 2 * width) entry[c] = add_half(entry[c], entry[c + width]);
    return to_float(entry[0]);
#endif
}

// A K slice is `slice` steps of SLAB columns, one more in the first `longer_slices`;
// group_shift: log2 of the words that share a scale, 2 or more, 31 for all of them.
extern "C" __global__ void __launch_bounds__(THREADS, CTAS_PER_SM)
lut_gemm_matmul(const half_bits* __restrict__ x, const unsigned char* __restrict__ w, const unsigned char* __restrict__ s,
                half_bits* __restrict__ y, float* workspace, unsigned* counters, int m, int n, int k, int bits,
                int group_shift, int slice, int longer_slices) {
    extern __shared__ __align__(128) unsigned char shared[];
    __shared__ float columns[SLAB];
    const unsigned tables = shared_address(shared);
    const int token = blockIdx.y, z = blockIdx.z, first_row = blockIdx.x * THREADS * ROWS;
    const int row = first_row + threadIdx.x * ROWS;
    const int begin = z * slice + min(z, longer_slices), end = begin + slice + (z < longer_slices ? 1 : 0);
    const int all_words = k / WORD, block = row / BLOCK_ROWS, plane_bytes = min(BLOCK_ROWS, n - block * BLOCK_ROWS) * 4;

    const unsigned char* next_plane = w + static_cast<long long>(block) * BLOCK_ROWS * 4 * all_words * bits +
                                      static_cast<long long>(begin) * WORDS_PER_STEP * bits * plane_bytes + row % BLOCK_ROWS * 4;
    const unsigned char* scale = nullptr;
    uint4 words[WORDS_PER_STEP];
    auto fetch = [&](int words_left) {
#pragma unroll
        for (int i = 0; i < WORDS_PER_STEP; ++i) words[i] = load16(next_plane + i * bits * plane_bytes, row < n && i < words_left);
        next_plane += plane_bytes;
    };
    fetch(all_words - begin * WORDS_PER_STEP);

    float sums[ROWS] = {};
#pragma unroll 1
    for (int step = begin; step < end; ++step) {
        const int words_left = all_words - step * WORDS_PER_STEP;
        if (step > begin) __syncthreads();  // everybody has looked up
        for (int i = threadIdx.x; i < SLAB; i += THREADS)
            columns[i] = i < words_left * WORD ? to_float(x[static_cast<long long>(token) * k + step * SLAB + i]) : 0.f;
        __syncthreads();
        build(tables, columns);
        __syncthreads();
        scale = s + (static_cast<long long>(step * WORDS_PER_STEP >> group_shift) * (bits + 1) * n + row) * 2;
#pragma unroll 1
        for (int plane = 0; plane < bits; ++plane) {
            uint4 now[WORDS_PER_STEP];
#pragma unroll
            for (int i = 0; i < WORDS_PER_STEP; ++i) now[i] = words[i];
            const uint2 alpha = load8(scale, row < n);
            scale += 2ll * n;
            if (plane + 1 < bits) {
                fetch(words_left);
            } else {
                next_plane += (WORDS_PER_STEP - 1) * bits * plane_bytes;
                fetch(step + 1 < end ? words_left - WORDS_PER_STEP : 0);
            }
            float sum[ROWS] = {};
#pragma unroll
            for (int i = 0; i < WORDS_PER_STEP; ++i) {
                const unsigned own = tables + i * CHUNKS * TABLE_BYTES;
                sum[0] += look_up(own, now[i].x), sum[1] += look_up(own, now[i].y);
                sum[2] += look_up(own, now[i].z), sum[3] += look_up(own, now[i].w);
            }
            sums[0] += low_half(alpha.x) * sum[0], sums[1] += high_half(alpha.x) * sum[1];
            sums[2] += low_half(alpha.y) * sum[2], sums[3] += high_half(alpha.y) * sum[3];
        }
        const uint2 offset = load8(scale, row < n);
        float total = 0.f;
#pragma unroll
        for (int i = 0; i < WORDS_PER_STEP; ++i) total += look_up(tables + i * CHUNKS * TABLE_BYTES, ALL_PLUS);
        sums[0] += low_half(offset.x) * total, sums[1] += high_half(offset.x) * total;
        sums[2] += low_half(offset.y) * total, sums[3] += high_half(offset.y) * total;
    }

    half_bits* out = y + static_cast<long long>(token) * n + first_row;
    if (gridDim.z == 1) {
        if (row < n)
            reinterpret_cast<uint2*>(out)[threadIdx.x] = make_uint2(pack_half2(sums[0], sums[1]), pack_half2(sums[2], sums[3]));
        return;
    }
    const int tile = blockIdx.y * gridDim.x + blockIdx.x;
    float* slices = workspace + static_cast<long long>(tile) * gridDim.z * THREADS * ROWS;
    reinterpret_cast<float4*>(slices + z * THREADS * ROWS)[threadIdx.x] = make_float4(sums[0], sums[1], sums[2], sums[3]);
    if (arrive(counters + tile)) add_slices(slices, out, min(THREADS * ROWS, n - first_row), THREADS * ROWS, 1, n);
}
#endif
