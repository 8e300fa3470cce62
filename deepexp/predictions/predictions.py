"""What the theory predicts of deep networks, as data, and the rule that decides each prediction.

The unit is a seed: it fixes initialisation and data order for all arms, so arms are compared in pairs. A
prediction has one primary estimate per seed, a bound and a margin, and one verdict by the 95 % interval over
the seeds:

SUPPORTED      its lower end lies above the bound ('below the margin': its upper end below bound + margin);
NOT SUPPORTED  otherwise, where its upper end lies below bound + margin;
INCONCLUSIVE   otherwise, and always with fewer than 3 seeds, with the smallest number of seeds at which the
               observed mean and deviation would decide;
NOT RUN        where there is nothing to decide by, with the reason.

The interval holds for a number of seeds that was fixed before. Seeds that are added until a verdict comes
(optional stopping) bring it about too often.

Accuracies are those of the test images after a level's last epoch; differences are in percentage points.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deepexp.predictions.statistics import Floats, fieller, moments, quantile

if TYPE_CHECKING:
    import xarray as xr

LOW, HALF = 0.2, 0.5  # densities up to which levels count
FEWEST, MOST = 3, 1000  # seeds that a verdict takes, and up to which more are asked for
PERTURBED = 0.25  # the fraction of signs that P5 flips
TIE = 1e-11  # estimates below it are 0: what the rounding of sums leaves of a tie
SCORES = ("magnitude", "random", "snip", "synflow")

Tables = Mapping[str, "xr.Dataset"]


class NotRun(Exception):
    """Why a prediction cannot be decided."""


@dataclass(frozen=True)
class Estimate:
    """The primary estimate by seed, NaN where it is missing: `values`, or for a ratio of means `under` too.

    `margin` where it depends on the data. values, under : (seeds,).
    """

    values: Floats
    under: Floats | None = None
    margin: float | None = None


Estimator = Callable[["xr.Dataset", "xr.Dataset"], Estimate]  # of a panel's `levels` and `signs`


@dataclass(frozen=True)
class Prediction:
    """A statement and how it is decided; `variants` by what tells them apart in a panel, '' if nothing."""

    statement: str
    primary: str
    unit: str
    bound: float
    margin: float
    variants: Mapping[str, Estimator]


@dataclass(frozen=True)
class Verdict:
    """A prediction's verdict; n seeds decided it, `needed` would, `why` says what else there is to say."""

    word: str
    why: str = ""
    n: int = 0
    estimate: float = math.nan
    low: float = math.nan
    high: float = math.nan
    needed: str = ""

    def __str__(self) -> str:
        needed = f"n = {self.needed}" if self.needed.isdigit() else f"n {self.needed}"
        why = needed if self.needed else self.why
        return f"{self.word} ({why})" if why else self.word


def decide(values: Floats, bound: float, margin: float) -> Verdict:
    """The verdict on the mean of `values` (seeds,), by its t-interval."""
    found = moments(_tied(values))
    if found.n == 0:
        return Verdict("NOT RUN", "no seed has all the runs that it takes")
    low, high = found.interval()
    sizes = np.arange(FEWEST, MOST + 1)
    half = quantile(sizes) * found.deviation / np.sqrt(sizes)
    ends = found.mean - half, found.mean + half
    return _verdict(int(found.n), float(_tied(found.mean)), (float(low), float(high)), ends, bound, margin)


def _tied(values: Floats) -> Floats:
    return np.where(np.abs(values) < TIE, 0.0, values)


def decide_ratio(over: Floats, under: Floats, bound: float, margin: float) -> Verdict:
    """The verdict on mean(over) / mean(under) of pairs (seeds,), by Fieller's interval.

    NOT RUN unless mean(under) is SUPPORTED to be above 0; INCONCLUSIVE where the interval is unbounded.
    """
    paired = np.isfinite(over) & np.isfinite(under)
    over, under = (_tied(values[paired]) for values in (over, under))
    gap = decide(under, 0.0, 0.0)
    if gap.word == "NOT RUN":
        return gap
    if gap.word != "SUPPORTED":
        return Verdict("NOT RUN", f"the denominator must be SUPPORTED > 0, but it is {gap}", gap.n)
    low, high = fieller(over, under)
    ends = fieller(over, under, np.arange(FEWEST, MOST + 1))
    ratio = float(over.mean() / under.mean())
    return _verdict(len(over), ratio, (float(low), float(high)), ends, bound, margin)


