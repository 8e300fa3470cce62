"""Compare the speed of our solvers with other solvers: `python -m singleneuron.benchmark`."""
