"""Trajectories per second beside other solvers, all asked for the same states at the same time.

``python -m singleneuron.bench`` prints tables; with ``--readme FILE`` they replace the marked section there.
Every tool gets the loosest tolerance with which the largest error of all its end states, against a
reference at rtol 1e-12, is at most `ERROR`; then the tools take turns, and medians are reported.
Compilation is not counted. The others integrate the equations of `line`, and for the population those of
`drift`; `population` uses coordinates in which the balance is a constant, and covers the last part of a flow
by its closed form. Each has the set-up that was fastest for it: scipy one trajectory after another, its
right-hand side compiled or in plain Python, as most write it; diffrax and heyoka in chunks over threads.
Tools too slow for all the starts get the first of them.
"""

import argparse
import functools
import importlib.metadata
import importlib.util
import json
import math
import multiprocessing
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numba import prange

from figures import machine
from figures.command import replace_section, section, three_digits
from figures.results import provenance
from singleneuron import drift, exact, line, peers, population
from singleneuron.flow import FlowResult, integrate
from singleneuron.kernel import kernel, routine
from singleneuron.model import (
    Array,
    Population,
    Sample,
    State,
    balanced_starts,
    independent_starts,
)
from singleneuron.montecarlo import success_rate
from singleneuron.outcome import counts
from singleneuron.solver import build, no_gauge, workspace

ERROR = 1e-6
SHORTEST = 0.5  # seconds
TOLERANCES = tuple(ERROR * 10.0 ** (-half / 2) for half in range(13))  # 1e-6 to 1e-12


@dataclass(frozen=True)
class Tool:
    """A solver: end states (size, k) of the first `size` starts as a function of its tolerance."""

    name: str
    size: int
    run: Callable[[float], Array]
    tolerances: Sequence[float] = TOLERANCES


@dataclass(frozen=True)
class Case:
    """What every tool is asked for, its reference end states (B, k), and a remark on the outcome."""

    title: str
    reference: Array
    tools: Sequence[Tool]
    remark: str = ""


@dataclass(frozen=True)
class Row:
    """Of one tool in one case: what it ran with, trajectories per second, median and largest error."""

    tool: Tool
    tolerance: float
    rate: float
    median: float
    largest: float


def measure(case: Case, rounds: int = 3) -> list[Row]:
    """A row for every tool of the case."""
    chosen, errors, seconds = [], [], []
    for tool in case.tools:
        tolerance, error = _loosest(tool, case.reference)
        chosen.append(tolerance)
        errors.append(error)
    for _ in range(rounds):
        for tool, tolerance in zip(case.tools, chosen, strict=True):
            seconds.append(_seconds(functools.partial(tool.run, tolerance)))
    return [
        Row(
            tool,
            chosen[i],
            tool.size / statistics.median(seconds[i :: len(case.tools)]),
            float(np.median(errors[i])),
            float(errors[i].max()),
        )
        for i, tool in enumerate(case.tools)
    ]


def _loosest(tool: Tool, reference: Array) -> tuple[float, Array]:
    """The first of the tool's tolerances with which no error exceeds `ERROR`, and its errors (size,).

    Where it has the common ones, also those between that one and the one before, in eighths of a decade.
    """

    def errors(tolerance: float) -> Array:
        difference = np.abs(tool.run(tolerance) - reference[: tool.size]).max(axis=1)
        return np.where(np.isfinite(difference), difference, np.inf)

    for tolerance in tool.tolerances:
        found = errors(tolerance)
        if found.max() <= ERROR:
            break
    if tool.tolerances is TOLERANCES and tolerance < TOLERANCES[0]:
        for eighths in (3, 2, 1):
            between = tolerance * 10.0 ** (eighths / 8)
            error = errors(between)
            if error.max() <= ERROR:
                return between, error
    return tolerance, found


def _seconds(run: Callable[[], Any]) -> float:
    """What a run takes: one of `SHORTEST` seconds or more, or the mean of as many as fill them."""
    before, runs, elapsed = time.perf_counter(), 0, 0.0
    while elapsed < SHORTEST:
        run()
        runs, elapsed = runs + 1, time.perf_counter() - before
    return elapsed / runs


# --- one coordinate -----------------------------------------------------------------------------------------


