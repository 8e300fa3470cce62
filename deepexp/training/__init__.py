"""Training and evaluation of masked networks, alone or several side by side."""
