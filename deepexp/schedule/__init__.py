"""Which runs of a plan are left, what they cost, and where they are trained."""
