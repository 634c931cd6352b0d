"""Tender's numerics: decomposition of activations into groups of power-of-two scales, and integer matmuls of them."""
