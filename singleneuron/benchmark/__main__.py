"""`python -m singleneuron.benchmark`: compare the speed of our solvers with others, and print tables."""

import argparse
import importlib.metadata
import importlib.util
import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from signflow import machine
from signflow.provenance import provenance
from signflow.sections import replace_section, section, three_digits
from singleneuron.benchmark import other_solvers
from singleneuron.benchmark.cases import CASES
from singleneuron.benchmark.measure import markdown_table, measure
from singleneuron.experiments.success_rate import success_rate

STUDIES = "studies"
"""The value of `--cases` that measures studies instead of solvers."""


def study_costs(share: float = 1.0, rounds: int = 3) -> str:
    """Time studies from balanced starts on the population, and return a Markdown table.

    The table has a row for each d, and two more rows for d = 100 with more runs. `share` scales all numbers
    of runs. Each time is the median of `rounds` measurements.
    """
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


def hardware() -> str:
    """Describe the processor, the number of threads, and the versions of Python and the packages."""
    made = provenance({})
    versions = json.loads(str(made["versions"]))
    names = ("python", "numpy", "scipy", "numba")
    found = {name: versions[name] for name in names}
    found |= {
        name: importlib.metadata.version(name)
        for name in ("diffrax", "jax", "heyoka")
        if other_solvers.installed(name)
    }
    return f"{made['cpu']}, {machine.cores()} threads; " + ", ".join(f"{n} {v}" for n, v in found.items())


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `python -m singleneuron.benchmark`."""
    parser = argparse.ArgumentParser(prog="python -m singleneuron.benchmark", description=__doc__)
    parser.add_argument("--cases", nargs="+", choices=[*CASES, STUDIES], default=[*CASES, STUDIES])
    parser.add_argument(
        "--rounds", type=int, default=3, help="number of measurements, whose medians the tables report"
    )
    parser.add_argument("--share", type=float, default=1.0, help="share of the starts of each case to use")
    parser.add_argument("--into", type=Path, help="file whose marked section is replaced by the tables")
    options = parser.parse_args(arguments)
    if options.into:
        section(options.into, "benchmark")
    parts = []
    for name in options.cases:
        if name == STUDIES:
            parts.append(study_costs(options.share, options.rounds))
        else:
            case = CASES[name](options.share)
            parts.append(markdown_table(case, measure(case, options.rounds)))
        print(parts[-1], end="\n\n", flush=True)
    parts.append(hardware() + ".")
    print(parts[-1])
    if options.into:
        replace_section(options.into, "benchmark", "\n\n".join(parts))


if __name__ == "__main__":
    main()
