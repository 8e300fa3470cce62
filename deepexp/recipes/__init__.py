"""Recipes: experiments described as TOML files, and the runs of each experiment."""
