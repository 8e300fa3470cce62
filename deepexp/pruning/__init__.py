"""Masks, their budgets, the scores that choose them, and the signs of the weights that they keep."""
