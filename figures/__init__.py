"""Figures drawn from result files, and the format of those files."""
