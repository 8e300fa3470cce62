"""Iterative pruning of deep networks: IMP, WR, LRR and their transplants, exact and resumable."""
