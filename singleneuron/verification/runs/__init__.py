"""Runs of an experiment: drawn, put beside boundaries, integrated, counted, repeated."""