def _verdict(
    n: int,
    estimate: float,
    interval: tuple[float, float],
    ends: tuple[Floats, Floats],
    bound: float,
    margin: float,
) -> Verdict:
    """By the `interval` of the n seeds; `ends` are those of FEWEST to MOST seeds of the same moments."""
    low, high = interval
    if n >= FEWEST and low > bound:
        why = "below the margin" if high < bound + margin else ""
        return Verdict("SUPPORTED", why, n, estimate, low, high)
    if n >= FEWEST and high < bound + margin:
        return Verdict("NOT SUPPORTED", "", n, estimate, low, high)
    deciding = np.flatnonzero((ends[0] > bound) | (ends[1] < bound + margin))
    needed = "unknown" if n < 2 else str(FEWEST + deciding[0]) if len(deciding) else f"> {MOST:,}"
    return Verdict("INCONCLUSIVE", "", n, estimate, low, high, needed)


def at_most(levels: xr.Dataset, density: float) -> xr.DataArray:
    """Which levels keep at most this share of the weights, to the nearest weight, as levels are pruned.

    Without those that `levels.counted` (level) leaves out, where it is there.
    """
    sparse = levels.kept <= np.floor(density * levels.total + 0.5)
    return sparse & levels.counted if "counted" in levels else sparse


def mean_accuracy(levels: xr.Dataset, density: float) -> xr.DataArray:
    """Test accuracy in percent, mean over the levels of at most this density; the dimension level is gone."""
    return 100 * levels.test_accuracy.where(at_most(levels, density)).mean("level")


def _arm(levels: xr.Dataset, name: str) -> xr.Dataset:
    if name not in levels.arm or not levels.planned.sel(arm=name):
        raise NotRun(f"there is no arm {name} here")
    arm = levels.sel(arm=name)
    if not bool(arm.kept.notnull().any()):
        raise NotRun(f"no run of the arm {name} is complete")
    return arm


def _low(levels: xr.Dataset, name: str, density: float) -> Floats:
    arm = _arm(levels, name)
    if not bool(at_most(arm, density).any()):
        raise NotRun(f"the arm {name} has no level of a density of at most {density:g}")
    return mean_accuracy(arm, density).values


def _gap(plus: str, minus: str, density: float = LOW) -> Estimator:
    return lambda levels, _: Estimate(_low(levels, plus, density) - _low(levels, minus, density))


def _ratio(arm: str, base: str, top: str) -> Estimator:
    def estimate(levels: xr.Dataset, _: xr.Dataset) -> Estimate:
        zero = _low(levels, base, LOW)
        return Estimate(_low(levels, arm, LOW) - zero, under=_low(levels, top, LOW) - zero)

    return estimate


def _settling(levels: xr.Dataset, signs: xr.Dataset) -> Estimate:
    shares = []
    for name in ("imp", "lrr"):
        prunings = float(_arm(levels, name).prunings)
        if not prunings:
            raise NotRun(f"the arm {name} is never pruned")
        shares.append(signs.mean_last_flip.sel(arm=name).values / prunings)
    return Estimate(shares[0] - shares[1])


def _recovery(levels: xr.Dataset, _: xr.Dataset) -> Estimate:
    losses = []
    for name in ("imp", "lrr"):
        calm = _arm(levels, name)
        last = int(calm.prunings)
        shaken = _arm(levels, f"{name}-p{PERTURBED:g}-l{math.ceil(last / 3)}")
        lost = calm.test_accuracy - shaken.test_accuracy
        losses.append(100 * lost.sel(level=last).values)
    return Estimate(losses[0] - losses[1])


def _widths(levels: xr.Dataset) -> dict[str, float]:
    """The widths that both algorithms have arms of, by their suffix."""
    planned = [str(name) for name in levels.arm.values[levels.planned.values]]
    suffixes = [name.removeprefix("lrr") for name in planned if name.startswith("lrr-w")]
    widths = {suffix: float(suffix.removeprefix("-w")) for suffix in suffixes if f"imp{suffix}" in planned}
    if len(widths) < 2:
        raise NotRun(f"a slope needs arms of two widths, but there are {len(widths)}")
    return widths


