"""`deepexp bench`: compare the speed of training with plain PyTorch, and time the parts of training."""
