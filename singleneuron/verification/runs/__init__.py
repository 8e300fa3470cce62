"""Runs of experiments: starts drawn or placed beside boundaries, integrated, counted, and singly repeated."""
