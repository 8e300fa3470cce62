"""Run experiments: draw or place starts, integrate them, count the outcomes, and repeat single runs.

Starts are drawn from a law or placed beside the boundaries of a region. Single runs are repeated with the
independent solver.
"""
