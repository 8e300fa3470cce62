"""The files of a run, and functions that write, read and check them."""
