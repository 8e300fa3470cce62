"""The case of Sign-In on the population. scipy integrates 1 + d weights; our solver has three unknowns."""

import math
from typing import Any

import numpy as np

from singleneuron.benchmark import other_solvers
from singleneuron.benchmark.measure import Case, Tool
from singleneuron.flows.sign_in.population import population_flow
from singleneuron.flows.sign_in.population_field import angle
from singleneuron.kernels.compiling import routine
from singleneuron.kernels.metric import metric_of
from singleneuron.parameterization import Parameterization
from singleneuron.problem.arguments import Array
from singleneuron.problem.starts import balanced_starts
from singleneuron.problem.state import State
from singleneuron.problem.status import TOLERANCE
from singleneuron.problem.target import target_vector


@routine
def field(y: Any, p: Any, out: Any) -> None:
    """Evaluate the right-hand side of the flow for the target e_1, with y = (a, w), p = (beta_a, beta_w)."""
    norm = 0.0
    for i in range(2, y.size):
        norm += y[i] * y[i]
    rho, inverse, delta, sine, k = angle(y[1], math.sqrt(norm), 0.0)
    a = y[0]
    out[0] = metric_of(a, p[0]) * rho * (k - 0.5 * a * rho)
    shrink = a * (0.5 * a - sine * inverse / (2.0 * math.pi))
    for i in range(1, y.size):
        out[i] = -metric_of(y[i], p[1]) * shrink * y[i]
    out[1] += metric_of(y[1], p[1]) * a * delta / (2.0 * math.pi)


def field_python(_: float, y: Array, p: Array) -> list[float]:
    """Evaluate the right-hand side of `field` in plain Python, which is faster than numpy for ten weights."""
    a, *w = y.tolist()
    beta_a, beta_w = p.tolist()
    norm = math.hypot(*w[1:])
    rho, delta = math.hypot(w[0], norm), math.atan2(norm, -w[0])
    if delta < 0.2:
        d2 = delta * delta
        k = delta * d2 * (1 / 3 - d2 * (1 / 30 - d2 * (1 / 840 - d2 / 45360))) / (2 * math.pi)
    else:
        k = (norm + delta * w[0]) / (2 * math.pi * rho)
    shrink = a * (0.5 * a - norm / (2 * math.pi * rho**2))
    slopes = [-math.hypot(beta_w, 2 * weight) * shrink * weight for weight in w]
    slopes[0] += math.hypot(beta_w, 2 * w[0]) * a * delta / (2 * math.pi)
    return [math.hypot(beta_a, 2 * a) * rho * (k - 0.5 * a * rho), *slopes]


def sign_in_case(share: float = 1.0) -> Case:
    """Build the case of the population flow under Sign-In from balanced starts, with beta_a = beta_w = 1."""
    d, size, t = 10, max(8, round(100_000 * share)), 100.0
    starts = balanced_starts(d, size, seed=1)
    assert isinstance(starts, State)
    y, c = np.column_stack([starts.a, starts.w]), Parameterization("sign-in").balance(starts)

    def own(tolerance: float) -> Array:
        return population_flow(
            starts.a, starts.w, target_vector(d, 1), 1.0, 1.0, np.array([t]), c=c,
            rtol=tolerance, atol=tolerance, limit=False, t_certain=math.inf, tolerance=TOLERANCE,
        )[1]  # fmt: skip

    tools = [Tool("signflow", size, own)]
    part = y[: max(4, round(1_000 * share))]
    for name, right_hand_side in (("compiled", other_solvers.in_place(field)), ("Python", field_python)):
        run = other_solvers.scipy_run(right_hand_side, np.ones((len(part), 2)), part, t)
        tools.append(Tool(f"scipy, DOP853 ({name})", len(part), run))
    return Case(f"Sign-In population, d = {d}, balanced starts, integrated to t = {t:g}", own(1e-12), tools)
