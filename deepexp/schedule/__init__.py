"""Which runs of a plan are left, how long they take, and where they are trained."""
