"""The number of starts that a law is held against."""

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
"""Starts of a sweep that take about as long as one start of the comparison; 1 for those not listed."""
LEAST = 100
"""Fewest starts of a comparison, unless the sweep itself has fewer."""


def starts(comparison: Comparing, runs: int) -> int:
    """Return how many starts a comparison takes beside a sweep of `runs`."""
    return max(runs // COST.get(comparison, 1), min(runs, LEAST))
