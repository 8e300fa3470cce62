"""Runs of experiments: drawn or put beside boundaries, integrated and counted; single ones repeated."""
