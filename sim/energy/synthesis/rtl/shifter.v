// A shift left by LOW + amount bits, at most HIGH: a fixed shift and rows of 2:1 multiplexers, by 1, by 2 and by 4.
// With SATURATE, what leaves the range becomes the nearest number. A row that a smaller HIGH has too is the same.
module shifter #(parameter WIDTH = 32, LOW = 0, HIGH = 1, SATURATE = 0) (
    input [WIDTH-1:0] in,
    input [2:0] amount,
    output [WIDTH-1:0] out
);
  localparam RANGE = HIGH - LOW;
  wire [WIDTH-1:0] by0 = in << LOW;
  wire [WIDTH-1:0] by1, by2, by4;
  wire [3:0] lost; // by each step: the sign would change
  assign lost[0] = LOW == 1 && in[WIDTH-1] != in[WIDTH-2];
  row #(.WIDTH(WIDTH), .BY(1), .USED(RANGE >= 1)) row1 (.in(by0), .shift(amount[0]), .out(by1), .lost(lost[1]));
  row #(.WIDTH(WIDTH), .BY(2), .USED(RANGE >= 2)) row2 (.in(by1), .shift(amount[1]), .out(by2), .lost(lost[2]));
  row #(.WIDTH(WIDTH), .BY(4), .USED(RANGE >= 4)) row4 (.in(by2), .shift(amount[2]), .out(by4), .lost(lost[3]));
  generate
    if (SATURATE) clamp #(.WIDTH(WIDTH)) saturate (.in(by4), .sign(in[WIDTH-1]), .lost(lost), .out(out));
    else assign out = by4;
  endgenerate
endmodule

// One row of multiplexers.
module row #(parameter WIDTH = 32, BY = 1, USED = 1) (
    input [WIDTH-1:0] in,
    input shift,
    output [WIDTH-1:0] out,
    output lost
);
  assign out = USED && shift ? in << BY : in;
  assign lost = USED && shift && |(in[WIDTH-2 -: BY] ^ {BY{in[WIDTH-1]}});
endmodule

// The nearest number instead of one that was lost.
module clamp #(parameter WIDTH = 32) (
    input [WIDTH-1:0] in,
    input sign,
    input [3:0] lost,
    output [WIDTH-1:0] out
);
  assign out = |lost ? {sign, {(WIDTH-1){~sign}}} : in;
endmodule

// The row of multiplexers behind an adder: the sum, or the shifted accumulator.
module selector #(parameter WIDTH = 32) (
    input [WIDTH-1:0] sum,
    input [WIDTH-1:0] shifted,
    input rescale,
    output [WIDTH-1:0] out
);
  assign out = rescale ? shifted : sum;
endmodule
