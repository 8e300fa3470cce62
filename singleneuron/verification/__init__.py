"""Verdicts on statements: theory compared with simulation."""
