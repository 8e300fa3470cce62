"""Set up the solvers to compare with (scipy, diffrax and heyoka), and the equations that they integrate.

Each function `*_run` returns a function that maps a tolerance to the end states of all trajectories.
"""

import copy
import functools
import importlib.util
import math
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from signflow.machine import cores
from singleneuron.problem.arguments import Array

Field = Callable[[float, Array, Array], Array]
"""A right-hand side field(t, y, p), with time t, state y and parameters p."""


def installed(name: str) -> bool:
    """Return whether a module with this name is installed."""
    return importlib.util.find_spec(name) is not None


def in_chunks(run: Callable[[Any], None], chunks: Iterable[Any]) -> None:
    """Call `run` on every chunk, with one thread per core."""
    with ThreadPoolExecutor(cores()) as pool:
        list(pool.map(run, chunks))


def scipy_run(field: Any, parameters: Array, starts: Array, t: float, event: Any = None) -> Any:
    """Set up a loop over the starts that calls scipy's `solve_ivp` (DOP853) for dy/dt = field(t, y, p)."""
    from scipy.integrate import solve_ivp

    if event is not None:
        event.terminal = True

    def run(tolerance: float) -> Array:
        return np.array([
            solve_ivp(
                field, (0.0, t), start, "DOP853", rtol=tolerance, atol=tolerance, args=(p,), events=event
            ).y[:, -1]
            for start, p in zip(starts, parameters, strict=True)
        ])  # fmt: skip

    return run


def in_place(field: Any) -> Field:
    """Turn a routine field(y, p, out) into a compiled field(t, y, p) that returns its result."""
    import numba

    compiled = numba.njit(error_model="numpy")(field.py_func)

    def right_hand_side(_: float, y: Array, p: Array) -> Array:
        out = np.empty(y.size)
        compiled(y, p, out)
        return out

    return right_hand_side


def diffrax_run(
    field: Any, solver: str, starts: Array, arguments: Array, t: float, event: Any = None, chunk: int = 256
) -> Any:
    """Set up diffrax's `diffeqsolve` in float64 under vmap.

    Chunks are small, since a chunk takes as long as the slowest trajectory in it.
    """
    import diffrax
    import jax
    import optimistix

    jax.config.update("jax_enable_x64", True)
    stop = None
    if event is not None:
        stop = diffrax.Event(event, optimistix.Newton(1e-10, 1e-10))

    def one(start: Any, argument: Any, tolerance: Any) -> Any:
        return diffrax.diffeqsolve(
            diffrax.ODETerm(field), getattr(diffrax, solver)(), 0.0, t, None, start, argument,
            stepsize_controller=diffrax.PIDController(rtol=tolerance, atol=tolerance),
            event=stop, adjoint=diffrax.ForwardMode(), max_steps=100_000, throw=False,
        ).ys[-1]  # fmt: skip

    compiled = jax.jit(jax.vmap(one, (0, 0, None)))
    size = len(starts)
    chunk = min(chunk, size)

    def run(tolerance: float) -> Array:
        end = np.empty_like(starts)

        def part(first: int) -> None:
            chosen = slice(min(first, size - chunk), min(first, size - chunk) + chunk)
            end[chosen] = compiled(starts[chosen], arguments[chosen], tolerance)

        in_chunks(part, range(0, size, chunk))
        return end

    return run


