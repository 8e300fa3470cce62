"""Figures for the single neuron."""
