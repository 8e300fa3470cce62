"""Measure how often IMP, WR and LRR succeed from random starts, over a grid of factors.

This is called a study. Its grid is split into groups of points that share a dense level.
"""

import contextlib
import logging
from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from signflow.machine import cores
from signflow.provenance import origin
from signflow.workers import MOST_WORKERS, processes
from singleneuron.algorithms import Algorithm, Name, Variant
from singleneuron.experiments.binomial import clopper_pearson, confidence_sequence
from singleneuron.experiments.counting import GroupCounts, confidence_limits, count_chunks
from singleneuron.experiments.engine import COUNTS
from singleneuron.experiments.grid import FACTORS
from singleneuron.experiments.labels import with_labels
from singleneuron.experiments.options import configuration_of
from singleneuron.experiments.runs import check_training
from singleneuron.experiments.settings import StudySettings
from singleneuron.experiments.store import opened
from singleneuron.flows.result import Progress
from singleneuron.flows.task import Accuracy, Method, check_keywords
from singleneuron.formulas.rates import predicted_rate
from singleneuron.parameterization import Name as ParameterizationName
from singleneuron.problem.arguments import integer_in_range
from singleneuron.problem.problem import Problem, Sample
from singleneuron.problem.starts import Init
from singleneuron.problem.status import TOLERANCE

if TYPE_CHECKING:
    import xarray as xr

IN_FLIGHT = 128
"""Maximum number of chunks submitted at a time to an executor whose number of workers is unknown."""
UNDECIDED_SHARE = 0.01
"""Largest share of undecided runs for which a rate is reported. Above it, only bounds are reported."""
_NOT_SETTINGS = ("workers", "executor", "directory", "progress")
"""Arguments of `success_rate` on which its counts do not depend."""


