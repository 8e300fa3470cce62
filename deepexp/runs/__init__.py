"""Runs from start to end: levels, checkpoints, stacks of several seeds, and the export of levels."""
