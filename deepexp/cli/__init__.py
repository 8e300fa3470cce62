"""The command line of `deepexp`, with one module for each group of commands."""
