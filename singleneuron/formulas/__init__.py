"""Closed forms from theory: flows, success regions and success rates."""
