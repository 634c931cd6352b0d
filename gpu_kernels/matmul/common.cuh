// What the matmul kernels share: Y[M,N] = X[M,K] * W[N,K]^T, fp32 accumulation in mma.sync.m16n8k16, half output.
//
// Weights are the 16-row A operand and tokens the 8-column B operand, so that a batch of 1..8 tokens wastes little:
// a warp's accumulators hold Y transposed, and the epilogue turns them round while it writes to shared memory.
//
// Compile-time configuration (macros):
//   BM, BN            tokens and outputs of a CTA's tile
//   WARPS_M, WARPS_N  warps along tokens and outputs; a warp owns WM tokens x WN outputs
//   WARPS_K           warps along K: each takes its share of a stage's blocks; their sums meet in shared memory
//   STAGES            stages of the cp.async pipeline
//   BLOCKS            64-column blocks of K in one stage
// The host compiler sees no CUDA header: everything is PTX or built in, so that no foreign path enters the line table.

#pragma once

typedef unsigned short half_bits;  // the bits of one IEEE half

__device__ constexpr int largest_power(int up_to) { return up_to < 2 ? 1 : 2 * largest_power(up_to / 2); }

constexpr int GROUP = 32 * WARPS_M * WARPS_N;  // threads that cover the tile once
constexpr int THREADS = GROUP * WARPS_K;
constexpr int WM = BM / WARPS_M;         // tokens of a warp
constexpr int WN = BN / WARPS_N;         // outputs of a warp
constexpr int N_FRAGMENTS = WN / 16;     // mma A operands along the outputs
constexpr int M_FRAGMENTS = WM / 8;      // mma B operands along the tokens
constexpr int BLOCK_K = 64;              // columns of one block: 128-byte rows of eight 16-byte chunks
constexpr int ROW_BYTES = 2 * BLOCK_K;
constexpr int WARP_BLOCKS = BLOCKS / WARPS_K;  // blocks of a stage that one warp multiplies
constexpr int STEPS = 4 * WARP_BLOCKS;         // k16 steps of a warp in a stage
constexpr int VECTORS = N_FRAGMENTS * M_FRAGMENTS;  // accumulator quads of a thread
constexpr int SHARE = VECTORS / WARPS_K;            // of these, what it keeps when the warps along K have added theirs
constexpr int ROWS_PER_PASS = largest_power(THREADS) / 8;
constexpr int OUT_ROW_BYTES = 2 * BN + 16;  // 16 bytes of padding: eight rows fall into eight different bank groups

static_assert(WM == 8 || WM % 16 == 0, "a warp owns 8 tokens or a multiple of 16");
static_assert(WN % 16 == 0, "a warp owns a multiple of 16 outputs");
static_assert(BLOCKS % WARPS_K == 0 && VECTORS % WARPS_K == 0, "warps along K share blocks and results evenly");
static_assert(ROWS_PER_PASS % 8 == 0, "the swizzle repeats every 8 rows");

using Accumulators = float[N_FRAGMENTS][M_FRAGMENTS][4];
using Results = float[SHARE][4];  // quad i of warp group w is quad w * SHARE + i of the accumulators

// ---------------------------------------------------------------------------------------------------- PTX wrappers

__device__ __forceinline__ unsigned shared_address(const void* pointer) {
    return static_cast<unsigned>(__cvta_generic_to_shared(pointer));
}

// Copy 16 bytes if `issue`; write zeros without reading global memory if not `valid`.
__device__ __forceinline__ void copy16(unsigned to, const void* from, bool issue, bool valid) {
    asm volatile(
        "{ .reg .pred p; setp.ne.b32 p, %2, 0;\n"
        "@p cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %3; }\n" ::"r"(to),
        "l"(from), "r"(static_cast<int>(issue)), "r"(valid ? 16 : 0));
}

__device__ __forceinline__ void copy_commit() { asm volatile("cp.async.commit_group;\n" ::: "memory"); }

template <int PENDING>
__device__ __forceinline__ void copy_wait() {
    asm volatile("cp.async.wait_group %0;\n" ::"n"(PENDING) : "memory");
}

__device__ __forceinline__ void ldmatrix_x4(unsigned (&r)[4], unsigned address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\n"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address));
}

__device__ __forceinline__ void ldmatrix_x2(unsigned& r0, unsigned& r1, unsigned address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];\n" : "=r"(r0), "=r"(r1) : "r"(address));
}

__device__ __forceinline__ void mma(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], const float (&c)[4]) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%11,%12,%13};\n"
        : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(c[0]), "f"(c[1]), "f"(c[2]), "f"(c[3]));
}

// Round two floats to half and pack them, `low` in the low half.
__device__ __forceinline__ unsigned pack_half2(float low, float high) {
    unsigned r;
    asm("cvt.rn.f16x2.f32 %0, %2, %1;\n" : "=r"(r) : "f"(low), "f"(high));
    return r;
}

