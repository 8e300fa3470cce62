"""A one-minute tour of one start: its flow, its levels, its place in the map, and the effect of label noise.

Each chapter is a function to copy from. It calls the public functions and prints what it finds.
"""

import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

import singleneuron as sn
from signflow import command_line, waiting
from signflow.results import claim, write
from singleneuron.experiments.labels import with_labels
from singleneuron.presets import Paths

if TYPE_CHECKING:
    import xarray as xr

OUT = Path("build/tutorial")
MAPS = ("fig1b", "fig1c", "noise_map")
D, SEED = 10, 1
N, NOISE, DATA_SEEDS = 100, 0.5, range(8)
RESOLUTION = {"population": 64, "samples": 24}


def one_start() -> sn.State:
    """Draw 100 balanced starts, and return the first with a > 0 and w_1 < -0.2."""
    starts = sn.balanced_starts(d=D, size=100, seed=SEED)
    start = starts[np.flatnonzero((starts.a > 0) & (starts.w[:, 0] < -0.2))[:1]]
    _say(
        "1. One start",
        f"""
        The student a relu(w.x) has d = {D} inputs. The target relu(x_1) uses only the first input. This is a
        random balanced start, with a^2 = |w|^2:

            a = {start.a[0]:.3f},  w_1 = {start.w[0, 0]:.3f},  |w_2, ..., w_{D}| = {_rest(start)[0]:.3f}

        a(0) > 0, as learning requires (Lemma 2.2), but w_1(0) < 0. On its own, the first coordinate could
        never learn (Theorem 2.1).""",
    )
    return start


def its_flow(start: sn.State) -> tuple[sn.FlowResult[sn.State], float]:
    """Return the dense flow of `start` at 21 times, and the time at which w_1 changes sign."""
    problem, times = sn.Population(D), np.linspace(0, 20, 21)
    path = sn.integrate(problem, start, t_eval=times, method="ode")
    fine = np.linspace(0, 20, 20001)
    w1 = sn.integrate(problem, start, t_eval=fine, method="ode").state.w[:, 0, 0]
    flip = float(fine[np.argmax(w1 > 0)])
    loss, drift = sn.loss(problem, path.state)[:, 0], np.abs(sn.balance(path.state)).max()
    rows = "\n".join(
        f"            {times[i]:4.0f}   {path.state.a[i, 0]:6.3f}   {path.state.w[i, 0, 0]:6.3f}   "
        f"{_rest(path.state)[i, 0]:10.1e}   {loss[i]:8.1e}"
        for i in (0, 2, 4, 6, 10, 20)
    )
    _say(
        "2. Its flow",
        f"""
        An adaptive Runge-Kutta method follows gradient flow on infinitely many samples x ~ N(0, I):

               t        a      w_1     |others|       loss
{rows}

        Status at the end: {sn.Status(path.status[0]).label}. w_1 passes 0 at t = {flip:.2f}, while the other
        weights keep w away from 0. Later, these other weights fade. a^2 - |w|^2 is conserved: it strays from
        0 by at most {drift:.0e}.""",
    )
    return path, flip


def its_levels(start: sn.State, flip: float) -> dict[str, sn.PruneResult]:
    """Prune `start` to one coordinate in three steps, by IMP, by LRR, and by WR with two rewind times."""
    runs = {
        "IMP": sn.prune(sn.Population(D), start, algorithm="imp", levels=3, method="ode"),
        "LRR": sn.prune(sn.Population(D), start, algorithm="lrr", levels=3, method="ode"),
    }
    for time in (0.5 * flip, 1.5 * flip):
        runs[f"WR to t = {time:.2f}"] = sn.prune(
            sn.Population(D), start, algorithm="wr", rewind_time=time, levels=3, method="ode"
        )
    rows = "\n".join(
        f"            {name:<15} {' '.join(f'{loss:9.1e}' for loss in run.loss[0])}   "
        f"{'succeeds' if run.success[0] == 1 else 'fails'}"
        for name, run in runs.items()
    )
    kept = " ".join(f"{count:9}" for count in runs["IMP"].counts)
    _say(
        "3. Its pruning levels",
        f"""
        Train, prune the smallest |w_i|, and train again. IMP restarts from the initial weights, weight
        rewinding (WR) from the weights at an early time, and learning-rate rewinding (LRR) from the trained
        weights. This is the loss after each level:

            {"kept":<15} {kept}
{rows}

        On its own, w_1 can no longer pass 0. LRR keeps the sign that w_1 learned while the other weights were
        present, and IMP restores the wrong sign of the start. WR succeeds only if it rewinds to a time after
        the change at t = {flip:.2f}. Theorem 2.3 predicts the results of IMP and LRR. The result of WR
        goes beyond the paper.""",
    )
    return runs


