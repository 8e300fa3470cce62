"""Runs from start to end: levels, checkpoints, and stacks of several seeds."""
