"""Training and evaluation of masked networks, one at a time or several side by side."""
