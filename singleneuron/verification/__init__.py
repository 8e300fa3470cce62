"""Verify statements: compare theory with simulation and reach verdicts."""
