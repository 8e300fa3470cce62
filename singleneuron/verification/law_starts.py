"""How many starts a law is held against."""

from singleneuron.verification.laws import Comparing, balanced_flows, limit_states, line_flows
from singleneuron.verification.time_laws import escape_times, flip_times, wedge_logarithm

COST: dict[Comparing, int] = {
    line_flows: 50,
    balanced_flows: 50,
    wedge_logarithm: 50,
    limit_states: 200,
    flip_times: 500,
    escape_times: 10_000,
}
"""Starts of a sweep that take about as long as one of a comparison; of the others: one."""


LEAST = 100


def starts(comparison: Comparing, runs: int) -> int:
    """How many starts a comparison takes beside a sweep of `runs`."""
    return max(runs // COST.get(comparison, 1), min(runs, LEAST))
