// W4A16 matmul: Y[M,N] = X[M,K] * ((Q[N,K] - 8) * S)^T; half X, S and Y, 4-bit codes Q, one scale per `group` columns.
// Any M; N a multiple of 16, K of 64, the group a multiple of 64 (or all of K).
//
// Layouts    Weights in fragment order: blocks of 16 outputs x 64 columns are 512 contiguous bytes, K fastest; lane l
//            owns 16 bytes, one 32-bit word per k16 step, and nibbles j and j+4 of the word are the two halves of
//            register j of the mma's A operand. So a weight needs one 16-byte shared load per 32 codes, conflict-free,
//            and no ldmatrix. Scales are half[K/group][N]. X and Y are row-major; X is staged as in the FP16 kernel.
// Dequantize SCALE_ACCUMULATORS = 1, for few tokens: the masked nibbles are halves as they stand, subnormal ones: w & 0x000f000f is
//            the pair q in units of 2^-24, w & 0x00f000f0 (the registers of row g + 8) in units of 2^-20, and the tensor
//            core multiplies them exactly. The codes' offset of 8 is a constant A operand times the same tokens: it starts
//            the accumulators of every span of columns, which are then added to the total times the scale, in fp32
//            (4 FFMA per fragment, no rounding of its own). A span is all that a warp has of a stage where the group
//            allows it, else 64 columns. The units are put right once, at the end.
//            SCALE_ACCUMULATORS = 0, for many: (w >> 4j & 0x000f000f) | 0x64006400 is the half pair 1024 + q, exactly;
//            subtracting 1032 gives q - 8. The nibbles four bits higher need no shift: 1024 + 16q, times 1/16, minus 72.
//            The weights are multiplied by the scale as half pairs (one rounding, 2^-11 of each weight).
//            Both read a scale for its row by ldmatrix.trans with eight equal row addresses: that hands every lane
//            the scale of its row twice, as the half pair the multiplication needs.
// Algorithm  A ring of STAGES stages of BLOCKS 64-column blocks, filled by cp.async; registers are loaded one k16 step ahead.
// Split K    grid.z slices of whole stages; see reduce_slices.
// Arguments  group_blocks: 64-column blocks that share a scale, 0 where one row of scales serves all of K.
//            group_inverse: ceil(2^31 / group_blocks), so that block * group_inverse >> 31 is the row of the scales; 0 likewise.
//            workspace, counters: as in the FP16 kernel.

#include "/tcsim/matmul/common.cuh"

constexpr int BLOCK_BYTES = 512;  // 16 outputs x 64 columns
constexpr int W_BYTES = BN / 16 * BLOCKS * BLOCK_BYTES;
constexpr int X_BYTES = BLOCKS * BM * ROW_BYTES;
constexpr int S_BYTES = BLOCKS * BN * 2;
constexpr int STAGE_BYTES = W_BYTES + X_BYTES + S_BYTES;

constexpr int AHEAD = SCALE_ACCUMULATORS ? 1 : 0;  // stages that must have arrived beside the one in use

static_assert(STAGES >= 3, "a stage in use, one that has arrived, one under way");

// A warp copies one 512-byte block at a time: all that a stage has of a row of blocks, then the next row. Where there are
// more warps than rows, several share one.
constexpr int WARPS = THREADS / 32;
constexpr int ROWS = BN / 16;
constexpr int ROW_PASSES = (ROWS + WARPS - 1) / WARPS;
constexpr int SHARERS = WARPS > ROWS ? WARPS / ROWS : 1;
constexpr int S_CHUNKS = BLOCKS * BN / 8;

static_assert(WARPS <= ROWS || WARPS % ROWS == 0, "as many warps on each row");
static_assert(BLOCKS % SHARERS == 0, "warps that share a row copy as much each");
static_assert(S_CHUNKS <= THREADS, "one pass of scale copies");

// Copies the packed weights of a stage: [BN/16][BLOCKS][512 bytes], linear. What does not exist is not copied: the codes
// that are there instead are finite, and meet tokens that are zero or outputs that nobody stores.
struct WeightCopy {
    const unsigned char* source;  // this thread's first chunk of the next stage
    long long stride;             // bytes between the rows of two passes
    int rows_left, blocks_left;   // that exist, from this thread's first on
    unsigned offset;