def success_rate(
    d: int | Sequence[int] | None = None,
    algorithms: Name | Algorithm | Sequence[Name | Algorithm] = ("imp", "lrr"),
    *,
    n: float | Sequence[float | None] | None = None,
    noise: float | Sequence[float] = 0.0,
    init: Init | Sequence[Init] = "balanced",
    scale: float | Sequence[float] = 1.0,
    learning_rate: float | Sequence[float | None] | None = None,
    level_time: float | Sequence[float] = np.inf,
    rewind_time: float | Sequence[float | None] | None = None,
    targets: int | Sequence[int] = 1,
    parameterization: ParameterizationName | Sequence[ParameterizationName] = "plain",
    beta_a: float | Sequence[float] = 1.0,
    beta_w: float | Sequence[float] = 1.0,
    reset_every: int | None = None,
    levels: int = 1,
    imp: Variant = "keep",
    runs: int = 10_000,
    seed: int = 0,
    ci_width: float | None = None,
    method: Method = "ode",
    v: ArrayLike | None = None,
    problem: Problem | None = None,
    workers: int | None = None,
    executor: Executor | None = None,
    directory: str | Path | None = None,
    progress: Progress | None = None,
    **training: Unpack[Accuracy],
) -> "xr.Dataset":
    """Run pruning algorithms from random starts, and count how often they succeed over a grid of factors.

    Each of the factors d, n, noise, init, scale, learning_rate, level_time, rewind_time, targets,
    parameterization, beta_a, beta_w and `algorithms` is a single value or a sequence of values. A sequence
    becomes a dimension of the result.

    The start and the data of a run depend only on its point, its number and the seed, so the counts are
    exactly the same for any number of workers, in any order, and after interruptions. Points with the same d,
    init and seed share their starts, with one exception: starts are drawn differently if the runs need only
    a, w_1 and the norm of w_2, ..., w_d. This is so for plain weights on the population, with one target
    coordinate, at most one pruning step and levels of infinite length. If points differ in n, the smaller
    data set of a run consists of the first samples of the larger one.

    Parameters
    ----------
    d : int or sequence of int
        Number of input coordinates; required unless `problem` is given.
    algorithms : str or Algorithm, or sequence of them
        'imp', 'wr' or 'lrr', or an `Algorithm`, which has its own options. `imp` and `rewind_time` apply only
        to algorithms given by name.
    n : int or None, or sequence of them
        Number of samples, which each run draws for itself; None or inf for the population.
    noise : float or sequence of float
        Standard deviation of the samples' label noise.
    init : str or sequence of str
        'balanced' for w_i ~ N(0, 1/d) and a = +-|w|, or 'independent' for a, w_i ~ N(0, 1).
    scale : float or sequence of float
        Scale factor of the starts (a, w), > 0.
    learning_rate : float or None, or sequence of them
        Step size of gradient descent; None for the gradient flow.
    level_time : float or sequence of float
        Training time of every level; inf trains to the limit.
    rewind_time : float or None, or sequence of them
        Time to which WR rewinds; required for WR, ignored by the other algorithms.
    targets : int or sequence of int
        Number of coordinates that the target uses.
    parameterization : {'plain', 'sign-in'} or sequence of them
        Whether weights are trained directly, or as products m u as in `Parameterization`.
    beta_a : float or sequence of float
        The value of m^2 - u^2 for `a` under Sign-In, > 0.
    beta_w : float or sequence of float
        The value of m^2 - u^2 for every w_i under Sign-In, > 0.
    reset_every : int, optional
        Under Sign-In, reset the betas after every `reset_every` steps of gradient descent. By default, they
        are set only at the start of each level.
    levels : int
        Number of pruning steps. The numbers of coordinates kept form a geometric sequence from d to
        `targets`.
    imp : {'keep', 'rebalance'}
        What IMP and WR do with the outer weight a after pruning: keep it, or set it to sign(a) |mask * w|.
    runs : int
        Number of runs per point, or the maximum number if `ci_width` is given.
    seed : int
        Seed of all random draws, >= 0.
    ci_width : float, optional
        Stop counting the points that share a dense level once all their confidence intervals are narrower
        than `ci_width`. Undecided runs may prevent this. By default, all runs are counted.
    method : {'ode', 'exact', 'auto'}
        How `integrate` computes the flow; 'exact' uses closed forms.
    v : array_like, shape (d,), optional
        The target, a unit vector; `targets` is then the number of its entries that are not 0. By default v is
        (1, ..., 1, 0, ...)/sqrt(targets).
    problem : Population or Sample, optional
        A problem of your own, on which all runs train. If it is given, leave out d, n, noise, `targets` and
        v. By default, the runs train on the population or, if n is given, each on its own samples.
    workers : int, optional
        Number of processes that do the work, by default one per core. With 1, only this process is used.
    executor : concurrent.futures.Executor, optional
        Executor that does the work instead of `workers` processes.
    directory : str or Path, optional
        Folder in which finished chunks are kept. Chunks found there are not counted again. By default,
        nothing is kept.
    progress : callable, optional
        Called as progress(done, total) with numbers of runs.
    **training
        Passed to `integrate`: rtol, atol, tolerance, label_noise.

    Returns
    -------
    Dataset
        Every factor is a coordinate, and factors given as sequences are dimensions. The coordinate of
        `algorithms` is named `algorithm`. None becomes inf for n, and NaN for learning_rate and rewind_time.
        Attributes: `runs`, `seed`, `interval`, `levels`, `imp` and `method`, and the provenance that
        `signflow.write` stores. Variables:

        - `decided`: runs with an outcome. A run whose gradient descent diverges has failed and is decided.
        - `undecided`: all other runs.
        - `successes`: successful runs.
        - `trapped`: successful runs that reach the target only in the limit.
        - `ambiguous`: runs in which the flow has no unique continuation.
        - `failed`: runs in which the integrator gave up or descent diverged.
        - `rate`: successes / decided; NaN, with a warning, if more than 1 % of the runs are undecided.
        - `rate_low`: the rate if all undecided runs failed.
        - `rate_high`: the rate if all undecided runs succeeded.
        - `ci_low`, `ci_high`: limits of a 95 % interval for the rate, which hold however the undecided runs
          would have ended. They come from `clopper_pearson` or, with `ci_width`, from
          `confidence_sequence`, whose limits hold at any stopping time.
        - `predicted`: the rate predicted by theory; NaN if there is no formula.

    Raises
    ------
    ValueError
        If an argument is out of range or does not fit the others, if the study does not fit in memory or
        takes too long, or if `directory` holds anything but chunks of this study. The message is one line.
    TypeError
        If an argument is unknown.
    Failure
        If a worker process dies, or a finished chunk cannot be written.

    References
    ----------
    Theorem 2.3 of Gadhikar & Burkholz (ICLR 2024): balanced starts succeed at rate 1/4 (IMP) or 1/2 (LRR).

    Examples
    --------
    >>> import singleneuron as sn
    >>> data = sn.success_rate(d=10, algorithms=("imp", "lrr"), runs=200, seed=0, workers=1)
    >>> data.successes.values.tolist()
    [53, 101]
    >>> data.predicted.values.tolist()
    [0.25, 0.5]
    """
    # This function is over 50 lines long, but half of these lines are its signature.
    arguments = {name: value for name, value in locals().items() if name not in _NOT_SETTINGS}
    check_keywords(success_rate, training, Accuracy)
    settings = StudySettings(**arguments)
    workers = cores() if workers is None else integer_in_range("workers", workers, 1, MOST_WORKERS)
    settings.check_size()
    made = origin(configuration_of(settings), settings.seed)
    groups = settings.grid.groups
    counts = [GroupCounts(group, runs, ci_width) for group in groups]
    for group in groups:
        check_training(group)
    # `runs` and `ci_width` are left out, because no chunk depends on them. A study can then be extended.
    config = {"groups": [group.identity for group in groups]}
    report = progress or (lambda done, total: None)
    chunks = sum(len(c.ranges) for c in counts)
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(opened(None if directory is None else Path(directory), config))
        width = IN_FLIGHT if executor is not None else 2 * workers
        if executor is None:
            executor = stack.enter_context(processes(min(workers, chunks)))
        count_chunks(groups, counts, store, executor, width, report)
    data = _dataset(settings, counts).assign_attrs(made)
    if vague := int(data.rate.isnull().sum()):
        logging.getLogger(__name__).warning(
            "more than %g %% of the runs are undecided at %d of %d points; their rates are known only "
            "within bounds",
            100 * UNDECIDED_SHARE, vague, data.rate.size,
        )  # fmt: skip
    return data


