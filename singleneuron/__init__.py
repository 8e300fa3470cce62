"""The single hidden neuron: gradient flow, pruning, and where IMP and LRR succeed."""