    __device__ __forceinline__ WeightCopy(const unsigned char* w, int first_output, int n, int k, int first_block) {
        const int warp = threadIdx.x >> 5, row = warp % ROWS, block = warp / ROWS;
        const long long row_bytes = static_cast<long long>(k / BLOCK_K) * BLOCK_BYTES;
        offset = block * BLOCK_BYTES + (threadIdx.x & 31) * 16;
        source = w + (first_output / 16 + row) * row_bytes + static_cast<long long>(first_block) * BLOCK_BYTES + offset;
        stride = WARPS * row_bytes;
        offset += row * BLOCKS * BLOCK_BYTES;
        rows_left = min(n / 16 - first_output / 16, ROWS) - row;
        blocks_left = k / BLOCK_K - first_block - block;
    }

    __device__ __forceinline__ void issue(unsigned to, bool enabled) const {
#pragma unroll
        for (int pass = 0; pass < ROW_PASSES; ++pass)
#pragma unroll
            for (int block = 0; block < BLOCKS; block += SHARERS)
                copy16(to + offset + (pass * WARPS * BLOCKS + block) * BLOCK_BYTES, source + pass * stride + block * BLOCK_BYTES,
                       enabled && pass * WARPS < rows_left, block < blocks_left);
    }

    __device__ __forceinline__ void advance() {
        source += BLOCKS * BLOCK_BYTES;
        blocks_left -= BLOCKS;
    }
};

// Copies the scales of a stage: [BLOCKS][BN], one row per block whatever the group.
struct ScaleCopy {
    const half_bits* source;  // this thread's chunk of row 0
    unsigned block, blocks, n, group_inverse;
    bool active;

    __device__ __forceinline__ ScaleCopy(const half_bits* s, int first_output, int n_, int k, int first_block,
                                         unsigned inverse) {
        const int column = first_output + threadIdx.x % (BN / 8) * 8;
        source = s + column;
        block = first_block + threadIdx.x / (BN / 8);
        blocks = k / BLOCK_K;
        n = n_;
        group_inverse = inverse;
        active = threadIdx.x < S_CHUNKS && column < n_;
    }

    __device__ __forceinline__ void issue(unsigned to, bool enabled) const {
        const unsigned row = static_cast<unsigned long long>(block) * group_inverse >> 31;
        copy16(to + threadIdx.x * 16, source + row * n, enabled && active, block < blocks);
    }

    __device__ __forceinline__ void advance() { block += BLOCKS; }
};

__device__ __forceinline__ void ldmatrix_x4_trans(unsigned (&r)[4], unsigned address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];\n"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address));
}

__device__ __forceinline__ void ldmatrix_x2_trans(unsigned& r0, unsigned& r1, unsigned address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];\n" : "=r"(r0), "=r"(r1) : "r"(address));
}

__device__ __forceinline__ unsigned half2_sub(unsigned a, unsigned b) {
    unsigned r;
    asm("sub.f16x2 %0, %1, %2;\n" : "=r"(r) : "r"(a), "r"(b));
    return r;
}

__device__ __forceinline__ unsigned half2_fma(unsigned a, unsigned b, unsigned c) {
    unsigned r;
    asm("fma.rn.f16x2 %0, %1, %2, %3;\n" : "=r"(r) : "r"(a), "r"(b), "r"(c));
    return r;
}

__device__ __forceinline__ unsigned half2_mul(unsigned a, unsigned b) {
    unsigned r;
    asm("mul.f16x2 %0, %1, %2;\n" : "=r"(r) : "r"(a), "r"(b));
    return r;
}

__device__ __forceinline__ float low_half(unsigned pair) {
    float r;
    asm("{ .reg .b16 a, b; mov.b32 {a, b}, %1; cvt.f32.f16 %0, a; }\n" : "=f"(r) : "r"(pair));
    return r;
}

// (a & mask) | magic in one LOP3
template <unsigned MASK>
__device__ __forceinline__ unsigned nibbles(unsigned a) {
    unsigned r;
    asm("lop3.b32 %0, %1, %2, %3, 0xea;\n" : "=r"(r) : "r"(a), "n"(MASK), "r"(0x64006400u));
    return r;
}

