"""The settings for a run's data, network and training. Each section is validated on its own.

Defaults are defined only in the sections themselves, here and in `deepexp.config.pruning` and `machine`.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from deepexp.config import import_paths
from deepexp.config.algorithms import Section

Fraction01 = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
# The height and width of the images as published, in pixels; ImageNet's vary, and are cropped to 224.
SIDES = {
    "digits": 8,
    "cifar10": 32,
    "cifar100": 32,
    "tinyimagenet": 64,
    "imagenet": 224,
}
MODELS = ("resnet8", "resnet20", "resnet56", "resnet18", "resnet34", "resnet50", "vgg16")


class Data(Section):
    """Which images to use, and how to augment them.

    Attributes
    ----------
    dataset : str
        The data set: 'digits', 'cifar10', 'cifar100', 'tinyimagenet', 'imagenet', or an import path such as
        'mypkg.mymodule:function' (see `deepexp.data.own_data`).
    code : str, optional
        The digest of the source of an import path; computed, not set.
    validation : int
        The number of training images to hold out for validation; the seed chooses them.
    limit : int, optional
        The maximum number of images to train on; the seed chooses them. By default, all are used.
    classes : int, optional
        For tinyimagenet and imagenet, the number of classes to use: the first ones, sorted by name. By
        default, all are used.
    side : int, optional
        The height and width in pixels to which images are averaged down: each pixel is the mean of a square
        block of the original pixels. It must divide the original side, and does not apply to imagenet.
    size : int, optional
        The height and width in pixels to which images are resized. By default 224 for imagenet, and the
        original size for the other data sets.
    resized_crop : bool
        Whether to train on random crops that cover 8 to 100 % of an image's area and are then resized.
    test_size : int, optional
        The height and width in pixels to which a test image is resized before it is cropped to its central
        `size` x `size` pixels. By default, the whole image is resized to `size`, without a crop. For
        imagenet, whose test images are always cropped to their centre, this must be left out.
    crop_padding : int
        The number of pixels added on every side before a random crop of the original size. Protocols state
        it for images of the original side; `build` scales it with `side`.
    padding_mode : {'zero', 'reflect'}
        What fills the added pixels.
    flip : {'none', 'random', 'alternating'}
        Horizontal flips. 'random': each image is flipped at random in every epoch; 'alternating': at random
        in the first epoch, and from then on its orientation changes with every epoch.
    accept_unknown : bool
        Whether to train even if the copy of the data matches no known variant.
    """

    dataset: str = "digits"
    code: str | None = None
    validation: int = Field(0, ge=0)
    limit: int | None = Field(None, ge=1)
    classes: int | None = Field(None, ge=2)
    side: int | None = Field(None, ge=1)
    size: int | None = Field(None, ge=8)
    resized_crop: bool = False
    test_size: int | None = Field(None, ge=8)
    crop_padding: int = Field(0, ge=0)
    padding_mode: Literal["zero", "reflect"] = "zero"
    flip: Literal["none", "random", "alternating"] = "none"
    accept_unknown: bool = False

    @property
    def depends_on_seed(self) -> bool:
        """Whether the choice of training images depends on the seed."""
        return self.validation > 0 or self.limit is not None

    @model_validator(mode="after")
    def _dataset_exists(self) -> Self:
        import_paths.check("dataset", self.dataset, SIDES, self.code)
        return self

    @model_validator(mode="after")
    def _side_fits(self) -> Self:
        if self.side is None:
            return self
        if self.dataset == "imagenet" or self.size is not None or self.resized_crop:
            reason = "for imagenet" if self.dataset == "imagenet" else "with size or resized_crop"
            raise ValueError(f"side must be left out {reason}, got {self.side}")
        # Also if it is larger. The side of a user's own images is not known yet.
        if SIDES.get(self.dataset, self.side) % self.side:
            raise ValueError(
                f"side must divide {SIDES[self.dataset]}, the side of the images of {self.dataset}, got "
                f"{self.side}"
            )
        return self

    @model_validator(mode="after")
    def _parts_apply(self) -> Self:
        if self.classes is not None and self.dataset not in ("tinyimagenet", "imagenet"):
            raise ValueError(
                f"classes applies only to tinyimagenet and imagenet, got {self.classes} for {self.dataset}; "
                "leave it out"
            )
        if self.crop_padding and (self.resized_crop or self.dataset == "imagenet"):
            reason = "resized_crop = true" if self.resized_crop else "imagenet, whose images vary in size"
            raise ValueError(f"crop_padding must be 0 with {reason}, got {self.crop_padding}")
        if self.size is not None and not self.resized_crop and self.dataset != "imagenet":
            raise ValueError(
                f"size needs resized_crop = true, since {self.dataset} is not resized otherwise, got "
                f"{self.size}"
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
    name : str
        The architecture: 'resnet8', 'resnet20', 'resnet56', 'resnet18', 'resnet34', 'resnet50', 'vgg16', or
        an import path such as 'mypkg.mymodule:function' (see `deepexp.networks`).
    code : str, optional
        The digest of the source of an import path; computed, not set.
    stem : {'cifar', 'imagenet'}
        The type of the first layers: 'cifar' for small images, 'imagenet' for large ones.
    width : float
        The factor by which every channel count is multiplied.
    norm_scale : {'one', 'uniform'}
        The initial scales of batch normalisation: 1, or drawn from U(0, 1).
    """

    name: str = "resnet8"
    code: str | None = None
    stem: Literal["cifar", "imagenet"] = "cifar"
    width: Positive = 1.0
    norm_scale: Literal["one", "uniform"] = "one"

    @model_validator(mode="after")
    def _name_exists(self) -> Self:
        import_paths.check("name", self.name, MODELS, self.code)
        for field in ("stem", "width") if import_paths.is_own(self.name) else ():
            if getattr(self, field) != Model.model_fields[field].default:
                raise ValueError(
                    f"{field} has no effect on a network of your own, '{self.name}', got "
                    f"{getattr(self, field)!r}; leave it out"
                )
        return self


