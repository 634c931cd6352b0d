// OPTQ's dequantizing product with few tokens: Y[M,N] = X[M,K] * W[N,K]^T, W = code * scale - offset in half,
// BITS-bit codes, scale and offset of a group of columns. N a multiple of 8, K of 64; TOKENS tokens at a time.
//
// Layouts    Weights: [K/32][BITS][N] words, the 32 codes of an output one after the other in BITS words, lowest bits
//            first. Scales: half[K/group][2][N], scale and offset (scale times zero point).
// Table      Two codes are an index into the half pairs (first code, second code). There are 32 copies, copy l in bank
//            l, for lane l: no bank conflicts whatever the codes. A product of two weights is then an index (SHF, LOP3),
//            a look-up, HFMA2 to weights and HFMA2 with the tokens; every eight columns the half sums are added in fp32.
// Algorithm  A thread owns an output. The tokens' columns of a step lie in shared memory, read by all lanes at once.
// Split K    grid.z slices of whole steps; the CTA that arrives last adds them in their order.

typedef unsigned short half_bits;

constexpr int WORD = 32;     // columns that are packed together
constexpr int CHUNK = 64;    // columns that are loaded at a time, ahead
constexpr int STEP = 256;    // columns of the tokens in shared memory
constexpr int PAIRS = 1 << (2 * BITS);
constexpr int ROW_BYTES = 128;  // the copies of a pair
constexpr int WORDS = CHUNK / WORD * BITS;

// ---------------------------------------------------------------------------------------------------- PTX wrappers

__device__ __forceinline__ unsigned shared_address(const void* pointer) {
    return static_cast<unsigned>(__cvta_generic_to_shared(pointer));
}

__device__ __forceinline__ half_bits to_half(float f) {
    half_bits r;
    asm("cvt.rn.f16.f32 %0, %1;\n" : "=h"(r) : "f"(f));
    return r;
}

__device__ __forceinline__ unsigned pack_half2(float low, float high) {
    unsigned r;
    asm("cvt.rn.f16x2.f32 %0, %2, %1;\n" : "=r"(r) : "f"(low), "f"(high));
    return r;
}

__device__ __forceinline__ float low_half(unsigned pair) {
    float r;
    asm("{ .reg .b16 a, b; mov.b32 {a, b}, %1; cvt.f32.f16 %0, a; }\n" : "=f"(r) : "r"(pair));
    return r;
}

__device__ __forceinline__ float high_half(unsigned pair) {
    float r;
    asm("{ .reg .b16 a, b; mov.b32 {a, b}, %1; cvt.f32.f16 %0, b; }\n" : "=f"(r) : "r"(pair));
    return r;
}

__device__ __forceinline__ unsigned half2_fma(unsigned a, unsigned b, unsigned c) {
    unsigned r;
    asm("fma.rn.f16x2 %0, %1, %2, %3;\n" : "=r"(r) : "r"(a), "r"(b), "r"(c));
    return r;
}

__device__ __forceinline__ unsigned load_shared(unsigned address) {
    unsigned r;
    asm volatile("ld.shared.b32 %0, [%1];\n" : "=r"(r) : "r"(address));
    return r;
}

__device__ __forceinline__ uint4 load_shared16(unsigned address) {
    uint4 r;
    asm volatile("ld.shared.v4.b32 {%0,%1,%2,%3}, [%4];\n" : "=r"(r.x), "=r"(r.y), "=r"(r.z), "=r"(r.w) : "r"(address));
    return r;
}

__device__ __forceinline__ void store_shared16(unsigned address, unsigned v) {
    asm volatile("st.shared.v4.b32 [%0], {%1,%1,%1,%1};\n" ::"r"(address), "r"(v) : "memory");
}

__device__ __forceinline__ unsigned load_word(const unsigned* from, bool valid) {
    unsigned r;
    asm volatile("{ .reg .pred p; setp.ne.b32 p, %2, 0; mov.b32 %0, 0; @p ld.global.nc.b32 %0, [%1]; }\n"
                 : "=&r"(r) : "l"(from), "r"(static_cast<int>(valid)));
    return r;
}

// The half at `from` twice.
__device__ __forceinline__ unsigned load_pair(const half_bits* from, bool valid) {
    unsigned r;
    asm volatile("{ .reg .pred p; .reg .b16 h; setp.ne.b32 p, %2, 0; mov.b16 h, 0; @p ld.global.nc.b16 h, [%1]; mov.b32 %0, {h, h}; }\n"
                 : "=&r"(r) : "l"(from), "r"(static_cast<int>(valid)));
    return r;
}

__device__ __forceinline__ void fence_gpu() { asm volatile("fence.acq_rel.gpu;\n" ::: "memory"); }

// ---------------------------------------------------------------------------------------------------- weights

// Byte offset in the table of pair `pair` of the 32 codes in `words`.
__device__ __forceinline__ unsigned pair_offset(const unsigned* words, int pair) {
    const int bit = pair * 2 * BITS, word = bit / 32, first = bit % 32;
    const unsigned next = first + 2 * BITS > 32 ? words[word + 1] : words[word];
    return __funnelshift_r(words[word], next, (first - 7) & 31) & (PAIRS - 1) * ROW_BYTES;
}

// What of the weights and scales a thread holds of one chunk.
struct Chunk {
    unsigned words[WORDS], scale, minus_offset;