// Eight codes of one lane -> the A operand of one mma, values -8..7
__device__ __forceinline__ void dequantize(unsigned (&a)[4], unsigned word) {
    const unsigned high = word >> 8;
    a[0] = half2_sub(nibbles<0x000f000f>(word), 0x64086408);               // - 1032
    a[1] = half2_fma(nibbles<0x00f000f0>(word), 0x2c002c00, 0xd480d480);  // / 16 - 72
    a[2] = half2_sub(nibbles<0x000f000f>(high), 0x64086408);
    a[3] = half2_fma(nibbles<0x00f000f0>(high), 0x2c002c00, 0xd480d480);
}

// Eight codes of one lane -> the A operand of one mma as subnormal halves: codes 0..15, in units of 2^-24 in the
// registers of row g and of 2^-20 in those of row g + 8.
__device__ __forceinline__ void codes(unsigned (&a)[4], unsigned word) {
    const unsigned high = word >> 8;
    a[0] = word & 0x000f000f;
    a[1] = word & 0x00f000f0;
    a[2] = high & 0x000f000f;
    a[3] = high & 0x00f000f0;
}

// A warp's packed codes of one 64-column block.
struct Codes {
    unsigned words[N_FRAGMENTS][4];

    __device__ __forceinline__ void load(unsigned stage, int first_output, int block) {
        const unsigned w = stage + (first_output / 16 * BLOCKS + block) * BLOCK_BYTES + (threadIdx.x & 31) * 16;
#pragma unroll
        for (int i = 0; i < N_FRAGMENTS; ++i)
            asm volatile("ld.shared.v4.b32 {%0,%1,%2,%3}, [%4];\n"
                         : "=r"(words[i][0]), "=r"(words[i][1]), "=r"(words[i][2]), "=r"(words[i][3])
                         : "r"(w + i * BLOCKS * BLOCK_BYTES));
    }
};

// A warp's scales of one 64-column block.
struct Scales {
    unsigned pairs[N_FRAGMENTS][2];  // of rows g and g + 8, each twice

    __device__ __forceinline__ void load(unsigned stage, int first_output, int block) {
        const int lane = threadIdx.x & 31;
        const unsigned s = stage + W_BYTES + X_BYTES + (block * BN + first_output) * 2;
#pragma unroll
        for (int i = 0; i < N_FRAGMENTS / 2; ++i) {
            unsigned q[4];
            ldmatrix_x4_trans(q, s + (lane >> 3) * 16 + i * 64);
            pairs[2 * i][0] = q[0], pairs[2 * i][1] = q[1], pairs[2 * i + 1][0] = q[2], pairs[2 * i + 1][1] = q[3];
        }
        constexpr int LAST = N_FRAGMENTS - 1;
        if (N_FRAGMENTS % 2 == 1) ldmatrix_x2_trans(pairs[LAST][0], pairs[LAST][1], s + (lane >> 3 & 1) * 16 + LAST * 32);
    }
};

__device__ __forceinline__ void clear(Accumulators& acc) {
#pragma unroll
    for (int i = 0; i < N_FRAGMENTS; ++i)
#pragma unroll
        for (int j = 0; j < M_FRAGMENTS; ++j)
#pragma unroll
            for (int v = 0; v < 4; ++v) acc[i][j][v] = 0.f;
}

// total += acc * scale of the row, in fp32
__device__ __forceinline__ void scale_and_add(Accumulators& total, const Accumulators& acc, const Scales& scales) {
#pragma unroll
    for (int i = 0; i < N_FRAGMENTS; ++i) {
        const float scale[2] = {low_half(scales.pairs[i][0]), low_half(scales.pairs[i][1])};
#pragma unroll
        for (int j = 0; j < M_FRAGMENTS; ++j)
#pragma unroll
            for (int v = 0; v < 4; ++v) total[i][j][v] += acc[i][j][v] * scale[v >> 1];
    }
}

// From units of 2^-24 and 2^-20 to ones.
__device__ __forceinline__ void to_ones(Accumulators& total) {
#pragma unroll
    for (int i = 0; i < N_FRAGMENTS; ++i)
#pragma unroll
        for (int j = 0; j < M_FRAGMENTS; ++j)
#pragma unroll
            for (int v = 0; v < 4; ++v) total[i][j][v] *= v < 2 ? 16777216.f : 1048576.f;
}

