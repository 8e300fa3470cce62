"""Figures and the report, drawn from result files."""
