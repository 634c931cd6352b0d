"""Measuring the bundled kernels on a real GPU: correctness, time, counters. Knows no predictions."""
