"""What the runs of a plan cost: images left to train on, over a speed observed, measured or assumed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from deepexp import folder as layout
from deepexp.config import Config, Machine, Model

START = 4.0  # seconds in which a process of a run starts, on two cores
# What a GPU is taken to do where there is none to measure: an assumption, not a measurement.
GPU_FLOPS, GPU_LAYER_SECONDS = 1e13, 3e-4


@dataclass(frozen=True)
class _Size:
    train: int
    test: int
    pixels: int  # of a side
    channels: int
    classes: int


# As published, so that a plan needs no data.
_SIZES = {
    "digits": _Size(1_438, 359, 8, 1, 10),
    "cifar10": _Size(50_000, 10_000, 32, 3, 10),
    "cifar100": _Size(50_000, 10_000, 32, 3, 100),
    "tinyimagenet": _Size(100_000, 10_000, 64, 3, 200),
    "imagenet": _Size(1_281_167, 50_000, 224, 3, 1000),
}


@dataclass(frozen=True)
class Work:
    """What the speed of a run depends on."""

    dataset: str
    model: Model
    batch_size: int
    machine: Machine

    def __str__(self) -> str:
        net = f"{self.model.name} of width {self.model.width:g} on {self.dataset}"
        return f"{net}, batches of {self.batch_size}"


@dataclass(frozen=True)
class Speed:
    """Training images a second, and how that is known."""

    images_per_second: float
    known: str

    def __str__(self) -> str:
        return f"{self.images_per_second:,.0f} images/s, {self.known}"


def work(config: Config) -> Work:
    """The kind of work that `config` is."""
    return Work(config.data.dataset, config.model, config.train.batch_size, config.machine)


def images(config: Config) -> int:
    """The training images that all levels of `config` see; an evaluation counts for a third of its images."""
    size, share = _SIZES[config.data.dataset], _share(config)
    count = min(round(size.train * share) - config.data.validation, config.data.limit or size.train)
    batch = config.train.batch_size
    per_epoch = count // batch * batch if config.train.drop_last else count
    rewound = config.policy.rewind_epoch if config.policy.schedule == "rewind" else 0
    epochs = config.train.epochs + config.pruning.levels * (config.train.epochs - rewound)
    tested = config.pruning.levels + 1 if config.train.evaluate == "level" else epochs
    return per_epoch * epochs + round(size.test * share) * tested // 3


def left(config: Config, folder: Path) -> float:
    """The images that the run in `folder` has still to see."""
    if layout.is_complete(folder, config):
        return 0.0
    done = _progress(folder)
    epochs = config.train.epochs
    share = (done.get("level", 0) * epochs + done.get("epoch", 0)) / ((config.pruning.levels + 1) * epochs)
    return images(config) * (1 - share)


def seconds(configs: Iterable[Config], runs: Path, speeds: Mapping[Work, Speed]) -> float:
    """How long the rest of these runs takes, one after the other; unknown kinds of work at the mean speed."""
    mean = sum(speed.images_per_second for speed in speeds.values()) / len(speeds)
    total = 0.0
    for config in configs:
        speed = speeds.get(work(config))
        images_left = left(config, runs / config.run_id)
        if images_left:
            total += START + images_left / (speed.images_per_second if speed else mean)
    return total


def observed(configs: Iterable[Config], runs: Path) -> dict[Work, Speed]:
    """The speeds at which runs in the folder `runs` went."""
    found = {}
    for config in configs:
        rate = _progress(runs / config.run_id).get("images_per_second")
        if rate:
            found[work(config)] = Speed(rate, "observed in a run")
    return found


def speeds(configs: Iterable[Config], runs: Path) -> dict[Work, Speed]:
    """A speed for every kind of work: observed, else measured here, else assumed."""
    configs = list(configs)
    found = observed(configs, runs)
    for config in configs:
        if work(config) not in found:
            found[work(config)] = _measured(config)
    return found


def _measured(config: Config) -> Speed:
    """The speed on random images, by a second of training; of a GPU that is not there, an assumption."""
    import torch

    from deepexp import bench
    from deepexp.data import Dataset, Images
    from deepexp.prepare import prepare

    here = config.machine.device == "cpu" or torch.cuda.is_available()
    device = config.machine.device if here else "cpu"
    size = _SIZES[config.data.dataset]
    shape = (size.pixels, size.pixels, size.channels)
    generator = torch.Generator().manual_seed(0)
    count = 2 * config.train.batch_size if here else 2
    pixels = torch.randint(256, (count, *shape), generator=generator, dtype=torch.uint8)
    labels = torch.randint(size.classes, (count,), generator=generator)
    moments = torch.full((size.channels,), 0.5, device=device)
    train = Images(pixels, labels).to(device)
    made = Dataset("random", "", size.classes, train, train[:0], train[:0], moments, moments)
    plain = config.model_copy(
        update={
            "data": config.data.model_copy(update={"validation": 0, "limit": None}),
            "train": config.train.model_copy(update={"batch_size": count // 2}),
            "pruning": type(config.pruning)(levels=0),
            "machine": config.machine.model_copy(update={"device": device}),
            "policy": config.policy.model_copy(update={"rewind_epoch": 0, "rewind_step": 0}),
            "perturbation": type(config.perturbation)(),
            "donor": None,
        }
    )
    prepared = prepare(plain, Path(), dataset=made)
    if here:
        rate, threads = bench.images_per_second(prepared), config.machine.threads
        on = "the GPU" if device == "cuda" else f"{threads} thread{'s' * (threads > 1)}"
        return Speed(rate, f"measured here on {on}")
    return _assumed(prepared.net, shape, config.train.batch_size)


def _assumed(net: object, shape: tuple[int, int, int], batch: int) -> Speed:
    """Of a GPU: a step takes a time for each layer, or that of its operations, whichever is longer."""
    import torch
    from torch import nn
    from torch.utils.flop_counter import FlopCounterMode

    assert isinstance(net, nn.Module)
    height, width, channels = shape
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        net.eval()(torch.zeros(1, channels, height, width))
    flops = 3 * counter.get_total_flops()  # backward costs twice what forward does
    layers = sum(not list(module.children()) for module in net.modules())
    step = max(layers * GPU_LAYER_SECONDS, batch * flops / GPU_FLOPS)
    assumption = f"{GPU_FLOPS / 1e12:g} TFLOP/s, {GPU_LAYER_SECONDS * 1e3:g} ms a layer and step"
    return Speed(batch / step, f"assumed of a GPU, none is here ({assumption})")


def _share(config: Config) -> float:
    """The share of a data set's images that a run uses, where it uses some of the classes only."""
    classes = getattr(config.data, "classes", None)
    return 1.0 if classes is None else classes / _SIZES[config.data.dataset].classes


def _progress(folder: Path) -> dict[str, float]:
    try:
        found = json.loads((folder / "progress.json").read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def duration(seconds: float) -> str:
    """Seconds as people say them: the two largest units."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
    )
