"""A user's script with correct types: type checkers must accept it."""

import numpy as np
import xarray as xr

import signflow
import singleneuron as sn

problem = sn.Population(d=2)
starts = sn.balanced_starts(d=2, size=10, seed=1)
end: sn.FlowResult[sn.State] = sn.integrate(problem, starts, t_end=float("inf"))
run = sn.prune(problem, starts, algorithm=sn.Algorithm("imp"))
success: np.ndarray = run.success
space: xr.Dataset = sn.success_map(d=2, resolution=5)
table = signflow.read("map.nc")
product = sn.Parameterization("sign-in", beta_a=2.0)
data = sn.Sample(x=[[1.0, 0.5], [-0.5, 2.0]], y=lambda x: np.maximum(x[:, 0], 0.0), v=[0.6, 0.8])
rates: xr.Dataset = sn.success_rate(problem=data, algorithms=["imp", sn.Algorithm("lrr")], runs=2, workers=1)
again = sn.success_map(2, ("imp",), imp="rebalance", v=[0.6, 0.8], rtol=1e-6)
