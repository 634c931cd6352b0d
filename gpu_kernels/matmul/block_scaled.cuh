// D += A * B, with a power-of-two scale per row of A, column of B and 32 elements of K, and fp32 sums: m16n8k32 of signed
// bytes, or with FP4 m16n8k64 of E2M1. It is hypothetical, and sim/extensions/block_scaled_mma defines it. A sparse mma
// lends its operands to it, in a kernel with `pmevent 3`: the lower or the upper pair of B's registers is used, the upper
// if the sum is to saturate, and of the word of scales that byte which the types' signs encode.

#pragma once

// Say what the kernel's sparse mma stand for; once, before them.
__device__ __forceinline__ void mark_sparse_as_scaled() {
#if FP4
    asm volatile("pmevent 2;\n");
#endif
    asm volatile("pmevent 3;\n");
}

template <int VALUE>
struct Byte {
    static constexpr int value = VALUE;
};

#define SCALED_MMA(a_type, b_type, saturation)                                                                          \
    asm("mma.sp.sync.aligned.m16n8k64.row.col" saturation ".s32." a_type "." b_type ".s32 "                             \
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9,%10,%11}, {%0,%1,%2,%3}, %12, 0x0;\n"                                     \
        : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])                                                                \
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "r"(b[2]), "r"(b[3]), "r"(scales))

// `d` are the bits of floats; `b` are two fragments. Lanes 4g and 4g + 1 give the scales of A's rows g and g + 8, lanes
// 4g + 2 and 4g + 3 those of column g of B's lower and upper fragment. `upper` must be known to the compiler.
template <int BYTE>
__device__ __forceinline__ void scaled_mma(int (&d)[4], const unsigned (&a)[4], const unsigned (&b)[4], bool upper,
                                           Byte<BYTE>, unsigned scales) {
    if (BYTE == 0 && !upper) SCALED_MMA("s8", "s8", "");
    if (BYTE == 1 && !upper) SCALED_MMA("u8", "s8", "");
    if (BYTE == 2 && !upper) SCALED_MMA("s8", "u8", "");
    if (BYTE == 3 && !upper) SCALED_MMA("u8", "u8", "");
    if (BYTE == 0 && upper) SCALED_MMA("s8", "s8", ".satfinite");
    if (BYTE == 1 && upper) SCALED_MMA("u8", "s8", ".satfinite");
    if (BYTE == 2 && upper) SCALED_MMA("s8", "u8", ".satfinite");
    if (BYTE == 3 && upper) SCALED_MMA("u8", "u8", ".satfinite");
}

#undef SCALED_MMA
