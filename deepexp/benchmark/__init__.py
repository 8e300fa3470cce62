"""How fast training is beside plain PyTorch, and what its parts cost: `deepexp bench`."""
