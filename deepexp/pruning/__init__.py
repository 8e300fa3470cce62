"""Masks, the budgets and scores by which they are chosen, and the signs of weights."""
