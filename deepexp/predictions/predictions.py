"""The theory's predictions for deep networks, written as data, and the rule that gives each its verdict.

The statistical unit is a seed. A seed fixes the initialisation and the data order of all arms, so arms are
compared seed by seed. A prediction has one primary estimate per seed, a bound and a margin. The 95 % interval
of the estimate over the seeds determines the verdict:

SUPPORTED      if the lower end of the interval is above the bound; if the upper end is then below bound +
               margin, the verdict adds 'below the margin';
NOT SUPPORTED  otherwise, if the upper end is below bound + margin;
INCONCLUSIVE   otherwise, and always with fewer than 3 seeds; the verdict states the smallest number of seeds
               that would be enough for another verdict with the observed mean and deviation;
NOT RUN        if there is no estimate; the verdict states the reason.

The interval is valid only if the number of seeds was fixed beforehand. Adding seeds until there is a verdict
(optional stopping) leads to false verdicts too often.

Accuracies are measured on the test images after a level's last epoch. Differences are in percentage points.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deepexp.predictions.decide import Decision, decide, decide_ratio
from deepexp.predictions.estimates import (
    DENSITIES,
    HALF,
    LOW,
    PERTURBED,
    Estimate,
    Estimator,
    NotRun,
    early_flips,
    gap_of,
    ratio_of,
    recovery,
    settling,
    sign_in_flips,
    sign_in_gain,
    widening_gap,
)
from signflow.verdicts import PredictionVerdict

if TYPE_CHECKING:
    import xarray as xr

SCORES = ("magnitude", "random", "snip", "synflow")

RecipeTables = Mapping[str, "xr.Dataset"]
"""The tables of a recipe, by name, as `deepexp.analysis` makes them."""


@dataclass(frozen=True)
class Prediction:
    """A statement of the theory, and the estimate that tests it.

    Attributes
    ----------
    statement : str
        What the theory predicts.
    primary : str
        The primary estimate, in words.
    unit : str
        The unit of the estimate, the bound and the margin.
    bound, margin : float
        The thresholds of the verdict (see the module's docstring). If the margin is NaN, the estimator
        computes it.
    variants : dict of Estimator
        The estimator of each variant of the prediction, by the variant's name. The main variant is ''.
    """

    statement: str
    primary: str
    unit: str
    bound: float
    margin: float
    variants: Mapping[str, Estimator]


_AT_LOW = f"mean over the levels of density at most {LOW:g}"
_RANDOM = f"ERK masks at initialisation, mean over the densities {', '.join(map(str, DENSITIES))}"
PREDICTIONS: dict[str, Prediction] = {
    "P1": Prediction(
        "LRR is more accurate than IMP at low density.",
        f"accuracy of LRR - IMP, {_AT_LOW}",
        "pp", 0.0, 0.2,
        {"": gap_of("lrr", "imp")} | {score: gap_of(f"lrr-{score}", f"imp-{score}") for score in SCORES},
    ),
    "P2": Prediction(
        "IMP is more accurate on LRR's masks than on its own masks.",
        f"accuracy of IMP on LRR's masks - IMP, {_AT_LOW}",
        "pp", 0.0, 0.2, {"": gap_of("imp-on-lrr", "imp")},
    ),
    "P3": Prediction(
        "On IMP's masks, LRR is more accurate than IMP.",
        f"accuracy of LRR on IMP's masks - IMP, {_AT_LOW}",
        "pp", 0.0, 0.2, {"": gap_of("lrr-on-imp", "imp")},
    ),
    "P4": Prediction(
        "LRR's signs settle at earlier levels than IMP's signs.",
        "mean last-flip level of the weights that survive to the end, IMP - LRR, over the number of prunings",
        "of the levels", 0.0, 0.02, {"": settling},
    ),
    "P5": Prediction(
        "LRR recovers from sign perturbations at high density, but IMP does not.",
        f"accuracy lost at the last level after flipping {PERTURBED:.0%} of the surviving signs at a third "
        "of the levels, IMP - LRR",
        "pp", 0.0, 0.2, {"": recovery},
    ),
    "P6": Prediction(
        "LRR is more accurate than IMP on the same random masks.",
        f"accuracy of LRR - IMP on ERK's random masks, mean over the levels of density at most {HALF:g}",
        "pp", 0.0, 0.2, {"": gap_of("lrr-erk", "imp-erk", HALF)},
    ),
    "P7": Prediction(
        "Wider networks flip more signs early.",
        "slope over log2(width) of the sign flips per prunable weight during level 0",
        "flips per weight and doubling", 0.0, math.nan, {"": early_flips},
    ),
    "P7b": Prediction(
        "The gap between LRR and IMP grows with width.",
        f"slope over log2(width) of the accuracy of LRR - IMP, {_AT_LOW}",
        "pp per doubling", 0.0, 0.2, {"": widening_gap},
    ),
    "P8": Prediction(
        "LRR's signs and masks, with initial amplitudes, recover most of LRR's lead over IMP.",
        f"(LRR's signs on initial amplitudes and LRR's masks - IMP) / (LRR - IMP), accuracies, {_AT_LOW}",
        "of LRR's lead over IMP", 0.5, 0.0, {"": ratio_of("signs-on-lrr", "imp", "lrr", "imp")},
    ),
    "P8b": Prediction(
        "On LRR's masks, LRR's signs with initial amplitudes recover most of the gap between IMP and LRR.",
        f"on LRR's masks, (LRR's signs on initial amplitudes - IMP) / (LRR - IMP), accuracies, {_AT_LOW}",
        "of the gap on LRR's masks", 0.5, 0.0,
        {"": ratio_of("signs-on-lrr", "imp-on-lrr", "lrr", "imp-on-lrr")},
    ),
    "P9": Prediction(
        "Sign-In improves sparse networks with random masks.",
        f"accuracy of Sign-In - plain, {_RANDOM}",
        "pp", 0.0, 0.2, {"": sign_in_gain},
    ),
    "P10": Prediction(
        "Sign-In makes more signs flip in sparse networks with random masks.",
        f"sign flips per surviving weight from initialisation to the end, Sign-In - plain, {_RANDOM}",
        "flips per weight", 0.0, math.nan, {"": sign_in_flips},
    ),
    "P11": Prediction(
        "LRR's cycles of the learning rate do not explain most of its lead.",
        f"(LRR - IMP with LRR's number of cycles) / (LRR - IMP), accuracies, {_AT_LOW}",
        "of LRR's lead over IMP", 0.5, 0.0, {"": ratio_of("lrr", "imp-cycles", "lrr", "imp")},
    ),
    "P12": Prediction(
        "Sign-In improves LRR: the two mechanisms complement each other.",
        f"accuracy of LRR with Sign-In - LRR, {_AT_LOW}",
        "pp", 0.0, 0.2, {"": gap_of("lrr-sign-in", "lrr")},
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Decided:
    """The verdict on one variant of a prediction on one panel, and the estimate that it is based on."""

    prediction: str
    panel: str
    network: str
    variant: str
    margin: float
    estimate: Estimate | None
    verdict: Decision


def decided(identifier: str, tables: RecipeTables) -> list[Decided]:
    """Return the verdict on each variant of a prediction, on each panel that has the arms of the variant.

    A panel is a data set and a network. If it has no arms for any variant, the first variant is reported as
    NOT RUN. `tables` must contain `levels` (panel, arm, seed, level) and `signs` (panel, arm, seed).
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
        verdict = Decision("NOT RUN", str(reason))
    panel, network = str(levels.panel.values), str(levels.network.values)
    return Decided(identifier, panel, network, variant, margin, estimate, verdict)


def verdict_table(identifiers: tuple[str, ...], tables: RecipeTables) -> xr.Dataset:
    """Return the verdicts on predictions, on every panel, as a table.

    Parameters
    ----------
    identifiers : tuple of str
        Keys of `PREDICTIONS`. P7 also selects P7b, and P8 also selects P8b.
    tables : mapping of Dataset
        The tables of a recipe, including `levels` (panel, arm, seed, level) and `signs` (panel, arm, seed).

    Returns
    -------
    Dataset
        The fields of `PredictionVerdict`, each of shape (verdict,). The estimates of every seed are in
        `values`, and the denominators of ratios of means in `under`, both of shape (verdict, seed).

    Raises
    ------
    ValueError
        If an identifier is not a key of `PREDICTIONS`.
    """
    import xarray as xr

    if unknown := set(identifiers) - set(PREDICTIONS):
        raise ValueError(
            f"a recipe's predictions must be among {', '.join(PREDICTIONS)}, got {', '.join(sorted(unknown))}"
        )
    asked = [name for name in PREDICTIONS if name in identifiers or name.rstrip("b") in identifiers]
    items = [item for identifier in asked for item in decided(identifier, tables)]
    seeds = tables["levels"].seed
    rows = [_row(item) for item in items]
    columns = {name: [getattr(row, name) for row in rows] for name in PredictionVerdict.model_fields}
    return xr.Dataset(
        {name: ("verdict", column) for name, column in columns.items()}
        | {
            "values": (("verdict", "seed"), _by_seed(items, "values", seeds.size)),
            "under": (("verdict", "seed"), _by_seed(items, "under", seeds.size)),
        },
        coords={"seed": seeds},
    )


def _row(item: Decided) -> PredictionVerdict:
    prediction, verdict = PREDICTIONS[item.prediction], item.verdict
    return PredictionVerdict(
        prediction=item.prediction,
        statement=prediction.statement,
        primary=prediction.primary,
        panel=item.panel,
        network=item.network,
        variant=item.variant,
        word=verdict.word,
        text=str(verdict),
        seeds=verdict.n,
        needed=verdict.needed,
        estimate=verdict.estimate,
        low=verdict.low,
        high=verdict.high,
        bound=prediction.bound,
        margin=item.margin,
        unit=prediction.unit,
    )


def _by_seed(items: list[Decided], name: str, seeds: int) -> NDArray[np.float64]:
    rows = [None if item.estimate is None else getattr(item.estimate, name) for item in items]
    return np.array([np.full(seeds, np.nan) if row is None else row for row in rows]).reshape(-1, seeds)
