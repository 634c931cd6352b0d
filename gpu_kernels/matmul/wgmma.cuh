// What the kernels for Hopper's asynchronous units share: mbarriers, boxes of the copy engine, wgmma, the ring of stages.
//
// Layouts    A stage in shared memory holds BLOCKS panels of W and of X, rows of 128 bytes whose 16-byte chunks the copy engine
//            permutes by chunk ^ (row & 7) (128-byte swizzle), as wgmma reads them.
// Roles      One producer warp has the copy engine (TMA) fill a ring of STAGES stages; warpgroups multiply. A stage's two
//            mbarriers say that it is full (its bytes have arrived) and empty (every consumer warp is done with it). Tokens
//            that do not exist are not copied: boxes that reach beyond an edge of the matrix are slow when all SMs read
//            some. Their sums are never stored. What lies beyond the edge of W, and of K, arrives as zeros.
// Macros     Those of common.cuh; WARPS_N is a multiple of 4. Launched with 32 threads more than those: the producer.
// Before the include:
//   WGMMA_COLUMNS      columns of K in a row of a panel
//   WGMMA_DEPTH        columns of K of one wgmma as its name says them: "k16", "k32"
//   WGMMA_TYPES        its types: ".f32.f16.f16"
//   WGMMA_FLAGS        what stands behind the operands: ", p, 1, 1, 0, 0" of halves, ", p" of integers
//   WGMMA_REGISTER     the constraint of an accumulator: "+f", "+r"

#pragma once

constexpr int CONSUMER_WARPS = THREADS / 32;
constexpr int W_BYTES = BLOCKS * BN * ROW_BYTES;
constexpr int X_BYTES = BLOCKS * BM * ROW_BYTES;
constexpr int STAGE_BYTES = W_BYTES + X_BYTES;

static_assert(WARPS_N % 4 == 0 && WN == 16, "a warpgroup owns 64 outputs");
static_assert(BM <= 256 && BN <= 256, "one box of the copy engine per panel");

// A tensor map: the driver's description of a matrix for the copy engine.
struct alignas(64) TensorMap {
    unsigned char opaque[128];
};

// ------------------------------------------------------------------------------------------------ mbarriers, copies

__device__ __forceinline__ void barrier_init(unsigned barrier, int arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;\n" ::"r"(barrier), "r"(arrivals));
}

// Make initialized mbarriers known to the copy engine.
__device__ __forceinline__ void fence_barrier_init() {
    asm volatile("fence.mbarrier_init.release.cluster;\n" ::: "memory");
    asm volatile("fence.proxy.async.shared::cta;\n" ::: "memory");
}

// Arrive once, and announce `bytes` that copies will deliver in the same phase.
__device__ __forceinline__ void barrier_expect(unsigned barrier, int bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;\n" ::"r"(barrier), "r"(bytes) : "memory");
}

__device__ __forceinline__ void barrier_arrive(unsigned barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];\n" ::"r"(barrier) : "memory");
}

// Wait until the phase of this parity is complete.
__device__ __forceinline__ void barrier_wait(unsigned barrier, unsigned parity) {
    asm volatile(
        "{ .reg .pred done;\n"
        "again: mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
        "@!done bra again; }\n" ::"r"(barrier), "r"(parity) : "memory");
}

// Copy the box of 128-byte rows from (`column`, `row`) on to shared memory; it reports its bytes to `barrier`.
__device__ __forceinline__ void copy_box(unsigned to, const TensorMap& map, unsigned barrier, int column, int row) {
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
        " [%0], [%1, {%3, %4}], [%2];\n" ::"r"(to), "l"(&map), "r"(barrier), "r"(column), "r"(row) : "memory");
}

// ------------------------------------------------------------------------------------------------ wgmma

// A descriptor tells wgmma of a K-major operand with 128-byte swizzle: groups of 8 rows 1024 bytes apart. Its low word
// holds the address in units of 16 bytes, so that a sum with it moves on.
__device__ __forceinline__ unsigned low_word(unsigned address) { return 1u << 16 | (address & 0x3ffff) >> 4; }

__device__ __forceinline__ unsigned long long descriptor(unsigned low) {
    return static_cast<unsigned long long>(1u << 30 | 1024 >> 4) << 32 | low;
}

