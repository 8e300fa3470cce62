"""Measure how many trajectories per second each solver computes within the same error limit."""

import functools
import math
import multiprocessing
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from signflow import machine
from signflow.sections import three_digits
from singleneuron.problem.arguments import Array

ERROR = 1e-6
"""The largest error allowed in an end state."""
SHORTEST = 0.5
"""The shortest time to measure, in seconds. A run is repeated until all repetitions together take longer."""
TOLERANCES = tuple(ERROR * 10.0 ** (-half / 2) for half in range(13))
"""The tolerances to try with a tool, from 1e-6 to 1e-12."""


@dataclass(frozen=True)
class Tool:
    """A solver to measure.

    Attributes
    ----------
    name : str
        The name in the table.
    size : int
        Number of starts to solve. They are the first starts of the case.
    run : Callable[[float], Array]
        Function that maps a tolerance to the end states (size, k).
    tolerances : Sequence[float]
        Tolerances to try, starting with the loosest.
    """

    name: str
    size: int
    run: Callable[[float], Array]
    tolerances: Sequence[float] = TOLERANCES


@dataclass(frozen=True)
class Case:
    """A problem for every tool to solve.

    Attributes
    ----------
    title : str
        The problem in words.
    reference : Array
        Precise end states (B, k).
    tools : Sequence[Tool]
        The tools. The table gives their rates relative to the rate of the last tool.
    remark : str
        A remark on the outcome, printed below the table.
    """

    title: str
    reference: Array
    tools: Sequence[Tool]
    remark: str = ""


@dataclass(frozen=True)
class Row:
    """The result of a tool in a case.

    Attributes
    ----------
    tool : Tool
        The tool.
    tolerance : float
        The loosest tolerance that met the error limit, or the last tolerance tried if none did.
    rate : float
        Median over the rounds of the number of trajectories per second.
    median : float
        The median error of the end states.
    largest : float
        The largest error of the end states.
    """

    tool: Tool
    tolerance: float
    rate: float
    median: float
    largest: float


def measure(case: Case, rounds: int = 3) -> list[Row]:
    """Measure the tools of a case in turn, so that changes in the machine's speed affect all of them alike.

    The rate of a tool that fails with every tolerance is NaN.
    """
    chosen, errors, seconds = [], [], []
    for tool in case.tools:
        tolerance, error = _loosest(tool, case.reference)
        chosen.append(tolerance)
        errors.append(error)
    for _ in range(rounds):
        for tool, tolerance, error in zip(case.tools, chosen, errors, strict=True):
            works = np.isfinite(error).all()
            seconds.append(_seconds(functools.partial(tool.run, tolerance)) if works else math.nan)
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
    """Return the loosest tolerance with which no error of a tool exceeds `ERROR`, and the errors (size,).

    If no tolerance satisfies this, the last one is returned. Where the tool fails, its errors are infinite.
    If the tool uses `TOLERANCES`, values between the tolerance found and the next looser tolerance are tried
    as well, in steps of an eighth of a decade.
    """

    def errors(tolerance: float) -> Array:
        try:
            states = tool.run(tolerance)
        except (ArithmeticError, ValueError, RuntimeError):  # the tool may succeed with a smaller tolerance
            return np.full(tool.size, np.inf)
        difference = np.abs(states - reference[: tool.size]).max(axis=1)
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
    """Return the seconds per run, averaged over enough runs to take `SHORTEST` seconds."""
    before, runs, elapsed = time.perf_counter(), 0, 0.0
    while elapsed < SHORTEST:
        run()
        runs, elapsed = runs + 1, time.perf_counter() - before
    return elapsed / runs


def peak_memory_of_call(function: Callable[..., Any], *arguments: Any) -> float:
    """Return the peak resident memory, in MB, of a process that makes only this call.

    The result is NaN if the system does not report the peak memory.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_peak_after, function, *arguments).result()


def _peak_after(function: Callable[..., Any], *arguments: Any) -> float:
    function(*arguments)
    return machine.peak_memory()


def markdown_table(case: Case, rows: Sequence[Row]) -> str:
    """Format the rows as a Markdown table, which also gives each rate relative to the last tool's rate."""
    lines = [
        f"**{case.title[0].upper()}{case.title[1:]}**",
        "",
        "| | starts | tolerance | trajectories/s | relative | median error | largest error |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        tolerance = "" if len(row.tool.tolerances) == 1 else f"{row.tolerance:.1e}"
        lines.append(
            f"| {row.tool.name} | {row.tool.size:,} | {tolerance} | {_digits(row.rate)} "
            f"| {_digits(row.rate / rows[-1].rate)} | {row.median:.0e} | {row.largest:.0e} |"
        )
    if case.remark:
        lines += ["", f"{case.remark}."]
    return "\n".join(lines)


def _digits(value: float) -> str:
    return "failed" if math.isnan(value) else three_digits(value)
