"""Simulate and predict where in the plane of the starts (a(0), w_1(0)) IMP, WR and LRR succeed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from signflow.provenance import origin
from singleneuron.algorithms import Algorithm, Name, Variant
from singleneuron.experiments.engine import train_and_prune
from singleneuron.experiments.labels import with_labels
from singleneuron.experiments.options import configuration_of
from singleneuron.experiments.plane import grid_axis, map_problem, plane_starts
from singleneuron.experiments.settings import MapSettings
from singleneuron.flows.result import Progress
from singleneuron.flows.task import Accuracy, Method, check_keywords
from singleneuron.formulas.regions import predicted
from singleneuron.parameterization import Name as ParameterizationName
from singleneuron.parameterization import Parameterization
from singleneuron.problem.arguments import Array
from singleneuron.problem.problem import Population, Problem
from singleneuron.problem.state import State
from singleneuron.problem.status import Status
from singleneuron.pruning import PruneResult

if TYPE_CHECKING:
    import xarray as xr


def success_map(
    d: int | None = None,
    algorithms: Sequence[Name | Algorithm] = ("imp", "lrr"),
    *,
    resolution: int = 256,
    extent: float = 2.0,
    w_perp: float | None = None,
    balanced: bool = False,
    average: int | None = None,
    targets: int = 1,
    n: int | None = None,
    noise: float = 0.0,
    seed: int = 0,
    imp: Variant = "keep",
    rewind_time: float | None = None,
    levels: int = 1,
    level_time: float = np.inf,
    learning_rate: float | None = None,
    method: Method = "ode",
    parameterization: ParameterizationName = "plain",
    beta_a: float = 1.0,
    beta_w: float = 1.0,
    reset_every: int | None = None,
    v: ArrayLike | None = None,
    problem: Problem | None = None,
    progress: Progress | None = None,
    **training: Unpack[Accuracy],
) -> "xr.Dataset":
    """Run every algorithm from every start (a(0), w_1(0)) on a square grid, and predict where each succeeds.

    The other coordinates w_2, ..., w_d of a start have equal size and the norm `w_perp`, unless `balanced` or
    `average` is given. At most one of these three arguments may be given.

    Parameters
    ----------
    d : int
        Number of input coordinates; required unless `problem` is given.
    algorithms : sequence of {'imp', 'wr', 'lrr'} or Algorithm
        One or more algorithms, which share the dense level. An `Algorithm` has its own options; `imp`
        and `rewind_time` apply only to algorithms given by name.
    resolution : int
        Number of points on each axis, >= 2.
    extent : float
        Both axes are linspace(-extent, extent, resolution).
    w_perp : float, optional
        Norm of w_2, ..., w_d; by default sqrt(1 - 1/d).
    balanced : bool
        Choose the norm of w_2, ..., w_d so that |w| = |a|, which is possible where |a| >= |w_1|. All other
        cells are NaN.
    average : int, optional
        Number of times that w_2, ..., w_d are drawn from N(0, 1/d). The outcomes are averaged.
    targets : int
        Number of coordinates that the target uses.
    n : int, optional
        Number of samples; by default, the neuron is trained on the population. With `average`, each draw of
        w_2, ..., w_d comes with its own samples.
    noise : float
        Standard deviation of the samples' label noise.
    seed : int
        Seed of all random draws, >= 0.
    imp : {'keep', 'rebalance'}
        What IMP and WR do with the outer weight a after pruning: keep it, or set it to sign(a) |mask * w|.
    rewind_time : float, optional
        Time to which WR rewinds; required for WR.
    levels : int
        Number of pruning steps. The numbers of coordinates kept form a geometric sequence from d to
        `targets`.
    level_time : float
        Training time of every level; inf trains to the limit.
    learning_rate : float, optional
        Step size of gradient descent; by default, weights follow the gradient flow.
    method : {'ode', 'exact', 'auto'}
        How `integrate` computes the flow; 'exact' uses closed forms.
    parameterization : {'plain', 'sign-in'}
        Whether weights are trained directly, or as products m u as in `Parameterization`.
    beta_a : float
        The value of m^2 - u^2 for `a` under Sign-In, > 0.
    beta_w : float
        The value of m^2 - u^2 for every w_i under Sign-In, > 0.
    reset_every : int, optional
        Under Sign-In, reset the betas after every `reset_every` steps of gradient descent. By default, they
        are set only at the start of each level.
    v : array_like, shape (d,), optional
        The target, a unit vector; `targets` is then the number of its entries that are not 0. By default v is
        (1, ..., 1, 0, ...)/sqrt(targets).
    problem : Population or Sample, optional
        A problem of your own to train on. If it is given, leave out d, n, noise, `targets` and v.
    progress : callable, optional
        Called as progress(done, total) with numbers of runs, which include cells without a start.
    **training
        Passed to `integrate`: rtol, atol, tolerance, label_noise.

    Returns
    -------
    Dataset
        Coordinates `algorithm`, `a0` and `w0`, which is w_1(0). Attributes: `d`, `imp`, `parameterization`
        (with `beta_a` and `beta_w` under Sign-In), `status_codes`, and the provenance that `signflow.write`
        stores.
        Variables over (algorithm, a0, w0):

        - `success`: 1 or 0 or, with `average`, the mean; NaN if there is no start, or a run has no outcome.
        - `status`: codes of `Status`; -1 if there is no start or, with `average`, if no run failed.
        - `loss`: loss at the end of the last level or, with `average`, the mean of this loss.
        - `predicted`: success of the flow in the limit of long levels, by theory; NaN if there is no formula.
          For samples in d > 1 there is a formula only for IMP, if the mask keeps the target.
        - `success_low`: with `average`, the mean success if all undecided runs failed.
        - `success_high`: with `average`, the mean success if all undecided runs succeeded.

    Raises
    ------
    ValueError
        If an argument is out of range or does not fit the others, or if the map does not fit in memory or
        takes too long. The message is one line.
    TypeError
        If an argument is unknown.

    References
    ----------
    Theorems 2.1 and 2.3 of Gadhikar & Burkholz (ICLR 2024).

    Examples
    --------
    Here IMP needs w_1(0) > 0, but LRR does not.

    >>> import singleneuron as sn
    >>> data = sn.success_map(d=2, resolution=5)
    >>> data.success.sel(algorithm="imp", a0=1.0).values.tolist()  # at w_1(0) = -2, -1, 0, 1, 2
    [0.0, 0.0, 0.0, 1.0, 1.0]
    >>> data.success.sel(algorithm="lrr", a0=1.0).values.tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0]
    >>> bool((data.success == data.predicted).all())
    True
    """
    arguments = {name: value for name, value in locals().items() if name != "progress"}
    check_keywords(success_map, training, Accuracy)
    settings = MapSettings(**arguments)
    settings.check_size()
    made = origin(configuration_of(settings), settings.seed)
    return _table(settings, *_cells(settings, progress or (lambda done, total: None))).assign_attrs(made)


def _cells(settings: MapSettings, progress: Progress) -> tuple[dict[str, Array], NDArray[np.int8]]:
    """Run every algorithm from every cell, and return the means over runs by name, and the statuses.

    All arrays have shape (algorithms, cells).
    """
    axis = grid_axis(settings.extent, settings.resolution)
    average, rules = settings.average, settings.rules
    runs = average or 1
    shape = (len(rules), axis.size**2)
    bounds = () if average is None else ("success_low", "success_high")
    total = {name: np.zeros(shape) for name in ("success", "loss", "predicted", *bounds)}
    status = np.full(shape, -1, dtype=np.int8)
    exists = np.zeros(shape[1], dtype=bool)
    for run in range(runs):
        data = map_problem(settings, run)
        for cells, starts in plane_starts(settings, axis, run):
            exists[cells] = True
            ends = train_and_prune(
                data, starts, rules, levels=settings.levels, level_time=settings.level_time, **settings.how
            )
            for row, (algorithm, end) in enumerate(zip(rules, ends, strict=True)):
                total["success"][row, cells] += end.success
                for name, reading in zip(bounds, (0.0, 1.0), strict=False):
                    total[name][row, cells] += np.where(np.isnan(end.success), reading, end.success)
                total["loss"][row, cells] += end.loss[:, -1]
                total["predicted"][row, cells] += _predicted(data, starts, end, algorithm, settings.product)
                failed = end.status == Status.FAILED
                status[row, cells] = np.where(failed | (average is None), end.status, status[row, cells])
            # All cells up to the last one in `cells` are done or have no start.
            progress((run * shape[1] + int(cells[-1]) + 1) * len(rules), runs * status.size)
    progress(runs * status.size, runs * status.size)
    for values in total.values():
        values[:, ~exists] = np.nan
    return {name: values / runs for name, values in total.items()}, status


def _table(settings: MapSettings, means: dict[str, Array], status: NDArray[np.int8]) -> "xr.Dataset":
    """Return the map as a Dataset."""
    import xarray as xr

    axis = grid_axis(settings.extent, settings.resolution)
    grid = (len(settings.algorithms), axis.size, axis.size)
    dims = ("algorithm", "a0", "w0")
    codes = ", ".join(f"{s.value} {s.label}" for s in Status)
    table = xr.Dataset(
        {name: (dims, values.reshape(grid)) for name, values in means.items()}
        | {"status": (dims, status.reshape(grid))},
        coords={"algorithm": settings.labels, "a0": axis, "w0": axis},
        attrs={
            "status_codes": codes,
            "d": settings.d,
            "imp": settings.imp,
            "parameterization": settings.parameterization,
        },
    )
    if settings.n is not None:
        table.attrs |= {"n": settings.n} | ({} if settings.problem else {"noise": settings.noise})
    if not settings.product.plain:
        table.attrs |= {"beta_a": settings.beta_a, "beta_w": settings.beta_w}
    return with_labels(table)


def _predicted(
    data: Problem, starts: State, end: PruneResult, algorithm: Algorithm, product: Parameterization
) -> Array:
    """Return the success that `predicted` gives, or NaN where a mask found on samples loses the target.

    No formula describes the dense level on samples in d > 1, so the mask comes from the simulation.
    """
    found = predicted(data, starts, algorithm, parameterization=product)
    if isinstance(data, Population) or end.mask is None:
        return found
    return np.where(end.mask[:, data.v != 0].all(axis=1), found, np.nan)
