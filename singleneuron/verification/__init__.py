"""Verdicts on statements: what theory says, held against simulation."""
