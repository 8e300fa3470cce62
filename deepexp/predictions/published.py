"""Published accuracies, for comparison with runs of the same protocol and network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from deepexp.config.build import build
from deepexp.config.settings import Config


@dataclass(frozen=True)
class PublishedCurve:
    """The published accuracies of one algorithm.

    Attributes
    ----------
    protocol, dataset, model, algorithm : str
        What was run, by the names that this project uses.
    points : dict
        The test accuracy in percent, by density in (0, 1].
    source : str
        The publication, and how the numbers were taken from it.
    """

    protocol: str
    dataset: str
    model: str
    algorithm: str
    points: dict[float, float]
    source: str


_RENDA = "Renda et al. 2020, vision/plot/pruned_dataframe.pkl: iterative, median of 3"
_TURBO = (
    "TurboPrune 2024, plots read by eye (within 0.1): maximum over epochs on the test set, density without "
    "shortcut convolutions"
)


def _curves(
    protocol: str, dataset: str, model: str, source: str, densities: tuple[float, ...], **accuracies: str
) -> Iterator[PublishedCurve]:
    for algorithm, numbers in accuracies.items():
        points = dict(zip(densities, map(float, numbers.split()), strict=True))
        yield PublishedCurve(protocol, dataset, model, algorithm, points, source)


CURVES = (
    *_curves(
        "renda20", "cifar10", "resnet20", _RENDA, (1.0, 0.80, 0.512, 0.262, 0.107),
        lrr="91.71 92.11 92.29 92.14 91.01",
        wr="91.71 91.76 91.99 91.64 91.00",
        imp="91.71 91.86 90.59 89.60 86.68",
    ),
    *_curves(
        "renda20", "cifar10", "resnet56", _RENDA, (1.0, 0.512, 0.107, 0.044, 0.0225),
        lrr="93.46 93.79 93.56 92.41 91.26",
        wr="93.46 93.65 93.34 92.10 89.95",
        imp="93.46 92.96 90.46 87.82 85.05",
    ),
    *_curves(
        "renda20", "imagenet", "resnet50", _RENDA, (1.0, 0.80, 0.512, 0.210, 0.107),
        lrr="76.17 76.35 76.71 76.21 75.48",
        wr="76.17 76.32 76.33 76.17 75.33",
        imp="76.17 75.88 74.90 71.60 68.38",
    ),
    *_curves(
        "turboprune24", "cifar10", "resnet18", _TURBO, (1.0, 0.33, 0.055, 0.014, 0.005),
        lrr="93.6 95.1 95.4 95.2 94.1",
        wr="93.6 94.2 94.4 93.6 91.6",
    ),
    *_curves(
        "turboprune24", "cifar100", "resnet18", _TURBO, (1.0, 0.17, 0.055, 0.023, 0.005),
        lrr="75.45 76.4 75.3 74.1 71.0",
        wr="75.45 75.55 74.55 73.25 70.6",
    ),
)  # fmt: skip


def matching(config: Config) -> PublishedCurve | None:
    """Find the published curve that a configuration reproduces.

    Parameters
    ----------
    config : Config
        The configuration. Its seed, machine, number of levels, recording options and `data.accept_unknown`
        are ignored.

    Returns
    -------
    PublishedCurve or None
        The curve whose other settings all agree with `config`, or None if there is no such curve.
    """
    named = (config.protocol, config.data.dataset, config.model.name, config.algorithm)
    for curve in CURVES:
        if named == (curve.protocol, curve.dataset, curve.model, curve.algorithm):
            settings = {
                "data.dataset": curve.dataset,
                "model.name": curve.model,
                "algorithm": curve.algorithm,
            }
            return curve if _alike(config, build(settings, protocol=curve.protocol)) else None
    return None


def _alike(one: Config, other: Config) -> bool:
    """Return whether two configurations agree in all settings that `matching` does not ignore."""
    trees = [config.model_dump(exclude={"seed", "machine"}) for config in (one, other)]
    for tree in trees:
        del tree["pruning"]["levels"], tree["train"]["evaluate"], tree["train"]["signs"]
        del tree["data"]["accept_unknown"]
    return trees[0] == trees[1]
