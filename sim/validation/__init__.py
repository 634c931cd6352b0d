"""Simulated against measured: the comparison of one row, statistics, goals and tolerances."""
