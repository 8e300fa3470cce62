"""The training problem: data, states, loss, starts, and the statuses in which a run can end."""