// The ring of stages and what fills it.
struct Ring {
    WeightCopy w;
    ScaleCopy s;
    PanelCopy<BM> x;
    unsigned base, read, write;

    __device__ __forceinline__ void copy(bool enabled) {
        w.issue(write, enabled);
        x.issue(write + W_BYTES, enabled, 0, 1);
        s.issue(write + W_BYTES + X_BYTES, enabled);
        copy_commit();
        w.advance();
        x.advance();
        s.advance();
        write = after(write);
    }

    __device__ __forceinline__ unsigned after(unsigned stage) const {
        return stage == base + (STAGES - 1) * STAGE_BYTES ? base : stage + STAGE_BYTES;
    }
};

// What a warp multiplies: where its part of a stage begins, and the stages.
struct Part {
    int output, token, block, stages;

    __device__ __forceinline__ void load(TokenFragments& tokens, unsigned stage, int step) const {
        tokens.load(stage + W_BYTES + (block + step / 4) * BM * ROW_BYTES, token, step % 4, 0, 1);
    }
};

#if SCALE_ACCUMULATORS

// Adds to `total`, in the units of `codes`; SPAN consecutive blocks share their scales.
template <int SPAN>
__device__ __forceinline__ void multiply(Accumulators& total, Ring& ring, const Part& part, const unsigned (&minus8)[4]) {
    constexpr int SPAN_STEPS = 4 * SPAN, SYNC_STEP = STEPS - SPAN_STEPS;
    Codes codes_of;
    Scales scales, next_scales;
    TokenFragments tokens[2];
    float offset[M_FRAGMENTS][4];  // what the codes' offset of 8 contributes to a span: -8 * (sum of the tokens' columns)
    Accumulators acc;

    const auto add_offset = [&](unsigned stage, int step) {
        TokenFragments ahead;
        part.load(ahead, stage, step);
#pragma unroll
        for (int j = 0; j < M_FRAGMENTS; ++j) {
            if (step % SPAN_STEPS == 0) offset[j][0] = offset[j][1] = offset[j][2] = offset[j][3] = 0.f;
            mma(offset[j], minus8, ahead.r[j], offset[j]);
        }
    };
    codes_of.load(ring.read, part.output, part.block);
    next_scales.load(ring.read, part.output, part.block);
    part.load(tokens[0], ring.read, 0);
#pragma unroll
    for (int step = 0; step < SPAN_STEPS; ++step) add_offset(ring.read, step);

    for (int stage = 0; stage < part.stages; ++stage) {
        const unsigned next_stage = ring.after(ring.read);
#pragma unroll
        for (int step = 0; step < STEPS; ++step) {
            const int next = (step + 1) % STEPS, ahead = (step + SPAN_STEPS) % STEPS;
            if (step == SYNC_STEP) {  // the next stage must have arrived, and all warps have read the one before
                copy_wait<STAGES - 2 - AHEAD>();
                __syncthreads();
            }
            unsigned weights[N_FRAGMENTS][4];
#pragma unroll
            for (int i = 0; i < N_FRAGMENTS; ++i) codes(weights[i], codes_of.words[i][step % 4]);
            const unsigned from = next == 0 ? next_stage : ring.read;
            if (next % 4 == 0) codes_of.load(from, part.output, part.block + next / 4);
            if (step % SPAN_STEPS == 0) scales = next_scales;
            if (next % SPAN_STEPS == 0) next_scales.load(from, part.output, part.block + next / 4);
            part.load(tokens[(step + 1) & 1], from, next);
            if (step == SYNC_STEP) ring.copy(stage + STAGES - 1 < part.stages);
#pragma unroll
            for (int i = 0; i < N_FRAGMENTS; ++i)
#pragma unroll
                for (int j = 0; j < M_FRAGMENTS; ++j)
                    mma(acc[i][j], weights[i], tokens[step & 1].r[j], step % SPAN_STEPS ? acc[i][j] : offset[j]);
            add_offset(ahead < SPAN_STEPS ? next_stage : ring.read, ahead);
            if (next % SPAN_STEPS == 0) scale_and_add(total, acc, scales);
        }
        ring.read = next_stage;
    }
}