def line_case(share: float = 1.0) -> Case:
    """The plane of (a(0), w(0)) in one coordinate: the closed form, and the flow with its event w = 0."""
    side = max(4, round(512 * math.sqrt(share)))
    axis = np.linspace(-2.0, 2.0, side + side % 2)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    # Subsamples are of the whole plane.
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
    if peers.installed("heyoka"):

        def equations(heyoka: Any) -> Any:
            a, w = heyoka.make_vars("a", "w")
            pull = 0.5 * (heyoka.par[0] - a * w)
            return [(a, w * pull), (w, a * pull)]

        # Larger batches than the SIMD width: stopping at events costs Python a loop over every batch.
        run = peers.heyoka_run(equations, grid, slopes, t, lambda heyoka: heyoka.make_vars("w"), lanes=16)
        tools.append(Tool("heyoka", len(grid), run))
    if peers.installed("diffrax"):

        def field(_: Any, y: Any, slope: Any) -> Any:
            return 0.5 * (slope - y[0] * y[1]) * y[::-1]

        def at_zero(t: Any, y: Any, args: Any, **_: Any) -> Any:
            return y[1]

        size = max(8, round(32_768 * share))
        tools.append(
            Tool(
                "diffrax, Tsit5",
                size,
                peers.diffrax_run(field, "Tsit5", grid[:size], slopes[:size], t, at_zero),
            )
        )
    size = max(4, round(2_000 * share))
    parameters = np.column_stack([np.full(size, 0.5), slopes[:size]])

    def plain(_: float, y: Array, p: Array) -> tuple[float, float]:
        a, w = y.tolist()
        pull = p[0] * (p[1] - a * w)
        return w * pull, a * pull

    for name, right_hand_side in (("compiled", peers.in_place(line.field)), ("Python", plain)):
        run = peers.scipy_run(right_hand_side, parameters, grid[:size], t, lambda _, y, p: y[1])
        tools.append(Tool(f"scipy, DOP853 ({name})", size, run))
    return Case(f"one coordinate, {side} x {side} starts to t = {t:g}", ode(1e-12), tools)


# --- the population -----------------------------------------------------------------------------------------


def population_case(share: float = 1.0) -> Case:
    """The population flow from starts at any balance."""
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
    if peers.installed("heyoka"):
        tools.append(
            Tool("heyoka", size, reduced(peers.heyoka_run(peers.population_heyoka, coordinates, None, t)))
        )
    if peers.installed("diffrax"):
        part = coordinates[: max(8, round(20_000 * share))]
        for solver in ("Tsit5", "Dopri8"):
            run = reduced(peers.diffrax_run(peers.population_jax, solver, part, np.zeros(len(part)), t))
            tools.append(Tool(f"diffrax, {solver}", len(part), run))
    part = coordinates[: max(4, round(2_000 * share))]
    for name, right_hand_side in (
        ("compiled", peers.in_place(drift.field)),
        ("Python", peers.population_python),
    ):
        run = reduced(peers.scipy_run(right_hand_side, np.ones((len(part), 1)), part, t))
        tools.append(Tool(f"scipy, DOP853 ({name})", len(part), run))
    return Case(f"population, (a, p, q) at any balance to t = {t:g}", own(1e-12), tools)


# --- samples ------------------------------------------------------------------------------------------------


@routine
def dense_field(y: Any, p: Any, out: Any) -> None:
    """The flow of n samples, all of them in every evaluation: O(n d). p = (x, y)."""
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
    """Integrate each row of `end` (B, 1 + d) to time t[0]."""
    for b in prange(end.shape[0]):
        work = workspace(end.shape[1])
        path = np.empty((1, end.shape[1]))
        dense_solve(end[b], (x, targets), 0.0, t, 0, path, tolerance, tolerance, False, np.inf, np.nan, work)


MOST = 1_000  # starts of any tool: what is drawn depends on how many are


def sample_problem(d: int, n: int, size: int) -> tuple[Sample, State, float]:
    starts = balanced_starts(d, MOST, seed=1)[:size]
    assert isinstance(starts, State)
    return Sample.draw(d=d, n=n, noise=0.1, seed=0), starts, 50.0


def event_driven(d: int, n: int, size: int, tolerance: float) -> FlowResult:
    problem, starts, t = sample_problem(d, n, size)
    return integrate(problem, starts, t, rtol=tolerance, method="ode")


def dense(d: int, n: int, size: int, tolerance: float) -> Array:
    problem, starts, t = sample_problem(d, n, size)
    end = np.column_stack([starts.a, starts.w])
    dense_flow(problem.x, problem.y, end, np.array([t]), tolerance)
    return end


