"""Run maps and Monte Carlo studies that measure where, and how often, training succeeds."""
