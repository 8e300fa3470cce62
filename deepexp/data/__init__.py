"""Data sets: what there is, where it comes from, and how its batches are made."""
