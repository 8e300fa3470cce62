"""Label the variables of a result with `long_name`, `units`, and the meanings of status codes."""

from typing import TYPE_CHECKING

from signflow.formats import labelled
from singleneuron.problem.status import Status

if TYPE_CHECKING:
    import xarray as xr

NAMES = {
    # starts and paths
    "a": "outer weight a",
    "a0": "outer weight a at the start",
    "w": "inner weights w",
    "w0": "inner weight w_1 at the start",
    "da": "velocity da/dt of the flow",
    "dw": "velocity dw/dt of the flow",
    "coordinate": "index of the input coordinate",
    "start": "index of the start",
    "time": "training time t",
    "loss": "loss L, half the mean squared error",
    "status": "status at the end",
    "theta": "angle theta between w and the target [radian]",
    "tau": "training time on the universal angle curve, T(theta(0)) +- t",
    "curve": "prediction along a curve",
    "s": "argument of the curve",
    "drift": "drift of the balance, |c(t) - c(0)| / max(1, a^2 + |w|^2)",
    "rtol": "relative tolerance of the integrator",
    # maps
    "algorithm": "pruning algorithm",
    "success": "success: 1 or 0, or its mean over draws",
    "success_low": "mean success if all undecided runs failed",
    "success_high": "mean success if all undecided runs succeeded",
    "predicted": "success predicted by theory for long levels",
    "edge": "outer weight a at the start, at the edge of the predicted region",
    "edge_w0": "inner weight w_1 at the start, along the edge",
    "edge_of": "problem for which the edge is predicted: the map's own problem, or the population",
    # pruning levels
    "level": "number of prunings so far",
    "kept": "number of coordinates kept",
    "a_sign": "sign of a at the start",
    "w_sign": "sign of w_1 at the start",
    "seed": "index of the seed",
    "path": "level whose path is shown",
    "point": "index of the point along the path",
    # studies
    "d": "number of input coordinates d",
    "n": "number of samples n",
    "noise": "standard deviation of the label noise",
    "init": "distribution of the starts",
    "scale": "scale factor of the starts",
    "learning_rate": "learning rate of gradient descent",
    "level_time": "training time per level",
    "rewind_time": "time that WR rewinds to",
    "targets": "number of target coordinates k",
    "parameterization": "plain weights, or Sign-In's products m u",
    "beta_a": "m^2 - u^2 of the outer weight under Sign-In",
    "beta_w": "m^2 - u^2 of every inner weight under Sign-In",
    "decided": "number of runs with an outcome",
    "undecided": "number of runs without an outcome",
    "successes": "number of successful runs",
    "trapped": "number of runs that succeed only in the limit",
    "ambiguous": "number of runs whose flow has no unique continuation",
    "failed": "number of runs in which the integrator gave up or descent diverged",
    "rate": "success rate",
    "rate_low": "success rate if all undecided runs failed",
    "rate_high": "success rate if all undecided runs succeeded",
    "ci_low": "lower limit of the 95 % interval for the success rate",
    "ci_high": "upper limit of the 95 % interval for the success rate",
    # samples
    "simulated": "simulated time at which w crosses 0, in units of 1/(2 C_neg)",
    "s_neg": "least-squares slope s_neg of the samples with x < 0",
    "draw": "index of the data set",
    "sample": "index of the sample",
    "share": "share of the time in which a sample is active during a slide",
    "distance": "distance w.x/|x| of the flow from the watched hyperplane",
    "hop": "distance w.x/|x| of descent from the watched hyperplane",
    "hop_time": "training time t of a descent step",
    "hop_rate": "learning rate of gradient descent",
    "step": "index of the descent step",
    "error": "largest difference in (a, w) between descent and the flow",
}
"""The `long_name` of every variable that `singleneuron` writes. Weights and times have the unit 1."""

MEANINGS = ("none", *(status.label for status in Status))
"""The meanings of the status codes -1, 0, 1, ... Code -1 means that there is no start or no failure."""


def with_labels(data: "xr.Dataset") -> "xr.Dataset":
    """Give the variables of a result their `long_name` and `units`, and status codes their meanings.

    Parameters
    ----------
    data : Dataset
        The result of an experiment, or a table of a preset.

    Returns
    -------
    Dataset
        The same data with labels. The `long_name` of a curve along a factor names the factor.
    """
    curves = {
        str(name): f"{NAMES[factor]}, along the curve"
        for name in data.variables
        if (factor := str(name).removeprefix("curve_")) != name and factor in NAMES
    }
    coded = "status" in data and data.status.dtype.kind == "i"
    return labelled(data, NAMES | curves, {"status": MEANINGS} if coded else None)