// Write 16 bytes to global memory if `enabled`, without a branch.
__device__ __forceinline__ void store16(void* to, const uint4& v, bool enabled) {
    asm volatile(
        "{ .reg .pred p; setp.ne.b32 p, %5, 0;\n"
        "@p st.global.v4.b32 [%0], {%1,%2,%3,%4}; }\n" ::"l"(to),
        "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w), "r"(static_cast<int>(enabled)) : "memory");
}

// Order this thread's accesses before and after, as all of the GPU sees them (acquire and release).
__device__ __forceinline__ void fence_gpu() { asm volatile("fence.acq_rel.gpu;\n" ::: "memory"); }

// ---------------------------------------------------------------------------------------------------- copies in

// Byte offset of chunk `chunk` of row `row` in a panel of 128-byte rows: eight rows of one chunk lie in eight
// different bank groups, for ldmatrix and cp.async alike.
__device__ __forceinline__ int swizzled(int row, int chunk) { return row * ROW_BYTES + ((chunk ^ (row & 7)) << 4); }

// Copies a panel set [BLOCKS][ROWS][64 halves] of a row-major matrix, one thread per chunk and pass.
// A pass covers ROWS_PER_PASS rows of the set; consecutive passes first exhaust the rows, then the blocks.
template <int ROWS>
struct PanelCopy {
    static constexpr int SET = ROWS * BLOCKS;
    static constexpr int PASSES = (SET + ROWS_PER_PASS - 1) / ROWS_PER_PASS;
    static constexpr int OWN_ROWS = ROWS < ROWS_PER_PASS ? ROWS : ROWS_PER_PASS;  // rows of one panel in a pass
    static constexpr int PASSES_PER_PANEL = ROWS / OWN_ROWS;
    static constexpr int PANELS_PER_PASS = ROWS_PER_PASS / OWN_ROWS;
    static constexpr bool ALL_COPY = PANELS_PER_PASS <= BLOCKS && ROWS_PER_PASS * 8 == THREADS;

    const half_bits* source;  // this thread's chunk in the first pass of the next stage
    long long stride;         // halves between rows
    int rows_left;            // rows below this one, itself included, that exist; others are not copied
    int columns_left;         // columns from this chunk on that exist
    unsigned offset;          // in the panel set of a stage

    __device__ __forceinline__ PanelCopy(const half_bits* matrix, int first_row, int rows, int columns, int first_column) {
        const int slot = threadIdx.x >> 3, chunk = threadIdx.x & 7;
        const int row = slot % OWN_ROWS, panel = slot / OWN_ROWS;
        stride = columns;
        source = matrix + (first_row + row) * stride + first_column + panel * BLOCK_K + chunk * 8;
        rows_left = slot < ROWS_PER_PASS && panel < BLOCKS ? rows - first_row - row : 0;
        columns_left = columns - first_column - panel * BLOCK_K - chunk * 8;
        offset = panel * ROWS * ROW_BYTES + swizzled(row, chunk);
    }

    // Issue share `part` of `parts` of the next stage into the panel set at shared address `to`. WHOLE: all of it exists.
    template <bool WHOLE = false>
    __device__ __forceinline__ void issue(unsigned to, bool enabled, int part, int parts) const {
#pragma unroll
        for (int pass = 0; pass < PASSES; ++pass) {
            if (pass * parts / PASSES != part) continue;
            const int row = pass % PASSES_PER_PANEL * OWN_ROWS;
            const int panel = pass / PASSES_PER_PANEL * PANELS_PER_PASS;
            copy16(to + offset + (panel * ROWS + row) * ROW_BYTES, source + row * stride + panel * BLOCK_K,
                   enabled && ((WHOLE && ALL_COPY) || row < rows_left), WHOLE || panel * BLOCK_K < columns_left);
        }
    }

    __device__ __forceinline__ void advance() {
        source += BLOCKS * BLOCK_K;
        columns_left -= BLOCKS * BLOCK_K;
    }
};

// ---------------------------------------------------------------------------------------------------- fragments

// The tokens' fragments of one k16 step from a panel of 128-byte rows.
struct TokenFragments {
    unsigned r[M_FRAGMENTS][2];
    // Load share `part` of `parts`.
    __device__ __forceinline__ void load(unsigned panel, int first_row, int step, int part, int parts) {
        const int lane = threadIdx.x & 31;
        const int row = first_row + (lane & 7) + (WM == 8 ? 0 : (lane >> 4) * 8);
        const unsigned address = panel + row * ROW_BYTES + (((2 * step + (lane >> 3 & 1)) ^ (lane & 7)) << 4);
        if (WM == 8 && part == 0) ldmatrix_x2(r[0][0], r[0][1], address);
#pragma unroll
        for (int i = 0; i < M_FRAGMENTS / 2; ++i) {
            if (i * parts / (M_FRAGMENTS / 2) != part) continue;
            unsigned q[4];
            ldmatrix_x4(q, address + i * 16 * ROW_BYTES);
            r[2 * i][0] = q[0], r[2 * i][1] = q[1], r[2 * i + 1][0] = q[2], r[2 * i + 1][1] = q[3];
        }
    }
};

// ---------------------------------------------------------------------------------------------------- where a CTA works

// grid = (token tiles << group_shift, output tiles >> group_shift, K slices): CTAs that run together share a group of
// 2^group_shift output tiles and go through the tokens, so that both operands stay in L2.
struct Place {
    int first_token, first_output, tile, begin, count;  // begin, count: stages of this K slice
    __device__ __forceinline__ Place(int group_shift, int slice, int longer_slices) {
        const int x = blockIdx.x, z = blockIdx.z;
        first_token = (x >> group_shift) * BM;
        first_output = ((blockIdx.y << group_shift) + (x & ((1 << group_shift) - 1))) * BN;
        tile = blockIdx.y * gridDim.x + x;
        begin = z * slice + min(z, longer_slices);
        count = slice + (z < longer_slices ? 1 : 0);
    }
};

// ---------------------------------------------------------------------------------------------------- results out

// Add what the warps along K have accumulated, in their order, and deal the sums out among them.
// Needs WARPS_K partial tiles of shared memory that no copy is writing and no warp is reading any more.
__device__ __forceinline__ void add_warps(Results& sum, const Accumulators& acc, unsigned char* shared) {
    if (WARPS_K == 1) {
#pragma unroll
        for (int i = 0; i < SHARE; ++i)
#pragma unroll
            for (int j = 0; j < 4; ++j) sum[i][j] = acc[i / M_FRAGMENTS][i % M_FRAGMENTS][j];
        return;
    }
    const int group = threadIdx.x / GROUP, slot = threadIdx.x % GROUP;
    float4* tiles = reinterpret_cast<float4*>(shared);
#pragma unroll
    for (int i = 0; i < VECTORS; ++i) {
        const float* v = acc[i / M_FRAGMENTS][i % M_FRAGMENTS];
        tiles[(group * VECTORS + i) * GROUP + slot] = make_float4(v[0], v[1], v[2], v[3]);
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < SHARE; ++i) {
        sum[i][0] = sum[i][1] = sum[i][2] = sum[i][3] = 0.f;
#pragma unroll
        for (int g = 0; g < WARPS_K; ++g) {
            const float4 v = tiles[(g * VECTORS + group * SHARE + i) * GROUP + slot];
            sum[i][0] += v.x, sum[i][1] += v.y, sum[i][2] += v.z, sum[i][3] += v.w;
        }
    }
}

// Leave this slice's partial tile in `workspace`; the CTA that arrives last sums all of them in the order of the
// slices (the result does not depend on who is last), resets the counter for the next launch and returns true.
__device__ __forceinline__ bool reduce_slices(Results& sum, float* workspace, unsigned* counters, int tile) {
    constexpr int BATCH = SHARE >= 16 ? 1 : SHARE >= 8 ? 2 : 4;  // slices whose loads are in flight together
    __shared__ unsigned arrived;
    const int slices = gridDim.z;
    float4* tile_base = reinterpret_cast<float4*>(workspace) + static_cast<long long>(tile) * slices * SHARE * THREADS;
    float4* own = tile_base + static_cast<long long>(blockIdx.z) * SHARE * THREADS + threadIdx.x;
#pragma unroll
    for (int i = 0; i < SHARE; ++i) own[i * THREADS] = make_float4(sum[i][0], sum[i][1], sum[i][2], sum[i][3]);
    fence_gpu();
    __syncthreads();
    if (threadIdx.x == 0) arrived = atomicAdd(counters + tile, 1u);
    __syncthreads();
    if (arrived != slices - 1) return false;
    if (threadIdx.x == 0) counters[tile] = 0;
    fence_gpu();
#pragma unroll
    for (int i = 0; i < SHARE; ++i) sum[i][0] = sum[i][1] = sum[i][2] = sum[i][3] = 0.f;
    const float4* next = tile_base + threadIdx.x;
    for (int z = 0; z < slices; z += BATCH, next += BATCH * SHARE * THREADS) {
        float4 part[BATCH][SHARE];
#pragma unroll
        for (int b = 0; b < BATCH; ++b)
#pragma unroll
            for (int i = 0; i < SHARE; ++i) {
                part[b][i] = make_float4(0.f, 0.f, 0.f, 0.f);
                if (z + b < slices)
                    asm volatile("ld.global.cg.v4.f32 {%0,%1,%2,%3}, [%4];\n"
                                 : "=f"(part[b][i].x), "=f"(part[b][i].y), "=f"(part[b][i].z), "=f"(part[b][i].w)
                                 : "l"(next + (b * SHARE + i) * THREADS));
            }
#pragma unroll
        for (int b = 0; b < BATCH; ++b)
#pragma unroll
            for (int i = 0; i < SHARE; ++i) {
                sum[i][0] += part[b][i].x, sum[i][1] += part[b][i].y;
                sum[i][2] += part[b][i].z, sum[i][3] += part[b][i].w;
            }
    }
    return true;
}

// Store one 16-output x 8-token fragment, rounded and transposed: rows of shared memory are tokens.
__device__ __forceinline__ void store_fragment(unsigned to, const float (&v)[4]) {
    const int lane = threadIdx.x & 31;
    const unsigned low = pack_half2(v[0], v[1]), high = pack_half2(v[2], v[3]);
#if __CUDA_ARCH__ >= 900
    const unsigned address = to + (lane & 7) * OUT_ROW_BYTES + (lane >> 3 & 1) * 16;
    asm volatile("stmatrix.sync.aligned.m8n8.x2.trans.shared.b16 [%0], {%1,%2};\n" ::"r"(address), "r"(low), "r"(high)
                 : "memory");
#else
    const unsigned address = to + (lane & 3) * 2 * OUT_ROW_BYTES + (lane >> 2) * 2;
    asm volatile("{ .reg .b16 a, b; mov.b32 {a, b}, %1; st.shared.b16 [%0], a; st.shared.b16 [%0+%2], b; }\n" ::"r"(address),
                 "r"(low), "n"(OUT_ROW_BYTES) : "memory");
    asm volatile("{ .reg .b16 a, b; mov.b32 {a, b}, %1; st.shared.b16 [%0+16], a; st.shared.b16 [%0+%2], b; }\n" ::"r"(address),
                 "r"(high), "n"(OUT_ROW_BYTES + 16) : "memory");
#endif
}

// Which 16 bytes of the output tile a thread writes as number `c`. Eight lanes read from eight different bank groups: where
// a row is no multiple of eight chunks, they take UNIT chunks each of rows that are UNIT apart.
struct OutChunk {
    static constexpr int CHUNKS = BN / 8, UNIT = CHUNKS % 8 == 0 ? 8 : CHUNKS % 4 == 0 ? 4 : 2;
    int row, column;

    __device__ __forceinline__ explicit OutChunk(int c) {
        const int lane = c % 8, eighth = c / 8 % CHUNKS;
        row = UNIT == 8 ? c / CHUNKS : c / 8 / CHUNKS * 8 + eighth % UNIT + lane / UNIT * UNIT;
        column = UNIT == 8 ? c % CHUNKS * 8 : (eighth / UNIT * UNIT + lane % UNIT) * 8;
    }
};

// Round the tile to half and write it to Y[m, n] through `shared` (which no copy may be writing any more).
__device__ __forceinline__ void store_tile(const Results& sum, unsigned char* shared, half_bits* y, int m, int n,
                                           int first_token, int first_output) {
    const int group = threadIdx.x / GROUP, warp = threadIdx.x % GROUP >> 5;
    const unsigned corner = shared_address(shared) + warp / WARPS_N * WM * OUT_ROW_BYTES + warp % WARPS_N * WN * 2;
#pragma unroll
    for (int i = 0; i < SHARE; ++i) {
        const int quad = group * SHARE + i;
        store_fragment(corner + quad % M_FRAGMENTS * 8 * OUT_ROW_BYTES + quad / M_FRAGMENTS * 32, sum[i]);
    }
    __syncthreads();
    constexpr int TOTAL = BM * OutChunk::CHUNKS, BATCH = 4;
#pragma unroll
    for (int first = 0; first < TOTAL; first += BATCH * THREADS) {
        uint4 v[BATCH];
#pragma unroll
        for (int b = 0; b < BATCH; ++b) {
            const int c = first + b * THREADS + threadIdx.x;
            const OutChunk at(c);
            if (first + b * THREADS < TOTAL && (TOTAL % THREADS == 0 || c < TOTAL))
                v[b] = *reinterpret_cast<const uint4*>(shared + at.row * OUT_ROW_BYTES + at.column * 2);
        }
#pragma unroll
        for (int b = 0; b < BATCH; ++b) {
            const int c = first + b * THREADS + threadIdx.x;
            const OutChunk at(c);
            if (first + b * THREADS >= TOTAL) continue;
            store16(y + static_cast<long long>(first_token + at.row) * n + first_output + at.column, v[b],
                    c < TOTAL && first_token + at.row < m && first_output + at.column < n);
        }
    }
}
