"""Verdicts on statements: what theory says, compared with simulation."""
