"""The compilation of kernels, and the numerics that several flows share."""
