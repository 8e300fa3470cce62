"""The cases of the benchmark. In each case, all solvers compute the states of one problem at one time t.

Each tool gets the loosest tolerance with which all its end states are within `ERROR` of a reference, computed
at rtol 1e-12. Then the tools are timed in turn, and medians are reported. Compilation is not counted.

In the case of one coordinate, the other solvers integrate the equations in `line`. On the population, they
integrate the equations in `free_balance`, whereas our own `population` uses coordinates in which the balance
is constant, and replaces the last part of a flow by a closed form. For Sign-In, scipy integrates all weights
(see `sign_in`).

Each solver has the set-up that was fastest for it. scipy solves one trajectory after another, with a
right-hand side that is either compiled or written in plain Python, as most people write it. diffrax and
heyoka solve chunks in threads. A tool that is too slow for all starts gets only the first few.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import prange

from singleneuron.benchmark import other_solvers
from singleneuron.benchmark.measure import ERROR, Case, Tool, peak_memory_of_call
from singleneuron.benchmark.sign_in import sign_in_case
from singleneuron.flows import free_balance, line, population
from singleneuron.flows.integrate import integrate
from singleneuron.flows.result import FlowResult
from singleneuron.formulas import line as exact
from singleneuron.kernels.compiling import kernel, routine
from singleneuron.kernels.dop853 import build, no_gauge
from singleneuron.kernels.dop853_step import workspace
from singleneuron.problem.arguments import Array
from singleneuron.problem.problem import Population, Sample
from singleneuron.problem.starts import balanced_starts, independent_starts
from singleneuron.problem.state import State
from singleneuron.problem.status import counts


def line_case(share: float = 1.0) -> Case:
    """Build the case of one coordinate, with a grid of starts (a(0), w(0)) and flows with the event w = 0."""
    # This function is long because it states the equations of one problem in the form that each tool needs.
    side = max(4, round(512 * math.sqrt(share)))
    axis = np.linspace(-2.0, 2.0, side + side % 2)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    # Shuffle the grid, so that a tool that gets only the first few starts still covers the whole plane.
    grid = np.random.default_rng(0).permutation(grid)
    starts, t = State(grid[:, 0], grid[:, 1:]), 40.0
    slopes = np.where(grid[:, 1:] > 0, 1.0, 0.0)

    def ode(tolerance: float) -> Array:
        end = integrate(Population(1), starts, t, method="ode", rtol=tolerance).state
        assert isinstance(end, State)
        return np.column_stack([end.a, end.w])

    def closed_form(_: float) -> Array:
        balanced = np.abs(grid[:, 0]) == np.abs(grid[:, 1])
        return np.stack(exact.line_flow(grid[:, 0], grid[:, 1], t, balanced=balanced), axis=1)

    tools = [
        Tool("signflow, closed form", len(grid), closed_form, (ERROR,)),
        Tool("signflow, ODE", len(grid), ode),
    ]
    if other_solvers.installed("heyoka"):

        def equations(heyoka: Any) -> Any:
            a, w = heyoka.make_vars("a", "w")
            pull = 0.5 * (heyoka.par[0] - a * w)
            return [(a, w * pull), (w, a * pull)]

        # An event stops the whole batch, and Python handles each stop for all starts of the batch at once.
        # Batches larger than the SIMD width are therefore faster.
        run = other_solvers.heyoka_run(
            equations, grid, slopes, t, lambda heyoka: heyoka.make_vars("w"), lanes=16
        )
        tools.append(Tool("heyoka", len(grid), run))
    if other_solvers.installed("diffrax"):

        def field(_: Any, y: Any, slope: Any) -> Any:
            return 0.5 * (slope - y[0] * y[1]) * y[::-1]

        def at_zero(t: Any, y: Any, args: Any, **_: Any) -> Any:
            return y[1]

        size = max(8, round(32_768 * share))
        tools.append(
            Tool(
                "diffrax, Tsit5",
                size,
                other_solvers.diffrax_run(field, "Tsit5", grid[:size], slopes[:size], t, at_zero),
            )
        )
    size = max(4, round(2_000 * share))
    parameters = np.column_stack([np.full(size, 0.5), slopes[:size]])

    def plain(_: float, y: Array, p: Array) -> tuple[float, float]:
        a, w = y.tolist()
        pull = p[0] * (p[1] - a * w)
        return w * pull, a * pull

    for name, right_hand_side in (("compiled", other_solvers.in_place(line.field)), ("Python", plain)):
        run = other_solvers.scipy_run(right_hand_side, parameters, grid[:size], t, lambda _, y, p: y[1])
        tools.append(Tool(f"scipy, DOP853 ({name})", size, run))
    return Case(f"one coordinate, {side} x {side} starts, integrated to t = {t:g}", ode(1e-12), tools)


def population_case(share: float = 1.0) -> Case:
    """Build the case of the population flow from starts at any balance."""
    size, t = max(8, round(100_000 * share)), 100.0
    starts = independent_starts(2, size, seed=1, reduced=True)
    coordinates = population.log_coordinates(starts)

    def own(tolerance: float) -> Array:
        end = integrate(Population(2), starts, t, method="ode", rtol=tolerance).state
        return np.column_stack([end.a, end.p, end.q])

    def reduced(run: Callable[[float], Array]) -> Callable[[float], Array]:
        def states(tolerance: float) -> Array:
            a, log_rho, x = run(tolerance).T
            rho, e = np.exp(log_rho), np.exp(-np.minimum(np.abs(x), 700.0))
            return np.column_stack([a, -rho * np.tanh(x), rho * 2 * e / (1 + e * e)])

        return states

    tools = [Tool("signflow", size, own)]
    if other_solvers.installed("heyoka"):
        tools.append(
            Tool(
                "heyoka",
                size,
                reduced(other_solvers.heyoka_run(other_solvers.population_heyoka, coordinates, None, t)),
            )
        )
    if other_solvers.installed("diffrax"):
        part = coordinates[: max(8, round(20_000 * share))]
        for solver in ("Tsit5", "Dopri8"):
            run = reduced(
                other_solvers.diffrax_run(other_solvers.population_jax, solver, part, np.zeros(len(part)), t)
            )
            tools.append(Tool(f"diffrax, {solver}", len(part), run))
    part = coordinates[: max(4, round(2_000 * share))]
    for name, right_hand_side in (
        ("compiled", other_solvers.in_place(free_balance.field)),
        ("Python", other_solvers.population_python),
    ):
        run = reduced(other_solvers.scipy_run(right_hand_side, np.ones((len(part), 1)), part, t))
        tools.append(Tool(f"scipy, DOP853 ({name})", len(part), run))
    return Case(f"population, (a, p, q) at any balance, integrated to t = {t:g}", own(1e-12), tools)


@routine
def dense_field(y: Any, p: Any, out: Any) -> None:
    """Evaluate the right-hand side of the flow as a sum over all n samples, at cost O(n d).

    `y` is the state (a, w), and `p` holds the inputs (n, d) and the labels (n,) of the samples.
    """
    x, targets = p
    n, d = x.shape
    for j in range(d + 1):
        out[j] = 0.0
    for i in range(n):
        z = 0.0
        for j in range(d):
            z += y[1 + j] * x[i, j]
        if z > 0.0:
            residual = (targets[i] - y[0] * z) / n
            out[0] += residual * z
            for j in range(d):
                out[1 + j] += y[0] * residual * x[i, j]


dense_solve = build(dense_field, no_gauge)


@kernel(parallel=True)
def dense_flow(x: Any, targets: Any, end: Any, t: Any, tolerance: Any) -> None:
    """Integrate each row of `end` (B, 1 + d) in place to time t[0]."""
    for b in prange(end.shape[0]):
        work = workspace(end.shape[1])
        path = np.empty((1, end.shape[1]))
        dense_solve(end[b], (x, targets), 0.0, t, 0, path, tolerance, tolerance, False, np.inf, np.nan, work)


DRAWN_STARTS = 1_000
"""Number of starts drawn. Each tool gets only the first few. A different number would change all starts."""


def sample_problem(d: int, n: int, size: int) -> tuple[Sample, State, float]:
    """Return samples with label noise 0.1, the first `size` of the balanced starts, and the training time."""
    starts = balanced_starts(d, DRAWN_STARTS, seed=1)[:size]
    assert isinstance(starts, State)
    return Sample.draw(d=d, n=n, noise=0.1, seed=0), starts, 50.0


def event_driven(d: int, n: int, size: int, tolerance: float) -> FlowResult:
    """Train from `size` starts with the event-driven solver."""
    problem, starts, t = sample_problem(d, n, size)
    return integrate(problem, starts, t, rtol=tolerance, method="ode")


def integrate_dense(d: int, n: int, size: int, tolerance: float) -> Array:
    """Train from `size` starts with the dense right-hand side, and return (a, w) at the end, (B, 1 + d)."""
    problem, starts, t = sample_problem(d, n, size)
    end = np.column_stack([starts.a, starts.w])
    dense_flow(problem.x, problem.y, end, np.array([t]), tolerance)
    return end


def sample_case(d: int, n: int, size: int, dense_size: int, share: float = 1.0) -> Case:
    """Build a case of noisy samples for two solvers: event-driven, and with the dense right-hand side.

    The event-driven solver gets `size` starts, and the dense solver gets `dense_size` starts. If `dense_size`
    is 0, only the event-driven solver is measured.
    """
    size, dense_size = max(4, round(size * share)), max(min(2, dense_size), round(dense_size * share))

    def own(tolerance: float) -> Array:
        end = event_driven(d, n, size, tolerance).state
        assert isinstance(end, State)
        return np.column_stack([end.a, end.w])

    reference = event_driven(d, n, size, 1e-12)
    assert isinstance(reference.state, State)
    outcomes = ", ".join(f"{count} {name}" for name, count in counts(reference.status).items() if count)
    memory = peak_memory_of_call(event_driven, d, n, size, 1e-7)
    tools = [Tool("signflow, event-driven", size, own)]
    if dense_size:
        run = functools.partial(integrate_dense, d, n, dense_size)
        tools.append(Tool("signflow, dense right-hand side", dense_size, run, (1e-6, 1e-8, 1e-10)))
    return Case(
        f"{n:,} samples, d = {d}, noise 0.1, balanced starts, integrated to t = 50",
        np.column_stack([reference.state.a, reference.state.w]),
        tools,
        f"End states of the {size:,} event-driven starts: {outcomes}; peak memory {memory:.0f} MB",
    )  # fmt: skip


CASES: dict[str, Callable[[float], Case]] = {
    "line": line_case,
    "population": population_case,
    "sign-in": sign_in_case,
    "samples": functools.partial(sample_case, 10, 1_000, 1_000, 8),
    "many-samples": functools.partial(sample_case, 10, 100_000, 40, 2),
    # The dense right-hand side is omitted, because it would take minutes per start.
    "many-coordinates": functools.partial(sample_case, 100, 1_000, 20, 0),
}
"""Functions that build the cases, by name. Each is called with the share of the starts to use."""