def heyoka_run(
    equations: Callable[[Any], Any],
    starts: Array,
    parameters: Array | None,
    t: float,
    event: Any = None,
    lanes: int = 0,
) -> Any:
    """Set up heyoka's `taylor_adaptive_batch`, with one copy per thread.

    A batch has `lanes` starts; 0 stands for the machine's SIMD width. After an event, heyoka ignores further
    events for a while, which is called the cooldown. The next start must not inherit the cooldown, or it
    could miss its own event and continue past it.
    """
    import heyoka

    lanes = lanes or heyoka.recommended_simd_size()
    size, unknowns = starts.shape
    # The last batch is padded with copies of the last start.
    index = np.minimum(np.arange(-(-size // lanes) * lanes), size - 1).reshape(-1, lanes)

    @functools.cache
    def integrator(tolerance: float) -> Any:
        events = {} if event is None else {"t_events": [heyoka.t_event_batch(event(heyoka))]}
        return heyoka.taylor_adaptive_batch(
            equations(heyoka), np.ones((unknowns, lanes)), tol=tolerance, **events
        )

    def run(tolerance: float) -> Array:
        end = np.empty_like(starts)
        original = integrator(tolerance)

        def part(batches: Array) -> None:
            flow = copy.deepcopy(original)
            for batch in batches:
                flow.set_time(0.0)
                if event is not None:
                    flow.reset_cooldowns()
                flow.state[:] = starts[batch].T
                if parameters is not None:
                    flow.pars[:] = parameters[batch].T
                target = np.full(lanes, t)
                flow.propagate_until(target)
                # An event in one lane stops all lanes of the batch. Lanes without an event must continue.
                while event is not None:
                    stopped = [i for i, (why, *_) in enumerate(flow.propagate_res) if why.value == -1]
                    if not stopped:
                        break
                    target[stopped] = flow.time[stopped]
                    flow.propagate_until(target)
                end[batch] = flow.state.T

        in_chunks(part, np.array_split(index, cores()))
        return end

    return run


def population_python(_: float, y: Array, p: Array) -> tuple[float, float, float]:
    """Evaluate `free_balance.field` as a scipy user would write it."""
    a, log_rho, x = y.tolist()
    rho, e = math.exp(max(log_rho, -690.0)), math.exp(-min(abs(x), 700.0))
    delta = 2.0 * math.atan(e) if x >= 0.0 else math.pi - 2.0 * math.atan(e)
    if delta < 0.2:
        d2 = delta * delta
        k = delta * d2 * (1 / 3 - d2 * (1 / 30 - d2 * (1 / 840 - d2 / 45360))) / (2 * math.pi)
    else:
        k = (math.sin(delta) - delta * math.cos(delta)) / (2 * math.pi)
    return rho * (k - 0.5 * a * rho), a * (k / rho - 0.5 * a), -a * delta / (2 * math.pi * rho)


def population_heyoka(heyoka: Any) -> Any:
    """Express `free_balance.field` with heyoka's symbols."""
    a, log_rho, x = heyoka.make_vars("a", "log_rho", "x")
    rho = heyoka.exp(heyoka.select(heyoka.gt(log_rho, -690.0), log_rho, -690.0))
    above = heyoka.gt(x, 0.0)
    e = heyoka.exp(heyoka.select(above, -x, x))
    small = 2.0 * heyoka.atan(e)
    delta = heyoka.select(above, small, math.pi - small)
    d2 = delta * delta
    series = delta * d2 * (1 / 3 - d2 * (1 / 30 - d2 * (1 / 840 - d2 / 45360)))
    direct = 2.0 * e / (1.0 + e * e) - delta * heyoka.tanh(x)
    k = heyoka.select(heyoka.lt(delta, 0.2), series, direct) / (2 * math.pi)
    return [
        (a, rho * (k - 0.5 * a * rho)),
        (log_rho, a * (k / rho - 0.5 * a)),
        (x, -a * delta / (2 * math.pi * rho)),
    ]


def population_jax(_: Any, y: Any, argument: Any) -> Any:
    """Evaluate `free_balance.field` with jax."""
    import jax.numpy as jnp

    a, log_rho, x = y
    rho = jnp.exp(jnp.maximum(log_rho, -690.0))
    e = jnp.exp(-jnp.minimum(jnp.abs(x), 700.0))
    small = 2.0 * jnp.arctan(e)
    delta = jnp.where(x >= 0.0, small, math.pi - small)
    d2 = delta * delta
    series = delta * d2 * (1 / 3 - d2 * (1 / 30 - d2 * (1 / 840 - d2 / 45360)))
    direct = (2.0 * e - delta * jnp.sign(x) * (1.0 - e * e)) / (1.0 + e * e)
    k = jnp.where(delta < 0.2, series, direct) / (2 * math.pi)
    return jnp.stack([rho * (k - 0.5 * a * rho), a * (k / rho - 0.5 * a), -a * delta / (2 * math.pi * rho)])