class Train(Section):
    """How one level is trained: SGD and its learning-rate schedule.

    Attributes
    ----------
    epochs : int
        The length of a level, in epochs; with several cycles, that of each cycle.
    cycles : {'one', 'cumulative'}
        How often a level repeats its schedule. 'cumulative': level l trains for l + 1 cycles, as many as LRR
        has trained by the end of that level.
    parameterization : {'plain', 'sign-in'}
        How the weights of convolutions and linear layers are trained: as they are, or as products
        theta = m u (see `deepexp.training.sign_in`).
    beta : float
        With 'sign-in', the value of m^2 - u^2 at the start of every level and after every reset; between
        1e-6 and 1e6.
    reset_epochs : int
        With 'sign-in', the number of epochs from one reset to the next, at most those of the longest level;
        with 0, only levels reset.
    batch_size : int
        The number of images in a batch, summed over all processes.
    drop_last : bool
        Whether to leave out an epoch's last batch if it is smaller than the others.
    lr : float
        The peak learning rate.
    momentum, nesterov
        As in torch.optim.SGD.
    weight_decay : float
        The weight decay of convolutions and linear layers.
    decay_norm : bool
        Whether weight decay also applies to biases and to the parameters of batch normalisation.
    label_smoothing : float
        As in torch.nn.functional.cross_entropy.
    schedule : {'cosine', 'step', 'triangular', 'constant'}
        The shape of the learning-rate schedule after the warm-up.
    schedule_per : {'epoch', 'step'}
        How often the learning rate changes.
    milestones : tuple of float
        The epochs at which the schedule 'step' multiplies the learning rate by `decay`.
    milestones_after_warmup : bool
        Whether milestones count from the end of the warm-up rather than from the level's start.
    decay : float
        The factor applied to the learning rate at each milestone.
    lr_min : float
        The learning rate at the end of a cosine schedule.
    peak : float
        The fraction of a triangular schedule during which the learning rate rises, in (0, 1].
    rise_from : float, optional
        The fraction of `lr` at which a warm-up or a triangular schedule starts. By default, a warm-up of W
        steps (or epochs) starts at 1 / W, and a triangular schedule at 0.
    warmup : {'none', 'first', 'every', 'before'}
        The warm-up, a linear rise of the learning rate. 'first': in the first epochs of level 0; 'every': in
        the first epochs of every level; 'before': in additional epochs before those of level 0.
    warmup_epochs : float
        The length of the warm-up in epochs.
    evaluate : {'level', 'epoch'}
        Whether the test set is evaluated after each level or after each epoch.
    signs : {'level', 'first', 'epoch'}
        When the signs are recorded besides the end of each level. 'level': never; 'first': after each epoch
        of level 0; 'epoch': after each epoch of every level.
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
    signs: Literal["level", "first", "epoch"] = "level"
    cycles: Literal["one", "cumulative"] = "one"
    parameterization: Literal["plain", "sign-in"] = "plain"
    beta: float = Field(1.0, ge=1e-6, le=1e6)  # far beyond, beta^2 leaves the range of float32
    reset_epochs: int = Field(0, ge=0, le=1_000_000)

    @model_validator(mode="after")
    def _factors_are_used(self) -> Self:
        for name in ("beta", "reset_epochs") if self.parameterization == "plain" else ():
            if getattr(self, name) != Train.model_fields[name].default:
                raise ValueError(
                    f"{name} has no effect with parameterization = 'plain', got {getattr(self, name)!r}; "
                    "leave it out, or set train.parameterization to 'sign-in'"
                )
        return self

    @model_validator(mode="after")
    def _times_fit(self) -> Self:
        if list(self.milestones) != sorted(set(self.milestones)) or not all(
            0 < m < self.epochs for m in self.milestones
        ):
            raise ValueError(
                f"milestones must increase and lie in (0, epochs = {self.epochs}), got "
                f"{list(self.milestones)}"
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
            raise ValueError(
                f"warmup_epochs must be a whole number with warmup = 'before', got {self.warmup_epochs:g}"
            )
        if self.lr_min >= self.lr:
            raise ValueError(f"lr_min must be below lr = {self.lr:g}, got {self.lr_min:g}")
        return self
