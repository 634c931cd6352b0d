// An mma.sync.m16n8k16 that a warp may leave out without a branch.

#pragma once

// c += a * b if `enabled`.
__device__ __forceinline__ void optional_mma(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2], bool enabled) {
    asm("{ .reg .pred p; setp.ne.b32 p, %10, 0;\n"
        "@p mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3}; }\n"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "r"(static_cast<int>(enabled)));
}
