"""Comparison of speed with other solvers: `python -m singleneuron.benchmark`."""
