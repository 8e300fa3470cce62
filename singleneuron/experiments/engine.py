"""Train the dense level, prune with every algorithm, and count the outcomes.

Maps, studies and verification all use this module. They differ in their starts and in what they do with the
results.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from singleneuron.algorithms import Algorithm
from singleneuron.flows.integrate import integrate
from singleneuron.flows.task import Training
from singleneuron.parameterization import PLAIN, Parameterization
from singleneuron.problem.arguments import Array
from singleneuron.problem.problem import Problem
from singleneuron.problem.starts import INITS, balanced_starts, independent_starts
from singleneuron.problem.state import Starts
from singleneuron.problem.status import Status
from singleneuron.pruning import PruneResult, prune

START_LAWS: Mapping[str, Callable[..., Starts]] = dict(
    zip(INITS, (balanced_starts, independent_starts), strict=True)
)
"""The functions that draw starts, by the name of the initialisation."""

COUNTS = ("successes", "trapped", "decided", "undecided", "ambiguous", "failed")
"""The outcomes that `tally` counts, in this order."""


def train_and_prune(
    problem: Problem,
    starts: Starts,
    algorithms: Sequence[Algorithm],
    *,
    levels: int = 1,
    level_time: float = np.inf,
    parameterization: Parameterization = PLAIN,
    **training: Unpack[Training],
) -> Iterator[PruneResult]:
    """Train the dense level once, and run every pruning algorithm from there.

    Parameters
    ----------
    problem : Population or Sample
        The problem that all levels are trained on.
    starts : State or Reduced
        B starts.
    algorithms : sequence of Algorithm
        The algorithms to prune with.
    levels : int
        Number of pruning steps, as in `prune`.
    level_time : float
        Length of a level, as in `prune`.
    parameterization : Parameterization
        Plain weights, or the products of Sign-In.
    **training
        Passed to `integrate` at every level.

    Yields
    ------
    PruneResult
        The result of the B runs for each algorithm, in the given order. A result holds all weights of all
        levels, so the results are computed one at a time.
    """
    dense = integrate(problem, starts, level_time, parameterization=parameterization, **training)
    for algorithm in algorithms:
        yield prune(
            problem, starts, algorithm=algorithm, levels=levels, level_time=level_time, dense=dense,
            parameterization=parameterization, **training,
        )  # fmt: skip


def tally(success: Array, status: NDArray[np.int8], *, descent: bool = False) -> NDArray[np.int64]:
    """Count the outcomes of runs.

    Parameters
    ----------
    success : (B,) array
        1, 0, or NaN if the run is undecided, as in `PruneResult`.
    status : (B,) array of int
        Codes of `Status`.
    descent : bool
        Whether the runs use gradient descent. A run whose descent diverges has failed and counts as decided.
        If the integrator gives up on a flow, the run counts as undecided.

    Returns
    -------
    (6,) array of int
        The counts, in the order of `COUNTS`.
    """
    won, open_end = success == 1, np.isnan(success)
    if descent:
        open_end &= status != Status.FAILED
    which = (
        won, won & (status == Status.TRAPPED), ~open_end, open_end, status == Status.AMBIGUOUS,
        status == Status.FAILED,
    )  # fmt: skip
    return np.array([np.count_nonzero(chosen) for chosen in which])
