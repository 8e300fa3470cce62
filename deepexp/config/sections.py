"""The settings of a run's data, network, training and machine, each section validated by itself.

The sections, here and in `deepexp.config.pruning`, are the only home of their defaults.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from deepexp.config.algorithms import Section

DatasetName = Literal["digits", "cifar10", "cifar100", "tinyimagenet", "imagenet"]
Fraction01 = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0)]


class Data(Section):
    """Which images, and how they are augmented.

    Attributes
    ----------
    dataset : {'digits', 'cifar10', 'cifar100', 'tinyimagenet', 'imagenet'}
        The data set.
    validation : int
        How many training images are held out, chosen by the seed.
    limit : int, optional
        The most images to train on, chosen by the seed; all by default.
    classes : int, optional
        How many classes of tinyimagenet or imagenet to use, the first by name; all by default.
    size : int, optional
        The height and width in pixels to which images are resized. By default 224 for imagenet, and the
        images' own for the other data sets.
    resized_crop : bool
        Whether to train on a random 8 to 100 % of an image's area, resized.
    test_size : int, optional
        The side in pixels to which a test image is resized before its centre of `size` pixels is taken. By
        default the whole image is tested, at `size`.
    crop_padding : int
        How many pixels are added on every side before a random crop of the original size.
    padding_mode : {'zero', 'reflect'}
        What fills the added pixels.
    flip : {'none', 'random', 'alternating'}
        The horizontal flips: none, at random, or random in the first epoch and the other way round in every
        next one.
    accept_unknown : bool
        Whether to train on a copy of the data that matches no known variant.
    """

    dataset: DatasetName = "digits"
    validation: int = Field(0, ge=0)
    limit: int | None = Field(None, ge=1)
    classes: int | None = Field(None, ge=2)
    size: int | None = Field(None, ge=8)
    resized_crop: bool = False
    test_size: int | None = Field(None, ge=8)
    crop_padding: int = Field(0, ge=0)
    padding_mode: Literal["zero", "reflect"] = "zero"
    flip: Literal["none", "random", "alternating"] = "none"
    accept_unknown: bool = False

    @property
    def depends_on_seed(self) -> bool:
        """Whether the seed chooses the training images."""
        return self.validation > 0 or self.limit is not None

    @model_validator(mode="after")
    def _parts_apply(self) -> Self:
        if self.classes is not None and self.dataset not in ("tinyimagenet", "imagenet"):
            raise ValueError(
                f"classes belongs to tinyimagenet and imagenet; leave it out for {self.dataset}, got "
                f"{self.classes}"
            )
        if self.crop_padding and (self.resized_crop or self.dataset == "imagenet"):
            reason = "resized_crop = true" if self.resized_crop else "imagenet's images of many sizes"
            raise ValueError(f"crop_padding must be 0 with {reason}, got {self.crop_padding}")
        if self.size is not None and not self.resized_crop and self.dataset != "imagenet":
            raise ValueError(
                f"size, got {self.size}, needs resized_crop = true: otherwise {self.dataset} is not resized"
            )
        if self.test_size is not None:
            if self.dataset == "imagenet":
                raise ValueError(f"test_size must be left out for imagenet, got {self.test_size}")
            if self.size is None or self.test_size < self.size:
                raise ValueError(f"test_size must be at least size = {self.size}, got {self.test_size}")
        return self


class Model(Section):
    """The network.

    Attributes
    ----------
    name : {'resnet8', 'resnet20', 'resnet56', 'resnet18', 'resnet34', 'resnet50', 'vgg16'}
        The architecture.
    stem : {'cifar', 'imagenet'}
        The first layers: for small images, or for large ones.
    width : float
        The factor of every channel count.
    norm_scale : {'one', 'uniform'}
        The initial scales of batch normalisation: 1, or U(0, 1).
    """

    name: Literal["resnet8", "resnet20", "resnet56", "resnet18", "resnet34", "resnet50", "vgg16"] = "resnet8"
    stem: Literal["cifar", "imagenet"] = "cifar"
    width: Positive = 1.0
    norm_scale: Literal["one", "uniform"] = "one"


class Train(Section):
    """One level's training: SGD and its learning-rate schedule.

    Attributes
    ----------
    epochs : int
        The length of a level.
    batch_size : int
        Images in a batch, over all processes.
    drop_last : bool
        Whether to leave out an epoch's last, smaller batch.
    lr : float
        The peak learning rate.
    momentum, nesterov
        As in torch.optim.SGD.
    weight_decay : float
        The decay of convolutions and linear layers.
    decay_norm : bool
        Whether batch normalisation's parameters and the biases decay as well.
    label_smoothing : float
        As in torch.nn.functional.cross_entropy.
    schedule : {'cosine', 'step', 'triangular', 'constant'}
        The learning rate's course after the warm-up.
    schedule_per : {'epoch', 'step'}
        How often the learning rate changes.
    milestones : tuple of float
        The epochs at which the schedule 'step' multiplies the learning rate by `decay`.
    milestones_after_warmup : bool
        Whether milestones count from the end of the warm-up rather than from the level's start.
    decay : float
        The factor at a milestone.
    lr_min : float
        Where a cosine ends.
    peak : float
        The share of a triangular schedule that rises, in (0, 1].
    rise_from : float, optional
        The share of `lr` at which a warm-up or a triangular schedule starts to rise. By default a warm-up of
        W steps (or epochs) starts at 1 / W, and a triangle at 0.
    warmup : {'none', 'first', 'every', 'before'}
        The linear ramp: none; within the first epochs of level 0; within those of every level; or before the
        epochs of level 0, in addition to them.
    warmup_epochs : float
        The length of the ramp.
    evaluate : {'level', 'epoch'}
        Whether the test set is evaluated after each level or after each epoch.
    signs : {'level', 'epoch'}
        Whether the signs are recorded after each level or after each epoch.
    """

    epochs: int = Field(60, ge=1, le=1_000_000)
    batch_size: int = Field(64, ge=1)
    drop_last: bool = True
    lr: Positive = 0.1
    momentum: float = Field(0.9, ge=0, lt=1)
    nesterov: bool = False
    weight_decay: float = Field(5e-4, ge=0)
    decay_norm: bool = True
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    schedule: Literal["cosine", "step", "triangular", "constant"] = "cosine"
    schedule_per: Literal["epoch", "step"] = "epoch"
    milestones: tuple[float, ...] = Field((), strict=False)
    milestones_after_warmup: bool = False
    decay: Positive = 0.1
    lr_min: float = Field(0.0, ge=0)
    peak: Fraction01 = 0.2
    rise_from: float | None = Field(None, ge=0, lt=1)
    warmup: Literal["none", "first", "every", "before"] = "none"
    warmup_epochs: float = Field(0.0, ge=0, le=1_000_000)
    evaluate: Literal["level", "epoch"] = "level"
    signs: Literal["level", "epoch"] = "level"

    @model_validator(mode="after")
    def _times_fit(self) -> Self:
        if list(self.milestones) != sorted(set(self.milestones)) or not all(
            0 < m < self.epochs for m in self.milestones
        ):
            raise ValueError(
                f"milestones must rise within (0, epochs = {self.epochs}), got {list(self.milestones)}"
            )
        if self.schedule == "step" and not self.milestones:
            raise ValueError("the schedule 'step' needs train.milestones, got none")
        if self.warmup != "before" and self.warmup_epochs >= self.epochs:
            raise ValueError(
                f"warmup_epochs must be below epochs = {self.epochs}, got {self.warmup_epochs:g}"
            )
        if (self.warmup == "none") != (self.warmup_epochs == 0):
            raise ValueError(
                f"warmup = '{self.warmup}' and warmup_epochs = {self.warmup_epochs:g} contradict each other; "
                "set both or neither"
            )
        if self.warmup == "before" and self.warmup_epochs % 1:
            raise ValueError(f"warmup = 'before' takes whole warmup_epochs, got {self.warmup_epochs:g}")
        if self.lr_min >= self.lr:
            raise ValueError(f"lr_min must be below lr = {self.lr:g}, got {self.lr_min:g}")
        return self


class Machine(Section):
    """What the run computes on, which is part of its identity: even threads change the order of sums.

    Attributes
    ----------
    device : {'cpu', 'cuda'}
        The device of the network.
    stack : tuple of int
        The seeds whose runs train together as one stacked network; () trains this run alone.
    processes : int
        How many processes share every batch. Batch normalisation normalises each one's part by itself.
    threads : int
        The threads of each process. The limit is above any machine's cores: starting many more would kill
        the process.
    channels_last : bool
        Whether images and weights lie in memory with their channels last.
    compile : bool
        Whether to compile the network, on 'cuda' into CUDA graphs.
    precision : {'float32', 'tf32', 'bf16'}
        How products are computed: in float32, on either device; on 'cuda', with factors rounded to 10 bits;
        or under autocast. Weights, momentum, scores and the masks of gradients stay float32.
    """

    device: Literal["cpu", "cuda"] = "cpu"
    stack: tuple[int, ...] = Field((), strict=False)
    processes: int = Field(1, ge=1)
    threads: int = Field(1, ge=1, le=1024)
    channels_last: bool = True
    compile: bool = False
    precision: Literal["float32", "tf32", "bf16"] = "float32"

    @model_validator(mode="after")
    def _stack_is_one_process(self) -> Self:
        if self.stack and (len(set(self.stack)) < 2 or len(set(self.stack)) < len(self.stack)):
            raise ValueError(f"stack must have two seeds or more, each once, got {list(self.stack)}")
        if self.stack and self.processes > 1:
            raise ValueError(
                f"several seeds train in one process, got machine.processes = {self.processes}; set it to 1, "
                "or leave machine.stack out"
            )
        return self

    @model_validator(mode="after")
    def _device_has_precision(self) -> Self:
        if self.precision == "tf32" and self.device != "cuda":
            raise ValueError(
                f"precision = 'tf32' needs device = 'cuda', got '{self.device}'; use 'float32' or 'bf16'"
            )
        return self
