// Building blocks. Each stays a module of its own through synthesis, so that designs differ by exactly what they say.

// A product of signed integers.
module multiplier #(parameter BITS = 8) (
    input signed [BITS-1:0] a,
    input signed [BITS-1:0] b,
    output signed [2*BITS-1:0] product
);
  assign product = a * b;
endmodule

// The sum of LENGTH signed products and a signed operand, modulo 2^OUT. In a tree, a product p enters as
// p + 2^(2 BITS - 1), which is unsigned: its sign need not be extended through all columns.
module adder #(parameter BITS = 8, LENGTH = 1, WIDTH = 32, OUT = WIDTH) (
    input [LENGTH*2*BITS-1:0] products,
    input signed [WIDTH-1:0] c,
    output [OUT-1:0] sum
);
  localparam P = 2 * BITS;
  localparam [63:0] OFFSET = LENGTH * (64'd1 << (P - 1));
  wire signed [OUT-1:0] extended = c;
  generate
    if (LENGTH == 1) assign sum = extended + $signed(products);
    else begin : tree
      reg [OUT-1:0] total;
      integer i;
      always @* begin
        total = extended - OFFSET[OUT-1:0];
        for (i = 0; i < LENGTH; i = i + 1)
          total = total + {~products[P*i+P-1], products[P*i +: P-1]};
      end
      assign sum = total;
    end
  endgenerate
endmodule

// The nearest number of WIDTH bits.
module saturator #(parameter IN = 34, WIDTH = 32) (
    input [IN-1:0] in,
    output [WIDTH-1:0] out
);
  wire sign = in[IN-1];
  wire fits = &in[IN-1:WIDTH-1] | ~|in[IN-1:WIDTH-1];
  assign out = fits ? in[WIDTH-1:0] : {sign, {(WIDTH-1){~sign}}};
endmodule
