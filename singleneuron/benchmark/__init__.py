"""Speed beside other solvers: `python -m singleneuron.benchmark`."""