def _dataset(settings: StudySettings, counts: list[GroupCounts]) -> "xr.Dataset":
    """Return the counts at every point, with rates, intervals and predictions."""
    import xarray as xr

    grid = settings.grid
    table = np.array([counts[group].total[row] for group, row in grid.where])
    data: dict[str, NDArray[Any]] = dict(zip(COUNTS, table.T, strict=True))
    successes, decided, undecided = data["successes"], data["decided"], data["undecided"]
    counted = decided + undecided
    clear = undecided <= UNDECIDED_SHARE * counted
    data["rate"] = np.divide(successes, decided, out=np.full(len(table), np.nan), where=clear)
    data["rate_low"], data["rate_high"] = successes / counted, (successes + undecided) / counted
    limits, interval = clopper_pearson, "Clopper-Pearson 95 %"
    if settings.ci_width is not None:
        limits, interval = confidence_sequence, "95 % confidence sequence"
    data["ci_low"], data["ci_high"] = confidence_limits(limits, table)
    theory: dict[str, Any] = {"levels": settings.levels, "imp": settings.imp}
    theory["tolerance"] = dict(settings.training).get("tolerance", TOLERANCE)
    # The formulas average over drawn samples. For a fixed `Sample` there is no formula.
    fixed = isinstance(settings.problem, Sample)
    rates = [np.nan if fixed else predicted_rate(**point, **theory) for point in grid.points()]
    data["predicted"] = np.array(rates)
    absent = {"n": np.inf, "learning_rate": np.nan, "rewind_time": np.nan}
    coords = {
        name: [absent[name] if value is None else value for value in values]
        for name, values in grid.values.items()
    }
    coords["algorithm"] = [getattr(given, "label", given) for given in coords["algorithm"]]
    dataset = xr.Dataset(
        {name: (FACTORS, values.reshape(grid.shape)) for name, values in data.items()},
        coords=coords,
        attrs={
            "runs": settings.runs, "seed": settings.seed, "interval": interval, "levels": settings.levels,
            "imp": settings.imp, "method": settings.method,
        },
    )  # fmt: skip
    return with_labels(dataset.squeeze([name for name in FACTORS if name not in grid.dims]))
