"""Microbenchmarks: one module per group of hardware parameters; what they measure feeds the GPU's YAML file."""
