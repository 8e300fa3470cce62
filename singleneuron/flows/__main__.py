"""The command `python -m singleneuron.flows`, which compiles every kernel."""

import functools
from typing import Any

import numpy as np

from signflow.machine import cores
from signflow.workers import processes
from singleneuron.flows.integrate import integrate
from singleneuron.parameterization import Parameterization
from singleneuron.problem.problem import Population, Problem, Sample
from singleneuron.problem.state import State


def compile_kernels() -> None:
    """Compile all kernels that are not in the cache yet, on all cores.

    Run this before the tests. Otherwise every test process compiles the same kernels.
    """
    start, sample = State(a=np.ones(1), w=np.full((1, 2), 0.5)), Sample.draw(d=2, n=8, noise=0.1)
    short = functools.partial(integrate, t_end=0.1, method="ode")
    small_steps = functools.partial(integrate, t_end=0.1, learning_rate=0.05)
    product = {"parameterization": Parameterization("sign-in")}
    plain: list[tuple[Any, Problem, State]] = [  # the longest compilation comes first, so that no core idles
        (short, Population(2), start),
        (short, sample, start),
        (short, Population(1), State(start.a, start.w[:, :1])),
        (small_steps, sample, start),
        (small_steps, Population(2), start),
    ]
    cases = plain + [(functools.partial(train, **product), problem, start) for train, problem, start in plain]
    with processes(min(cores(), len(cases))) as pool:
        for done in [pool.submit(train, problem, starts) for train, problem, starts in cases]:
            done.result()


if __name__ == "__main__":
    compile_kernels()
