"""The training and evaluation of masked networks, one alone or several side by side."""
