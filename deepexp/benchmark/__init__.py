"""`deepexp bench`: compare the training speed with plain PyTorch, and time the parts of training."""
