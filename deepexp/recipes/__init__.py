"""Experiments as lists of runs; one TOML file each."""
