"""Run experiments: choose starts, integrate the flows, count the outcomes, and repeat single runs.

Starts are drawn from a distribution or placed beside the boundaries of a region. The independent solver
repeats single runs.
"""
