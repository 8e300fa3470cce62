"""Trajectories per second of any solver, at an error that all must meet."""

import functools
import multiprocessing
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from signflow import machine
from signflow.readme import three_digits
from singleneuron.problem.arguments import Array

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


def peak_memory(function: Callable[..., Any], *arguments: Any) -> float:
    """Largest resident memory, in MB, of a process that only makes this call; NaN where it is not told."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_peak_after, function, *arguments).result()


def _peak_after(function: Callable[..., Any], *arguments: Any) -> float:
    function(*arguments)
    return machine.peak_memory()


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