def its_place(start: sn.State) -> "xr.Dataset":
    """Compute the success maps of IMP and LRR, for starts whose |(w_2, ..., w_d)| is that of `start`."""
    space = sn.success_map(
        d=D, algorithms=("imp", "lrr"), resolution=RESOLUTION["population"], w_perp=float(_rest(start)[0])
    )
    here = space.sel(a0=start.a[0], w0=start.w[0, 0], method="nearest")
    share = {name: float(space.success.sel(algorithm=name).mean()) for name in ("imp", "lrr")}
    decided = space.success.notnull()
    wrong = int((decided & (space.success != space.predicted)).sum())
    _say(
        "4. Its place in the map",
        f"""
        Now do the same for {space.a0.size * space.w0.size} starts on a grid of (a(0), w_1(0)) in [-2, 2]^2,
        whether they are balanced or not. IMP succeeds from {share["imp"]:.0%} of them, LRR from
        {share["lrr"]:.0%}. In the cell of our start, IMP {_verb(here, "imp")} and LRR {_verb(here, "lrr")}.

        Theory predicts that IMP succeeds iff a(0) > -w_1(0) and w_1(0) > 0, and LRR iff a(0) > -|w(0)|.
        {wrong} of {int(decided.sum())} simulated outcomes differ from this prediction.""",
    )
    return space


def noisy_data(
    start: sn.State, space: "xr.Dataset"
) -> tuple["xr.Dataset", dict[int, tuple[float, float, float]]]:
    """Prune `start` on noisy data sets, and compute the success map on the first one that rescues IMP.

    Parameters
    ----------
    start : State
        The start of the tour.
    space : Dataset
        The success map without noise, for comparison.

    Returns
    -------
    noisy : Dataset
        The success map on the first data set on which IMP succeeds from `start`.
    outcomes : dict of int to tuple
        For each seed of the data: s_neg, the success of IMP (as in `PruneResult`), and the time at which
        w_1 reaches 0 in IMP's last level (inf if never).
    """
    outcomes = {}
    for seed in DATA_SEEDS:
        problem = sn.Sample.draw(d=D, n=N, noise=NOISE, seed=seed)
        run = sn.prune(problem, start, algorithm="imp", method="ode")
        line = problem.statistics
        s_neg = float(line.s_neg[0])
        time = sn.crossing_time(start.a, start.w[:, 0], c_neg=line.c_neg[0], s_neg=s_neg)[0]
        outcomes[seed] = (s_neg, float(run.success[0]), float(time))
    rows = "\n".join(
        f"            {seed:4}   {s_neg:7.3f}   " + (f"succeeds   {time:12.1f}" if success == 1 else "fails")
        for seed, (s_neg, success, time) in outcomes.items()
    )
    rescued = next(seed for seed, (_, success, _) in outcomes.items() if success == 1)
    noisy = sn.success_map(
        d=D, algorithms=("imp", "lrr"), resolution=RESOLUTION["samples"], n=N, noise=NOISE, seed=rescued
    )
    within, without = (
        float(cells.success.sel(algorithm="imp").where((cells.w0 < 0) & (cells.a0 > -cells.w0)).mean())
        for cells in (noisy, space)
    )
    _say(
        "5. Noise to the rescue",
        f"""
        Now draw {N} samples, with label noise of standard deviation {NOISE}. s_neg is the least-squares slope
        of the samples with x_1 < 0. The target is 0 there, so s_neg is pure noise, and its sign is random.

            seed     s_neg   IMP        w_1 = 0 at t =
{rows}

        If s_neg > 0, it pulls a lone w_1 < 0 up to 0 and across. Once the other weights are pruned,
        a^2 > w_1^2, so a is still positive when w_1 reaches 0. By the closed form, the time until then grows
        only like the logarithm of 1/s_neg.

        On the data of seed {rescued}, IMP succeeds from {within:.0%} of the starts with w_1(0) < 0 and
        a(0) > -w_1(0). Without noise (chapter 4), it succeeds from {without:.0%} of these starts.""",
    )
    return noisy, outcomes


