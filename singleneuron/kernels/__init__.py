"""Kernel compilation, and the numerics that several flows share."""
