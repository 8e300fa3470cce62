"""The settings that a run follows: the protocols of public codes, and shorter profiles of them.

This module holds only data. `deepexp.config.algorithms` lists what each code's algorithms reset, and
`deepexp.config.build` combines the two into a configuration.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Protocol:
    """Settings that one public code uses together.

    Every protocol normalises pixels by the statistics of the training images, and computes in float32 unless
    `machine.precision` is set. Comments note every other difference from the source.

    Attributes
    ----------
    source : str
        Where to find the public code.
    settings : dict
        For each dataset, settings by dotted key; they override the common ones.
    common : dict
        Settings for all datasets, by dotted key.
    """

    source: str
    settings: dict[str, dict[str, Any]]
    common: dict[str, Any]


_CROP_FLIP = {"data.crop_padding": 4, "data.flip": "random"}
_RESIZED_CROP = {"data.resized_crop": True, "data.flip": "random", "data.crop_padding": 0}
PROTOCOLS: dict[str, Protocol] = {
    "signflow": Protocol(
        "this project: small enough for a laptop's CPU",
        {
            "digits": {},
            "cifar10": _CROP_FLIP,
            "cifar100": _CROP_FLIP,
            # At the original 64 pixels, with CIFAR's stem and, as for CIFAR, padding by 1/8 of the side.
            "tinyimagenet": {"data.crop_padding": 8, "data.flip": "random"},
            "imagenet": {**_RESIZED_CROP, "model.name": "resnet18", "model.stem": "imagenet"},
        },
        {"policy.rewind_epoch": 6},
    ),
    "s2s": Protocol(
        "github.com/RelationalML/sparse_to_sparse",
        {
            "cifar10": {"train.weight_decay": 1e-4},
            "cifar100": {"train.weight_decay": 1e-3},
            # Images of 64 pixels are enlarged to 224 for ImageNet's stem; 'signflow' keeps them at 64.
            "tinyimagenet": {
                **_RESIZED_CROP,
                "data.size": 224,
                "data.test_size": 256,
                "model.name": "resnet50",
                "model.stem": "imagenet",
                "train.weight_decay": 1e-4,
            },
        },
        {
            **_CROP_FLIP,
            "train.epochs": 150,
            "train.batch_size": 256,
            "train.drop_last": False,
            "train.lr_min": 0.01,
            "train.warmup": "before",
            "train.warmup_epochs": 10.0,
            "policy.rewind_epoch": 10,  # the end of the warm-up
        },
    ),
    # The source trains in bf16 (machine.precision). It steps the schedule after each epoch, so every level
    # begins with an epoch at the peak, and the rest is one epoch late; here the schedule follows the formula.
    "turboprune24": Protocol(
        "github.com/nelaturuharsha/TurboPrune, tag of 2024",
        {"cifar10": {}, "cifar100": {}},
        {
            **_CROP_FLIP,
            "train.epochs": 150,
            "train.batch_size": 256,
            "train.drop_last": False,
            "train.schedule": "step",
            "train.milestones": [60.0, 120.0],
            "train.milestones_after_warmup": True,
            "train.warmup": "every",
            "train.warmup_epochs": 10.0,
            "pruning.levels": 24,
            "policy.rewind_epoch": 10,
        },
    ),
    # The source trains in bf16 (machine.precision), and prunes until at most 0.1 % of the weights are left.
    "turboprune": Protocol(
        "github.com/nelaturuharsha/TurboPrune, HEAD",
        {"cifar10": {}},
        {
            "data.crop_padding": 2,
            "data.padding_mode": "reflect",
            "data.flip": "alternating",
            "train.epochs": 150,
            "train.batch_size": 512,
            "train.lr": 0.2,
            "train.schedule": "triangular",
            "train.schedule_per": "step",
            "train.rise_from": 0.2,
            "pruning.levels": 31,
            "policy.rewind_epoch": 10,
        },
    ),
    # In the source every level, even the first, starts at the rewind point with a new optimizer; here level 0
    # trains through that point.
    "openlth": Protocol(
        "github.com/facebookresearch/open_lth",
        {"cifar10": {}},
        {
            **_CROP_FLIP,
            "model.norm_scale": "uniform",
            "train.epochs": 160,
            "train.batch_size": 128,
            "train.drop_last": False,
            "train.weight_decay": 1e-4,
            "train.schedule": "step",
            "train.milestones": [80.0, 120.0],
            "policy.rewind_epoch": 10,
        },
    ),
    # In the source a batch may span two epochs; here an epoch's last, smaller batch is left out.
    "renda20": Protocol(
        "github.com/lottery-ticket/rewinding-iclr20-public; Renda, Frankle & Carbin, ICLR 2020",
        {
            "cifar10": {},
            # The warm-up is part of the schedule, wherever a level starts in it. The source applies no weight
            # decay to batch normalisation; here biases are exempt as well.
            "imagenet": {
                **_RESIZED_CROP,
                "model.name": "resnet50",
                "model.stem": "imagenet",
                "train.epochs": 90,
                "train.batch_size": 1024,
                "train.lr": 0.4,
                "train.nesterov": True,
                "train.weight_decay": 1e-4,
                "train.decay_norm": False,
                "train.schedule_per": "step",
                "train.milestones": [30.0, 60.0, 80.0],
                "train.rise_from": 0.0,
                "train.warmup": "every",
                "train.warmup_epochs": 5.0,
            },
        },
        {
            **_CROP_FLIP,
            "train.epochs": 182,
            "train.batch_size": 128,
            "train.weight_decay": 2e-4,
            "train.schedule": "step",
            "train.milestones": [91.0, 136.0],
            "policy.rewind_epoch": 10,
        },
    ),
}

# How much of a protocol is run. With fewer epochs, `build` moves its milestones, warm-up and rewind point in
# proportion.
PROFILES: dict[str, dict[str, dict[str, Any]]] = {
    "smoke": {
        "digits": {"train.epochs": 10, "pruning.levels": 5},
        "cifar10": {"train.epochs": 2, "pruning.levels": 2, "data.limit": 2000},
        "cifar100": {"train.epochs": 2, "pruning.levels": 2, "data.limit": 2000},
        "tinyimagenet": {"train.epochs": 2, "pruning.levels": 2, "data.limit": 2000, "data.classes": 10},
        "imagenet": {"train.epochs": 2, "pruning.levels": 2, "data.limit": 2000, "data.classes": 10},
    },
    "short": {
        "digits": {"train.epochs": 20, "pruning.levels": 12},
        "cifar10": {"train.epochs": 30, "pruning.levels": 12},
        "cifar100": {"train.epochs": 30, "pruning.levels": 12},
        "tinyimagenet": {"train.epochs": 30, "pruning.levels": 12},
        "imagenet": {"train.epochs": 18, "pruning.levels": 4, "data.classes": 100},
    },
    "full": {"digits": {}, "cifar10": {}, "cifar100": {}, "tinyimagenet": {}, "imagenet": {}},
}
