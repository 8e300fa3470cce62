"""How fast training is compared with plain PyTorch, and what its parts cost: `deepexp bench`."""