    __device__ __forceinline__ void load(const unsigned* w, const half_bits* s, int n, int output, int chunk, int group_shift,
                                         bool valid) {
        const long long first = static_cast<long long>(chunk) * WORDS * n + output;
#pragma unroll
        for (int i = 0; i < WORDS; ++i) words[i] = load_word(w + first + static_cast<long long>(i) * n, valid);
        const half_bits* own = s + (static_cast<long long>(chunk >> group_shift) * 2 * n + output);
        scale = load_pair(own, valid);
        minus_offset = load_pair(own + n, valid) ^ 0x80008000u;
    }
};

// group_shift: log2 of the chunks that share a scale, 31 for all of them. A K slice is `slice` steps, one more in the first
// `longer_slices`.
extern "C" __global__ void __launch_bounds__(THREADS, CTAS_PER_SM)
dequant_optq_matmul(const half_bits* __restrict__ x, const unsigned* __restrict__ w, const half_bits* __restrict__ s,
                    half_bits* __restrict__ y, float* workspace, unsigned* counters, int m, int n, int k, int group_shift,
                    int slice, int longer_slices) {
    extern __shared__ __align__(128) unsigned char shared[];
    __shared__ __align__(16) half_bits columns[TOKENS][STEP];
    __shared__ unsigned arrived;
    const int lane = threadIdx.x & 31, output = blockIdx.x * THREADS + threadIdx.x, token = blockIdx.y * TOKENS, z = blockIdx.z;
    const int begin = z * slice + min(z, longer_slices), end = begin + slice + (z < longer_slices ? 1 : 0);
    const int last_chunk = min(end * (STEP / CHUNK), k / CHUNK);

    Chunk next;
    next.load(w, s, n, output, begin * (STEP / CHUNK), group_shift, output < n);

    const unsigned table = shared_address(shared), own_table = table + lane * 4, own_columns = shared_address(columns);
    for (int i = threadIdx.x; i < PAIRS * 8; i += THREADS) {
        const int pair = i / 8;
        const float first = static_cast<float>(pair & ((1 << BITS) - 1)), second = static_cast<float>(pair >> BITS);
        store_shared16(table + i * 16, pack_half2(first, second));
    }

    float sums[TOKENS] = {};
#pragma unroll 1
    for (int step = begin; step < end; ++step) {
        if (step > begin) __syncthreads();  // everybody has read the columns
        for (int i = threadIdx.x; i < TOKENS * STEP; i += THREADS) {
            const int t = i / STEP, column = step * STEP + i % STEP;
            columns[t][i % STEP] = token + t < m && column < k ? x[static_cast<long long>(token + t) * k + column] : 0;
        }
        __syncthreads();
#pragma unroll 1
        for (int chunk = step * (STEP / CHUNK); chunk < min((step + 1) * (STEP / CHUNK), last_chunk); ++chunk) {
            const Chunk now = next;
            next.load(w, s, n, output, chunk + 1, group_shift, output < n && chunk + 1 < last_chunk);
            const unsigned own = own_columns + chunk % (STEP / CHUNK) * CHUNK * 2;
#pragma unroll
            for (int eight = 0; eight < CHUNK / 8; ++eight) {
                unsigned weights[4];
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    const unsigned* words = now.words + eight / 4 * BITS;
                    weights[i] = half2_fma(load_shared(own_table + pair_offset(words, eight % 4 * 4 + i)), now.scale, now.minus_offset);
                }
#pragma unroll
                for (int t = 0; t < TOKENS; ++t) {
                    const uint4 v = load_shared16(own + t * STEP * 2 + eight * 16);
                    const unsigned sum =
                        half2_fma(weights[3], v.w, half2_fma(weights[2], v.z, half2_fma(weights[1], v.y, half2_fma(weights[0], v.x, 0))));
                    sums[t] += low_half(sum) + high_half(sum);
                }
            }
        }
    }

    half_bits* out = y + static_cast<long long>(token) * n + output;
    if (gridDim.z > 1) {
        const int tile = blockIdx.y * gridDim.x + blockIdx.x;
        float* own = workspace + static_cast<long long>(tile) * gridDim.z * TOKENS * THREADS + threadIdx.x;
#pragma unroll
        for (int t = 0; t < TOKENS; ++t) own[(z * TOKENS + t) * THREADS] = sums[t];
        fence_gpu();
        __syncthreads();
        if (threadIdx.x == 0) arrived = atomicAdd(counters + tile, 1u);
        __syncthreads();
        if (arrived != gridDim.z - 1) return;
        if (threadIdx.x == 0) counters[tile] = 0;
        fence_gpu();
#pragma unroll
        for (int t = 0; t < TOKENS; ++t) sums[t] = 0.f;
        constexpr int BATCH = 16 / TOKENS;  // slices whose loads are in flight together
#pragma unroll 1
        for (int first = 0; first < gridDim.z; first += BATCH) {
            float part[BATCH][TOKENS];
#pragma unroll
            for (int b = 0; b < BATCH; ++b)
#pragma unroll
                for (int t = 0; t < TOKENS; ++t)
                    part[b][t] = first + b < gridDim.z ? __ldcg(own + ((first + b) * TOKENS + t) * THREADS) : 0.f;
#pragma unroll
            for (int b = 0; b < BATCH; ++b)
#pragma unroll
                for (int t = 0; t < TOKENS; ++t) sums[t] += part[b][t];
        }
    }
#pragma unroll
    for (int t = 0; t < TOKENS; ++t)
        if (output < n && token + t < m) out[static_cast<long long>(t) * n] = to_half(sums[t]);
}
