"""From Verilog to area, delay and energy: Yosys, a cell library in Liberty format, and a gate-level simulation."""
