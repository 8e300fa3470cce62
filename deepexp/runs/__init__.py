"""A run from start to end: levels, checkpoints, stacks of seeds, and what can be exported."""
