// The hypothetical instruction of the extension lut_unit: the A operand of one k16 step of an mma, looked up in a table.

#pragma once

// d = table[code] * scale for 16 rows x 16 columns, step STEP of four. codes: a lane's of 16 rows x 64 columns of BITS
// bits, in the order of workloads/schemes/flute.py, `codes[3]` is read at 4 bits only. scales: those of rows g and g + 8
// side by side, for the first and the last 32 columns. table: entries 2 l and 2 l + 1 in the first register of lane l;
// the others are not read. Mark 4, and in the mask's upper byte the step and, above two bits, BITS.
template <int STEP>
__device__ __forceinline__ void marked_mma(unsigned (&d)[4], const unsigned (&codes)[4], const unsigned (&scales)[2],
                                           const unsigned (&table)[4]) {
    asm volatile("pmevent.mask %14;\n"
                 "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%11,%12,%13};\n"
                 : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
                 : "r"(codes[0]), "r"(codes[1]), "r"(codes[2]), "r"(codes[3]), "r"(scales[0]), "r"(scales[1]),
                   "r"(table[0]), "r"(table[1]), "r"(table[2]), "r"(table[3]), "n"(1 << 4 | (STEP | BITS << 2) << 8));
}

__device__ __forceinline__ void look_up_mma(unsigned (&d)[4], const unsigned (&codes)[4], const unsigned (&scales)[2],
                                            const unsigned (&table)[4], int step) {
    if (step == 0) marked_mma<0>(d, codes, scales, table);
    if (step == 1) marked_mma<1>(d, codes, scales, table);
    if (step == 2) marked_mma<2>(d, codes, scales, table);
    if (step == 3) marked_mma<3>(d, codes, scales, table);
}
