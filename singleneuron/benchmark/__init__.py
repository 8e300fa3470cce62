"""Speed compared with other solvers: `python -m singleneuron.benchmark`."""
