// What the Tender kernels share: Y = (sum over groups g of P_g * 2^(G-g)) * factor of the token * scale of the output,
// where P_g = X_g * W_g^T in integers, groups in order along K, the one with the largest scale first.
//
// Borders    K is counted in steps of 32 columns, 64 of INT4, the depth of one mma. Before step `at[i]` the accumulators
//            are worth one position more, that is they are doubled once; entries ascend, an empty group repeats its
//            border, and the rest are ~0. They are kernel parameters: constants that the threads index, no memory is read.
// Variants   how a border is crossed, fixed when compiling:
//            EXPLICIT        total += acc * 2^(G-g) in fp32, acc = 0: what a kernel does that knows nothing of powers of two
//            SOFTWARE_SHIFT  acc <<= 1 in registers
//            EXTENSION       an mma that reads its accumulator shifted: hypothetical, marked by `pmevent 1` before it
//            IDEAL           nothing is done: the sum of P_g, a bound on the time and no result
// INT4       two codes in a byte, the first in its low half: m16n8k64 on sm_80 to sm_89. Hopper has none; there it is
//            hypothetical: a `pmevent 2` in a kernel says that its INT8 mma read their registers as nibbles.

#pragma once

constexpr int EXPLICIT = 0, SOFTWARE_SHIFT = 1, EXTENSION = 2, IDEAL = 3;
constexpr int BORDERS = 24;

#ifndef INT4
#define INT4 0
#endif
#if INT4 && __CUDA_ARCH__ < 900
#define TENDER_MMA "mma.sync.aligned.m16n8k64.row.col.s32.s4.s4.s32"
#else
#define TENDER_MMA "mma.sync.aligned.m16n8k32.row.col." TENDER_TYPES
#endif

// Say what the kernel's INT8 mma stand for; once, before them.
__device__ __forceinline__ void mark_numbers() {
#if INT4 && __CUDA_ARCH__ >= 900
    asm volatile("pmevent 2;\n");
#endif
}

struct Borders {
    unsigned at[BORDERS];
};

using Integers = int[N_FRAGMENTS][M_FRAGMENTS][4];

// Return `v` as a number of unknown origin: the compiler keeps it in a register, and does not compute it again in every
// piece of code that a border cuts the loop into.
__device__ __forceinline__ unsigned opaque(unsigned v) {
    asm volatile("mov.b32 %0, %0;\n" : "+r"(v));
    return v;
}

template <bool VALUE>
struct Flag {
    static constexpr bool value = VALUE;
};

__device__ __forceinline__ void integer_mma(int (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], const int (&c)[4]) {
    asm(TENDER_MMA " {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%11,%12,%13};\n"
        : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "r"(c[0]), "r"(c[1]), "r"(c[2]), "r"(c[3]));
}

// D = A * B + (D << 1) on a machine with the extension tender_accumulator.
__device__ __forceinline__ void shifted_mma(int (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    asm volatile("pmevent 1;\n"
                 TENDER_MMA " {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
                 : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// D = D << 1, by an mma of zeros: an empty group's border.
__device__ __forceinline__ void shifted_mma(int (&d)[4]) {
    const unsigned a[4] = {0, 0, 0, 0}, b[2] = {0, 0};
    shifted_mma(d, a, b);
}

// Copy one word if `valid`, else write zero.
__device__ __forceinline__ void copy4(unsigned to, const void* from, bool valid) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;\n" ::"r"(to), "l"(from), "r"(valid ? 4 : 0));
}

// Where a CTA is among the borders.
struct Crossing {
    unsigned next;  // the step before which the next border lies
    int border;     // its number
    // Start at `step`: accumulators that are zero need no doubling.
    __device__ __forceinline__ Crossing(const Borders& borders, unsigned step) {
        border = 0;
#pragma unroll
        for (int i = 0; i < BORDERS; ++i) border += borders.at[i] <= step;
        next = borders.at[border];
    }
    // Pass the borders up to `step`; return how many.
    __device__ __forceinline__ int pass(const Borders& borders, unsigned step) {
        int passed = 0;
        while (next <= step) {
            ++passed;
            next = borders.at[++border];
        }
        return passed;
    }
};

__device__ __forceinline__ float to_float(float v) { return v; }
__device__ __forceinline__ float to_float(int v) { return __int2float_rn(v); }

// With MAGIC, where sums of groups stay below 2^22, EXPLICIT begins them with the bits of 1.5 * 2^23: they then are that
// float plus the sum as they stand, and a subtraction on the FMA pipe replaces the conversion.
constexpr float MAGIC_FLOAT = 12582912.f;
constexpr int START = MAGIC && VARIANT == EXPLICIT ? 0x4b400000 : 0;

__device__ __forceinline__ float group_float(int v) {
    return START ? __int_as_float(v) - MAGIC_FLOAT : __int2float_rn(v);
}

// As reduce_slices of common.cuh, for sums of any 4-byte type T: integers wrap, so their order is of no matter.
template <class T>
__device__ __forceinline__ bool reduce_sums(T (&sum)[VECTORS][4], void* workspace, unsigned* counters, int tile) {
    constexpr int BATCH = VECTORS >= 16 ? 1 : VECTORS >= 8 ? 2 : 4;
    __shared__ unsigned arrived;
    const int slices = gridDim.z;
    uint4* tile_base = static_cast<uint4*>(workspace) + static_cast<long long>(tile) * slices * VECTORS * THREADS;
    uint4* own = tile_base + static_cast<long long>(blockIdx.z) * VECTORS * THREADS + threadIdx.x;
#pragma unroll
    for (int i = 0; i < VECTORS; ++i) {
        uint4 v;
        memcpy(&v, sum[i], sizeof v);
        own[i * THREADS] = v;
    }
    fence_gpu();
    __syncthreads();
    if (threadIdx.x == 0) arrived = atomicAdd(counters + tile, 1u);
    __syncthreads();
    if (arrived != slices - 1) return false;
    if (threadIdx.x == 0) counters[tile] = 0;
    fence_gpu();
#pragma unroll
    for (int i = 0; i < VECTORS; ++i) sum[i][0] = sum[i][1] = sum[i][2] = sum[i][3] = 0;
    const uint4* next = tile_base + threadIdx.x;
    for (int z = 0; z < slices; z += BATCH, next += BATCH * VECTORS * THREADS) {
        uint4 part[BATCH][VECTORS];
#pragma unroll
        for (int b = 0; b < BATCH; ++b)
#pragma unroll
            for (int i = 0; i < VECTORS; ++i) {
                part[b][i] = make_uint4(0, 0, 0, 0);
                if (z + b < slices)
                    asm volatile("ld.global.cg.v4.b32 {%0,%1,%2,%3}, [%4];\n"
                                 : "=r"(part[b][i].x), "=r"(part[b][i].y), "=r"(part[b][i].z), "=r"(part[b][i].w)
                                 : "l"(next + (b * VECTORS + i) * THREADS));
            }
#pragma unroll
        for (int b = 0; b < BATCH; ++b)
#pragma unroll
            for (int i = 0; i < VECTORS; ++i) {
                T v[4];
                memcpy(v, &part[b][i], sizeof v);
                sum[i][0] += v[0], sum[i][1] += v[1], sum[i][2] += v[2], sum[i][3] += v[3];
            }
    }
    return true;
}
