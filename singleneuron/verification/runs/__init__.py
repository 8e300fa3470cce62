"""Runs of experiments: drawn or put beside boundaries, then integrated and counted, and single ones repeated."""
