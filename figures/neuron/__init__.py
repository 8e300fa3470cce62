"""Figures of the single neuron."""
