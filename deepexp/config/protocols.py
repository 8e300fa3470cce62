"""The settings of public codes (protocols), and the settings that shorten them (profiles).

This module holds only data. `deepexp.config.algorithms` lists what the algorithms of each code reset, and
`deepexp.config.build` makes configurations from the two modules.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Protocol:
    """The settings of one public code.

    Every protocol normalises pixels by the statistics of the training images, and computes in float32 unless
    `machine.precision` is set, even if the public code does otherwise. The comments below state all other
    differences from the public code, which they call the source.

    Attributes
    ----------
    source : str
        Where to find the public code.
    settings : dict
        The settings for each data set, by dotted key. They override the settings in `common`.
    common : dict
        The settings for all data sets, by dotted key.
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
            # Images stay at 64x64 pixels. As with CIFAR, the stem is 'cifar' and the padding is 1/8 of the
            # image's side.
            "tinyimagenet": {"data.crop_padding": 8, "data.flip": "random"},
            "imagenet": {**_RESIZED_CROP, "model.name": "resnet18", "model.stem": "imagenet"},
        },
        {"policy.rewind_epoch": 6},
    ),
    # This protocol uses few images, averaged down, so that dense training converges on two CPU cores in a
    # reasonable time. On CIFAR-100, this takes more epochs. The images are not augmented, since augmentation
    # slows down convergence.
    "laptop-converged": Protocol(
        "this project; docs/explanation/regime.md has the measurements that led to these settings",
        {"cifar10": {}, "cifar100": {"train.epochs": 32}},
        {
            "data.side": 16,
            "data.limit": 10_000,
            "train.epochs": 16,
            "pruning.levels": 13,  # down to a density of 0.055
            "policy.rewind_epoch": 2,
        },
    ),
    "s2s": Protocol(
        "github.com/RelationalML/sparse_to_sparse",
        {
            "cifar10": {"train.weight_decay": 1e-4},
            "cifar100": {"train.weight_decay": 1e-3},
            # The images are enlarged from 64x64 to 224x224 pixels for the stem 'imagenet'. The protocol
            # 'signflow' does not enlarge them.
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
    # The source trains in bf16, which this protocol does only if machine.precision is 'bf16'. The source
    # updates its schedule only after each epoch, so the first epoch of every level runs at the peak learning
    # rate, and all later changes come one epoch too late. This protocol does not reproduce that delay.
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
    # The source trains in bf16, which this protocol does only if machine.precision is 'bf16'. The source
    # prunes until at most 0.1 % of the weights are left, which takes 31 levels.
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
    # In the source, every level, including level 0, starts at the rewind point with a new optimizer. In this
    # protocol, level 0 trains past that point without interruption.
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
    # In the source, a batch may span two epochs. In this protocol, an epoch's last batch is left out if it is
    # smaller than the others.
    "renda20": Protocol(
        "github.com/lottery-ticket/rewinding-iclr20-public; Renda, Frankle & Carbin, ICLR 2020",
        {
            "cifar10": {},
            # The schedule of every level includes the warm-up, even if the level enters the schedule at a
            # later point. The source exempts only batch normalisation from weight decay; this protocol also
            # exempts biases.
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

# The settings that shorten a protocol, by data set; 'own' stands for a user's own data set. If they reduce
# the number of epochs, `build` rescales the protocol's milestones, warm-up and rewind point in proportion.
PROFILES: dict[str, dict[str, dict[str, Any]]] = {
    "smoke": {
        "digits": {"train.epochs": 10, "pruning.levels": 5},
        "cifar10": {"train.epochs": 2, "pruning.levels": 2, "data.limit": 2000},
        "cifar100": {"train.epochs": 2, "pruning.levels": 2, "data.limit": 2000},
        "tinyimagenet": {"train.epochs": 2, "pruning.levels": 2, "data.limit": 2000, "data.classes": 10},
        "imagenet": {"train.epochs": 2, "pruning.levels": 2, "data.limit": 2000, "data.classes": 10},
        "own": {"train.epochs": 2, "pruning.levels": 2, "data.limit": 2000},
    },
    "short": {
        "digits": {"train.epochs": 20, "pruning.levels": 12},
        "cifar10": {"train.epochs": 30, "pruning.levels": 12},
        "cifar100": {"train.epochs": 30, "pruning.levels": 12},
        "tinyimagenet": {"train.epochs": 30, "pruning.levels": 12},
        "imagenet": {"train.epochs": 18, "pruning.levels": 4, "data.classes": 100},
        "own": {"train.epochs": 30, "pruning.levels": 12},
    },
    "full": {"digits": {}, "cifar10": {}, "cifar100": {}, "tinyimagenet": {}, "imagenet": {}, "own": {}},
}
