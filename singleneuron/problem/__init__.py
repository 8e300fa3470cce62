"""The training problem: data, states, loss, starts, and the statuses that a run ends with."""
