"""Choose the number of starts from which a law is compared with integration."""

from singleneuron.verification.laws import Comparing, balanced_flows, limit_states, line_flows
from singleneuron.verification.sign_in_laws import balances, line_limits, plane_limits
from singleneuron.verification.time_laws import escape_times, flip_times, wedge_logarithm

COST: dict[Comparing, int] = {
    line_flows: 50,
    balanced_flows: 50,
    wedge_logarithm: 50,
    limit_states: 200,
    flip_times: 500,
    escape_times: 10_000,
    line_limits: 500,
    balances: 500,
    plane_limits: 2_000,
}
"""Cost of a comparison per start, in units of the cost of a run in a sweep. All other comparisons cost 1."""
LEAST = 100
"""Minimum number of starts for a comparison, unless the sweep itself has fewer."""


def starts(comparison: Comparing, runs: int) -> int:
    """Return the number of starts for a comparison if its statement is tested with `runs` starts."""
    return max(runs // COST.get(comparison, 1), min(runs, LEAST))
