"""How kernels are compiled, and the numerics that several flows share."""
