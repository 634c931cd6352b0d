// FP16 matmul on Hopper's asynchronous units: Y[M,N] = X[M,K] * W[N,K]^T, half operands, fp32 accumulation, half result;
// any M, N and K multiples of 8.
//
// Layouts    X, W and Y row-major. A stage in shared memory holds BLOCKS panels of W and of X, rows of 64 halves whose
//            16-byte chunks the copy engine permutes by chunk ^ (row & 7) (128-byte swizzle), as wgmma reads them.
// Algorithm  One producer warp has the copy engine (TMA) fill a ring of STAGES stages; warpgroups multiply, each 64
//            outputs by WM tokens with m64nWMk16 from shared memory, with the wgmmas of one stage in flight. A stage's
//            two mbarriers say that it is full (its bytes have arrived) and empty (every consumer warp is done with it).
//            What lies beyond the edge of X or W arrives as zeros.
//            One warp holds 16 outputs x WM tokens in the fragments of mma.m16n8, so the epilogue is the other kernels'.
//            K is not split over CTAs: a copy engine keeps enough in flight for an SM to stream alone.
// Registers  Nine warps leave 168 to a thread, enough for the 128 accumulators of m64n256: no setmaxnreg.
// Macros     Those of common.cuh; WARPS_N is a multiple of 4. Launched with 32 threads more than those: the producer.

#include "/tcsim/matmul/common.cuh"

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

// Copy the box of 64 columns from (`column`, `row`) on to shared memory; it reports its bytes to `barrier`.
__device__ __forceinline__ void copy_box(unsigned to, const TensorMap& map, unsigned barrier, int column, int row) {
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];\n" ::"r"(to),
        "l"(&map), "r"(barrier), "r"(column), "r"(row) : "memory");
}

// ------------------------------------------------------------------------------------------------ wgmma

// A descriptor tells wgmma of a K-major operand with 128-byte swizzle: groups of 8 rows 1024 bytes apart. Its low word
// holds the address in units of 16 bytes, so that a sum with it moves on.
__device__ __forceinline__ unsigned low_word(unsigned address) { return 1u << 16 | (address & 0x3ffff) >> 4; }

__device__ __forceinline__ unsigned long long descriptor(unsigned low) {
    return static_cast<unsigned long long>(1u << 30 | 1024 >> 4) << 32 | low;
}

// Registers of the accumulators before, and the two descriptors after them, in the text of the instruction.
#define TEN(t) "%" #t "0,%" #t "1,%" #t "2,%" #t "3,%" #t "4,%" #t "5,%" #t "6,%" #t "7,%" #t "8,%" #t "9"
#define FIRST_TEN "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9"
#define QUAD(j) "+f"(d[j][0]), "+f"(d[j][1]), "+f"(d[j][2]), "+f"(d[j][3])
#define QUADS2(j) QUAD(j), QUAD(j + 1)
#define QUADS4(j) QUADS2(j), QUADS2(j + 2)
#define QUADS8(j) QUADS4(j), QUADS4(j + 4)
#define QUADS16(j) QUADS8(j), QUADS8(j + 8)
#define WGMMA(SHAPE, D, A, B, ...)                                                                           \
    asm volatile("{ .reg .pred p; setp.eq.b32 p, 0, 0;\n"                                                    \
                 "wgmma.mma_async.sync.aligned." SHAPE ".f32.f16.f16 {" D "}, " A ", " B ", p, 1, 1, 0, 0; }\n" \
                 : __VA_ARGS__                                                                               \
                 : "l"(a), "l"(b))

// D[64 outputs][WM tokens] += A[64][16] * B[WM][16]^T.
__device__ __forceinline__ void wgmma(float (&d)[M_FRAGMENTS][4], unsigned long long a, unsigned long long b) {
#if BM / WARPS_M == 8
    WGMMA("m64n8k16", "%0,%1,%2,%3", "%4", "%5", QUAD(0));
#elif BM / WARPS_M == 16
    WGMMA("m64n16k16", "%0,%1,%2,%3,%4,%5,%6,%7", "%8", "%9", QUADS2(0));
#elif BM / WARPS_M == 32
    WGMMA("m64n32k16", FIRST_TEN ",%10,%11,%12,%13,%14,%15", "%16", "%17", QUADS4(0));
#elif BM / WARPS_M == 64
    WGMMA("m64n64k16", FIRST_TEN "," TEN(1) "," TEN(2) ",%30,%31", "%32", "%33", QUADS8(0));
#elif BM / WARPS_M == 128
    WGMMA("m64n128k16", FIRST_TEN "," TEN(1) "," TEN(2) "," TEN(3) "," TEN(4) "," TEN(5) ",%60,%61,%62,%63", "%64",
          "%65", QUADS16(0));
#elif BM / WARPS_M == 256
    WGMMA("m64n256k16",
          FIRST_TEN "," TEN(1) "," TEN(2) "," TEN(3) "," TEN(4) "," TEN(5) "," TEN(6) "," TEN(7) "," TEN(8) "," TEN(
              9) "," TEN(10) "," TEN(11) ",%120,%121,%122,%123,%124,%125,%126,%127",
          "%128", "%129", QUADS16(0), QUADS16(16));
#else
#error "tokens of a warpgroup: 8, 16, 32, 64, 128 or 256"
#endif
}

