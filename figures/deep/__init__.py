"""Figures of the deep experiments."""
