"""Estimate how long runs take, from the number of images left and an observed, measured or assumed speed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deepexp.config.machine import Machine
from deepexp.config.pruning import Perturbation, Pruning
from deepexp.config.sections import Model
from deepexp.config.settings import Config
from deepexp.data import described
from deepexp.storage import completeness, records

if TYPE_CHECKING:
    from deepexp.data.dataset import Dataset
    from deepexp.runs import workspace

START = 4.0  # seconds that a run's process takes to start on a machine with two cores
# If this machine has no GPU, the speed of a GPU is estimated from these numbers. PUBLISHED holds the images/s
# at which ResNet50 trains on images of 224x224 pixels. 'bf16' (mixed precision) and 'tf32' were measured on
# one A100, 'float32' on one V100 (github.com/NVIDIA/DeepLearningExamples,
# PyTorch/Classification/ConvNets/resnet50v1.5/README.md, results with pytorch-21.03). LAYER_SECONDS is an
# assumption: the shortest time that a layer can take in a step, for each value of machine.compile. With
# False, kernels are launched one by one. With True, all kernels of a step are launched together as a CUDA
# graph.
PUBLISHED = {"float32": 367, "tf32": 938, "bf16": 2470}
RESNET50_OPERATIONS = 2.43e10  # per training image, as `deepexp.runs.speed.operations` counts them
LAYER_SECONDS = {False: 3e-4, True: 5e-5}


@dataclass(frozen=True)
class Work:
    """A kind of work: everything that the speed of a run depends on.

    Attributes
    ----------
    dataset : str
        The data set, as in the run's configuration.
    size : int, optional
        The height and width to which the images are resized or averaged, or None if they keep their size.
    model, batch_size, machine
        As in the run's configuration.
    """

    dataset: str
    size: int | None
    model: Model
    batch_size: int
    machine: Machine

    def __str__(self) -> str:
        """Describe the work for display."""
        net = f"{self.model.name} of width {self.model.width:g} on {self.dataset}"
        seeds = f", {len(self.machine.stack)} seeds stacked" if self.machine.stack else ""
        return f"{net}, batches of {self.batch_size}{seeds}"


@dataclass(frozen=True)
class Speed:
    """The speed of a kind of work.

    Attributes
    ----------
    images_per_second : float
        Training images per second; for a stack, summed over its members.
    known : str
        A description of how the speed was found.
    """

    images_per_second: float
    known: str

    def __str__(self) -> str:
        """Describe the speed for display."""
        return f"{self.images_per_second:,.0f} images/s, {self.known}"


def work(config: Config) -> Work:
    """Return the kind of work that a run of `config` does."""
    data = config.data
    return Work(data.dataset, data.size or data.side, config.model, config.train.batch_size, config.machine)


def images(config: Config) -> int:
    """Count the images that a run processes in all epochs of all its levels.

    A test image counts as a third of a training image each time the network is evaluated.
    """
    train, test = described.counts(config.data)
    count = min(train - config.data.validation, config.data.limit or train)
    batch = config.train.batch_size
    per_epoch = count // batch * batch if config.train.drop_last else count
    epochs = sum(_epochs(config, level) for level in range(config.pruning.levels + 1))
    tested = config.pruning.levels + 1 if config.train.evaluate == "level" else epochs
    return per_epoch * epochs + test * tested // 3


def _epochs(config: Config, level: int) -> int:
    """Return how many epochs a level trains for."""
    rewound = level > 0 and config.policy.schedule == "rewind"
    return config.epochs(level) - (config.policy.rewind_epoch if rewound else 0)


def left(config: Config, folder: Path) -> float:
    """Return how many images, counted as by `images`, the run in `folder` still has to process."""
    if completeness.is_recorded(folder, config):
        return 0.0
    done = _progress(folder)
    level, levels = int(done.get("level", 0)), [_epochs(config, n) for n in range(config.pruning.levels + 1)]
    first = config.epochs(level) - levels[level]  # where the level enters its schedule
    past = sum(levels[:level]) + max(0.0, done.get("epoch", 0) - first)
    return images(config) * (1 - past / sum(levels))


def seconds(configs: Iterable[Config], runs: Path, speeds: Mapping[Work, Speed]) -> float:
    """Estimate how many seconds it takes to finish these runs one after the other.

    For a kind of work that is missing from `speeds`, the mean of the given speeds is assumed.
    """
    mean = sum(speed.images_per_second for speed in speeds.values()) / len(speeds)
    total = 0.0
    for config in configs:
        speed = speeds.get(work(config))
        images_left = left(config, runs / config.run_id)
        if images_left:
            start = START / max(1, len(config.machine.stack))
            total += start + images_left / (speed.images_per_second if speed else mean)
    return total


def observed(configs: Iterable[Config], runs: Path) -> dict[Work, Speed]:
    """Return the speeds that the runs of `configs` have recorded in the folder `runs`, by kind of work."""
    found = {}
    for config in configs:
        rate = _progress(runs / config.run_id).get("images_per_second")
        if rate:
            found[work(config)] = Speed(rate, "observed in a run")
    return found


def speeds(configs: Iterable[Config], runs: Path) -> dict[Work, Speed]:
    """Find the speed of every kind of work: observed if possible, else measured here, else assumed.

    Parameters
    ----------
    configs : iterable of Config
        The runs.
    runs : Path
        The folder of the runs.

    Returns
    -------
    dict of Speed
        The speed of each kind of work.
    """
    configs = list(configs)
    found = observed(configs, runs)
    for config in configs:
        if work(config) not in found:
            found[work(config)] = _measured(config)
    return found


def _measured(config: Config) -> Speed:
    """Measure the speed by training on random images for a second; if there is no GPU, estimate the speed."""
    import torch

    from deepexp.runs import setup
    from deepexp.runs import speed as bench
    from deepexp.runs.stack import Stack

    # A dense run on random images needs neither the data set nor the files of other runs. If the GPU is
    # missing, the run is built on the CPU just so that its layers and operations can be counted.
    device = config.machine.device
    absent = device == "cuda" and not torch.cuda.is_available()
    instead = {"device": "cpu", "compile": False, "precision": "float32"}
    machine = {"processes": 1, **(instead if absent else {})}
    train = {"batch_size": 2} if absent else {}
    plain = config.model_copy(
        update={
            "data": config.data.model_copy(update={"validation": 0, "limit": None}),
            "train": config.train.model_copy(update=train),
            "machine": config.machine.model_copy(update=machine),
            "pruning": Pruning(levels=0),
            "policy": config.policy.model_copy(update={"rewind_epoch": 0, "rewind_step": 0}),
            "perturbation": Perturbation(),
            "donor": None,
        }
    )
    data, seeds = random_images(plain, 2 * plain.train.batch_size), config.machine.stack or (config.seed,)
    works = [setup.prepare(plain.model_copy(update={"seed": s}), Path(), dataset=data) for s in seeds]
    if absent:
        return _assumed(works[0], config, len(works))
    threads = config.machine.threads
    on = "the GPU" if device == "cuda" else f"{threads} thread{'s' * (threads > 1)}"
    speed = bench.images_per_second(works[0] if len(works) == 1 else Stack(works))
    return Speed(speed, f"measured here on {on}")


def random_images(config: Config, count: int) -> Dataset:
    """Make a data set of random training images, on which training speed can be measured.

    Parameters
    ----------
    config : Config
        The configuration that determines the images' shape, the number of classes and the device.
    count : int
        Number of training images; the validation and test sets are empty.

    Returns
    -------
    Dataset
    """
    import torch

    from deepexp.data.dataset import Dataset
    from deepexp.data.images import Images

    (side, channels, classes), device = described.kind(config.data), config.machine.device
    generator = torch.Generator().manual_seed(0)
    own = config.data.side or side
    pixels = torch.randint(256, (count, own, own, channels), generator=generator, dtype=torch.uint8)
    labels = torch.randint(classes, (count,), generator=generator)
    images = Images(pixels, labels).to(device)
    half = torch.full((channels,), 0.5, device=device)
    size = config.data.size or own
    shape = (size, size, channels)
    none = images[:0]
    return Dataset("random", "", classes, shape, images, none, none, half, half, "nothing")


def _assumed(work: workspace.Run, config: Config, count: int) -> Speed:
    """Estimate a GPU's speed: a step takes the time of its layers or its operations, whichever is longer.

    Each layer takes a fixed time. A stack of `count` networks has as many layers as one network, but `count`
    times as many operations.
    """
    from deepexp.runs import speed as bench

    machine, images = config.machine, count * config.train.batch_size
    layers = sum(not list(module.children()) for module in work.net.modules())
    layer, published = LAYER_SECONDS[machine.compile], PUBLISHED[machine.precision]
    rate = published * RESNET50_OPERATIONS / bench.operations(work)
    speed = images / max(layers * layer, images / rate)
    assumption = f"ResNet50's published {published:,} images/s in {machine.precision}, {layer * 1e3:g} ms"
    return Speed(speed, f"assumed, since there is no GPU here ({assumption} per layer and step)")


def _progress(folder: Path) -> dict[str, float]:
    try:
        return records.progress(folder)
    except ValueError:  # an estimate does not need the file, so a damaged file is ignored
        return {}


def duration(seconds: float) -> str:
    """Format a duration in its two largest units.

    Parameters
    ----------
    seconds : float

    Returns
    -------
    str
        For example '2 h 5 min', '5 min 10 s' or '10 s'.
    """
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
    )
