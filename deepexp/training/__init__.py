"""Gradient steps under a mask, one network or several side by side, and their evaluation."""