#else

__device__ __forceinline__ void multiply(Accumulators& total, Ring& ring, const Part& part) {
    Codes codes_of;
    Scales scales;
    TokenFragments tokens[2];
    codes_of.load(ring.read, part.output, part.block);
    scales.load(ring.read, part.output, part.block);
    part.load(tokens[0], ring.read, 0);
    for (int stage = 0; stage < part.stages; ++stage) {
        const unsigned next_stage = ring.after(ring.read);
#pragma unroll
        for (int step = 0; step < STEPS; ++step) {
            const int next = (step + 1) % STEPS;
            if (step == STEPS - 1) {  // the next stage must have arrived, and all warps have read this one
                copy_wait<STAGES - 2>();
                __syncthreads();
            }
            unsigned weights[N_FRAGMENTS][4];
#pragma unroll
            for (int i = 0; i < N_FRAGMENTS; ++i) {
                dequantize(weights[i], codes_of.words[i][step % 4]);
#pragma unroll
                for (int v = 0; v < 4; ++v) weights[i][v] = half2_mul(weights[i][v], scales.pairs[i][v & 1]);
            }
            const unsigned from = next == 0 ? next_stage : ring.read;
            if (next % 4 == 0) {
                codes_of.load(from, part.output, part.block + next / 4);
                scales.load(from, part.output, part.block + next / 4);
            }
            part.load(tokens[(step + 1) & 1], from, next);
            if (step == 0) ring.copy(stage + STAGES - 1 < part.stages);
#pragma unroll
            for (int i = 0; i < N_FRAGMENTS; ++i)
#pragma unroll
                for (int j = 0; j < M_FRAGMENTS; ++j)
                    mma(total[i][j], weights[i], tokens[step & 1].r[j], total[i][j]);
        }
        ring.read = next_stage;
    }
}

#endif

extern "C" __global__ void __launch_bounds__(THREADS, CTAS_PER_SM)
w4a16_matmul(const half_bits* __restrict__ x, const unsigned char* __restrict__ w, const half_bits* __restrict__ s,
             half_bits* __restrict__ y, float* workspace, unsigned* counters, int m, int n, int k, int group_blocks,
             unsigned group_inverse, int slice, int longer_slices, int group_shift) {
    extern __shared__ __align__(128) unsigned char shared[];
    const unsigned base = shared_address(shared);
    const Place place(group_shift, slice, longer_slices);
    const int warp = threadIdx.x % GROUP >> 5;
    const Part part = {warp % WARPS_N * WN, warp / WARPS_N * WM, static_cast<int>(threadIdx.x) / GROUP * WARP_BLOCKS, place.count};
    Ring ring = {WeightCopy(w, place.first_output, n, k, place.begin * BLOCKS),
                 ScaleCopy(s, place.first_output, n, k, place.begin * BLOCKS, group_inverse),
                 PanelCopy<BM>(x, place.first_token, m, k, place.begin * BLOCKS * BLOCK_K), base, base, base};
#pragma unroll
    for (int stage = 0; stage < STAGES - 1; ++stage) ring.copy(stage < place.count);

    Accumulators total;
    clear(total);
    copy_wait<STAGES - 2>();
    __syncthreads();
#if SCALE_ACCUMULATORS
    // Rows g and g + 8. The signs are 0, but the compiler does not know, and keeps the operand instead of making it anew.
    const unsigned minus8[4] = {0x80088008 | n >> 31, 0x80808080 | n >> 31, 0x80088008 | k >> 31, 0x80808080 | k >> 31};
    if (WARP_BLOCKS == 1 || group_blocks % WARP_BLOCKS == 0)
        multiply<WARP_BLOCKS>(total, ring, part, minus8);
    else
        multiply<1>(total, ring, part, minus8);
    to_ones(total);
#else
    multiply(total, ring, part);
#endif

    copy_wait<0>();
    __syncthreads();
    Results sum;
    add_warps(sum, total, shared);
    if (gridDim.z > 1 && !reduce_slices(sum, workspace, counters, place.tile)) return;
    if (WARPS_K > 1) __syncthreads();
    store_tile(sum, shared, y, m, n, place.first_token, place.first_output);
}
