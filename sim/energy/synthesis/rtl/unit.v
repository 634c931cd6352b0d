// A dot product of LENGTH elements and an accumulator C, which can be shifted left by up to RANGE bits.
//   POSITION 1, in the path of C:     d = (c << amount) + a . b             amount = shift
//   POSITION 2, behind the adder:     d = rescale ? c << amount : c + a . b   {amount - 1, rescale} = shift
// POSITION 0 has no shifter. Sums are kept in WIDTH bits: modulo 2^WIDTH, or with SATURATE the nearest number.
module dot #(parameter BITS = 8, LENGTH = 8, WIDTH = 32, POSITION = 0, RANGE = 0, SATURATE = 0) (
    input [LENGTH*BITS-1:0] a,
    input [LENGTH*BITS-1:0] b,
    input [WIDTH-1:0] c,
    input [2:0] shift,
    output [WIDTH-1:0] d
);
  localparam PRODUCTS = 2 * BITS + $clog2(LENGTH);
  localparam EXACT = (PRODUCTS > WIDTH ? PRODUCTS : WIDTH) + 1;
  wire [LENGTH*2*BITS-1:0] products;
  wire [WIDTH-1:0] addend, sum;
  genvar i;
  generate
    for (i = 0; i < LENGTH; i = i + 1) begin : element
      multiplier #(.BITS(BITS)) multiply (
          .a(a[BITS*i +: BITS]), .b(b[BITS*i +: BITS]), .product(products[2*BITS*i +: 2*BITS]));
    end
    if (POSITION == 1)
      shifter #(.WIDTH(WIDTH), .LOW(0), .HIGH(RANGE), .SATURATE(SATURATE)) shift_c (
          .in(c), .amount(shift), .out(addend));
    else assign addend = c;
    if (SATURATE) begin : saturating
      wire [EXACT-1:0] exact;
      adder #(.BITS(BITS), .LENGTH(LENGTH), .WIDTH(WIDTH), .OUT(EXACT)) add (
          .products(products), .c(addend), .sum(exact));
      saturator #(.IN(EXACT), .WIDTH(WIDTH)) saturate (.in(exact), .out(sum));
    end else begin : wrapping
      adder #(.BITS(BITS), .LENGTH(LENGTH), .WIDTH(WIDTH), .OUT(WIDTH)) add (
          .products(products), .c(addend), .sum(sum));
    end
    if (POSITION == 2) begin : rescaling
      wire [WIDTH-1:0] shifted;
      shifter #(.WIDTH(WIDTH), .LOW(1), .HIGH(RANGE), .SATURATE(SATURATE)) shift_c (
          .in(c), .amount({1'b0, shift[2:1]}), .out(shifted));
      selector #(.WIDTH(WIDTH)) choose (.sum(sum), .shifted(shifted), .rescale(shift[0]), .out(d));
    end else assign d = sum;
  endgenerate
endmodule

// A processing element of an output-stationary array: operands and the control of the shift move on, the sum stays.
module pe #(parameter BITS = 8, WIDTH = 32, POSITION = 0, RANGE = 0, SATURATE = 0) (
    input clock,
    input [BITS-1:0] a,
    input [BITS-1:0] b,
    input [2:0] shift,
    output reg [BITS-1:0] a_out,
    output reg [BITS-1:0] b_out,
    output [2:0] shift_out,
    output reg [WIDTH-1:0] c
);
  wire [WIDTH-1:0] d;
  dot #(.BITS(BITS), .LENGTH(1), .WIDTH(WIDTH), .POSITION(POSITION), .RANGE(RANGE), .SATURATE(SATURATE)) mac (
      .a(a), .b(b), .c(c), .shift(shift), .d(d));
  always @(posedge clock) begin
    a_out <= a;
    b_out <= b;
    c <= d;
  end
  localparam CONTROL = POSITION == 0 || RANGE == 0 ? 0
      : POSITION == 2 ? (RANGE == 1 ? 1 : RANGE == 2 ? 2 : 3) : (RANGE == 1 ? 1 : RANGE <= 3 ? 2 : 3);
  generate
    if (CONTROL == 0) assign shift_out = 0;
    else begin : control
      reg [CONTROL-1:0] held;
      always @(posedge clock) held <= shift[CONTROL-1:0];
      assign shift_out = held;
    end
  endgenerate
endmodule
