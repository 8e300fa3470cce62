"""The configuration of a run: its settings, level policy and protocol."""
