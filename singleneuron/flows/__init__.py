"""Training integrated in time: one file a problem or method, driven by `integrate`."""
