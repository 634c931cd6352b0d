// What every microbenchmark shares: a loop whose trips are an argument, between two readings of the SM's clock.
// The cost of one trip is the slope over two trip counts, so what stands outside the loop does not matter.
// At most 512 threads, so that 16 warps may use 128 registers each.

typedef unsigned int u32;
typedef unsigned long long u64;

#define MICRO(name, ...) \
  extern "C" __global__ void __launch_bounds__(512, 1) name(long long* clocks, u32* sink, int trips, \
                                                           int subcores, ##__VA_ARGS__)

// Warps of the sub-cores beyond `subcores` leave: warp w runs on sub-core w modulo 4.
#define BEGIN                                          \
  __syncthreads();                                     \
  if (threadIdx.x / 32 % 4 >= subcores) return;        \
  const long long begin = clock64();

#define LOOP _Pragma("unroll 1") for (int trip = 0; trip < trips; ++trip)

#define REPEAT(j, n) _Pragma("unroll") for (int j = 0; j < (n); ++j)

// Keeps `value` alive without writing it.
#define END(value)                                                            \
  const long long end = clock64();                                            \
  const u32 warp = (blockIdx.x * blockDim.x + threadIdx.x) / 32;              \
  if (threadIdx.x % 32 == 0) {                                                \
    clocks[2 * warp] = begin;                                                 \
    clocks[2 * warp + 1] = end;                                               \
  }                                                                           \
  if ((value) == 0x9e3779b9u) sink[threadIdx.x] = 1;

extern __shared__ __align__(1024) unsigned char dynamic_shared[];

static __device__ __forceinline__ u32 shared_base() {
  return static_cast<u32>(__cvta_generic_to_shared(dynamic_shared));
}

static __device__ __forceinline__ u32 lane_id() { return threadIdx.x % 32; }