// Order the registers' and the operands' earlier accesses before the wgmmas that follow.
__device__ __forceinline__ void wgmma_begin() { asm volatile("wgmma.fence.sync.aligned;\n" ::: "memory"); }

__device__ __forceinline__ void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;\n" ::: "memory"); }

template <int PENDING>
__device__ __forceinline__ void wgmma_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;\n" ::"n"(PENDING) : "memory");
}

// ------------------------------------------------------------------------------------------------ the two roles

// Where a role stands in the ring: a stage, its barriers, and the parity of the phase that it works in.
struct Ring {
    int index = 0;
    unsigned parity = 0;
    __device__ __forceinline__ void advance() {
        if (++index == STAGES) index = 0, parity ^= 1;
    }
};

// One lane keeps the ring full.
__device__ __forceinline__ void produce(const TensorMap& x, const TensorMap& w, const Place& place, unsigned base,
                                        unsigned full, unsigned empty) {
    Ring ring;
    int column = 0;
#pragma unroll 1
    for (int stage = 0; stage < place.count; ++stage) {
        const unsigned to = base + ring.index * STAGE_BYTES, barrier = full + ring.index * 8;
        barrier_wait(empty + ring.index * 8, ring.parity ^ 1);  // at once in the first round
        barrier_expect(barrier, STAGE_BYTES);
#pragma unroll
        for (int block = 0; block < BLOCKS; ++block, column += BLOCK_K) {
            copy_box(to + block * BN * ROW_BYTES, w, barrier, column, place.first_output);
            copy_box(to + W_BYTES + block * BM * ROW_BYTES, x, barrier, column, place.first_token);
        }
        ring.advance();
    }
}

// Multiply all stages; one is handed back when the wgmmas of the next are under way and its own are done.
__device__ __forceinline__ void consume(float (&acc)[M_FRAGMENTS][4], int warp, int stages, unsigned base, unsigned full,
                                        unsigned empty) {
    const int member = warp % (GROUP / 32), first_block = warp / (GROUP / 32) * WARP_BLOCKS;
    const unsigned weights = base + (first_block * BN + member % WARPS_N / 4 * 64) * ROW_BYTES;
    const unsigned tokens = base + W_BYTES + (first_block * BM + member / WARPS_N * WM) * ROW_BYTES;
    const bool hands_back = threadIdx.x % 32 == 0;
    Ring ring;
    unsigned previous = 0;
#pragma unroll 1
    for (int stage = 0; stage < stages; ++stage) {
        barrier_wait(full + ring.index * 8, ring.parity);
        const unsigned a = low_word(weights + ring.index * STAGE_BYTES);
        const unsigned b = low_word(tokens + ring.index * STAGE_BYTES);
        wgmma_begin();
#pragma unroll
        for (int step = 0; step < STEPS; ++step) {
            const int block = step / 4 * ROW_BYTES / 16, chunk = step % 4 * 2;
            wgmma(acc, descriptor(a + block * BN + chunk), descriptor(b + block * BM + chunk));
        }
        wgmma_commit();
        wgmma_wait<1>();
        if (stage > 0 && hands_back) barrier_arrive(previous);
        previous = empty + ring.index * 8;
        ring.advance();
    }
    wgmma_wait<0>();
}

extern "C" __global__ void __launch_bounds__(THREADS + 32, CTAS_PER_SM)
fp16_wgmma_matmul(const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap w, half_bits* __restrict__ y,
                  int m, int n, int k, int group_shift) {
    extern __shared__ __align__(1024) unsigned char shared[];
    __shared__ unsigned long long barriers[2 * STAGES];
    const unsigned base = shared_address(shared), full = shared_address(barriers), empty = full + STAGES * 8;
    const Place place(group_shift, (k + BLOCKS * BLOCK_K - 1) / (BLOCKS * BLOCK_K), 0);
    const int warp = __shfl_sync(~0u, threadIdx.x >> 5, 0);  // the same in all lanes, and the compiler sees it

    if (threadIdx.x == 0) {
        for (int stage = 0; stage < STAGES; ++stage) {
            barrier_init(full + stage * 8, 1);
            barrier_init(empty + stage * 8, CONSUMER_WARPS);
        }
        fence_barrier_init();
    }
    __syncthreads();
    if (warp == CONSUMER_WARPS) {
        if (threadIdx.x % 32 == 0) produce(x, w, place, base, full, empty);
        return;
    }

    Accumulators acc;
#pragma unroll
    for (int j = 0; j < M_FRAGMENTS; ++j)
#pragma unroll
        for (int v = 0; v < 4; ++v) acc[0][j][v] = 0.f;
    consume(acc[0], warp, place.count, base, full, empty);
    __syncthreads();  // of the consumers: the producer has left
    Results sum;
    add_warps(sum, acc, shared);
    if (WARPS_K > 1) __syncthreads();
    store_tile(sum, shared, y, m, n, place.first_token, place.first_output);
}
