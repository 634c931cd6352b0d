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
//            the accumulators of every 64 columns, which are then added to the total times the scale, in fp32
//            (4 FFMA per fragment, no rounding of its own). The units are put right once, at the end.
//            SCALE_ACCUMULATORS = 0, for many: (w >> 4j & 0x000f000f) | 0x64006400 is the half pair 1024 + q, exactly;
//            subtracting 1032 gives q - 8. The nibbles four bits higher need no shift: 1024 + 16q, times 1/16, minus 72.
//            The weights are multiplied by the scale as half pairs (one rounding, 2^-11 of each weight).
//            Both read a scale for its row by ldmatrix.trans with eight equal row addresses: that hands every lane
//            the scale of its row twice, as the half pair the multiplication needs.
// Algorithm  A ring of STAGES stages of BLOCKS 64-column blocks, filled by cp.async; registers are loaded one k16 step ahead.
// Split K    grid.z slices of whole stages; see reduce_slices.
// Arguments  group_inverse: ceil(2^31 / (group / 64)), so that block * group_inverse >> 31 is the row of the scales;
//            0 where one row serves all of K. workspace, counters: as in the FP16 kernel.

#include "/tcsim/matmul/common.cuh"

constexpr int BLOCK_BYTES = 512;  // 16 outputs x 64 columns
constexpr int W_BYTES = BN / 16 * BLOCKS * BLOCK_BYTES;
constexpr int X_BYTES = BLOCKS * BM * ROW_BYTES;
constexpr int S_BYTES = BLOCKS * BN * 2;
constexpr int STAGE_BYTES = W_BYTES + X_BYTES + S_BYTES;

// SCALE_ACCUMULATORS looks one block ahead, so the next stage must have arrived that much earlier.
constexpr int SYNC_STEP = SCALE_ACCUMULATORS ? STEPS - 4 : STEPS - 1;
constexpr int PENDING = SCALE_ACCUMULATORS ? STAGES - 3 : STAGES - 2;  // stages that may be under way after a wait
constexpr int COPY_STEP = SCALE_ACCUMULATORS ? SYNC_STEP : 0;          // where the next stage's copies are issued

static_assert(STAGES >= 3, "a stage in use, one that has arrived, one under way");

// A warp copies one 512-byte block at a time; consecutive warps take consecutive rows of blocks, then blocks along K.
constexpr int WARPS = THREADS / 32;
constexpr int ROWS = BN / 16;
constexpr int ROW_PASSES = ROWS > WARPS ? ROWS / WARPS : 1;
constexpr int BLOCKS_PER_PASS = WARPS > ROWS ? WARPS / ROWS : 1;
constexpr int W_PASSES = ROWS * BLOCKS / WARPS;
constexpr int S_CHUNKS = BLOCKS * BN / 8;

static_assert(ROWS * BLOCKS % WARPS == 0, "whole passes of weight copies");
static_assert(ROWS % WARPS == 0 || WARPS % ROWS == 0, "rows and warps divide one another");
static_assert(S_CHUNKS <= THREADS, "one pass of scale copies");

// Copies the packed weights of a stage: [BN/16][BLOCKS][512 bytes], linear.
struct WeightCopy {
    const unsigned char* source;  // this thread's chunk in the first pass of the next stage
    long long stride;             // bytes between rows of blocks
    int rows_left, blocks_left;
    unsigned offset;

    __device__ __forceinline__ WeightCopy(const unsigned char* w, int first_output, int n, int k, int first_block) {
        const int warp = threadIdx.x >> 5, row = warp % ROWS, block = warp / ROWS;
        stride = static_cast<long long>(k / BLOCK_K) * BLOCK_BYTES;
        offset = block * BLOCK_BYTES + (threadIdx.x & 31) * 16;
        source = w + (first_output / 16 + row) * stride + static_cast<long long>(first_block) * BLOCK_BYTES + offset;
        offset += row * BLOCKS * BLOCK_BYTES;
        rows_left = n / 16 - first_output / 16 - row;
        blocks_left = k / BLOCK_K - first_block - block;
    }

