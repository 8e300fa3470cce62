"""`deepexp bench`: compare our training speed with plain PyTorch's speed, and time the parts of training."""