// Registers of the accumulators, and the three operands after them, in the text of the instruction.
#define TEN(t) "%" #t "0,%" #t "1,%" #t "2,%" #t "3,%" #t "4,%" #t "5,%" #t "6,%" #t "7,%" #t "8,%" #t "9"
#define FIRST_TEN "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9"
#define QUAD(j) WGMMA_REGISTER(d[j][0]), WGMMA_REGISTER(d[j][1]), WGMMA_REGISTER(d[j][2]), WGMMA_REGISTER(d[j][3])
#define QUADS2(j) QUAD(j), QUAD(j + 1)
#define QUADS4(j) QUADS2(j), QUADS2(j + 2)
#define QUADS8(j) QUADS4(j), QUADS4(j + 4)
#define QUADS16(j) QUADS8(j), QUADS8(j + 8)
#if BM / WARPS_M == 8
#define WGMMA_SHAPE "m64n8"
#define WGMMA_SUMS "%0,%1,%2,%3"
#define WGMMA_QUADS QUAD(0)
#define WGMMA_OPERANDS "%4", "%5", "%6"
#elif BM / WARPS_M == 16
#define WGMMA_SHAPE "m64n16"
#define WGMMA_SUMS "%0,%1,%2,%3,%4,%5,%6,%7"
#define WGMMA_QUADS QUADS2(0)
#define WGMMA_OPERANDS "%8", "%9", "%10"
#elif BM / WARPS_M == 32
#define WGMMA_SHAPE "m64n32"
#define WGMMA_SUMS FIRST_TEN ",%10,%11,%12,%13,%14,%15"
#define WGMMA_QUADS QUADS4(0)
#define WGMMA_OPERANDS "%16", "%17", "%18"
#elif BM / WARPS_M == 64
#define WGMMA_SHAPE "m64n64"
#define WGMMA_SUMS FIRST_TEN "," TEN(1) "," TEN(2) ",%30,%31"
#define WGMMA_QUADS QUADS8(0)
#define WGMMA_OPERANDS "%32", "%33", "%34"
#elif BM / WARPS_M == 128
#define WGMMA_SHAPE "m64n128"
#define WGMMA_SUMS FIRST_TEN "," TEN(1) "," TEN(2) "," TEN(3) "," TEN(4) "," TEN(5) ",%60,%61,%62,%63"
#define WGMMA_QUADS QUADS16(0)
#define WGMMA_OPERANDS "%64", "%65", "%66"
#elif BM / WARPS_M == 192
#define WGMMA_SHAPE "m64n192"
#define WGMMA_SUMS                                                                                              \
    FIRST_TEN "," TEN(1) "," TEN(2) "," TEN(3) "," TEN(4) "," TEN(5) "," TEN(6) "," TEN(7) "," TEN(8) ",%90,%91," \
              "%92,%93,%94,%95"
#define WGMMA_QUADS QUADS16(0), QUADS8(16)
#define WGMMA_OPERANDS "%96", "%97", "%98"
#elif BM / WARPS_M == 256
#define WGMMA_SHAPE "m64n256"
#define WGMMA_SUMS                                                                                              \
    FIRST_TEN "," TEN(1) "," TEN(2) "," TEN(3) "," TEN(4) "," TEN(5) "," TEN(6) "," TEN(7) "," TEN(8) "," TEN(9) "," \
        TEN(10) "," TEN(11) ",%120,%121,%122,%123,%124,%125,%126,%127"
#define WGMMA_QUADS QUADS16(0), QUADS16(16)
#define WGMMA_OPERANDS "%128", "%129", "%130"
#else
#error "tokens of a warpgroup: 8, 16, 32, 64, 128, 192 or 256"
#endif
#define WGMMA_NAME "wgmma.mma_async.sync.aligned." WGMMA_SHAPE WGMMA_DEPTH WGMMA_TYPES
#define WGMMA_TEXT(MARK, A, B, P)                                                                               \
    "{ .reg .pred p; setp.ne.b32 p, " P ", 0;\n" MARK WGMMA_NAME " {" WGMMA_SUMS "}, " A ", " B WGMMA_FLAGS "; }\n"
#define WGMMA_ZERO_TEXT(MARK, A, B, P) WGMMA_TEXT(".reg .b32 z; mov.b32 z, 0;\n" MARK, "{z,z,z,z}", B, P)
#define WGMMA_WITH(TEXT, MARK, ...) TEXT(MARK, __VA_ARGS__)  // the operands' names are three arguments

// D[64 outputs][WM tokens] = A[64][k] * B[WM][k]^T, + D if `accumulate`; a, b: descriptors. D: numbers of four bytes.
template <class Sum>
__device__ __forceinline__ void wgmma(Sum (&d)[M_FRAGMENTS][4], unsigned long long a, unsigned long long b,
                                      int accumulate = 1) {
    asm volatile(WGMMA_WITH(WGMMA_TEXT, "", WGMMA_OPERANDS) : WGMMA_QUADS : "l"(a), "l"(b), "r"(accumulate));
}

// Order the registers' and the operands' earlier accesses before the wgmmas that follow.
__device__ __forceinline__ void wgmma_begin() { asm volatile("wgmma.fence.sync.aligned;\n" ::: "memory"); }

__device__ __forceinline__ void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;\n" ::: "memory"); }

template <int PENDING>
__device__ __forceinline__ void wgmma_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;\n" ::"n"(PENDING) : "memory");
}

// ------------------------------------------------------------------------------------------------ the ring of stages

// Where a role stands in the ring: a stage, its barriers, and the parity of the phase that it works in.
struct Ring {
    int index = 0;
    unsigned parity = 0;
    __device__ __forceinline__ void advance() {
        if (++index == STAGES) index = 0, parity ^= 1;
    }
};

// One lane keeps the ring full. `rest`: X in boxes of the tokens that the last tile has.
__device__ __forceinline__ void produce(const TensorMap& x, const TensorMap& rest, const TensorMap& w, const Place& place,
                                        int m, unsigned base, unsigned full, unsigned empty) {
    const int tokens = min(BM, m - place.first_token);
    const TensorMap& x_map = tokens < BM ? rest : x;
    const int bytes = W_BYTES + BLOCKS * ROW_BYTES * tokens;
    Ring ring;
    int column = 0;
#pragma unroll 1
    for (int stage = 0; stage < place.count; ++stage) {
        const unsigned to = base + ring.index * STAGE_BYTES, barrier = full + ring.index * 8;
        barrier_wait(empty + ring.index * 8, ring.parity ^ 1);  // at once in the first round
        barrier_expect(barrier, bytes);
#pragma unroll
        for (int block = 0; block < BLOCKS; ++block, column += WGMMA_COLUMNS) {
            copy_box(to + block * BN * ROW_BYTES, w, barrier, column, place.first_output);
            copy_box(to + W_BYTES + block * BM * ROW_BYTES, x_map, barrier, column, place.first_token);
        }
        ring.advance();
    }
}