class Tour(NamedTuple):
    """The findings of all chapters, in order."""

    start: sn.State
    flow: sn.FlowResult[sn.State]
    flip: float
    runs: dict[str, sn.PruneResult]
    space: "xr.Dataset"
    noisy: "xr.Dataset"
    outcomes: dict[int, tuple[float, float, float]]


def tour(out: Path, overwrite: bool = False) -> Tour:
    """Run all chapters, and write the result files of the maps to the folder `out`."""
    for name in MAPS:
        claim(out / f"{name}.nc", config={"tutorial": name}, overwrite=overwrite)
    start = one_start()
    flow, flip = its_flow(start)
    runs = its_levels(start, flip)
    space = its_place(start)
    noisy, outcomes = noisy_data(start, space)

    a, w = (float(start.a[0]),), tuple(map(float, start.w[0]))
    dense = Paths(d=D, a=a, w=(w,), t_end=50.0).compute(lambda *_: None)
    alone = Paths(d=1, a=a, w=(w[:1],), t_end=50.0).compute(lambda *_: None)
    tables: list[dict[str, xr.Dataset]] = [
        {"map": space.sel(algorithm=["imp"]), "paths": alone},
        {"map": space.sel(algorithm=["lrr"]), "paths": dense},
        {"map": noisy},
    ]
    for name, table in zip(MAPS, tables, strict=True):
        table = {label: with_labels(part) for label, part in table.items()}
        write(table, out / f"{name}.nc", config={"tutorial": name}, seed=SEED)
    _say(
        "6. See it",
        f"""
        {", ".join(f"{name}.nc" for name in MAPS)} in {out} contain the maps of chapter 4, with the flow of
        our start, and the map of chapter 5. To draw them, run:

            figures draw {" ".join(MAPS)} --results {out} --out {out}""",
    )
    return Tour(start, flow, flip, runs, space, noisy, outcomes)


def main(arguments: list[str] | None = None) -> int:
    """Run `python -m singleneuron.tutorial`; return 0 if it succeeds, 2 if it cannot write its results."""
    parser = command_line.Parser(prog="python -m singleneuron.tutorial", description=__doc__)
    add = parser.add_argument
    add("--out", type=command_line.path, default=OUT, metavar="DIR", help="folder for results (%(default)s)")
    add("--overwrite", action="store_true", help="replace existing results of the same name")
    options = parser.parse_args(arguments)

    def run() -> None:
        with waiting.watch("tutorial"):
            tour(options.out, options.overwrite)

    return command_line.finish("tutorial", run)


def _say(title: str, text: str) -> None:
    """Print a chapter, with its paragraphs wrapped and its indented blocks as they are."""
    waiting.heard()
    print(f"{title}\n{'-' * len(title)}")
    for block in textwrap.dedent(text).strip("\n").split("\n\n"):
        text = block if block.startswith(" ") else textwrap.fill(" ".join(block.split()), 100)
        print(text, end="\n\n", flush=True)


def _rest(state: sn.State) -> np.ndarray:
    """Return the norm of w_2, ..., w_d."""
    return np.linalg.norm(state.w[..., 1:], axis=-1)


def _verb(cell: "xr.Dataset", algorithm: str) -> str:
    return "succeeds" if float(cell.success.sel(algorithm=algorithm)) == 1 else "fails"


if __name__ == "__main__":
    sys.exit(main())
