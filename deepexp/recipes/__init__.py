"""Recipes: experiments described as TOML files, and the runs that each of them consists of."""