def peak_memory(function: Callable[..., Any], *arguments: Any) -> float:
    """Largest resident memory, in MB, of a process that only makes this call; NaN where it is not told."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_peak_after, function, *arguments).result()


def _peak_after(function: Callable[..., Any], *arguments: Any) -> float:
    function(*arguments)
    return machine.peak_memory()


def sample_case(d: int, n: int, size: int, dense_size: int, share: float = 1.0) -> Case:
    """Noisy samples: event-driven, and the same solver with the dense right-hand side (on 0 starts: not)."""
    size, dense_size = max(4, round(size * share)), max(min(2, dense_size), round(dense_size * share))

    def own(tolerance: float) -> Array:
        end = event_driven(d, n, size, tolerance).state
        assert isinstance(end, State)
        return np.column_stack([end.a, end.w])

    reference = event_driven(d, n, size, 1e-12)
    assert isinstance(reference.state, State)
    outcomes = ", ".join(f"{count} {name}" for name, count in counts(reference.status).items() if count)
    memory = peak_memory(event_driven, d, n, size, 1e-7)
    tools = [Tool("signflow, event-driven", size, own)]
    if dense_size:
        run = functools.partial(dense, d, n, dense_size)
        tools.append(Tool("signflow, dense right-hand side", dense_size, run, (1e-6, 1e-8, 1e-10)))
    return Case(
        f"{n:,} samples, d = {d}, noise 0.1, balanced starts to t = 50",
        np.column_stack([reference.state.a, reference.state.w]),
        tools,
        f"of the {size:,} event-driven starts {outcomes}; peak memory {memory:.0f} MB",
    )  # fmt: skip


CASES: dict[str, Callable[[float], Case]] = {
    "line": line_case,
    "population": population_case,
    "samples": functools.partial(sample_case, 10, 1_000, 1_000, 8),
    "many-samples": functools.partial(sample_case, 10, 100_000, 40, 2),
    "many-coordinates": functools.partial(sample_case, 100, 1_000, 20, 0),  # dense takes minutes a start
}
STUDIES = "studies"


# --- studies ------------------------------------------------------------------------------------------------


def study_costs(share: float = 1.0, rounds: int = 3) -> str:
    """A Markdown table of what a study of balanced population runs costs, by d and by their number."""
    lines = [
        f"**Studies: IMP and LRR from balanced starts, long levels, {machine.cores()} processes**",
        "",
        "| d | runs | seconds | runs/s |",
        "|--:|--:|--:|--:|",
    ]
    cases = [(d, round(4e5 * share)) for d in (2, 100, 10_000, 1_000_000)]
    for d, runs in [*cases, (100, round(8e5 * share)), (100, round(1.6e6 * share))]:
        seconds = []
        for seed in range(rounds):
            before = time.perf_counter()
            success_rate(d, ("imp", "lrr"), runs=runs, seed=seed)
            seconds.append(time.perf_counter() - before)
        taken = statistics.median(seconds)
        lines.append(f"| {d:,} | {runs:,} | {three_digits(taken)} | {three_digits(runs / taken)} |")
    return "\n".join(lines)


# --- the table ----------------------------------------------------------------------------------------------


def table(case: Case, rows: Sequence[Row]) -> str:
    """A Markdown table; rates are also given in units of the last tool's."""
    lines = [
        f"**{case.title[0].upper()}{case.title[1:]}**",
        "",
        "| | starts | tolerance | trajectories/s | relative | median error | largest error |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        tolerance = "" if len(row.tool.tolerances) == 1 else f"{row.tolerance:.1e}"
        lines.append(
            f"| {row.tool.name} | {row.tool.size:,} | {tolerance} | {three_digits(row.rate)} "
            f"| {three_digits(row.rate / rows[-1].rate)} | {row.median:.0e} | {row.largest:.0e} |"
        )
    if case.remark:
        lines += ["", f"Here {case.remark}."]
    return "\n".join(lines)


def hardware() -> str:
    """The processor, the threads used, and the versions that were measured."""
    made = provenance({})
    versions = json.loads(str(made["versions"]))
    names = ("python", "numpy", "scipy", "numba")
    found = {name: versions[name] for name in names}
    found |= {
        name: importlib.metadata.version(name)
        for name in ("diffrax", "jax", "heyoka")
        if peers.installed(name)
    }
    return f"{made['cpu']}, {machine.cores()} threads; " + ", ".join(f"{n} {v}" for n, v in found.items())


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `python -m singleneuron.bench`."""
    parser = argparse.ArgumentParser(prog="python -m singleneuron.bench", description=__doc__)
    parser.add_argument("--cases", nargs="+", choices=[*CASES, STUDIES], default=[*CASES, STUDIES])
    parser.add_argument("--rounds", type=int, default=3, help="medians are over this many rounds")
    parser.add_argument("--share", type=float, default=1.0, help="of the starts of every case")
    parser.add_argument("--readme", type=Path, help="file whose marked section to replace")
    options = parser.parse_args(arguments)
    if options.readme:
        section(options.readme, "benchmark")
    parts = []
    for name in options.cases:
        if name == STUDIES:
            parts.append(study_costs(options.share, options.rounds))
        else:
            case = CASES[name](options.share)
            parts.append(table(case, measure(case, options.rounds)))
        print(parts[-1], end="\n\n", flush=True)
    parts.append(hardware() + ".")
    print(parts[-1])
    if options.readme:
        replace_section(options.readme, "benchmark", "\n\n".join(parts))


if __name__ == "__main__":
    main()
