"""Compare the speed of training with plain PyTorch, and time its parts: `deepexp bench`."""
