"""Data sets: what they contain, where they come from, and how they become batches."""
