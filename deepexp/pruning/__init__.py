"""Masks, their budgets, the scores that choose them, and the signs of what they keep."""