    __device__ __forceinline__ void issue(unsigned to, bool enabled) const {
#pragma unroll
        for (int pass = 0; pass < W_PASSES; ++pass) {
            const int row = pass % ROW_PASSES * WARPS, block = pass / ROW_PASSES * BLOCKS_PER_PASS;
            copy16(to + offset + (row * BLOCKS + block) * BLOCK_BYTES, source + row * stride + block * BLOCK_BYTES, enabled,
                   row < (block < blocks_left ? rows_left : 0));
        }
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
    bool active, valid;

    __device__ __forceinline__ ScaleCopy(const half_bits* s, int first_output, int n_, int k, int first_block,
                                         unsigned inverse) {
        const int column = first_output + threadIdx.x % (BN / 8) * 8;
        source = s + column;
        block = first_block + threadIdx.x / (BN / 8);
        blocks = k / BLOCK_K;
        n = n_;
        group_inverse = inverse;
        active = threadIdx.x < S_CHUNKS;
        valid = column < n;
    }

    __device__ __forceinline__ void issue(unsigned to, bool enabled) const {
        const unsigned row = static_cast<unsigned long long>(block) * group_inverse >> 31;
        copy16(to + threadIdx.x * 16, source + row * n, enabled && active, valid && block < blocks);
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

// A warp's packed codes and scales of one 64-column block.
struct Block {
    unsigned words[N_FRAGMENTS][4];
    unsigned scales[N_FRAGMENTS][2];  // of rows g and g + 8, each twice

    __device__ __forceinline__ void load(unsigned stage, int first_output, int block) {
        const int lane = threadIdx.x & 31;
        const unsigned w = stage + (first_output / 16 * BLOCKS + block) * BLOCK_BYTES + lane * 16;
        const unsigned s = stage + W_BYTES + X_BYTES + (block * BN + first_output) * 2 + (lane >> 3) * 16;
#pragma unroll
        for (int i = 0; i < N_FRAGMENTS; ++i)
            asm volatile("ld.shared.v4.b32 {%0,%1,%2,%3}, [%4];\n"
                         : "=r"(words[i][0]), "=r"(words[i][1]), "=r"(words[i][2]), "=r"(words[i][3])
                         : "r"(w + i * BLOCKS * BLOCK_BYTES));
#pragma unroll
        for (int i = 0; i < N_FRAGMENTS / 2; ++i) {
            unsigned q[4];
            ldmatrix_x4_trans(q, s + i * 64);
            scales[2 * i][0] = q[0], scales[2 * i][1] = q[1], scales[2 * i + 1][0] = q[2], scales[2 * i + 1][1] = q[3];
        }
        if (N_FRAGMENTS % 2 == 1) {
            constexpr int LAST = N_FRAGMENTS - 1;
            ldmatrix_x2_trans(scales[LAST][0], scales[LAST][1], stage + W_BYTES + X_BYTES + (block * BN + first_output) * 2 +
                                                                    LAST * 32 + (lane >> 3 & 1) * 16);
        }
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
__device__ __forceinline__ void scale_and_add(Accumulators& total, const Accumulators& acc,
                                              const float (&scale)[N_FRAGMENTS][2]) {
#pragma unroll
    for (int i = 0; i < N_FRAGMENTS; ++i)
#pragma unroll
        for (int j = 0; j < M_FRAGMENTS; ++j)
#pragma unroll
            for (int v = 0; v < 4; ++v) total[i][j][v] += acc[i][j][v] * scale[i][v >> 1];
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

// What the codes' offset of 8 contributes to a block: -8 * (sum of the tokens' columns), in the units of `codes`.
struct Offset {
    float sum[M_FRAGMENTS][4];

    __device__ __forceinline__ void add(const unsigned (&minus8)[4], const TokenFragments& tokens, bool first) {
#pragma unroll
        for (int j = 0; j < M_FRAGMENTS; ++j) {
            if (first) sum[j][0] = sum[j][1] = sum[j][2] = sum[j][3] = 0.f;
            mma(sum[j], minus8, tokens.r[j], sum[j]);
        }
    }
};

extern "C" __global__ void __launch_bounds__(THREADS, CTAS_PER_SM)
w4a16_matmul(const half_bits* __restrict__ x, const unsigned char* __restrict__ w, const half_bits* __restrict__ s,
             half_bits* __restrict__ y, float* workspace, unsigned* counters, int m, int n, int k, unsigned group_inverse,
             int slice, int longer_slices, int group_shift) {
    extern __shared__ __align__(128) unsigned char shared[];
    const unsigned base = shared_address(shared);
    const Place place(group_shift, slice, longer_slices);
    const int warp = threadIdx.x % GROUP >> 5, warp_block = threadIdx.x / GROUP * WARP_BLOCKS;
    const int warp_output = warp % WARPS_N * WN, warp_token = warp / WARPS_N * WM;
    const unsigned warp_tokens = W_BYTES + warp_block * BM * ROW_BYTES;  // this warp's first panel of X in a stage

    WeightCopy w_copy(w, place.first_output, n, k, place.begin * BLOCKS);
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

    Accumulators total;
    clear(total);
    Block block;
    TokenFragments tokens[2];
    copy_wait<STAGES - 2>();
    __syncthreads();
    block.load(base, warp_output, warp_block);
    tokens[0].load(base + warp_tokens, warp_token, 0, 0, 1);
#if SCALE_ACCUMULATORS
    Offset offset[2];  // of this block and of the next one
    // Rows g and g + 8. The signs are 0, but the compiler does not know, and keeps the operand instead of making it anew.
    const unsigned minus8[4] = {0x80088008 | n >> 31, 0x80808080 | n >> 31, 0x80088008 | k >> 31, 0x80808080 | k >> 31};
#pragma unroll
    for (int step = 0; step < 4; ++step) {
        TokenFragments ahead;
        ahead.load(base + warp_tokens, warp_token, step, 0, 1);
        offset[0].add(minus8, ahead, step == 0);
    }
#endif

    unsigned read = base, write = base + (STAGES - 1) * STAGE_BYTES;
    for (int stage = 0; stage < place.count; ++stage) {
        const bool more = stage + STAGES - 1 < place.count;
        const unsigned next_stage = read == base + (STAGES - 1) * STAGE_BYTES ? base : read + STAGE_BYTES;
#if SCALE_ACCUMULATORS
        Accumulators apart;
        float scale[N_FRAGMENTS][2];
#endif
#pragma unroll
        for (int step = 0; step < STEPS; ++step) {
            const int next = (step + 1) % STEPS;
            if (step == SYNC_STEP) {  // the next stage must have arrived, and all warps have read the one before
                copy_wait<PENDING>();
                __syncthreads();
            }
            unsigned weights[N_FRAGMENTS][4];
#pragma unroll
            for (int i = 0; i < N_FRAGMENTS; ++i) {
#if SCALE_ACCUMULATORS
                codes(weights[i], block.words[i][step % 4]);
                if (step % 4 == 0) scale[i][0] = low_half(block.scales[i][0]), scale[i][1] = low_half(block.scales[i][1]);
#else
                dequantize(weights[i], block.words[i][step % 4]);
#pragma unroll
                for (int v = 0; v < 4; ++v) weights[i][v] = half2_mul(weights[i][v], block.scales[i][v & 1]);
#endif
            }
            const unsigned from = next == 0 ? next_stage : read;
            if (next % 4 == 0) block.load(from, warp_output, warp_block + next / 4);
            tokens[(step + 1) & 1].load(from + warp_tokens + next / 4 * BM * ROW_BYTES, warp_token, next % 4, 0, 1);
            if (step == COPY_STEP) {
                w_copy.issue(write, more);
                x_copy.issue(write + W_BYTES, more, 0, 1);
                s_copy.issue(write + W_BYTES + X_BYTES, more);
                copy_commit();
                w_copy.advance();
                x_copy.advance();
                s_copy.advance();
                write = write == base + (STAGES - 1) * STAGE_BYTES ? base : write + STAGE_BYTES;
            }
#if SCALE_ACCUMULATORS
            const int following = (step / 4 + 1) % WARP_BLOCKS;
            TokenFragments ahead;  // this step of the following block
            ahead.load((following == 0 ? next_stage : read) + warp_tokens + following * BM * ROW_BYTES, warp_token, step % 4, 0, 1);
            offset[(step / 4 + 1) & 1].add(minus8, ahead, step % 4 == 0);
#pragma unroll
            for (int i = 0; i < N_FRAGMENTS; ++i)
#pragma unroll
                for (int j = 0; j < M_FRAGMENTS; ++j)
                    mma(apart[i][j], weights[i], tokens[step & 1].r[j], step % 4 ? apart[i][j] : offset[step / 4 & 1].sum[j]);
            if (step % 4 == 3) scale_and_add(total, apart, scale);
#else
#pragma unroll
            for (int i = 0; i < N_FRAGMENTS; ++i)
#pragma unroll
                for (int j = 0; j < M_FRAGMENTS; ++j)
                    mma(total[i][j], weights[i], tokens[step & 1].r[j], total[i][j]);
#endif
        }
        read = next_stage;
#if SCALE_ACCUMULATORS
        if (WARP_BLOCKS % 2 == 1) offset[0] = offset[1];
#endif
    }
#if SCALE_ACCUMULATORS
    to_ones(total);
#endif


    copy_wait<0>();
    __syncthreads();
    Results sum;
    add_warps(sum, total, shared);
    if (gridDim.z > 1 && !reduce_slices(sum, workspace, counters, place.tile)) return;
    if (WARPS_K > 1) __syncthreads();
    store_tile(sum, shared, y, m, n, place.first_token, place.first_output);
}
