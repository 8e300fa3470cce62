"""Figures for the deep experiments."""
