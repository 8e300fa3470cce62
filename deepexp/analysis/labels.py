"""The labels of the variables in a recipe's result file: their `long_name` and `units`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from signflow.formats import labelled

if TYPE_CHECKING:
    import xarray as xr

NAMES = {
    "panel": "panel: a data set and its network",
    "arm": "arm: an algorithm, and where its masks come from",
    "baseline": "arm that is subtracted",
    "seed": "seed",
    "level": "pruning level; 0 is the dense network",
    "at_most": "largest density of the levels in the mean",
    "density": "share of the prunable weights that are left",
    "kept": "number of weights left",
    "total": "number of prunable weights",
    "flips": "number of sign flips",
    "train_loss": "training loss after the last epoch of the level",
    "train_accuracy": "training accuracy after the last epoch of the level",
    "validation_accuracy": "validation accuracy after the last epoch of the level",
    "test_loss": "test loss after the last epoch of the level",
    "test_accuracy": "test accuracy after the last epoch of the level",
    "starved": "number of layers with fewer than 10 or less than 1 % of their weights left",
    "empty": "number of layers without any weights left",
    "counted": "whether the level takes part in means over levels",
    "network": "network",
    "planned": "whether the panel has this arm",
    "protocol": "protocol",
    "algorithm": "pruning algorithm",
    "prunings": "number of prunings",
    "width": "width multiplier",
    "warmup": "warm-up of the learning rate",
    "masks": "source of the masks",
    "score": "score by which weights are pruned",
    "budget": "how the density is shared among layers",
    "fraction": "fraction of the surviving signs that are flipped",
    "perturbed": "level at which signs are flipped",
    "scope": "where signs are flipped",
    "last_flip": "survivors by the level of their last sign flip",
    "switches": "survivors by their number of sign flips",
    "survivors": "number of weights that survive to the last level",
    "mean_last_flip": "mean level of the survivors' last sign flip",
    "mean_switches": "mean number of sign flips per survivor",
    "other": "seed of the other mask in the comparison",
    "epoch": "epochs of level 0 trained; 0 is the initialisation",
    "layer": "layer",
    "ticket": "number of weights in LRR's last mask",
    "shared": "number of weights in LRR's last mask that are alive in the run at this level",
    "aligned": "number of shared weights with the sign of LRR's last level",
    "aligned_initially": "number of shared weights with the sign of LRR's last level at initialisation",
    "aligned_epoch": "number of shared weights with the sign of LRR's last level, by epoch of level 0",
    "alignment": "share of the shared weights with the sign of LRR's last level",
    "initial_alignment": "share of the shared weights with the sign of LRR's last level at initialisation",
    "epoch_alignment": "share of the shared weights with the sign of LRR's last level, by epoch of level 0",
    "shared_share": "share of the weights in LRR's last mask that are alive in the run at this level",
    "common": "number of weights in both masks",
    "expected": "expected number of weights in both masks, if random with as many weights in each layer",
    "size": "mean number of weights in the two masks",
    "overlap": "weights in both masks, as a share of the mean number in a mask",
    "chance": "overlap expected for random masks with as many weights in each layer",
    "accuracy": "test accuracy",
    "difference": "difference in test accuracy, arm - baseline",
    "effect": "effect size: the mean over the standard deviation of the differences",
    "p": "p-value of the paired t-test",
    "p_holm": "p-value after Holm's correction across the levels",
    "prediction": "prediction",
    "variant": "variant of the prediction",
    "statement": "the prediction in words",
    "primary": "primary estimate in words",
    "word": "verdict",
    "text": "verdict with its reason",
    "seeds": "number of seeds used",
    "needed": "number of seeds that would be enough for a verdict",
    "unit": "unit of the estimate",
    "source": "where the curve was published",
}
"""The `long_name` of each variable. Every variable holds dimensionless numbers or strings."""

STATISTICS = {
    "mean": "mean over seeds",
    "low": "lower end of the 95 % t-interval",
    "high": "upper end of the 95 % t-interval",
    "deviation": "standard deviation over seeds",
    "n": "number of seeds",
}


def with_labels(tables: Mapping[str, xr.Dataset]) -> dict[str, xr.Dataset]:
    """Give the variables of a recipe's tables their `long_name` and `units`.

    Parameters
    ----------
    tables : Mapping[str, xr.Dataset]
        The tables that `tables` or `again` returned, by name. The estimates in the table `verdicts` get no
        units here, since each row states its own unit.

    Returns
    -------
    dict[str, xr.Dataset]
        Copies of the tables, with labels.
    """
    both = {
        f"{name}_{part}": f"{text}: {words}"
        for name, text in NAMES.items()
        for part, words in STATISTICS.items()
    }
    return {label: labelled(table, both | NAMES) for label, table in tables.items()}
