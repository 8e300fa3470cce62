"""Measure from which starts, and how often, training succeeds, by maps and Monte Carlo studies."""