def _slope(widths: Mapping[str, float], values: list[Floats]) -> Floats:
    """The least-squares slope over log2(width) of each column of `values` (widths, seeds)."""
    x = np.log2(list(widths.values()))
    x = x - x.mean()
    return (x @ np.array(values)) / (x @ x)


def _early_flips(levels: xr.Dataset, _: xr.Dataset) -> Estimate:
    widths = _widths(levels)
    # Level 0 is the same training in both algorithms.
    arms = [_arm(levels, f"lrr{suffix}").sel(level=0) for suffix in widths]
    flips = [(arm.flips / arm.total).values for arm in arms]
    slope = _slope(widths, flips)
    there = np.array(flips)[:, np.isfinite(slope)]
    return Estimate(slope, margin=0.05 * float(there.mean()) if there.size else None)


def _widening_gap(levels: xr.Dataset, _: xr.Dataset) -> Estimate:
    widths = _widths(levels)
    gaps = [_low(levels, f"lrr{suffix}", LOW) - _low(levels, f"imp{suffix}", LOW) for suffix in widths]
    return Estimate(_slope(widths, gaps))


_AT_LOW = f"mean over the levels of density at most {LOW:g}"
PREDICTIONS: dict[str, Prediction] = {
    "P1": Prediction(
        "LRR is more accurate than IMP at low density.",
        f"accuracy of LRR - IMP, {_AT_LOW}",
        "pp", 0.0, 0.2,
        {"": _gap("lrr", "imp")} | {score: _gap(f"lrr-{score}", f"imp-{score}") for score in SCORES},
    ),
    "P2": Prediction(
        "IMP improves on LRR's masks.",
        f"accuracy of IMP on LRR's masks - IMP, {_AT_LOW}",
        "pp", 0.0, 0.2, {"": _gap("imp-on-lrr", "imp")},
    ),
    "P3": Prediction(
        "LRR improves on IMP on IMP's masks.",
        f"accuracy of LRR on IMP's masks - IMP, {_AT_LOW}",
        "pp", 0.0, 0.2, {"": _gap("lrr-on-imp", "imp")},
    ),
    "P4": Prediction(
        "LRR's signs settle at earlier levels than IMP's.",
        "mean last-flip level of the weights that survive to the end, IMP - LRR, over the number of prunings",
        "of the levels", 0.0, 0.02, {"": _settling},
    ),
    "P5": Prediction(
        "LRR recovers from sign perturbations at high density, IMP does not.",
        f"accuracy lost at the last level after flipping {PERTURBED:.0%} of the surviving signs at a third "
        "of the levels, IMP - LRR",
        "pp", 0.0, 0.2, {"": _recovery},
    ),
    "P6": Prediction(
        "LRR is more accurate than IMP on the same random masks.",
        f"accuracy of LRR - IMP on ERK's random masks, mean over the levels of density at most {HALF:g}",
        "pp", 0.0, 0.2, {"": _gap("lrr-erk", "imp-erk", HALF)},
    ),
    "P7": Prediction(
        "Wider networks flip more signs early.",
        "slope over log2(width) of the sign flips per prunable weight during level 0",
        "flips per weight and doubling", 0.0, math.nan, {"": _early_flips},
    ),
    "P7b": Prediction(
        "The gap between LRR and IMP grows with width.",
        f"slope over log2(width) of the accuracy of LRR - IMP, {_AT_LOW}",
        "pp per doubling", 0.0, 0.2, {"": _widening_gap},
    ),
    "P8": Prediction(
        "What IMP lacks is LRR's signs: with its masks and initial amplitudes they recover most of the lead.",
        f"(LRR's signs on initial amplitudes and LRR's masks - IMP) / (LRR - IMP), accuracies, {_AT_LOW}",
        "of LRR's lead over IMP", 0.5, 0.0, {"": _ratio("signs-on-lrr", "imp", "lrr")},
    ),
    "P8b": Prediction(
        "On LRR's masks, LRR's signs on initial amplitudes recover most of what IMP loses to LRR there.",
        f"on LRR's masks, (LRR's signs on initial amplitudes - IMP) / (LRR - IMP), accuracies, {_AT_LOW}",
        "of the gap on LRR's masks", 0.5, 0.0, {"": _ratio("signs-on-lrr", "imp-on-lrr", "lrr")},
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Decided:
    """A verdict with what it is about."""

    prediction: str
    panel: str
    network: str
    variant: str
    margin: float
    estimate: Estimate | None
    verdict: Verdict


def decided(identifier: str, tables: Tables) -> list[Decided]:
    """The verdicts on a prediction: one per panel (a data set and a network), and variant that has arms.

    tables : `levels` (panel, arm, seed, level) and `signs` (panel, arm, seed) as deepexp.analysis makes them.
    """
    prediction = PREDICTIONS[identifier]
    found = []
    for panel in tables["levels"].panel.values:
        levels, signs = (tables[name].sel(panel=panel) for name in ("levels", "signs"))
        here = [_decided(identifier, variant, levels, signs) for variant in prediction.variants]
        planned = [item for item in here if not item.verdict.why.startswith("there is no arm")]
        found += planned or here[:1]
    return found


def _decided(identifier: str, variant: str, levels: xr.Dataset, signs: xr.Dataset) -> Decided:
    prediction, estimate, margin = PREDICTIONS[identifier], None, PREDICTIONS[identifier].margin
    try:
        estimate = prediction.variants[variant](levels, signs)
        margin = margin if estimate.margin is None else estimate.margin
        if estimate.under is None:
            verdict = decide(estimate.values, prediction.bound, margin)
        else:
            verdict = decide_ratio(estimate.values, estimate.under, prediction.bound, margin)
    except NotRun as reason:
        verdict = Verdict("NOT RUN", str(reason))
    panel, network = str(levels.panel.values), str(levels.network.values)
    return Decided(identifier, panel, network, variant, margin, estimate, verdict)


def table(identifiers: tuple[str, ...], tables: Tables) -> xr.Dataset:
    """All verdicts as a table (verdict), with the primary estimates (verdict, seed); P7 and P8 include
    P7b and P8b.

    Raises ValueError for a name that is no prediction's.
    """
    import xarray as xr

    if unknown := set(identifiers) - set(PREDICTIONS):
        raise ValueError(
            f"a recipe's predictions must be of {', '.join(PREDICTIONS)}, got {', '.join(sorted(unknown))}"
        )
    asked = [name for name in PREDICTIONS if name in identifiers or name.rstrip("b") in identifiers]
    items = [item for identifier in asked for item in decided(identifier, tables)]
    seeds = tables["levels"].seed
    columns: dict[str, list[object]] = {
        "prediction": [item.prediction for item in items],
        "statement": [PREDICTIONS[item.prediction].statement for item in items],
        "primary": [PREDICTIONS[item.prediction].primary for item in items],
        "panel": [item.panel for item in items],
        "network": [item.network for item in items],
        "variant": [item.variant for item in items],
        "word": [item.verdict.word for item in items],
        "text": [str(item.verdict) for item in items],
        "seeds": [item.verdict.n for item in items],
        "needed": [item.verdict.needed for item in items],
        "estimate": [item.verdict.estimate for item in items],
        "low": [item.verdict.low for item in items],
        "high": [item.verdict.high for item in items],
        "bound": [PREDICTIONS[item.prediction].bound for item in items],
        "margin": [item.margin for item in items],
        "unit": [PREDICTIONS[item.prediction].unit for item in items],
    }
    return xr.Dataset(
        {name: ("verdict", column) for name, column in columns.items()}
        | {
            "values": (("verdict", "seed"), _by_seed(items, "values", seeds.size)),
            "under": (("verdict", "seed"), _by_seed(items, "under", seeds.size)),
        },
        coords={"seed": seeds},
    )


def _by_seed(items: list[Decided], name: str, seeds: int) -> NDArray[np.float64]:
    rows = [None if item.estimate is None else getattr(item.estimate, name) for item in items]
    return np.array([np.full(seeds, np.nan) if row is None else row for row in rows]).reshape(-1, seeds)
