"""Which runs a plan has left, what they cost, and where they are trained."""
